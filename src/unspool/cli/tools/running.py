"""Running the tools that an answer calls: each call in a process of its own, all at the same time, none for too long."""

from __future__ import annotations

import contextlib
import os
import select
import selectors
import time
from dataclasses import dataclass

from unspool.api.parts import ToolResult
from unspool.client.tools import INTERRUPTED_CALL
from unspool.journal.toolruns import begun, done
from unspool.terminal.safety import one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from unspool.api.deltas import ToolCall
    from unspool.cli.display import Display
    from unspool.cli.options.shared import ToolRunOptions
    from unspool.cli.signals import Signals
    from unspool.cli.tools.processes import Worker
    from unspool.cli.tools.sources import RunnableTool, Source
    from unspool.journal.toolruns import ToolLog, ToolRun

# Characters of a call and of a result that are shown.
_SHOWN = 300
REFUSED = "the user does not allow this call"


class Interrupted(Exception):
    """A signal came, or somebody has to decide who is not there; the message says what, "" for a signal."""


@dataclass(slots=True)
class _Running:
    """A call that a worker runs."""

    call: ToolCall
    source: Source
    worker: Worker


class Runner:
    """Runs calls after asking for those that nothing allows.

    A call is shown, asked for where that is needed, kept in the log, run, and kept again with its result. ``asking`` holds the terminal
    in its usual mode for a question.
    """

    def __init__(
        self,
        tools: dict[str, RunnableTool],
        options: ToolRunOptions,
        asking: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext,
    ) -> None:
        self.tools = tools
        self._asking = asking
        self._asks_each = options.tools_approve
        self._shows_all = options.tools_debug
        self._allowed = {one for names in options.tools_allow for one in names.split(",")}
        self._timeout = options.tool_timeout

    @property
    def sources(self) -> list[str]:
        """Where the tools come from, as a journal names it."""
        return list(dict.fromkeys(tool.source.name for tool in self.tools.values()))

    def run(
        self, calls: list[ToolCall], known: dict[str, ToolRun], log: ToolLog, display: Display, signals: Signals
    ) -> list[ToolResult]:
        """Return the results of calls, in their order; of those that are ``known`` to have one without running them. Raises Interrupted."""
        results: dict[str, ToolResult] = {}
        wanted: list[ToolCall] = []
        for call in calls:
            run = known.get(call.id)
            if run is not None and run.result is not None:
                results[call.id] = ToolResult(call.id, call.name, run.result, run.failed)
                continue
            refusal = self._refusal(call, display, signals, had_begun=run is not None)
            if refusal:
                results[call.id] = ToolResult(call.id, call.name, refusal, True)
                log.put(done([results[call.id]]))
            else:
                wanted.append(call)
        log.put(begun(wanted))
        if log.trouble:
            display.note(log.trouble, always=True)
        for result in self._results(wanted, signals):
            log.put(done([result]))
            results[result.call] = result
        if signals.number:
            raise Interrupted
        for call in calls:
            self._show(results[call.id], display)
        return [results[call.id] for call in calls]

    def _refusal(self, call: ToolCall, display: Display, signals: Signals, *, had_begun: bool) -> str:
        """What the model gets where a call is not run, "" where it is. Raises Interrupted."""
        tool = self.tools.get(call.name)
        name = one_line(call.name)
        shown = f"{name}({one_line(call.arguments)[:_SHOWN]})"
        if tool is None:
            display.note(f"the model calls {shown}, an unknown tool")
            return f"there is no tool called {call.name}; there are {', '.join(self.tools)}"
        is_allowed = not self._asks_each and (tool.allowed or not self._allowed.isdisjoint((call.name, "all")))
        if had_begun:
            question = f"{shown} had started when the command died and may have had an effect; run it again?"
        elif is_allowed:
            display.note(f"calling {shown}")
            return ""
        else:
            question = f"the model calls {shown}; run it?"
        with self._asking():
            answer = _ask(question, display, signals)
        if answer is None and had_begun:
            raise Interrupted(
                f"{shown} had started when the command died; run unspool resume on a terminal to decide what to do"
            )
        if answer is None:
            display.note(
                f"{name} was not run, because there is no terminal to ask on; to allow it: --tools-allow {name}",
                always=True,
            )
            return REFUSED
        if answer == "always":
            self._allowed.add(call.name)
        if answer:
            return ""
        return INTERRUPTED_CALL if had_begun else REFUSED

    def _results(self, calls: list[ToolCall], signals: Signals) -> Iterable[ToolResult]:
        """Run calls at the same time, and yield each result when it is there. Ends early when a signal comes."""
        with selectors.DefaultSelector() as waiting:
            for fd in signals.watched():
                waiting.register(fd, selectors.EVENT_READ)
            running: list[_Running] = []
            left: list[_Running] = []
            try:
                for call in calls:
                    tool = self.tools[call.name]
                    one = _Running(call, tool.source, tool.source.take())
                    if not any(one.worker is other.worker for other in running):
                        for pipe in one.worker.open:
                            waiting.register(pipe, selectors.EVENT_READ, one.worker)
                    running.append(one)
                    one.worker.begin(call, tool.called)
                left = [*running]
                deadline = time.monotonic() + self._timeout
                while left and not signals.number:
                    for key, _ in waiting.select(max(0.0, deadline - time.monotonic())):
                        if key.data is None:
                            # A signal, or something was typed, which watching takes in.
                            signals.has_resumed()
                            is_over = key.fd not in signals.watched()
                        else:
                            is_over = not key.data.read(key.fd)
                        if is_over:
                            waiting.unregister(key.fd)
                    for one in [*left]:
                        if (result := one.worker.result(one.call)) is not None:
                            left.remove(one)
                            yield result
                    if time.monotonic() >= deadline:
                        break
                if not signals.number:
                    late = f"the tool did not end within {self._timeout:g} s"
                    yield from [ToolResult(one.call.id, one.call.name, late, True) for one in left]
            finally:
                for one in left:
                    one.source.drop(one.worker)
                for one in running:
                    if one.source.worker is not one.worker:
                        one.worker.close()

    def _show(self, result: ToolResult, display: Display) -> None:
        word = "failed with" if result.failed else "returned"
        text = result.content if self._shows_all else one_line(result.content)
        if self._shows_all:
            for line in f"{result.name} {word}:\n{text}".splitlines():
                display.note(one_line(line))
        else:
            display.note(f"{result.name} {word} {text[:_SHOWN]}{'…' if len(text) > _SHOWN else ''}")
        display.show([result], [], 0.0)


def _ask(question: str, display: Display, signals: Signals) -> str | None:
    """Ask the person at the terminal: "yes", "always", or "" for no; None where nobody is there. Raises Interrupted for a signal."""
    if not display.notes.is_tty:
        return None
    try:
        tty = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return None
    display.clear()
    try:
        while True:
            os.write(tty, f"unspool: {question} [y]es, [a]lways, [n]o: ".encode("utf-8", "replace"))
            select.select([tty, *signals.watched()], [], [])
            if signals.number:
                os.write(tty, b"\n")
                raise Interrupted
            if signals.has_resumed():
                continue
            answer = os.read(tty, 1024).decode("utf-8", "replace").strip().lower()
            return "always" if answer in ("a", "always") else "yes" if answer in ("y", "yes") else ""
    except OSError:  # the terminal has gone
        return None
    finally:
        os.close(tty)
