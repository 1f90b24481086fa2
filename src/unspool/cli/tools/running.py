"""Running the tools that an answer calls: each call in a process of its own, all at the same time, none for too long."""

from __future__ import annotations

import contextlib
import os
import select
import selectors
import signal
import subprocess
import time

from unspool.api.parts import ToolResult
from unspool.cli.tools import sources
from unspool.client.library.converse import INTERRUPTED_CALL, begun, done
from unspool.jsontext import dumps, parse
from unspool.terminal.safety import one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from unspool.api.deltas import ToolCall
    from unspool.cli.display import Display
    from unspool.cli.options.shared import ToolRunOptions
    from unspool.cli.signals import Signals
    from unspool.cli.tools.sources import RunnableTool
    from unspool.journal.toolruns import ToolLog, ToolRun

# Characters of a call and of a result that are shown.
_SHOWN = 300
# Bytes of a result that are read: more is no use to a model.
_LONGEST = 1 << 20
REFUSED = "the user does not allow this call"


class Interrupted(Exception):
    """A signal came, or somebody has to decide who is not there; the message says what, "" for a signal."""


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
        return list(dict.fromkeys(tool.source for tool in self.tools.values()))

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
            display.note(f"the model calls {shown}, and there is no such tool")
            return f"there is no tool called {call.name}; there are {', '.join(self.tools)}"
        is_allowed = not self._asks_each and (tool.allowed or not self._allowed.isdisjoint((call.name, "all")))
        if had_begun:
            question = f"{shown} had begun when the command died, and may have had an effect; run it again?"
        elif is_allowed:
            display.note(f"calling {shown}")
            return ""
        else:
            question = f"the model calls {shown}; run it?"
        with self._asking():
            answer = _ask(question, display, signals)
        if answer is None and had_begun:
            raise Interrupted(f"{shown} had begun when the command died: unspool resume at a terminal asks what to do")
        if answer is None:
            display.note(
                f"{name} was not run, since nobody is there to allow it: --tools-allow {name} does", always=True
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
            running = [_Process(call, self.tools[call.name], self._timeout) for call in calls]
            try:
                for one in running:
                    for pipe in (one.out, one.err):
                        waiting.register(pipe, selectors.EVENT_READ, one)
                left = set(running)
                while left and not signals.number:
                    until = min(one.deadline for one in left) - time.monotonic()
                    for key, _ in waiting.select(max(0.0, until)):
                        if key.data is None:
                            # A signal, or something was typed, which watching takes in.
                            signals.has_resumed()
                            is_over = key.fd not in signals.watched()
                        else:
                            is_over = not key.data.read(key.fd)
                        if is_over:
                            waiting.unregister(key.fd)
                    for one in [one for one in left if one.is_over()]:
                        left.discard(one)
                        for fd in one.open & {key.fd for key in waiting.get_map().values()}:
                            waiting.unregister(fd)
                        yield one.result()
            finally:
                for one in running:
                    one.kill()

    def _show(self, result: ToolResult, display: Display) -> None:
        word = "failed with" if result.failed else "returned"
        text = result.content if self._shows_all else one_line(result.content)
        if self._shows_all:
            for line in f"{result.name} {word}:\n{text}".splitlines():
                display.note(one_line(line))
        else:
            display.note(f"{result.name} {word} {text[:_SHOWN]}{'…' if len(text) > _SHOWN else ''}")
        display.show([result], [], 0.0)


class _Process:
    """One call in its process. ``out`` and ``err`` are its pipes, those ``open`` have more to read."""

    def __init__(self, call: ToolCall, tool: RunnableTool, timeout: float) -> None:
        self._call = call
        self._timeout = timeout
        # A session of its own: Ctrl-C is ours to handle, and what the tool starts ends with it.
        self._child = subprocess.Popen(
            sources.command("call", tool.source, call.name),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.deadline = time.monotonic() + timeout
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        assert self._child.stderr is not None
        self.out, self.err = self._child.stdout.fileno(), self._child.stderr.fileno()
        self.open = {self.out, self.err}
        self._output = {self.out: b"", self.err: b""}
        try:
            # Not closed before the call is over: its end tells the process that we have died.
            self._child.stdin.write(dumps(call.arguments).encode("utf-8", "replace") + b"\n")
            self._child.stdin.flush()
        except BrokenPipeError:
            pass  # it died already, and says why on its standard error

    def read(self, fd: int) -> bool:
        """Take what a pipe has; False when it has ended."""
        data = os.read(fd, 1 << 16)
        if not data:
            self.open.discard(fd)
            return False
        self._output[fd] = (self._output[fd] + data)[-_LONGEST:] if fd == self.err else self._output[fd] + data
        return True

    def is_over(self) -> bool:
        """Whether it has ended, or has taken too long or said too much."""
        return (
            self.out not in self.open
            or (self._child.poll() is not None and not self.open)
            or time.monotonic() >= self.deadline
            or len(self._output[self.out]) > 2 * _LONGEST
        )  # fmt: skip

    def result(self) -> ToolResult:
        """What the model gets."""
        call, output = self._call, self._output[self.out]
        said = parse(output.decode("utf-8", "replace")) if output.endswith(b"\n") else None
        if isinstance(said, dict) and isinstance(said.get("content"), str):
            return ToolResult(call.id, call.name, said["content"][:_LONGEST], said.get("failed") is True)
        if time.monotonic() >= self.deadline:
            return ToolResult(call.id, call.name, f"the tool did not end within {self._timeout:g} s", True)
        lines = self._output[self.err].decode("utf-8", "replace").strip().splitlines() or ["without a word"]
        return ToolResult(call.id, call.name, f"the tool ended: {lines[-1]}", True)

    def kill(self) -> None:
        """End it, and what it has started."""
        try:
            os.killpg(self._child.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout, self._child.stderr):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


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
