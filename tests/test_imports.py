"""What starting costs: nothing heavy is imported on the way of an answer.

Instructions are counted by the benchmarks; here a module that has come back is named.
"""

from __future__ import annotations

import os
import subprocess
import sys
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


def test_importing_the_package_imports_nothing_of_it() -> None:
    program = "import sys; import unspool; print(*(name for name in sys.modules if name.startswith('unspool.')))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
