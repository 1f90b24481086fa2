"""Where everything is measured: one server, and an environment in which nothing is set that is not said here."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

from bench import environments
from bench.process import Program, Unmeasurable
from bench.server import text

HERE = Path(__file__).parent

T = TypeVar("T")


class Setting(NamedTuple):
    """What a measurement is given: the server's URL, a folder for what is written, and whether to be quick."""

    url: str
    home: Path
    quick: bool

    def rounds(self, usual: int) -> int:
        """How often to repeat what is taken the least of."""
        return max(2, usual // 2) if self.quick else usual

    def count(self, usual: int) -> int:
        """How many events, or processes, to take the measure of."""
        return usual // 5 if self.quick else usual

    @property
    def environment(self) -> dict[str, str]:
        """The whole environment of what is measured."""
        return {
            "PATH": os.defpath,
            "LANG": "C.UTF-8",
            "HOME": str(self.home),
            "UNSPOOL_HOME": str(self.home / "unspool"),
            "LLM_USER_PATH": str(self.home / "llm"),
            "OPENAI_BASE_URL": f"{self.url}/v1",
            "OPENAI_API_KEY": "no-key",
            # Where names fall in a dict depends on it, and with that the instructions executed.
            "PYTHONHASHSEED": "0",
        }

    def command(self, *arguments: str, api: str = "chat", events: int = 1, wish: str = "") -> Program:
        """The installed ``unspool`` command, asking for an answer of so many events, and of the kind that is wished for."""
        model = f"n={events},{wish}" if wish else f"n={events}"
        command = (str(environments.unspool() / "unspool"), "--api", api, "-m", model, *arguments, "hi")
        return Program(command, self.environment, text(events))

    def ours(self, script: str, *arguments: str) -> Program:
        """A script of ``ours/``, run where unspool is installed."""
        return Program(
            (str(environments.unspool() / "python"), str(HERE / "ours" / script), *arguments), self.environment
        )

    def rival(self, name: str, script: str, *arguments: str) -> Program:
        """A script of ``rivals/``, run where that rival is installed. Raises Unmeasurable."""
        return Program(
            (str(environments.rival(name) / "python"), str(HERE / "rivals" / script), *arguments), self.environment
        )

    def curl(self, model: str) -> Program:
        """The system's curl, printing the bytes of the answer as they come. Raises Unmeasurable."""
        body = json.dumps({"model": model, "stream": True, "messages": [{"role": "user", "content": "hi"}]})
        headers = ("-H", "Content-Type: application/json", "-H", "Authorization: Bearer no-key")
        url = f"{self.url}/v1/chat/completions"
        return Program((environments.curl(), "-sN", *headers, "-d", body, url), self.environment)


@contextmanager
def setting(quick: bool) -> Iterator[Setting]:
    """Start the server, and stop it afterwards."""
    # A thousand streams are a thousand descriptors, for the server and for its clients; both inherit this.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with (
        tempfile.TemporaryDirectory(prefix="unspool-bench-") as home,
        subprocess.Popen(
            [sys.executable, "-m", "bench.server"],
            cwd=HERE.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as server,
    ):
        assert server.stdin is not None
        assert server.stdout is not None
        port = int(server.stdout.readline())
        try:
            yield Setting(f"http://127.0.0.1:{port}", Path(home), quick)
        finally:
            server.stdin.close()  # which is its sign to end


def attempt(measure: Callable[[], T]) -> tuple[T | None, str]:
    """Return a rival's measure and "", or None and why it could not be taken."""
    try:
        return measure(), ""
    except Unmeasurable as error:
        return None, f"not measured: {error}"
