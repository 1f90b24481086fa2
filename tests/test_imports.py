"""What starting costs: nothing heavy is imported on the way of an answer.

The benchmarks count the instructions of an installed wheel; here a module that has come back is named, and where valgrind is installed
the instructions are counted too.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from unspool.sim.running import Simulator

# Each of these executes more instructions when it is imported than decoding a whole short answer does.
HEAVY = {
    *("argparse", "asyncio", "concurrent.futures", "contextlib", "dataclasses", "datetime", "difflib", "email", "enum"),
    *(
        "gettext",
        "hashlib",
        "html",
        "http",
        "inspect",
        "json",
        "logging",
        "pathlib",
        "platformdirs",
        "random",
        "re",
        "secrets",
    ),
    *("shutil", "signal", "socket", "sqlite3", "ssl", "string", "subprocess", "tempfile", "threading", "tomllib"),
    *("typing", "urllib", "uuid", "starlette", "uvicorn", "anyio", "h11", "pycurl", "pycurl.async_multi", "certifi"),
}

# What an ordinary answer from Chat Completions imports of this package. Each costs a third of a million instructions, whatever is in it.
OURS = """
    unspool.api unspool.api.chat unspool.api.chunks unspool.api.decoder unspool.api.deltas unspool.api.envelope unspool.api.prompt
    unspool.cli.access unspool.cli.commands unspool.cli.commands.ask unspool.cli.display unspool.cli.formats
    unspool.cli.options unspool.cli.options.ask unspool.cli.options.shared unspool.cli.prompt
    unspool.cli.signals unspool.cli.streaming unspool.client unspool.client.answer unspool.client.exchange unspool.client.facts
    unspool.client.http unspool.client.http.curl unspool.client.http.transport unspool.client.limits unspool.client.states
    unspool.config unspool.config.paths unspool.config.profiles unspool.config.settings unspool.config.target unspool.config.url
    unspool.journal unspool.journal.blocks unspool.journal.record unspool.journal.ulid unspool.journal.writer unspool.jsontext
    unspool.masking unspool.outcome unspool.sse unspool.terminal unspool.terminal.output unspool.value
"""
# The budget of an installed command is 110 million instructions, which `python -m bench` decides. Python's own start and the script that
# pip writes, which imports re, take some 64 of them; the rest is here, and a little more, since paths differ.
MOST_INSTRUCTIONS = 46.5e6

CONFIG = """\
sync = "always"  # even so

[profiles.work]
extends = "openai"
key_env = ["WORK_KEY", "OPENAI_API_KEY"]
needs_key = true
"""

PROGRAM = """
import sys
before = set(sys.modules)
from unspool.cli import main
code = main(sys.argv[1:])
print(code, *sorted(set(sys.modules) - before), file=sys.stderr)
"""


@pytest.mark.parametrize("config", [False, True])
@pytest.mark.parametrize("api", ["responses", "chat", "completions"])
def test_an_answer_to_a_pipe_imports_nothing_heavy(api: str, config: bool, tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if name in ("PATH", "VIRTUAL_ENV", "PYTHONPATH")}
    environ |= {"HOME": str(tmp_path), "OPENAI_API_KEY": "sk-0123456789"}
    with Simulator() as simulator:
        environ["OPENAI_BASE_URL"] = simulator.url
        if config:
            environ["UNSPOOL_CONFIG"] = str(tmp_path / "config.toml")
            (tmp_path / "config.toml").write_text(CONFIG)
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, "--api", api, "-m", "sim-1", "--max-tokens", "400", "hi in 3 tokens"],
            env=environ,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
    code, *imported = done.stderr.split()
    assert code == "0"
    assert HEAVY & set(imported) == set()


@pytest.fixture
def answering(tmp_path: Path) -> Iterator[tuple[list[str], dict[str, str]]]:
    """The arguments of a command that gets an answer, and its environment; compiled modules are kept."""
    with Simulator() as simulator:
        arguments = ["--base-url", simulator.url, "--api", "chat", "-m", "sim-1", "--no-stdin", "hi in 1 token"]
        environ = {name: value for name, value in os.environ.items() if name in ("PATH", "VIRTUAL_ENV", "PYTHONPATH")}
        environ |= {"HOME": str(tmp_path), "PYTHONPYCACHEPREFIX": str(tmp_path / "compiled"), "PYTHONHASHSEED": "0"}
        yield arguments, environ


def test_an_ordinary_answer_imports_these_modules_and_no_more(answering: tuple[list[str], dict[str, str]]) -> None:
    arguments, environ = answering
    program = PROGRAM.replace("from unspool.cli import main", "import unspool.cli\nfrom unspool.cli import main")
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=environ,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    code, *imported = done.stderr.split()
    ours = {name for name in imported if name.startswith("unspool.")}
    assert (code, ours - {"unspool.cli"} - set(OURS.split())) == ("0", set())


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the budget is counted with Python 3.11")
def test_an_ordinary_answer_keeps_its_budget_of_instructions(
    answering: tuple[list[str], dict[str, str]], tmp_path: Path
) -> None:
    arguments, environ = answering

    def instructions(program: str) -> int:
        command = [sys.executable, "-c", program, *arguments]
        subprocess.run(command, env=environ, capture_output=True, check=True, stdin=subprocess.DEVNULL)  # compiles
        log = tmp_path / "log"
        counted = [
            "valgrind",
            "--tool=cachegrind",
            "--cache-sim=no",
            "--cachegrind-out-file=/dev/null",
            f"--log-file={log}",
        ]
        subprocess.run([*counted, *command], env=environ, capture_output=True, check=True, stdin=subprocess.DEVNULL)
        found = re.search(r"I\s+refs:\s+([\d,]+)", log.read_text())
        assert found is not None
        return int(found[1].replace(",", ""))

    ours = instructions("import re; from unspool.cli import program; program()")
    assert ours - instructions("import re") <= MOST_INSTRUCTIONS


def test_importing_the_package_imports_nothing_of_it() -> None:
    program = "import sys; import unspool; print(*(name for name in sys.modules if name.startswith('unspool.')))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
