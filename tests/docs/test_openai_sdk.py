"""The page for those who come from the openai SDK: each task is done by both, with the same output."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from unspool.sim.running import Simulator

from .pages import DOCS, Block, blocks

PAGE = DOCS / "how-to" / "openai-sdk.md"
pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="the documentation is not beside the tests")


def tasks() -> list[tuple[Block, Block]]:
    found = blocks(PAGE, "python") if DOCS.exists() else []
    return list(zip(found[::2], found[1::2], strict=True))


def lines(block: Block) -> int:
    return sum(bool(line.strip()) for line in block.text.splitlines())


def run(block: Block, home: Path) -> tuple[str, int]:
    """What the program prints, and how many requests it made."""
    home.mkdir()
    (home / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    kept = {name: os.environ[name] for name in ("PATH", "VIRTUAL_ENV", "PYTHONPATH") if name in os.environ}
    with Simulator() as simulator:
        if fault := block.marks.get("simulator"):
            simulator.script(fault)
        given = {"OPENAI_BASE_URL": simulator.url, "OPENAI_API_KEY": "any", "UNSPOOL_API": "responses"}
        environ = {**kept, **given, "HOME": str(home), "UNSPOOL_MODEL": "gpt-5.4-mini"}
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", block.text], env=environ, cwd=home, capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, ""), block.name
        return done.stdout, len(simulator.requests)


@pytest.mark.parametrize("task", [pytest.param(one, id=one[1].name) for one in tasks()])
def test_a_task_needs_as_many_lines_as_with_the_sdk_or_fewer_and_prints_the_same(
    task: tuple[Block, Block], tmp_path: Path
) -> None:
    pytest.importorskip("openai")
    theirs, ours = task
    assert "import openai" in theirs.text or "from openai" in theirs.text
    assert "import unspool" in ours.text
    assert lines(ours) <= lines(theirs)
    printed, requests = run(theirs, tmp_path / "theirs")
    assert printed
    assert requests == 2 or "background" not in ours.text
    assert run(ours, tmp_path / "ours") == (printed, requests)


def test_the_page_has_ten_tasks() -> None:
    assert len(tasks()) == 10
