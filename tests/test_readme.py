"""The README's programs run as they stand, against the simulator."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from unspool.server.running import Simulator

README = Path(__file__).parent.parent / "README.md"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with Simulator() as simulator:
        yield simulator.url


def programs() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


def run(program: str, url: str, home: Path) -> str:
    names = ("PATH", "VIRTUAL_ENV", "PYTHONPATH")
    environ = {name: os.environ[name] for name in names if name in os.environ}
    environ |= {"HOME": str(home), "OPENAI_BASE_URL": url, "OPENAI_API_KEY": "sk-0123456789"}
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", program], env=environ, capture_output=True, text=True
    )
    # Development mode also says when the machine was too busy for a task: that is nobody's fault.
    said = [line for line in done.stderr.splitlines() if not line.startswith("Executing <")]
    assert (done.returncode, said) == (0, [])
    return done.stdout


@pytest.mark.skipif(not README.exists(), reason="the README is not beside the tests")
def test_the_program_for_one_thread_prints_the_answer_and_how_it_ended(url: str, tmp_path: Path) -> None:
    printed = run(programs()[0], url, tmp_path)
    assert "Guido van Rossum" in printed
    assert "\ncomplete Usage(input_tokens=" in printed
    assert len(list(tmp_path.glob(".local/state/unspool/streams/*.sse"))) == 1


@pytest.mark.skipif(not README.exists(), reason="the README is not beside the tests")
def test_the_program_for_asyncio_prints_the_answer(url: str, tmp_path: Path) -> None:
    body = "".join(f"    {line}\n" for line in programs()[1].splitlines())
    printed = run(f"import asyncio, unspool\nasync def main():\n{body}\nasyncio.run(main())", url, tmp_path)
    assert "Guido van Rossum" in printed
