"""The Python that the documentation shows runs as it stands, against the simulator, with every warning an error."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from unspool.sim.running import Simulator

from .pages import DOCS, PAGES, Block, blocks, is_one_session

pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="the documentation is not beside the tests")


def programs() -> list[Block]:
    found = [
        block
        for path in PAGES
        if not (is_one_session(path) or path.stem == "openai-sdk")
        for block in blocks(path, "python")
    ]
    # Those of pytest have their tests beside the fixtures: tests/sim and tests/tapes; those of the openai SDK in test_openai_sdk.py.
    return [block for block in found if "def test_" not in block.text and "not run" not in block.marks]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with Simulator() as simulator:
        yield simulator.url


def run(program: str, url: str, home: Path) -> str:
    environ = {name: os.environ[name] for name in ("PATH", "VIRTUAL_ENV", "PYTHONPATH") if name in os.environ}
    environ |= {
        "HOME": str(home),
        "OPENAI_BASE_URL": url,
        "OPENAI_API_KEY": "sk-0123456789",
        "UNSPOOL_MODEL": "sim-1",
    }
    if re.search("^async with ", program, re.MULTILINE):
        # What a reader puts into a function of their own.
        body = textwrap.indent(program, "    ")
        program = f"import asyncio, unspool\nasync def main():\n{body}\nasyncio.run(main())"
    (home / "program.py").write_text(program, "utf-8")
    command = [sys.executable, "-X", "dev", "-W", "error", "program.py"]
    done = subprocess.run(command, env=environ, cwd=home, capture_output=True, text=True)
    # Development mode also says when the machine was too busy for a task: that is nobody's fault.
    said = [line for line in done.stderr.splitlines() if not line.startswith("Executing <")]
    assert (done.returncode, said) == (0, [])
    return done.stdout


@pytest.mark.parametrize("program", [pytest.param(one, id=one.name) for one in programs()])
def test_a_program_of_the_documentation_runs(program: Block, url: str, tmp_path: Path) -> None:
    for package in ("fastapi", "django", "flask", "celery"):
        if f"from {package}" in program.text:
            pytest.importorskip(package)
    run(program.text, url, tmp_path)


def test_the_readme_s_program_prints_the_answer_and_how_it_ended(url: str, tmp_path: Path) -> None:
    first = next(block for block in programs() if block.page == "README.md")
    printed = run(first.text, url, tmp_path)
    assert "Guido van Rossum" in printed
    assert "\ncomplete Usage(input_tokens=" in printed
    assert len(list(tmp_path.glob(".local/state/unspool/streams/*.sse"))) == 1
