"""The loop of ``--functions`` and ``-T``: an answer, the calls that it makes, their results, and the next answer."""

from __future__ import annotations

from unspool.api.deltas import ToolCall
from unspool.api.prompt import Prompt
from unspool.cli.display import Display
from unspool.cli.formats.wrapper import Wrapper
from unspool.cli.signals import Signals
from unspool.cli.streaming import report, shows_reasoning, stream, wanted_stats
from unspool.client.answer import Answer
from unspool.client.facts import Messages
from unspool.client.http.transport import Reactor
from unspool.journal import ulid
from unspool.jsontext import dumps
from unspool.outcome import CANCELLED, COMPLETE, ERROR, Ending
from unspool.shape import describe_ending

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from unspool.api.deltas import Delta
    from unspool.api.parts import ToolResult
    from unspool.cli.formats import Format, View
    from unspool.cli.options.ask import AskOptions
    from unspool.cli.options.kept import ResumeOptions
    from unspool.cli.tools.running import Runner
    from unspool.client.exchange import Exchange
    from unspool.client.facts import Facts
    from unspool.journal.summary import Summary
    from unspool.journal.toolruns import ToolRun
    from unspool.sse import Event
    from unspool.terminal.output import Notes, Output

    #: Begins the stream that asks a prompt, whose parent is the stream with this id.
    Begin = Callable[[Prompt, str | None], Exchange]

# Fields of a request body that carry the conversation; all others go with the next request too.
_CONVERSATION = ("messages", "input", "instructions", "prompt", "model", "stream")


class ToolLoop:
    """Asks, runs the calls of the answer, and asks on with their results, until an answer has none.

    Without a ``runner`` nothing is run, and the first answer is the last. A subclass says what its command does differently.
    """

    def __init__(
        self,
        runner: Runner | None,
        options: AskOptions | ResumeOptions,
        notes: Notes,
        view: View,
        begin: Begin,
        *,
        detached: bool = False,
    ) -> None:
        self._runner = runner
        self._options = options
        self._notes = notes
        self._begin = begin
        self._detached = detached
        self._view = view
        self._answers = 0
        #: What shows the newest answer.
        self.display: Display

    def ask(self, prompt: Prompt, parent: str | None) -> int:
        """Ask a prompt, and return the exit code of the loop."""
        return self.continue_with(prompt, self._begin(prompt, parent)).exit_code

    def continue_with(
        self, prompt: Prompt, exchange: Exchange, show_kept: Callable[[Display], None] | None = None
    ) -> Ending:
        """Show the answer of an exchange, and continue the loop after it. Returns how the loop ended."""
        options = self._options
        while True:
            self._answers += 1
            turn = _TurnView(self._view, options.format, may_continue=self._answers <= options.chain_limit)
            display = self.display = Display(self._notes, turn, shows_reasoning=shows_reasoning(options, self._notes))
            with self._watching(display) as signals:
                with Answer(
                    exchange, options.limits(exchange.target), reactor=Reactor(may_fork=self._runner is not None)
                ) as answer:
                    if show_kept is not None:
                        show_kept(display)
                        show_kept = None
                    ending = stream(answer, display, signals, wanted_stats(options), needs_journal=self._detached)
                    calls = turn.calls if self._runner is not None and ending.outcome == COMPLETE else []
                    self._take(answer, ending)
                    if not calls or self._answers > options.chain_limit:
                        self._report(answer, ending, display)
                        return self._limit(ending, display) if calls else ending
                journal = exchange.journal
                path = journal.path if journal is not None else None
                outcome = self._run(calls, {}, path, answer.id, display, signals)
            if isinstance(outcome, Ending):
                return outcome
            prompt, exchange = self._follow(prompt, answer, calls, outcome)

    def continue_after(self, one: Summary) -> Ending:
        """Run the unfinished calls of a saved answer, and continue the loop. Returns how the loop ended."""
        from unspool.client.library.following import Following

        self._answers += 1
        with Following(one.path, check=False) as answer:
            answer.read()
        calls = [call for call in answer.tool_calls if call.choice == 0]
        display = self.display = Display(self._notes, _TurnView(self._view, self._options.format, may_continue=True))
        with self._watching(display) as signals:
            outcome = self._run(calls, one.tool_runs, one.path, one.id, display, signals)
        if isinstance(outcome, Ending):
            return outcome
        return self.continue_with(*self._follow(prompt_of(one, Messages()), answer, calls, outcome))

    def _watching(self, display: Display) -> Signals:
        """What notes the signals of an answer and of the calls after it."""
        return Signals(display)

    def _take(self, answer: Answer, ending: Ending) -> None:
        """Take an answer that has ended."""

    def _report(self, answer: Answer, ending: Ending, display: Display) -> None:
        """Say how the last answer ended."""
        report(answer, ending, display, verbose=self._options.verbose)

    def _follow(
        self, prompt: Prompt, answer: Facts[object], calls: list[ToolCall], results: list[ToolResult]
    ) -> tuple[Prompt, Exchange]:
        """Begin what follows an answer whose calls have these results."""
        messages = replied(answer, calls, results)
        prompt = _next(prompt, messages, len(calls), answer.response_id)
        return prompt, self._begin(prompt, messages.parent)

    def _hint(self, id: str) -> str:
        """How what was cancelled continues."""
        return f"unspool resume {ulid.short(id)} continues"

    def _run(
        self,
        calls: list[ToolCall],
        known: dict[str, ToolRun],
        path: str | None,
        id: str | None,
        display: Display,
        signals: Signals,
    ) -> list[ToolResult] | Ending:
        """The results of calls, or how the loop ends where there are none."""
        from unspool.cli.tools.running import Interrupted
        from unspool.journal.toolruns import ToolLog

        assert self._runner is not None
        try:
            with ToolLog(path) as log:
                return self._runner.run(calls, known, log, display, signals)
        except Interrupted as error:
            if signals.number:
                ending = Ending(CANCELLED, signal=signals.number)
                hint = f"; {self._hint(id)}" if id is not None and path is not None else ""
                display.note(f"cancelled while tools ran{hint}", always=True)
            else:
                ending = Ending(ERROR, str(error))
                display.note(ending.message, always=True)
            display.close(ending, id)
            return ending

    def _limit(self, ending: Ending, display: Display) -> Ending:
        limit = self._options.chain_limit
        message = f"the model still calls tools after {limit} rounds of calls; --cl N allows more"
        display.note(message, always=True)
        return Ending(ERROR, message, ending.finish_reason)


def replied(answer: Facts[object], calls: list[ToolCall], results: list[ToolResult]) -> Messages:
    """What is asked after an answer whose calls have these results, in the same order."""
    return answer.reply(*(call.result(one.content) for call, one in zip(calls, results, strict=True)))


def prompt_of(one: Summary, messages: Messages) -> Prompt:
    """The prompt with which a kept conversation continues: what its last request asked for besides the conversation."""
    options = {name: value for name, value in one.body.items() if name not in _CONVERSATION}
    return Prompt(list(messages), one.model, stream=bool(one.body.get("stream")), options=options)


def _next(prompt: Prompt, messages: Messages, results: int, response_id: str | None) -> Prompt:
    """The prompt after an answer, whose ``results`` are the last messages.

    What had to call a tool has called one: the next answer need not. Where the server keeps the conversation, it gets the results alone.
    """
    options = {name: value for name, value in prompt.options.items() if name != "tool_choice"}
    said = list(messages)
    if "previous_response_id" in options:
        options["previous_response_id"] = response_id
        said = said[-results:]
    return prompt.replace(messages=said, system=messages.system, tool_choice=None, options=options)


class _TurnView:
    """Makes the format of one answer of a loop, and knows the ``calls`` of that answer."""

    def __init__(self, view: View, form: str, *, may_continue: bool) -> None:
        self._view = view
        self._form = form
        self._may_continue = may_continue
        self.calls: list[ToolCall] = []

    def __call__(self, output: Output) -> Format:
        return _Turn(self._view(output), output, self._form, self.calls, may_continue=self._may_continue)


class _Turn(Wrapper):
    """The format of an answer that others may follow: its end is not the end of the output."""

    def __init__(self, inner: Format, output: Output, form: str, calls: list[ToolCall], *, may_continue: bool) -> None:
        super().__init__(inner)
        self._output = output
        self._form = form
        self._calls = calls
        self._may_continue = may_continue

    def show(self, deltas: list[Delta], events: Iterable[Event], at: float) -> None:
        """Show what arrived, and keep the calls."""
        self._calls += [one for one in deltas if type(one) is ToolCall and one.choice == 0]
        super().show(deltas, events, at)

    def close(self, ending: Ending, id: str | None) -> None:
        """Show what was held back; what ends the output only where no other answer follows."""
        if not (self._may_continue and self._calls and ending.outcome == COMPLETE):
            super().close(ending, id)
        elif self._form == "stream-json":
            self._output.write(self._output.safe(dumps({"type": "turn", "id": id, **describe_ending(ending)}) + "\n"))
        elif self._form == "text":
            super().flush()
            if not self._output.at_line_start:
                self._output.write("\n")
