"""The command as a process of its own: in a clean home, against servers that play what a test wrote."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .playing import PATIENCE, Answer, Server


def _command() -> list[str]:
    given = os.environ.get("UNSPOOL_COMMAND")
    return shlex.split(given) if given else [sys.executable, "-m", "unspool"]


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
        # SIGINT reaches the command as it would in a shell, also when the tests themselves run in the background.
        prepare = options.pop("prepare", lambda: None)

        def before() -> None:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            prepare()

        child = subprocess.Popen([*_command(), *arguments], env=self.env, preexec_fn=before, **options)
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

    def journals(self) -> list[Path]:
        """The files of all streams kept, oldest first."""
        return sorted(self.streams.glob("*.sse")) if self.streams.is_dir() else []

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
