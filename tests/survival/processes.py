"""The command as processes that can be killed, one or many at once, and what they leave on the disk."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support.waiting import PATIENCE
from unspool.cli.formats import TextFormat, machine
from unspool.journal.reader import Reader
from unspool.journal.record import Record
from unspool.journal.replay import Replay
from unspool.sse import Event


def command() -> list[str]:
    given = os.environ.get("UNSPOOL_COMMAND")
    return shlex.split(given) if given else [sys.executable, "-m", "unspool"]


class Home:
    """A person's folders, and the command run in them. ``env`` is all of its environment."""

    def __init__(self, folder: Path, bytecode: Path) -> None:
        self.state = folder / "state"
        self.streams = self.state / "streams"
        self.config = folder / "config"
        self.env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(folder),
            "UNSPOOL_HOME": str(self.state),
            "UNSPOOL_CONFIG": str(self.config / "config.toml"),
            "XDG_CONFIG_HOME": str(self.config),
            "LANG": "C.UTF-8",
            # Compiling the package anew would take longer than anything else here.
            "PYTHONPYCACHEPREFIX": str(bytecode),
        }
        self.config.mkdir(parents=True, exist_ok=True)
        Path(self.env["UNSPOOL_CONFIG"]).touch()
        self._children: list[subprocess.Popen[bytes]] = []

    def start(self, *arguments: str, under: list[str] | None = None, **options: Any) -> subprocess.Popen[bytes]:
        """Start the command, ``under`` another one where that is given."""
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        prepare = options.pop("prepare", None)

        def before() -> None:
            # As in a shell, also when the tests themselves run in the background of one.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            if prepare is not None:
                prepare()

        child = subprocess.Popen(
            [*(under or ()), *command(), *arguments], env=self.env, preexec_fn=before, bufsize=0, **options
        )
        self._children.append(child)
        return child

    def __call__(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
        """Run the command to its end."""
        child = self.start(*arguments, **options)
        stdout, stderr = child.communicate(timeout=PATIENCE)
        return subprocess.CompletedProcess(child.args, child.returncode, stdout, stderr)

    def journals(self) -> list[Path]:
        """The files of all streams kept, oldest first."""
        return sorted(self.streams.glob("*.sse")) if self.streams.is_dir() else []

    def newest(self) -> Path:
        """The file of the newest stream."""
        return self.journals()[-1]

    def close(self) -> None:
        for child in self._children:
            if child.poll() is None:
                child.kill()
                child.wait()
            for pipe in (child.stdin, child.stdout, child.stderr):
                if pipe is not None:
                    pipe.close()


class Collected:
    """What a format writes, collected."""

    is_tty = False
    at_line_start = True

    def __init__(self) -> None:
        self.text = ""

    def safe(self, text: str) -> str:
        return text

    def write(self, text: str) -> None:
        self.text += text


class Kept:
    """What a journal holds: its records, what ``show`` prints of it in a format, and how its stream ended."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.id = path.stem
        with Reader(str(path)) as reader:
            self.records: list[Record] = reader.read()
            self.damage = reader.damage
        with Reader(str(path)) as reader:
            replay = Replay(reader)
            self._turns = list(replay.turns())
            self._rest = replay.close()
            self.request = replay.request
            self.ending = replay.ending

    def shown(self, form: str) -> str:
        """What has been shown of it, in a format: the end, which no stream has shown that was killed, is left out."""
        output = Collected()
        view = {"text": TextFormat, **machine.FORMATS}[form](output)  # type: ignore[arg-type, abstract]
        for deltas, events, at in self._turns:
            view.show(deltas, events, at)
        view.show(self._rest, [], 0.0)
        return output.text

    @property
    def text(self) -> str:
        return self.shown("text")

    @property
    def events(self) -> list[Event]:
        """The server's events."""
        return [event for _, events, _ in self._turns for event in events]

    @property
    def sequence(self) -> list[int]:
        """The numbers that a server of the Responses API gave its events."""
        numbers = [json.loads(one.data).get("sequence_number") for one in self.records if one.at is not None]
        return [number for number in numbers if number is not None]

    @property
    def end(self) -> dict[str, Any]:
        """Its last block's data."""
        return dict(json.loads(self.records[-1].data))


def simulator(home: Home, **pace: str) -> Iterator[str]:
    """A simulator in a process of its own; yields its base URL."""
    options = [word for name, value in pace.items() for word in (f"--{name}", value)]
    child = home.start("sim", *options, stderr=subprocess.DEVNULL)
    assert child.stdout is not None
    yield child.stdout.readline().decode().strip()
    child.terminate()
    child.wait()


def find_strace() -> str | None:
    """strace, where it is installed and may trace."""
    path = shutil.which("strace")
    if path is None:
        return None
    tried = subprocess.run([path, "-o", os.devnull, "true"], capture_output=True)
    return path if tried.returncode == 0 else None
