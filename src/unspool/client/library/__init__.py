"""The public functions and clients: a prompt in, a streamed answer out."""

# ruff: noqa: F811

from __future__ import annotations

from _thread import RLock

from unspool.client import forks
from unspool.client.answer import Answer
from unspool.client.http.transport import Reactor
from unspool.client.library.arguments import Arguments, ReadingArguments, exchange
from unspool.config.url import origin
from unspool.outcome import UNAUTHORIZED

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    import os
    from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
    from types import TracebackType
    from typing import Any, TypeVar, Unpack, overload

    from unspool.client.aio import AsyncAnswer
    from unspool.client.exchange import Exchange
    from unspool.client.library.arguments import AskOptions, Options, Question, Reading
    from unspool.client.library.converse import AsyncConversation, Conversation
    from unspool.client.library.following import AsyncFollowing, Following
    from unspool.client.resume.kept import Resumed
    from unspool.config.target import Target

    T = TypeVar("T")
else:

    def overload(function):
        """Stand for typing's own, which only type checkers need: to import it costs nearly as much as a short answer."""
        return function


# Connections that nobody uses are kept for at most this many streams at once, as many as a browser keeps for one host and more.
_MOST_IDLE = 16


@overload
def stream(prompt: Question, *, schema: type[T], **options: Unpack[Options]) -> Answer[T]: ...
@overload
def stream(prompt: Question, *, schema: dict[str, Any] | None = None, **options: Unpack[Options]) -> Answer[Any]: ...
def stream(prompt: Question, **options: Any) -> Answer[Any]:
    """Ask a model and return its answer as it streams.

    >>> with unspool.stream("What is Python?") as answer:
    ...     text = "".join(answer)
    >>> answer.outcome
    'complete'

    ``prompt`` is a text, or messages as in Chat Completions, such as ``answer.reply("And then?")`` gives.

    What is asked: ``model``; ``system``, the instruction; ``attachments``, files to go with the prompt, each a path, a URL or bytes;
    ``temperature``, ``top_p``, ``max_tokens``, ``stop``, ``seed``, ``n``; ``store`` asks the server to keep the answer; ``options``
    are sent as they are, and win over all else. ``tools`` are Python functions, or dicts that describe them, and ``tool_choice``
    is ``"auto"``, ``"none"``, ``"required"`` or a tool's name. ``schema`` is what the answer has to be: a dict that is a JSON Schema,
    or a pydantic model, msgspec struct, dataclass or TypedDict; then `Answer.parse` returns it, and `Answer.partials` yields it while
    it grows.

    Whom: ``api`` ("responses", "chat" or "completions"), ``profile``, ``base_url`` and ``key`` default to the configuration and the
    environment, as for the command.

    ``headers`` and ``query`` are added to the request, ``config=False`` ignores the configuration file. ``ca_file`` names the certificate authorities
    to trust, ``client_cert`` a certificate of your own (a file, or a file and its key's), ``proxy`` a proxy's URL ("" for none), and
    ``unix_socket`` a socket to connect to.

    How: the answer is kept in a journal unless ``journal`` is False; a path is the folder to keep it in. ``observer`` is an `Observer`. ``retries`` counts the further attempts before the first event.
    ``timeout`` bounds the complete answer, ``idle_timeout`` the silence between two bytes and ``connect_timeout`` the connecting, in
    seconds; a profile may set other defaults. ``check=False`` leaves it to you to look at ``answer.outcome``.

    Raises ValueError and TypeError for arguments that do not go together, and `ConfigError` for a configuration that cannot be
    used, a missing key among it. The network's errors are raised while iterating: see `Answer`.
    """
    asked, arguments = _begin("stream", prompt, options)
    return Answer(asked, arguments.limits(asked.target), check=arguments.check, schema=arguments.schema)


@overload
def astream(prompt: Question, *, schema: type[T], **options: Unpack[Options]) -> AsyncAnswer[T]: ...
@overload
def astream(
    prompt: Question, *, schema: dict[str, Any] | None = None, **options: Unpack[Options]
) -> AsyncAnswer[Any]: ...
def astream(prompt: Question, **options: Any) -> AsyncAnswer[Any]:
    """Ask a model and return its answer as it streams, for asyncio. The arguments are those of `stream`.

    >>> async def main():
    ...     async with unspool.astream("What is Python?") as answer:
    ...         return [piece async for piece in answer]
    >>> len(asyncio.run(main())) > 1
    True
    """
    from unspool.client.aio import AsyncAnswer

    asked, arguments = _begin("astream", prompt, options)
    return AsyncAnswer(asked, arguments.limits(asked.target), check=arguments.check, schema=arguments.schema)


@overload
def resume(id: str, *, schema: type[T], **options: Unpack[Reading]) -> Answer[T]: ...
@overload
def resume(id: str, *, schema: dict[str, Any] | None = None, **options: Unpack[Reading]) -> Answer[Any]: ...
def resume(id: str, **options: Any) -> Answer[Any]:
    """Continue an answer that was cut, and return it from its beginning, as it streams.

    >>> with unspool.stream("What is Python?") as answer:
    ...     first = next(iter(answer))  # leaving the block here cuts it
    >>> unspool.resume(answer.id).read().startswith(first)
    True

    ``id`` is any part of an id that only one stream has. A stream that its server keeps (a background response, a gateway's) is continued where it broke, in
    its own journal, and is the same answer. Any other is asked again for the rest, in a new stream with an id of its own; its first piece is what
    is kept of the old one. A complete answer is returned as it is. ``options`` are those of `stream` that say how to read; ``journal`` is the folder
    that has the answer, ``schema`` what the answer has to be.

    Raises NotFound, Busy while another process still writes it, ConfigError, and ValueError for what cannot be continued.
    """
    from unspool.client.library import resumed

    arguments = ReadingArguments("resume", options)
    return resumed.answer(resumed.resume(resumed.read(id, arguments), arguments), arguments)


@overload
def aresume(id: str, *, schema: type[T], **options: Unpack[Reading]) -> AsyncAnswer[T]: ...
@overload
def aresume(id: str, *, schema: dict[str, Any] | None = None, **options: Unpack[Reading]) -> AsyncAnswer[Any]: ...
def aresume(id: str, **options: Any) -> AsyncAnswer[Any]:
    """Continue an answer that was cut, for asyncio: see `resume`."""
    from unspool.client.library import resumed

    arguments = ReadingArguments("aresume", options)
    return resumed.async_answer(resumed.resume(resumed.read(id, arguments), arguments), arguments)


def follow(
    id: str, *, after: int | None = None, check: bool = True, journal: str | os.PathLike[str] | None = None
) -> Following:
    """Read an answer from its journal, also while another process writes it, from its beginning to its end.

    >>> answer = unspool.stream("What is Python?")
    >>> answer.read() == unspool.follow(answer.id).read()
    True

    ``id`` is any part of an id that only one stream has. ``after`` leaves out what comes up to that block of the journal: give
    it the ``last_id`` of what you had. ``journal`` is the folder that has the answer. Raises NotFound; while iterating, StreamCut when the process
    that wrote it is gone before the end.
    """
    from unspool.client.library.following import Following, path_of

    return Following(path_of(id, journal), after, check=check)


def afollow(
    id: str, *, after: int | None = None, check: bool = True, journal: str | os.PathLike[str] | None = None
) -> AsyncFollowing:
    """Read an answer from its journal, for asyncio: see `follow`."""
    from unspool.client.library.following import AsyncFollowing, path_of

    return AsyncFollowing(path_of(id, journal), after, check=check)


# What belongs to a server, and is not sent to another where a client continues an answer of another.
_SERVERS_OWN = ("key", "headers", "query", "client_cert", "unix_socket")


class _Defaults:
    """What a client knows: the arguments that it gives every stream, and where they lead."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._given = dict(options)
        self._defaults = Arguments(type(self).__name__, options)
        self._settings = self._defaults.start_settings()
        self._targets: dict[tuple[str | None, ...], Target] = {}
        self._target(self._defaults)

    def __reduce_ex__(self, protocol: object) -> str:
        raise TypeError("a client cannot be copied or pickled: with_options makes another one")

    def _arguments(self, name: str, options: Mapping[str, Any]) -> Arguments:
        merged = {**self._given, **options}
        if self._defaults.options and options.get("options"):
            merged["options"] = {**self._defaults.options, **options["options"]}
        return Arguments(name, merged)

    def _begin(self, question: Question, options: Mapping[str, Any]) -> tuple[Exchange, Arguments]:
        arguments = self._arguments("stream", options)
        return exchange(question, arguments, self._target(arguments), self._settings), arguments

    def _target(self, arguments: Arguments) -> Target:
        place = arguments.profile, arguments.base_url, arguments.key, arguments.api
        if place not in self._targets:
            self._targets[place] = arguments.target(self._settings)
        return self._targets[place]

    def _resume(self, id: str, options: Mapping[str, Any]) -> tuple[Resumed, ReadingArguments]:
        from unspool.client.library import resumed

        given = {name: value for name, value in self._given.items() if name in ReadingArguments.names()}
        arguments = ReadingArguments("resume", {**given, **options})
        one = resumed.read(id, arguments)
        if origin(one.url) != origin(self._target(self._defaults).base_url):
            given = {name: value for name, value in given.items() if name not in _SERVERS_OWN}
            arguments = ReadingArguments("resume", {**given, **options})
        return resumed.resume(one, arguments), arguments

    def _learn(self, outcome: str | None) -> None:
        """Take what an answer's end says: a key that was refused may have run out, and is asked for again."""
        if outcome == UNAUTHORIZED:
            self._targets.clear()


class Client(_Defaults):
    """Asks many things with the same defaults over the same connections. Its arguments are those of `stream`, as defaults for it.

    >>> with unspool.Client(system="Be brief.", max_tokens=100) as client:
    ...     first = client.stream("What is Python?").read()
    ...     second = client.stream("And what is Rust?").read()

    Threads may share it, each with answers of its own. ``options`` given to it and to a stream are joined. Connections are kept until
    `close`, or as long as the client; they need not be closed one by one.
    """

    def __init__(self, **options: Unpack[Options]) -> None:
        super().__init__(options)
        # One that its holder may take again: an answer that nobody holds any more is closed wherever the collector finds it.
        self._lock = RLock()
        # Each in use by one stream at a time, for libcurl's transfers may not be driven from two threads; the last used first, whose
        # connections are the most likely to live.
        self._idle: list[Reactor] = []
        self._closed = False

        forks.watch(self)

    def _after_fork(self) -> None:
        """In the child: forget the parent's connections, and a lock that another thread of the parent may have held."""
        self._lock = RLock()
        self._idle = []

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            self.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @overload
    def stream(self, prompt: Question, *, schema: type[T], **options: Unpack[Options]) -> Answer[T]: ...
    @overload
    def stream(
        self, prompt: Question, *, schema: dict[str, Any] | None = None, **options: Unpack[Options]
    ) -> Answer[Any]: ...
    def stream(self, prompt: Question, **options: Any) -> Answer[Any]:
        """Ask a model and return its answer as it streams: see `unspool.stream`. Raises RuntimeError when the client is closed."""
        if self._closed:
            raise RuntimeError("the client is closed")
        asked, arguments = self._begin(prompt, options)
        answer: Answer[Any] = Answer(
            asked,
            arguments.limits(asked.target),
            reactor=self._borrow(),
            check=arguments.check,
            schema=arguments.schema,
        )
        answer.on_close = self._take_back
        return answer

    def converse(
        self,
        prompt: Question | None = None,
        *,
        tools: Iterable[Callable[..., Any]],
        chain: int = 10,
        resume: str | None = None,
        unfinished: str = "raise",
        **options: Unpack[AskOptions],
    ) -> Conversation:
        """Ask a model that may call functions, with this client's defaults: see `unspool.converse`."""
        from unspool.client.library.converse import Functions, conversation, reading_of

        functions = Functions(tools)

        def ask(asked: Question) -> Answer[Any]:
            return self.stream(asked, tools=functions, **options)

        def again(id: str) -> Answer[Any]:
            return self.resume(id, **reading_of(options))

        given: AskOptions = {**self._given, **options}  # type: ignore[typeddict-item]
        return conversation(prompt, functions, ask, again, chain, unfinished, resume, given)

    def with_options(self, **options: Unpack[Options]) -> Client:
        """Return a client with these defaults in addition. It has connections of its own."""
        return Client(**{**self._given, **options})

    @overload
    def resume(self, id: str, *, schema: type[T], **options: Unpack[Reading]) -> Answer[T]: ...
    @overload
    def resume(self, id: str, *, schema: dict[str, Any] | None = None, **options: Unpack[Reading]) -> Answer[Any]: ...
    def resume(self, id: str, **options: Any) -> Answer[Any]:
        """Continue an answer of this client's folder, with its defaults: see `unspool.resume`. Its key and headers are for its own server only."""
        from unspool.client.library.resumed import answer

        return answer(*self._resume(id, options))

    def follow(self, id: str, *, after: int | None = None) -> Following:
        """Read an answer of this client's folder from its journal: see `unspool.follow`."""
        return follow(id, after=after, check=self._defaults.check, journal=self._defaults.folder())

    def close(self) -> None:
        """Close the connections. Streams that still run keep theirs to their end."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for reactor in idle:
            reactor.close()

    def _borrow(self) -> Reactor:
        with self._lock:
            reactor = self._idle.pop() if self._idle else None
        if reactor is None:
            return Reactor()
        reactor.settle()
        return reactor

    def _take_back(self, answer: Answer[Any], reactor: Reactor) -> None:
        self._learn(answer.outcome)
        with self._lock:
            if not self._closed and not reactor.is_closed and len(self._idle) < _MOST_IDLE:
                self._idle.append(reactor)
                return
        reactor.close()


class AsyncClient(_Defaults):
    """Asks many things with the same defaults over the same connections, for asyncio. Its arguments are those of `stream`.

    >>> async def main():
    ...     async with unspool.AsyncClient(system="Be brief.") as client:
    ...         answers = [client.stream(word) for word in ("Python", "Rust")]
    ...         return await asyncio.gather(*(answer.read() for answer in answers))
    >>> len(asyncio.run(main()))
    2

    Connections are kept until `aclose`, or until the event loop is shut down, as `asyncio.run` does. It may be used in several event loops,
    one after the other or in threads of their own.
    """

    def __init__(self, **options: Unpack[Options]) -> None:
        super().__init__(options)
        self._held: dict[asyncio.AbstractEventLoop, AsyncGenerator[None, None]] = {}

    async def __aenter__(self) -> AsyncClient:
        self._keep_connections()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    @overload
    def stream(self, prompt: Question, *, schema: type[T], **options: Unpack[Options]) -> AsyncAnswer[T]: ...
    @overload
    def stream(
        self, prompt: Question, *, schema: dict[str, Any] | None = None, **options: Unpack[Options]
    ) -> AsyncAnswer[Any]: ...
    def stream(self, prompt: Question, **options: Any) -> AsyncAnswer[Any]:
        """Ask a model and return its answer as it streams: see `unspool.astream`. To be called in a running event loop."""
        from unspool.client.aio import AsyncAnswer

        self._keep_connections()
        asked, arguments = self._begin(prompt, options)
        answer: AsyncAnswer[Any] = AsyncAnswer(
            asked, arguments.limits(asked.target), check=arguments.check, schema=arguments.schema
        )
        answer.on_close = self._note
        return answer

    def converse(
        self,
        prompt: Question | None = None,
        *,
        tools: Iterable[Callable[..., Any]],
        chain: int = 10,
        resume: str | None = None,
        unfinished: str = "raise",
        **options: Unpack[AskOptions],
    ) -> AsyncConversation:
        """Ask a model that may call functions, with this client's defaults: see `unspool.aconverse`."""
        from unspool.client.library.converse import Functions, aconversation, reading_of

        functions = Functions(tools)

        def ask(asked: Question) -> AsyncAnswer[Any]:
            return self.stream(asked, tools=functions, **options)

        def again(id: str) -> AsyncAnswer[Any]:
            return self.resume(id, **reading_of(options))

        given: AskOptions = {**self._given, **options}  # type: ignore[typeddict-item]
        return aconversation(prompt, functions, ask, again, chain, unfinished, resume, given)

    def with_options(self, **options: Unpack[Options]) -> AsyncClient:
        """Return a client with these defaults in addition. It has connections of its own."""
        return AsyncClient(**{**self._given, **options})

    @overload
    def resume(self, id: str, *, schema: type[T], **options: Unpack[Reading]) -> AsyncAnswer[T]: ...
    @overload
    def resume(
        self, id: str, *, schema: dict[str, Any] | None = None, **options: Unpack[Reading]
    ) -> AsyncAnswer[Any]: ...
    def resume(self, id: str, **options: Any) -> AsyncAnswer[Any]:
        """Continue an answer of this client's folder, with its defaults: see `unspool.resume`. Its key and headers are for its own server only."""
        from unspool.client.library.resumed import async_answer

        return async_answer(*self._resume(id, options))

    def follow(self, id: str, *, after: int | None = None) -> AsyncFollowing:
        """Read an answer of this client's folder from its journal: see `unspool.follow`."""
        return afollow(id, after=after, check=self._defaults.check, journal=self._defaults.folder())

    async def aclose(self) -> None:
        """Close the connections in this event loop. Streams that still run keep theirs to their end."""
        from unspool.client.loop import running_loop

        held = self._held.pop(running_loop(), None)
        if held is not None:
            await held.aclose()

    def _keep_connections(self) -> None:
        from unspool.client.loop import hold, running_loop

        loop = running_loop()
        if loop not in self._held:
            self._held = {one: held for one, held in self._held.items() if not one.is_closed()}
            self._held[loop] = hold(loop)

    def _note(self, answer: AsyncAnswer[Any]) -> None:
        self._learn(answer.outcome)


def _begin(name: str, question: Question, options: Mapping[str, Any]) -> tuple[Exchange, Arguments]:
    arguments = Arguments(name, options)
    settings = arguments.start_settings()
    return exchange(question, arguments, arguments.target(settings), settings), arguments
