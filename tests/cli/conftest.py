"""The command as a process of its own: in a clean home, against servers that play what a test wrote."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import shlex
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from support.server import Answer, Server
from support.waiting import PATIENCE


def _command() -> list[str]:
    given = os.environ.get("UNSPOOL_COMMAND")
    return shlex.split(given) if given else [sys.executable, "-m", "unspool"]


_COLUMNS, _LINES = 100, 24


class Terminal:
    """A terminal after a command: its exit ``code``, the bytes of its ``output``, and the ``lines`` of the screen."""

    def __init__(self, code: int, output: bytes, echoes: bool) -> None:
        self.code = code
        self.output = output
        self.echoes = echoes

    @property
    def lines(self) -> list[str]:
        pyte = pytest.importorskip("pyte")
        screen = pyte.Screen(_COLUMNS, _LINES)
        pyte.ByteStream(screen).feed(self.output)
        # The cell beside a wide character is empty.
        return [line.rstrip() for line in screen.display]


class Unspool:
    """Runs the command. ``env`` is all of its environment; tests change it."""

    def __init__(self, home: Path, bytecode: Path) -> None:
        self.home = home
        self.streams = home / "state" / "streams"
        self.env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(home),
            "UNSPOOL_HOME": str(home / "state"),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_STATE_HOME": str(home / "xdg-state"),
            "LANG": "C.UTF-8",
            # Compiling the package anew would take longer than anything else here.
            "PYTHONPYCACHEPREFIX": str(bytecode),
        }
        self._children: list[subprocess.Popen[bytes]] = []

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start the command. Its standard descriptors are pipes, its stdin an empty file, unless ``options`` say otherwise."""
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        # Code between fork and exec can deadlock where servers run in threads: only where a test asks for it.
        prepare = options.pop("prepare", None)
        child = subprocess.Popen([*_command(), *arguments], env=self.env, preexec_fn=prepare, **options)
        self._children.append(child)
        return child

    def __call__(
        self, *arguments: str, input: bytes | None = None, **options: Any
    ) -> subprocess.CompletedProcess[bytes]:
        """Run the command to its end."""
        if input is not None:
            options["stdin"] = subprocess.PIPE
        child = self.start(*arguments, **options)
        stdout, stderr = child.communicate(input, timeout=PATIENCE)
        return subprocess.CompletedProcess(child.args, child.returncode, stdout, stderr)

    def on_terminal(self, *arguments: str, typed: Sequence[tuple[str, str]] = ()) -> Terminal:
        """Run the command to its end at a terminal of 100 columns. Of ``typed``, each text is typed once its cue is shown."""
        ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (_LINES, _COLUMNS))

        def own_the_terminal() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        child = self.start(*arguments, stdin=theirs, stdout=theirs, stderr=theirs, prepare=own_the_terminal)
        output = b""
        waiting = list(typed)
        deadline = time.monotonic() + PATIENCE
        while select.select([ours], [], [], 0.02)[0] or child.poll() is None or select.select([ours], [], [], 0)[0]:
            if select.select([ours], [], [], 0)[0]:
                output += os.read(ours, 1 << 16)
            while waiting and waiting[0][0].encode() in output:
                os.write(ours, waiting.pop(0)[1].encode())
            assert time.monotonic() < deadline, f"it does not end: {output[-3000:]!r}"
        echoes = bool(termios.tcgetattr(theirs)[3] & termios.ECHO)
        os.close(theirs)
        os.close(ours)
        return Terminal(child.returncode, output, echoes)

    def journals(self) -> list[Path]:
        """The files of all streams kept, oldest first."""
        kept = [*self.streams.glob("*.sse"), *self.streams.parent.glob("runs/*/streams/*.sse")]
        return sorted(kept, key=lambda path: path.name)

    def journal(self) -> str:
        """The content of the only journal."""
        (path,) = self.journals()
        return path.read_text("utf-8")

    def close(self) -> None:
        for child in self._children:
            if child.poll() is None:
                child.kill()
                child.wait()
            for pipe in (child.stdin, child.stdout, child.stderr):
                if pipe is not None:
                    pipe.close()


@pytest.fixture(scope="session")
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bytecode")


@pytest.fixture
def unspool(tmp_path: Path, bytecode: Path) -> Iterator[Unspool]:
    command = Unspool(tmp_path, bytecode)
    yield command
    command.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(*answers: Answer) -> Server:
        servers.append(Server(*answers))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
