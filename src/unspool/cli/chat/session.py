"""A conversation in the making: what was said, whom it is said to, and asking the next question."""

from __future__ import annotations

import gc
import os
import signal

from unspool import outcome
from unspool.api import endpoint
from unspool.api.conversation import plain
from unspool.cli import formats
from unspool.cli.access import SIMULATOR, advice, lacks_key, missing_key
from unspool.cli.chat.keyboard import Interrupts
from unspool.cli.commands.resume import has_open_calls, show_kept
from unspool.cli.options import UsageError
from unspool.cli.prompt import as_text, build, conversation
from unspool.cli.prompt.conversation import History
from unspool.cli.prompt.material import Material
from unspool.cli.streaming import kept_id, report
from unspool.cli.tools.loop import ToolLoop
from unspool.client.exchange import Exchange, build_body
from unspool.client.facts import turn_of
from unspool.client.library import attachment
from unspool.client.library.attachment import Unattachable
from unspool.client.resume import continuation, kept
from unspool.config.paths import streams_dir
from unspool.config.profiles import BUILT_IN
from unspool.config.url import host, parse_base_url
from unspool.journal import folder, names, summary, ulid
from unspool.journal.writer import Writer
from unspool.outcome import Ending
from unspool.terminal.output import Notes, Output
from unspool.value import Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.api.deltas import ToolCall, Usage
    from unspool.api.parts import ToolResult
    from unspool.api.prompt import Prompt
    from unspool.cli.chat.keyboard import Keyboard
    from unspool.cli.display import Display
    from unspool.cli.options.chat import ChatOptions
    from unspool.cli.tools.running import Runner
    from unspool.client.answer import Answer
    from unspool.client.facts import Facts
    from unspool.config import Settings
    from unspool.config.target import Target
    from unspool.journal.summary import Summary
    from unspool.jsontext import JsonObject

# After these an answer with text belongs to the conversation: it is complete, or a person stopped it. Everything else has
# failed, and the model must not see the failure when the question is asked again.
_KEEPING = (outcome.COMPLETE, outcome.LENGTH, outcome.FILTERED, outcome.CANCELLED)
# A text longer than this is more than most models read; sending it would be a mistake.
_LONGEST_TEXT = 1 << 20
# Of these there is a rest to be had.
_RESUMABLE = (outcome.CUT, outcome.SERVER_ERROR)


class Turn(Fields):
    """One question: the ``text`` that was typed, the ``parts`` of a message that go with it, and what was said ``before``.

    Or the ``results`` of the tool calls before: ids or names of tools, with what each call returned. ``said`` are the messages that it
    adds to the conversation, once it has been asked.
    """

    text: str
    parts: tuple[JsonObject, ...]
    before: History | None
    results: tuple[tuple[str, str], ...] = ()
    said: tuple[JsonObject, ...] = ()

    @property
    def message(self) -> JsonObject:
        """All of it, as it is asked."""
        # Words go with the words, where every endpoint takes them.
        words = [part["text"] for part in self.parts if part["type"] == "text"]
        others = [part for part in self.parts if part["type"] != "text"]
        return Material(words, others, [], {}).messages(self.text)[0]


class Session:
    """A conversation and everything that commands change of it.

    ``options`` are those of the command line, ``target`` is whom it asks, ``history`` what was said so far (None: nothing). ``turn``
    is what was asked last, answered or not; ``question`` the last that a person asked; ``text`` the answer, as much as there is; ``answer_id``
    the stream in which that is kept, if it is; ``ending`` how it ended. ``files`` (name and part) go with the next question. ``is_multiline`` says that Enter makes a line.
    ``spent`` are the tokens in and out of all answers, ``unknown`` the number of answers without token counts.
    """

    def __init__(
        self,
        options: ChatOptions,
        settings: Settings,
        target: Target,
        history: History | None,
        notes: Notes,
        keyboard: Keyboard,
        *,
        is_watched: bool,
    ) -> None:
        self.options = options
        self.settings = settings
        self.target = target
        self.history = history
        self.notes = notes
        self.keyboard = keyboard
        self.is_watched = is_watched
        self.is_multiline = False
        self.files: list[tuple[str, JsonObject]] = []
        self.turn: Turn | None = None
        self.question: Turn | None = None
        self.text = ""
        self.answer_id: str | None = None
        self.ending: Ending | None = None
        self.usage: Usage | None = None
        self.spent = (0, 0)
        self.answers = self.unknown = 0
        self.view = formats.of_answer(options)
        self.runner: Runner | None = None
        if options.functions or options.run_tools:
            from unspool.cli.tools import sources
            from unspool.cli.tools.running import Runner

            self.runner = Runner(sources.find(options, settings), options, keyboard.lent)
        # What was given for the calls that wait for their results.
        self._results: dict[str, str] = {}
        #: The name of the conversation, None where it has none.
        self.name = options.name
        if history is not None:
            self._go_on_with(history)
            self.name = options.name or names.of(streams_dir(), history.parent)

    def ask(self, text: str) -> Ending:
        """Ask the next question, with the files that were added for it."""
        return self._ask(Turn(text, tuple(part for _, part in self.files), self.history))

    @property
    def place(self) -> str:
        """Who is asked: the name of the profile, or the host where that is not the one that a built-in profile of this name has."""
        if self.options.sim:
            return "the built-in simulator"
        address = parse_base_url(self.target.base_url, "the base URL")
        usual = BUILT_IN.get(self.target.name)
        is_usual = usual is None or address.host in (host(usual.base_url), *usual.hosts)
        return self.target.name if is_usual else address.name

    @property
    def pending(self) -> dict[str, str]:
        """The tool calls that wait for their results: ids with the names of the tools."""
        calls = self.history.pending if self.history is not None else {}
        return {id: name for id, name in calls.items() if id not in self._results}

    def give(self, id: str, result: str) -> None:
        """Give the result of a tool call. After the last one the model continues."""
        self._results[id] = result
        if not self.pending:
            results, self._results = tuple(self._results.items()), {}
            self._ask(Turn("", (), self.history, results))

    def ask_again(self, text: str | None = None) -> Ending:
        """Ask the last question again in place of it, or another one."""
        turn = self.turn if text is None else self.question
        assert turn is not None
        return self._ask(turn if text is None else turn.replace(text=text))

    def resume(self) -> Ending:
        """Get the rest of the last answer, which stopped too early. Raises Error where it has none, or it cannot be had."""
        assert self.turn is not None
        if self.answer_id is None:
            raise UsageError("the last answer is not saved, so it cannot be resumed; /retry asks again")
        proxied = not self.options.sim
        try:
            one = kept.read(folder.locate(streams_dir(), self.answer_id), self.settings)
            if has_open_calls(one) and self.pending:
                return self._run_open_calls(self.turn, one)
            if kept.is_complete(one):
                raise UsageError("the last answer is complete; /retry asks for another one")
            # The built-in simulator that answered may have been that of an earlier command.
            is_here = one.profile == self.target.name == SIMULATOR
            target = self.target if is_here else kept.target_of(one, self.options.key, self.settings)
            if lacks_key(target):
                raise UsageError(missing_key(target))
            found = kept.resume(
                one, target, self.settings, retries=self.options.retries, pid=os.getpid(), use_proxy=proxied
            )
        except ValueError as error:  # its journal is damaged, or it cannot be continued
            raise UsageError(str(error)) from error
        if found.exchange.ending is not None:
            raise UsageError(f"another process resumed it: unspool show {ulid.short(one.id)} prints it")
        self._call(found.exchange)
        answers = _Answers(self, self.turn, is_rest=True)
        return self._finish(answers, answers.continue_with(found.exchange.prompt, found.exchange, show_kept(found)))

    def _run_open_calls(self, turn: Turn, one: Summary) -> Ending:
        """Run what is left of the calls of the last answer, with the tools that it was asked with."""
        if self.runner is None:
            from unspool.cli.tools import sources
            from unspool.cli.tools.running import Runner

            self.runner = Runner(sources.of_sources(one.tool_sources, self.settings), self.options, self.keyboard.lent)
        answers = _Answers(self, turn)
        return self._finish(answers, answers.continue_after(one))

    def attach(self, source: str) -> str:
        """Let a file go with the next question, and return what it is called. Raises Unattachable."""
        part = attachment.part(source)
        if part["type"] == "text" and len(part["text"]) > _LONGEST_TEXT:
            raise Unattachable(f"{source} is longer than {_LONGEST_TEXT >> 20} MiB")
        name = source[:80] if attachment.is_url(source) else os.path.basename(source)
        self.files.append((name, part))
        return name

    def clear(self) -> None:
        """Forget what was said. Whom to ask and how stays, and so does the system instruction."""
        self.history = self.turn = self.question = self.answer_id = self.name = None
        self.text = ""
        self.files.clear()

    @property
    def id(self) -> str | None:
        """The id with which the conversation can be continued, None where nothing of it is kept."""
        return self.history.parent or None if self.history is not None else None

    @property
    def has_failed(self) -> bool:
        """Whether the last answer is not what was hoped for, so that what was typed meanwhile may not be meant any more."""
        return self.ending is not None and self.ending.outcome not in (outcome.COMPLETE, outcome.LENGTH)

    def exchanges(self) -> list[tuple[str, str]]:
        """What was said so far: who (user, assistant, …) and the text."""
        messages = self.history.messages if self.history is not None else []
        return [(str(one.get("role")), plain(one.get("content"))) for one in messages]

    def say(self, text: str) -> None:
        """Say some lines to a person, made safe."""
        self.notes.clear()
        output = self.notes.output
        try:
            output.write(output.safe(text.rstrip("\n") + "\n"))
        except OSError:
            pass

    def show(self, text: str, *, raw: bool = False) -> None:
        """Show a text as an answer is shown."""
        from unspool.api.deltas import Text

        options = self.options.replace(format="text", raw=raw or self.options.raw)
        format = formats.choose(options)(Output(1))
        format.show([Text(text)], [], 0.0)
        format.close(Ending(outcome.COMPLETE), None)

    @property
    def first_prompt(self) -> str:
        """What the command line asks, which comes before anything is typed; "" when nothing."""
        return as_text(" ".join(self.options.prompt))

    def _go_on_with(self, history: History) -> None:
        self.options = self.options.replace(system=self.options.system or history.system)
        self.history = History(history.messages, None, history.parent, None, history.response_id, history.tools)
        messages = list(history.messages)
        while messages and messages[-1].get("role") == "assistant":
            self.text = plain(messages.pop().get("content"))
        results: list[JsonObject] = []
        while messages and messages[-1].get("role") == "tool":
            results.insert(0, messages.pop())
        if results:
            given = tuple((str(one.get("tool_call_id")), plain(one.get("content"))) for one in results)
            self.turn = Turn("", (), conversation.before(history, messages), given, tuple(results))
            self.answer_id = history.parent or None
        elif messages and messages[-1].get("role") == "user":
            before = conversation.before(history, messages[:-1])
            self.turn = self.question = _turn_of(messages[-1].get("content"), before)
            self.answer_id = history.parent or None

    def _ask(self, turn: Turn) -> Ending:
        turn, prompt = self.prompt(turn)
        answers = _Answers(self, turn)
        return self._finish(answers, answers.continue_with(prompt, self.begin(prompt, turn)))

    def _finish(self, answers: _Answers, ending: Ending) -> Ending:
        """Take how the answers to a question ended, and leave the next prompt a line."""
        self.ending = ending
        # What one turn leaves behind is garbage in the next.
        gc.unfreeze()
        stdout = answers.display.stdout
        if stdout.is_tty or not stdout.at_line_start:
            stdout.write("\n")  # the next prompt is not part of the answer
        return ending

    def prompt(self, turn: Turn) -> tuple[Turn, Prompt]:
        """What asks a turn, and the turn with what it says. Raises UsageError for what cannot be asked."""
        options = self.options
        asked = options.replace(prompt=(), files=(), attachments=(), no_stdin=True, tool_results=turn.results)
        if turn.results:
            # What had to call a tool has called one.
            prompt = build(asked.replace(tool_choice=None), self.target, self.notes, turn.before)
            turn = turn.replace(said=tuple(prompt.messages[-len(turn.results) :]))
        else:
            if turn.before is not None and turn.before.pending:
                called = ", ".join(turn.before.pending.values())
                way = "/resume runs it, " if self.runner is not None and self.answer_id is not None else ""
                raise UsageError(
                    f"the model waits for a result of {called}: {way}/result TEXT gives it, /retry asks again"
                )
            # Its own message takes the place of what these words make, which may be none where a picture is all that is asked.
            prompt = build(asked.replace(prompt=[turn.text or "."]), self.target, self.notes, turn.before)
            turn = turn.replace(said=(turn.message,))
            prompt = prompt.replace(messages=[*prompt.messages[:-1], turn.message])
        if self.runner is not None:
            from unspool.cli.tools import sources

            prompt = sources.offered(prompt, self.runner.tools, self.target)
        try:
            build_body(self.target, prompt, self.target.api)
        except ValueError as error:
            raise UsageError(str(error)) from error
        return turn, prompt

    def begin(self, prompt: Prompt, turn: Turn) -> Exchange:
        """Begin the stream that asks a turn."""
        options = self.options
        exchange = Exchange(
            self.target,
            prompt,
            journal=Writer(None if options.no_log else streams_dir(), sync=self.settings.sync),
            retries=options.retries,
            parent=(turn.before.parent or None) if turn.before is not None else None,
            pid=os.getpid(),
            use_proxy=not options.sim,
            tool_sources=self.runner.sources if self.runner is not None else None,
        )
        self._call(exchange)
        return exchange

    def call(self, name: str) -> None:
        """Give the conversation this name. Raises `unspool.journal.names.Taken`, and ValueError for what cannot be a name."""
        kept = streams_dir()
        if self.name is not None and names.exists(kept, self.name):
            names.rename(kept, self.name, names.checked(name))
        elif names.exists(kept, names.checked(name)):
            raise names.Taken(f"another conversation is called {name}")
        elif self.id is not None:
            names.add(kept, name, self.id)
        self.name = name

    def _call(self, exchange: Exchange) -> None:
        # A question that is asked again takes the place of the one at which the conversation was.
        if self.name is not None:
            conversation.call(self.name, exchange, self.notes)

    def take(self, turn: Turn, answer: Answer, ending: Ending, *, is_rest: bool) -> None:
        """Take an answer into the conversation, or leave that as it was before."""
        self.turn, self.usage = turn, answer.usage
        if not turn.results:
            self.question = turn
        text, id = answer.text, kept_id(answer)
        if is_rest and text:
            # With all that it is the rest of, as it stands in the journals; where the disk took no more, as it was shown.
            text = continuation.text_of(summary.conversation(streams_dir(), id)) if id is not None else self.text + text
        self.text = text or self.text
        if text or not is_rest:
            self.answer_id = id
        self.answers += 1
        if answer.usage is not None:
            self.spent = (
                self.spent[0] + (answer.usage.input_tokens or 0),
                self.spent[1] + (answer.usage.output_tokens or 0),
            )
        else:
            self.unknown += 1
        if not _is_kept(answer, ending):
            return
        before = turn.before
        # Those that were asked with; what is to go with the next question waits for it.
        self.files = [one for one in self.files if one[1] not in turn.parts]
        is_stored = (
            endpoint(self.target.api).stores_responses and self.options.store and ending.outcome == outcome.COMPLETE
        )
        is_stored = is_stored and not is_rest
        said = turn_of(answer.choices[0])
        if is_rest:
            said[-1] = {**said[-1], "content": text}
        self.history = History(
            [
                *(before.messages if before is not None else ()),
                *(turn.said or (turn.message,)),
                *said,
            ],
            None,
            kept_id(answer) or (before.parent if before is not None else ""),
            None,
            answer.exchange.decoder.response_id if is_stored else None,
            before.tools if before is not None else (),
        )

    def sentence(self, answer: Answer, ending: Ending) -> str:
        """Say how an answer ended, and what that means for the conversation."""
        if ending.outcome == outcome.CANCELLED and ending.signal == signal.SIGINT and self.is_watched:
            if answer.text:
                return "stopped; what arrived stays in the conversation, and the next prompt continues from it"
            return "stopped before anything arrived; the conversation is unchanged"
        if ending.outcome == outcome.LENGTH:
            goes_on = "/resume continues it, and " if kept_id(answer) is not None else ""
            return f"stopped at the token limit ({ending.finish_reason}); {goes_on}/set max_tokens N allows more"
        has_rest = (
            self.is_watched and bool(answer.text) and ending.outcome in _RESUMABLE and kept_id(answer) is not None
        )
        words = outcome.sentence(ending, None if has_rest else kept_id(answer), advice(ending, answer.exchange.target))
        if _is_kept(answer, ending) or ending.outcome in (outcome.CANCELLED, outcome.CLOSED) or not self.is_watched:
            return words
        ways = "/resume gets the rest, and /retry asks again" if has_rest else "and /retry asks again"
        return f"{words or 'the answer is empty'}; the conversation is unchanged; {ways}"


class _Answers(ToolLoop):
    """The answers to a question of a chat: the first, and after it those to the results of its calls."""

    def __init__(self, session: Session, turn: Turn, *, is_rest: bool = False) -> None:
        super().__init__(
            session.runner,
            session.options,
            session.notes,
            session.view,
            lambda prompt, _: session.begin(prompt, self._turn),
        )
        self._session = session
        self._turn = turn
        self._is_rest = is_rest

    def _watching(self, display: Display) -> Interrupts:
        self._session.keyboard.quieten()
        return Interrupts(self._session.keyboard, display)

    def _take(self, answer: Answer, ending: Ending) -> None:
        self._session.take(self._turn, answer, ending, is_rest=self._is_rest)
        self._is_rest = False

    def _report(self, answer: Answer, ending: Ending, display: Display) -> None:
        words = self._session.sentence(answer, ending)
        name = "NAME " if len(answer.tool_calls) > 1 else ""
        hint = f"to continue: /result {name}TEXT"
        report(answer, ending, display, verbose=self._session.options.verbose, sentence=words, hint=hint)

    def _follow(
        self, prompt: Prompt, answer: Facts[object], calls: list[ToolCall], results: list[ToolResult]
    ) -> tuple[Prompt, Exchange]:
        given = tuple((one.call, one.content) for one in results)
        self._turn, prompt = self._session.prompt(Turn("", (), self._session.history, given))
        return prompt, self._session.begin(prompt, self._turn)

    def _hint(self, id: str) -> str:
        return "/resume continues"


def _is_kept(answer: Answer, ending: Ending) -> bool:
    return bool(answer.text or answer.tool_calls) and ending.outcome in _KEEPING


def _turn_of(content: object, before: History | None) -> Turn:
    """The question that a message's content asks."""
    parts = content if type(content) is list else []
    words = plain([part for part in parts if part.get("type") == "text"] if parts else content)
    return Turn(words, tuple(part for part in parts if part.get("type") != "text"), before)
