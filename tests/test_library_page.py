"""The programs of docs/library.md run as they stand, against the simulator."""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from unspool.server.running import Simulator

PAGE = Path(__file__).parent.parent / "docs" / "library.md"
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL) if PAGE.exists() else []


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith(("OPENAI_", "UNSPOOL_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789")
    monkeypatch.setenv("UNSPOOL_MODEL", "sim-1")
    with Simulator() as simulator:
        monkeypatch.setenv("OPENAI_BASE_URL", simulator.url)
        yield


@pytest.mark.skipif(not PROGRAMS, reason="the page is not beside the tests")
@pytest.mark.parametrize("program", PROGRAMS, ids=range(len(PROGRAMS)))
def test_a_program_of_the_page_runs(program: str, at_home: None) -> None:
    for package in ("fastapi", "django"):
        if f"from {package}" in program:
            pytest.importorskip(package)
    code = compile(program, "docs/library.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    result = eval(code, {"__name__": "__main__"})
    if inspect.iscoroutine(result):
        asyncio.run(result)
