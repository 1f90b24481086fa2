"""Conversations in which the model calls Python functions: each call is run, its result handed back, and the model answers on.

Every answer is a stream with a journal of its own, each with the one before as its parent. A call is in the journal of its answer before
it is run, and its result before the model gets it.
"""

from __future__ import annotations

import asyncio
import inspect
import os
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Generic, TypeVar

from unspool import Error
from unspool.api.deltas import Text
from unspool.api.parts import ToolResult
from unspool.client.facts import Asked
from unspool.client.library.following import AsyncFollowing, Followed, Following
from unspool.client.resume.kept import is_complete
from unspool.client.tools import INTERRUPTED_CALL, failure_of, result_of
from unspool.config.paths import streams_dir
from unspool.journal import folder, summary, ulid
from unspool.journal.blocks import Request
from unspool.journal.toolruns import ToolLog, ToolRun, begun, done
from unspool.outcome import COMPLETE, RUNNING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterable, Iterator
    from types import TracebackType
    from typing import Any, Self, Unpack

    from unspool.api.deltas import Delta, ToolCall
    from unspool.client.aio import AsyncReading
    from unspool.client.answer import Reading
    from unspool.client.facts import Facts
    from unspool.client.library.arguments import AskOptions, Question
    from unspool.client.library.arguments import Reading as ReadingOptions
    from unspool.journal.summary import Summary

#: How many answers with calls a conversation may have before it ends, unless its caller says otherwise.
DEFAULT_CHAIN = 10
# What `unfinished` may be.
_UNFINISHED = ("raise", "again", "failed")


class TooManyCalls(Error):
    """The model still calls tools after as many answers as ``chain`` allows. The calls of the last answer have not been run."""


class UnfinishedCall(Error):
    """A call had begun when the program that ran it died, and may have had its effect. ``names`` are the tools that were called."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(
            f"{', '.join(names)} had begun when the program died, and may have had an effect: unfinished='again' runs it again,"
            " unfinished='failed' tells the model that it failed"
        )
        self.names = names


class Functions:
    """Python functions that a model may call, by their names."""

    def __init__(self, functions: Iterable[Callable[..., Any]]) -> None:
        self._functions: dict[str, Callable[..., Any]] = {}
        for one in functions:
            if not callable(one):
                raise TypeError("tools are functions here: a dict describes a tool that nobody can run")
            name = getattr(one, "__name__", "tool")
            if name in self._functions:
                raise ValueError(f"two tools are called {name}")
            self._functions[name] = one
        if not self._functions:
            raise ValueError("tools has no function")

    def __iter__(self) -> Iterator[Callable[..., Any]]:
        return iter(self._functions.values())

    def call(self, call: ToolCall) -> Any:
        """Run a call and return what its function returns, an awaitable for one of asyncio. Raises what it raises, and ValueError for wrong arguments."""
        function = self._functions.get(call.name)
        if function is None:
            raise ValueError(f"there is no tool called {call.name}; there are {', '.join(self._functions)}")
        from unspool.client.schema import arguments_of

        return function(**arguments_of(function, call.parsed()))


A = TypeVar("A", bound="Facts[Any]")


class Turns(Generic[A]):
    """What is the same in a thread and in asyncio: which answer is next, what was run for it, and what is known by now.

    ``answers`` are all answers so far.
    """

    def __init__(
        self,
        functions: Functions,
        first: Question,
        ask: Callable[[Question], A],
        *,
        chain: int = DEFAULT_CHAIN,
        unfinished: str = "raise",
    ) -> None:
        if unfinished not in _UNFINISHED:
            raise ValueError(f"unfinished is {unfinished!r}, and not one of {', '.join(_UNFINISHED)}")
        if type(chain) is not int or chain < 0:
            raise ValueError(f"chain is {chain!r}, and not a number of answers")
        self.functions = functions
        self.answers: list[A] = []
        self._ask = ask
        self._next: Question | None = first
        self._chain = chain
        self._unfinished = unfinished
        # Of a conversation that is resumed: its id, the answer to begin with, and the runs of that one's calls, by their ids.
        self._id: str | None = None
        self._resumed: A | None = None
        self._known: dict[str, ToolRun] = {}

    @property
    def id(self) -> str | None:
        """The id of the first answer, by which the conversation can be resumed; None without a journal, and before the first piece."""
        return self._id or (self.answers[0].id if self.answers else None)

    @property
    def answer(self) -> A | None:
        """The last answer so far."""
        return self.answers[-1] if self.answers else None

    @property
    def text(self) -> str:
        """The text of the last answer so far."""
        return self.answers[-1].text if self.answers else ""

    @property
    def outcome(self) -> str | None:
        """How the last answer ended, None while it has not."""
        return self.answers[-1].outcome if self.answers else None

    def _begin_with(self, kept: Kept, answer: A) -> Self:
        """Begin with the last answer of a conversation that is kept, and whose calls may have been run in part."""
        self._id = kept.id
        self._known = dict(kept.last.tool_runs)
        self._resumed = answer
        return self

    def _next_answer(self) -> A | None:
        """Ask for the next answer; None where the conversation is over."""
        if self._next is None:
            return None
        answer, self._resumed = self._resumed or self._ask(self._next), None
        self._next = None
        self.answers.append(answer)
        return answer

    def _wanted(self, answer: A) -> list[ToolCall]:
        """The calls of an answer that has ended, none where the conversation is over. Raises TooManyCalls."""
        calls = [call for call in answer.tool_calls if call.choice == 0]
        if answer.outcome != COMPLETE or not calls:
            return []
        if len(self.answers) > self._chain:
            raise TooManyCalls(f"the model still calls tools after {self._chain} answers with calls: chain allows more")
        return calls

    def _divided(self, calls: list[ToolCall]) -> tuple[list[ToolResult], list[ToolCall]]:
        """The results that there are already, and the calls that are to be run. Raises UnfinishedCall."""
        known, self._known = self._known, {}
        begun = [call for call in calls if call.id in known and known[call.id].result is None]
        if begun and self._unfinished == "raise":
            raise UnfinishedCall([call.name for call in begun])
        results, rest = [], []
        for call in calls:
            run = known.get(call.id)
            if run is not None and run.result is not None:
                results.append(ToolResult(call.id, call.name, run.result, run.failed))
            elif run is not None and self._unfinished == "failed":
                results.append(ToolResult(call.id, call.name, INTERRUPTED_CALL, True))
            else:
                rest.append(call)
        return results, rest

    def _hand_back(self, answer: A, calls: list[ToolCall], results: list[ToolResult]) -> None:
        """Ask next what follows an answer whose calls have these results."""
        contents = {result.call: result.content for result in results}
        self._next = answer.reply(*(call.result(contents[call.id]) for call in calls))


def kept_path(answer: Facts[Any]) -> str | None:
    """The journal of an answer, None where it is not kept."""
    if isinstance(answer, Followed):
        return answer.path
    if isinstance(answer, Asked) and answer.exchange.journal is not None:
        return answer.exchange.journal.path
    return None


@dataclass(slots=True)
class Kept:
    """A conversation that is kept: the ``id`` of its first answer, and its ``last`` answer."""

    id: str
    last: Summary


def last_of(piece: str, kept: str | None = None) -> Kept:
    """The conversation that a piece of an id names. Raises NotFound, and Error while it is being written."""
    kept = kept or streams_dir()
    id = folder.find(kept, piece)
    chain = summary.conversation(kept, id)
    last = id
    for other in folder.ids(kept):
        if other > last:
            try:
                parent = Request.first(folder.path_of(kept, other)).parent
            except OSError:  # removed a moment ago
                continue
            if parent == last:
                last = other
    one = chain[-1] if last == id else summary.read(folder.path_of(kept, last))
    if one.outcome == RUNNING:
        raise Error(f"{ulid.short(one.id)} is still being written by another process")
    return Kept(chain[0].id, one)


class Conversation(Turns["Reading[Any]"]):
    """A conversation in one thread: see `unspool.converse`. Iterating it yields the text of its answers; `deltas` yields all that arrives."""

    def __init__(
        self,
        functions: Functions,
        first: Question,
        ask: Callable[[Question], Reading[Any]],
        *,
        chain: int = DEFAULT_CHAIN,
        unfinished: str = "raise",
    ) -> None:
        super().__init__(functions, first, ask, chain=chain, unfinished=unfinished)
        self._stream = self._all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[str]:
        for delta in self._stream:
            if type(delta) is Text and delta.choice == 0:
                yield delta.text

    def deltas(self) -> Iterator[Delta]:
        """Yield everything that arrives, of all answers, and a `ToolResult` for each call that has been run."""
        yield from self._stream

    def read(self) -> str:
        """Read to the end, and return the text of the last answer."""
        for _ in self._stream:
            pass
        return self.text

    def close(self) -> None:
        """Stop the answer that streams, if one does. A function that runs is not stopped."""
        self._stream.close()
        if self.answers:
            self.answers[-1].close()

    def _all(self) -> Generator[Delta]:
        while (answer := self._next_answer()) is not None:
            with answer:
                yield from answer.deltas()
            calls = self._wanted(answer)
            if not calls:
                return
            results, rest = self._divided(calls)
            yield from results
            with ToolLog(kept_path(answer)) as log:
                log.put(begun(rest))
                for result in self._run(rest):
                    log.put(done([result]))
                    results.append(result)
                    yield result
            self._hand_back(answer, calls, results)

    def _run(self, calls: list[ToolCall]) -> Iterator[ToolResult]:
        if len(calls) == 1:
            yield self._result(calls[0])
        elif calls:
            with ThreadPoolExecutor(len(calls)) as pool:
                for future in as_completed([pool.submit(self._result, call) for call in calls]):
                    yield future.result()

    def _result(self, call: ToolCall) -> ToolResult:
        try:
            value = self.functions.call(call)
            if inspect.isawaitable(value):
                value = asyncio.run(_awaited(value))
            return result_of(call, value)
        except Exception as error:
            return failure_of(call, error)


async def _awaited(value: Any) -> Any:
    return await value


class AsyncConversation(Turns["AsyncReading[Any]"]):
    """A conversation in asyncio: see `unspool.aconverse`. Iterating it yields the text of its answers; `deltas` yields all that arrives."""

    def __init__(
        self,
        functions: Functions,
        first: Question,
        ask: Callable[[Question], AsyncReading[Any]],
        *,
        chain: int = DEFAULT_CHAIN,
        unfinished: str = "raise",
    ) -> None:
        super().__init__(functions, first, ask, chain=chain, unfinished=unfinished)
        self._stream = self._all()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def __aiter__(self) -> AsyncIterator[str]:
        async for delta in self._stream:
            if type(delta) is Text and delta.choice == 0:
                yield delta.text

    async def deltas(self) -> AsyncIterator[Delta]:
        """Yield everything that arrives, of all answers, and a `ToolResult` for each call that has been run."""
        async for delta in self._stream:
            yield delta

    async def read(self) -> str:
        """Read to the end, and return the text of the last answer."""
        async for _ in self._stream:
            pass
        return self.text

    async def aclose(self) -> None:
        """Stop the answer that streams, and the functions of asyncio that run. A plain function in its thread is not stopped."""
        await self._stream.aclose()
        if self.answers:
            await self.answers[-1].aclose()

    async def _all(self) -> AsyncGenerator[Delta]:
        while (answer := self._next_answer()) is not None:
            async with answer:
                async for delta in answer.deltas():
                    yield delta
            calls = self._wanted(answer)
            if not calls:
                return
            results, rest = self._divided(calls)
            for result in results:
                yield result
            with ToolLog(kept_path(answer)) as log:
                await asyncio.to_thread(log.put, begun(rest))
                running = [asyncio.ensure_future(self._result(call)) for call in rest]
                try:
                    for future in asyncio.as_completed(running):
                        result = await future
                        await asyncio.to_thread(log.put, done([result]))
                        results.append(result)
                        yield result
                finally:
                    for one in running:
                        one.cancel()
            self._hand_back(answer, calls, results)

    async def _result(self, call: ToolCall) -> ToolResult:
        try:
            # A function that is not of asyncio may take its time, and others must get their turn.
            value = await asyncio.to_thread(self.functions.call, call)
            if inspect.isawaitable(value):
                value = await value
            return result_of(call, value)
        except Exception as error:
            return failure_of(call, error)


def converse(
    prompt: Question | None = None,
    *,
    tools: Iterable[Callable[..., Any]],
    chain: int = DEFAULT_CHAIN,
    resume: str | None = None,
    unfinished: str = "raise",
    **options: Unpack[AskOptions],
) -> Conversation:
    """Ask a model that may call your functions, run what it calls, and hand the results back, until it answers without a call.

    >>> def weather(city: str) -> str:
    ...     "The weather in a city."
    ...     return "sunny"
    >>> with unspool.converse("How is the weather in Oslo?", tools=[weather]) as conversation:
    ...     for piece in conversation:
    ...         print(piece, end="")
    ...     conversation.outcome
    'complete'

    ``tools`` are functions; their annotations and docstrings are what the model sees, see `tool`. Calls of one answer
    run at the same time, each in a thread of its own. What a function raises, and a call with wrong arguments, the model gets as an
    error. ``chain`` is how many answers with calls there may be: one more raises TooManyCalls. ``options`` are those of `stream`.

    Each call is in the journal of its answer before it runs, and its result before the model gets it. ``resume`` takes the id of a
    conversation whose program died, in place of a prompt, with the same other arguments: finished calls are not run again, and what is cut is
    continued. A call that had begun and has no result raises UnfinishedCall, unless ``unfinished`` is ``"again"`` or ``"failed"``.

    Raises what `stream` raises, and `NotFound` for an id.
    """
    from unspool.client import library

    functions = Functions(tools)

    def ask(asked: Question) -> Reading[Any]:
        return library.stream(asked, tools=functions, **options)

    def again(id: str) -> Reading[Any]:
        return library.resume(id, **reading_of(options))

    return conversation(prompt, functions, ask, again, chain, unfinished, resume, options)


def aconverse(
    prompt: Question | None = None,
    *,
    tools: Iterable[Callable[..., Any]],
    chain: int = DEFAULT_CHAIN,
    resume: str | None = None,
    unfinished: str = "raise",
    **options: Unpack[AskOptions],
) -> AsyncConversation:
    """The same for asyncio: see `converse`. Functions may be of asyncio; the others run in threads."""
    from unspool.client import library

    functions = Functions(tools)

    def ask(asked: Question) -> AsyncReading[Any]:
        return library.astream(asked, tools=functions, **options)

    def again(id: str) -> AsyncReading[Any]:
        return library.aresume(id, **reading_of(options))

    return aconversation(prompt, functions, ask, again, chain, unfinished, resume, options)


def conversation(
    prompt: Question | None,
    functions: Functions,
    ask: Callable[[Question], Reading[Any]],
    again: Callable[[str], Reading[Any]],
    chain: int,
    unfinished: str,
    resume: str | None,
    options: AskOptions,
) -> Conversation:
    """A conversation that is asked by ``ask``, from its beginning, or resumed, where ``again`` continues a cut answer."""
    made = Conversation(functions, _first(prompt, resume), ask, chain=chain, unfinished=unfinished)
    if resume is None:
        return made
    kept = last_of(resume, _folder(options))
    return made._begin_with(kept, Following(kept.last.path) if is_complete(kept.last) else again(kept.last.id))


def aconversation(
    prompt: Question | None,
    functions: Functions,
    ask: Callable[[Question], AsyncReading[Any]],
    again: Callable[[str], AsyncReading[Any]],
    chain: int,
    unfinished: str,
    resume: str | None,
    options: AskOptions,
) -> AsyncConversation:
    """The same for asyncio."""
    made = AsyncConversation(functions, _first(prompt, resume), ask, chain=chain, unfinished=unfinished)
    if resume is None:
        return made
    kept = last_of(resume, _folder(options))
    return made._begin_with(kept, AsyncFollowing(kept.last.path) if is_complete(kept.last) else again(kept.last.id))


def _first(prompt: Question | None, resume: str | None) -> Question:
    """What is asked first: nothing yet where a conversation is resumed."""
    if prompt is None and resume is None:
        raise TypeError("give a prompt, or the id of a conversation to resume")
    if prompt is not None and resume is not None:
        raise TypeError("give a prompt or resume, not both")
    return prompt or ""


def _folder(options: AskOptions) -> str | None:
    """The folder of the journals that the options name, None for the usual one."""
    folder = options.get("journal", True)
    return None if isinstance(folder, bool) else os.fspath(folder)


def reading_of(options: AskOptions) -> ReadingOptions:
    """Those of the options that `unspool.resume` takes too."""
    from unspool.client.library.arguments import ReadingArguments

    return {name: value for name, value in options.items() if name in ReadingArguments.names()}  # type: ignore[return-value]
