"""A home in which the documentation's commands find what they name, and a server that answers them."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

from unspool.sim.running import Simulator

# The id that the documentation goes on with, of an answer that is kept, and that of one that was cut.
ID = "01M82MM7NC5GYA5PV07H7F3K9Q"
_PATIENCE = 60
_WAV = b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x40\x1f\0\0\1\0\x08\0data\0\0\0\0"
_FILES = {
    "photo": b"\xff\xd8\xff\xe0",
    "photo.jpg": b"\xff\xd8\xff\xe0",
    "logo.png": b"\x89PNG\r\n\x1a\n",
    "scan": b"%PDF-1.4\n",
    "talk.wav": _WAV,
    "notes.txt": b"We decided to ship on Friday.\n",
    "prompt.txt": b"What is Python?\n",
    "questions.txt": b"What is Python?\n",
    "main.py": b"print()\n",
    "person.json": b'{"type": "object", "properties": {"name": {"type": "string"}}}',
    "tools.py": b"def weather(city: str) -> str:\n    return 'rain'\n",
    "weather.json": b'{"name": "weather", "description": "The weather in a city",\n'
    b' "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}\n',
    "words.jsonl": b'{"prompt": "sky"}\n{"prompt": "tree", "params": {"lang": "Italian"}}\n'
    b'{"template": "shell", "prompt": "List the files here"}\n',
    "prompts.jsonl": b'{"prompt": "What is Python?"}\n{"prompt": "What is Rust?", "custom_id": "rust", "max_tokens": 100}\n',
}
_PROGRAMS = {
    "git": "echo changed",
    "less": 'exec cat "$@"',
    "pass": "echo sk-0123456789",
    "xdg-open": ":",
    # What the pages fetch from elsewhere.
    "curl": f'case "$*" in *https://*) echo fetched;; *) PATH={os.environ.get("PATH", os.defpath)} exec curl "$@";; esac',
}
_SERVERS = ("ollama", "groq", "vllm", "mistral", "openrouter")
_ELSEWHERE = ("http://127.0.0.1:8000/v1", "https://llm.example.com/v1", "https://api.example.com/v1")
_ENDED = "\x1e"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Ran:
    """What came of a command."""

    def __init__(self, code: int, output: str) -> None:
        self.code = code
        self.output = output


class Stage:
    """A clean home, and in it a folder to work in. ``environ`` is all of the environment."""

    def __init__(self, home: Path, simulator: Simulator) -> None:
        self.folder = home / "here"
        self.folder.mkdir(parents=True)
        self.simulator = simulator
        self.ports = {port: str(free_port()) for port in ("8080", "8001", "8090")}
        programs = home / "bin"
        programs.mkdir()
        given = os.environ.get("UNSPOOL_COMMAND") or f"{shlex.quote(sys.executable)} -m unspool"
        python = f'exec {shlex.quote(sys.executable)} "$@"'
        missing = {} if shutil.which("jq") else {"jq": "exec cat"}
        for name, line in {
            **_PROGRAMS,
            **missing,
            "unspool": f'exec {given} "$@"',
            "python": python,
            "python3": python,
        }.items():
            (programs / name).write_text(f"#!/bin/sh\n{line}\n")
            (programs / name).chmod(0o700)
        for name, content in _FILES.items():
            (self.folder / name).write_bytes(content)
        kept = {name: os.environ[name] for name in ("VIRTUAL_ENV", "PYTHONPATH") if name in os.environ}
        self.environ = {
            **kept,
            "PATH": f"{programs}:{os.environ.get('PATH', os.defpath)}",
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "OPENAI_BASE_URL": simulator.url,
            "OPENAI_API_KEY": "sk-0123456789",
            "EDITOR": "true",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self._keep_answers(home)
        (home / ".config" / "fish" / "completions").mkdir(parents=True)
        settings = home / ".config" / "unspool"
        (settings / "config.toml").write_text(
            "".join(
                f'[profiles.{name}]\nextends = "{name}"\nbase_url = "{simulator.url}"\nneeds_key = false\n'
                for name in _SERVERS
            )
        )

    def forget_configuration(self) -> None:
        """Let the home be one in which nothing has been configured."""
        (self.folder.parent / ".config" / "unspool" / "config.toml").unlink()

    def run(self, lines: list[str]) -> list[Ran]:
        """Run the command lines in one shell, and return what each came to."""
        script = "\n".join(f"{self._here(line)}\nprintf '{_ENDED}%d\\n' $?" for line in lines)
        child = subprocess.Popen(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        assert child.stdout is not None
        found: list[Ran] = []
        collected: list[str] = []
        given_up = threading.Timer(_PATIENCE, self._kill, [child.pid])
        given_up.start()
        try:
            # Not to the end of the output: what runs in the background holds it open.
            while len(found) < len(lines) and (line := child.stdout.readline()):
                before, mark, code = line.partition(_ENDED)
                collected.append(before)
                if mark:
                    found.append(Ran(int(code), self._as_shown("".join(collected))))
                    collected = []
        finally:
            given_up.cancel()
            self._kill(child.pid)
            child.stdout.close()
            child.wait()
        assert len(found) == len(lines), "".join(collected)
        return found

    @staticmethod
    def _kill(group: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)

    def _here(self, line: str) -> str:
        for url in _ELSEWHERE:
            line = line.replace(url, self.simulator.url)
        for port, free in self.ports.items():
            line = re.sub(rf"\b{port}\b", free, line)
        if re.search(r"\bunspool keys set\b", line) and "|" not in line:
            line = f"echo sk-0123456789 | {line}"
        if line.endswith(" &") and (port := re.search(r"--port (\d+)", line)):
            # A reader takes a moment to see that it runs.
            line += f"\nuntil (: </dev/tcp/127.0.0.1/{port[1]}) 2>/dev/null && sleep 0.5; do sleep 0.1; done"
        return line

    def _as_shown(self, output: str) -> str:
        for port, free in self.ports.items():
            output = output.replace(f":{free}", f":{port}")
        return output

    def _keep_answers(self, home: Path) -> None:
        """Keep an answer under the id and the name that the documentation has, and the templates."""
        streams = home / ".local" / "state" / "unspool" / "streams"
        (home / ".config" / "unspool").mkdir(parents=True)
        for line in (
            "unspool -s 'You write shell' --save shell",
            "unspool 'In $lang: $input' --save sum",
            "unspool 'To $lang: $input' --save translate",
            "unspool -o seed 1 --api chat 'Tell me of the sky in 9 tokens'",
        ):
            (ran,) = self.run([line])
            assert ran.code == 0, ran.output
        (kept,) = streams.glob("*.sse")
        kept.rename(streams / f"{ID}.sse")
        (ran,) = self.run([f"unspool log rename {ID} talk"])
        assert ran.code == 0, ran.output


# What differs from run to run: a time, a rate, a version, an id, a port of the system's choice; and how many blanks align them.
_VARIES = re.compile(
    r"(?P<id>\b[0-9A-HJKMNP-TV-Z]{26}\b)|(?P<short>\b(?=[A-Z]*\d)[0-9A-HJKMNP-TV-Z]{6}\b)|(?P<port>127\.0\.0\.1:(?!80[0-9]0|8001)\d+)"
    r"|(?P<time>\b\d+\.\d+ m?s\b)|(?P<number>\b\d+(?:\.\d+)+\b)|(?P<any>…)|(?P<blanks>  +)|(?P<note>\n(?=unspool: ))"
)
_AS = {
    "id": r"[0-9A-Z]{26}",
    "short": r"[0-9A-Z]{6}",
    "port": r"127\.0\.0\.1:\d+",
    "time": r"\d+(\.\d+)? m?s",
    "number": r"\d+(\.\d+)*[-\w]*",
    "any": r".*?",
    "blanks": " +",
    # A terminal gets a line end after the answer, which a pipe does not.
    "note": r"\n?",
}


def matches(shown: str, printed: str) -> bool:
    """Whether the output is as a page shows it: … stands for anything, an id for any, a decimal number for any number."""
    pattern, at = "", 0
    for found in _VARIES.finditer(shown):
        pattern += re.escape(shown[at : found.start()]) + _AS[str(found.lastgroup)]
        at = found.end()
    pattern += re.escape(shown[at:])
    return re.fullmatch(pattern + r"\s*", printed.lstrip("\n"), re.DOTALL) is not None
