"""The worker processes as the command sees them: each has the tools of one source, and runs calls."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time

from unspool.api.parts import ToolResult
from unspool.cli.options import UsageError
from unspool.cli.tools import LONGEST, MCP
from unspool.jsontext import clean, dumps, parse
from unspool.terminal.safety import one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.api.deltas import ToolCall
    from unspool.jsontext import JsonObject

# Seconds that a source may take to be loaded.
_PATIENCE = 30


def _command(source: str) -> list[str]:
    """The command line of a worker."""
    if getattr(sys, "frozen", False):  # there is no interpreter but in the program itself
        return [sys.executable, "--tool-worker", source]
    if not os.path.isfile(__file__):  # a module of a zip archive is found by the archive alone
        return [sys.executable, sys.argv[0], "--tool-worker", source]
    return [sys.executable, "-m", "unspool.cli.tools.worker", source]


class Worker:
    """A process with the tools of a source. ``out`` and ``err`` are its pipes, those ``open`` have more to read.

    What it says is read only while somebody waits for it: it may be much.
    """

    def __init__(self, source: str) -> None:
        # A session of its own: Ctrl-C is ours to handle, and what a tool starts ends with it.
        self._child = subprocess.Popen(
            _command(source),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        assert self._child.stderr is not None
        # Open as long as the worker: its end says that we have died.
        self._in = self._child.stdin
        self.out, self.err = self._child.stdout.fileno(), self._child.stderr.fileno()
        self.open = {self.out, self.err}
        self._ends_itself = source.startswith(MCP)
        self._output = self._errors = b""
        #: The tools of the source, None until they are known.
        self.tools: list[JsonObject] | None = None
        self._answers: dict[str, JsonObject] = {}
        self._is_ending = False

    @property
    def is_alive(self) -> bool:
        """Whether it can take a call."""
        return self.out in self.open and not self._is_ending and self._child.poll() is None

    def load(self, place: str) -> list[JsonObject]:
        """Wait for the tools. Raises UsageError, which names the place, where there are none."""
        deadline = time.monotonic() + _PATIENCE
        with selectors.DefaultSelector() as waiting:
            for pipe in self.open:
                waiting.register(pipe, selectors.EVENT_READ)
            while self.tools is None and self.open and (left := deadline - time.monotonic()) > 0:
                for key, _ in waiting.select(left):
                    if not self.read(key.fd):
                        waiting.unregister(key.fd)
        if self.tools is None:
            self.close()
            if self.open:
                raise UsageError(f"{place}: its tools could not be loaded within {_PATIENCE} s")
            raise UsageError(f"{place}: {one_line(self.last_words)}")
        return self.tools

    def begin(self, call: ToolCall, name: str) -> None:
        """Run a call of the tool with this name."""
        asked = dumps({"id": call.id, "name": name, "arguments": call.arguments})
        with contextlib.suppress(BrokenPipeError):  # it died already, and says why on its standard error
            self._in.write(asked.encode("utf-8", "replace") + b"\n")
            self._in.flush()

    def read(self, fd: int) -> bool:
        """Take what a pipe has; False when it has ended."""
        data = os.read(fd, 1 << 16)
        if not data:
            self.open.discard(fd)
        elif fd == self.err:
            self._errors = (self._errors + data)[-LONGEST:]
        else:
            *lines, self._output = (self._output + data).split(b"\n")
            for line in lines:
                self._take(parse(line.decode("utf-8", "replace")))
            if len(self._output) > 16 * LONGEST:
                self.open.discard(fd)  # no result is as long as that
        return fd in self.open

    def _take(self, said: object) -> None:
        if self.tools is None:
            self.tools = clean(said) if isinstance(said, list) else []
        elif isinstance(said, dict) and isinstance(said.get("content"), str):
            self._answers[str(said.get("id"))] = said
            self._is_ending = said.get("last") is True

    def result(self, call: ToolCall) -> ToolResult | None:
        """What the model gets for a call, None while there is nothing."""
        said = self._answers.pop(call.id, None)
        if said is not None:
            return ToolResult(call.id, call.name, said["content"][:LONGEST], said.get("failed") is True)
        if self.out in self.open:
            return None
        os.set_blocking(self.err, False)
        with contextlib.suppress(BlockingIOError):  # what it has started may have the pipe too
            while self.err in self.open:
                self.read(self.err)
        return ToolResult(call.id, call.name, f"the tool ended: {self.last_words}", True)

    @property
    def last_words(self) -> str:
        """The last line on standard error."""
        lines = self._errors.decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else "without a word"

    def close(self) -> None:
        """End it, and what it has started. A server gets some time to end, for which nobody waits."""
        if not self._ends_itself and self._child.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()
        for pipe in (self._in, self._child.stdout, self._child.stderr):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        self.open.clear()
