"""The commands that the documentation shows: the real parser takes them, and they run against the simulator."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from unspool.cli import COMMANDS
from unspool.cli.commands import ask
from unspool.cli.options import scan
from unspool.server.running import Simulator

DOCS = Path(__file__).parent.parent.parent / "docs"
PAGES = ("coming-from.md", "prompting.md")
# The id that the documentation goes on with.
ID = "01M82MM7NC5GYA5PV07H7F3K9Q"


def commands(page: str) -> list[str]:
    """The command lines of a page: of its consoles, and of the right-hand sides of its tables."""
    path = DOCS / page
    if not path.exists():
        return []
    text = path.read_text("utf-8")
    found = re.findall(r"^\$ (.*unspool .*)$", text, re.MULTILINE)
    for row in re.findall(r"^\| `.*$", text, re.MULTILINE):
        cell = re.split(r"(?<!\\)\|", row)[2]
        found += [code.replace("\\|", "|") for code in re.findall(r"`([^`]*)`", cell) if "unspool " in code]
    return list(dict.fromkeys(found))


ALL = [command for page in PAGES for command in commands(page)]


@pytest.mark.skipif(not DOCS.exists(), reason="the documentation is not beside the tests")
def test_the_pages_show_commands():
    assert all(len(commands(page)) > 10 for page in PAGES)


@pytest.mark.parametrize("command", ALL)
def test_every_documented_question_is_read_without_argparse(command):
    words = shlex.split(command[command.index("unspool ") :])[1:]
    if words[0] not in COMMANDS:
        assert scan(ask.OPTIONS, words, "prompt") is not None


@pytest.fixture(scope="module")
def place(tmp_path_factory, request):
    """A folder with the files that the commands name, a home with a conversation in it, and a shell that finds unspool."""
    folder = tmp_path_factory.mktemp("documented")
    for name in ("photo", "photo.jpg"):
        (folder / name).write_bytes(b"\xff\xd8\xff\xe0")
    for name in ("notes.txt", "main.py"):
        (folder / name).write_text("notes\n")
    (folder / "person.json").write_text('{"type": "object"}')
    (folder / "weather.json").write_text('{"name": "weather", "parameters": {"type": "object"}}')
    programs = folder / "bin"
    programs.mkdir()
    for name, line in (
        ("unspool", f'exec {shlex.quote(sys.executable)} -m unspool "$@"'),
        ("curl", "echo fetched"),
        ("git", "echo changed"),
    ):
        (programs / name).write_text(f"#!/bin/sh\n{line}\n")
        (programs / name).chmod(0o700)
    with Simulator() as simulator:
        environ = {name: value for name, value in os.environ.items() if name in ("VIRTUAL_ENV", "PYTHONPATH", "LANG")}
        environ |= {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "HOME": str(folder),
            "OPENAI_BASE_URL": simulator.url,
            "OPENAI_API_KEY": "sk-0123456789",
            "EDITOR": "true",
        }

        def run(command: str) -> subprocess.CompletedProcess[str]:
            given = "sk-1" if " keys " in command else ""
            return subprocess.run(
                ["sh", "-c", command], cwd=folder, env=environ, input=given, capture_output=True, text=True
            )

        for line in ("unspool -s 'You write shell' --save shell", "unspool 'In $lang: $input' --save sum"):
            assert run(line).returncode == 0
        assert run("unspool 'To $lang: $input' --save translate").returncode == 0
        assert run("unspool -o seed 1 --api chat 'Tell me of the sky in 9 tokens'").returncode == 0
        streams = folder / ".local" / "state" / "unspool" / "streams"
        (kept,) = streams.glob("*.sse")

        def begin_anew() -> None:
            for path in streams.glob("*.sse"):
                if path != kept:
                    path.unlink()
            (streams / f"{ID}.sse").write_bytes(kept.read_bytes())

        yield run, begin_anew


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the commands are a Unix shell's")
@pytest.mark.parametrize("command", ALL)
def test_every_documented_command_works(place, command):
    run, begin_anew = place
    begin_anew()
    if "--tool-result" in command:
        pytest.skip("the simulator calls no tools; test_tools closes the loop")
    if " -P " in command:
        command += " --dry-run"  # that server is not here
    done = run(command)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
