"""What the package exports, what importing it costs, and that the examples in its docstrings run."""

from __future__ import annotations

import ast
import asyncio
import doctest
import inspect
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import unspool
from unspool.sim.running import Simulator


def written() -> tuple[set[str], set[str]]:
    """The names that type checkers are shown, and those in ``__all__``."""
    tree = ast.parse(inspect.getsource(unspool))
    shown = {
        alias.asname or ""
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module != "__future__"
        for alias in node.names
    }
    return shown, set(unspool.__all__)


def test_what_type_checkers_see_is_what_there_is() -> None:
    shown, listed = written()
    assert shown | {"Error", "__version__"} == listed == {*unspool._ROOMS, "sse", "Error", "__version__"}


@pytest.mark.parametrize("name", unspool.__all__)
def test_every_exported_name_is_there_and_has_a_docstring(name: str) -> None:
    value = getattr(unspool, name)
    assert name == "__version__" or inspect.getdoc(value)
    assert name in dir(unspool)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Streem'"):
        _ = unspool.Streem  # type: ignore[attr-defined]


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


def examples() -> list[doctest.DocTest]:
    finder = doctest.DocTestFinder()
    names = {"unspool": unspool, "asyncio": asyncio, **{name: getattr(unspool, name) for name in unspool.__all__}}
    found = [
        test
        for name in unspool.__all__
        for test in finder.find(getattr(unspool, name), name, module=False, globs=names)
    ]
    return [test for test in found if test.examples]


@pytest.mark.parametrize(
    "name", ["stream", "astream", "resume", "follow", "Client", "AsyncClient", "ToolCall.parsed", "tool"]
)
def test_the_example_in_a_docstring_runs(name: str, at_home: None) -> None:
    [test] = [one for one in examples() if one.name == name]
    said: list[str] = []
    failed, tried = doctest.DocTestRunner().run(test, out=said.append)
    assert tried
    assert not failed, "".join(said)


def instructions(program: str, folder: Path) -> int:
    """How many instructions Python executes for a program."""
    out = folder / "counted"
    command = ["valgrind", "--tool=cachegrind", "--cache-sim=no", f"--cachegrind-out-file={out}"]
    subprocess.run([*command, sys.executable, "-c", program], capture_output=True, check=True)
    [summary] = [line for line in out.read_text().splitlines() if line.startswith("summary:")]
    return int(summary.split()[1])


def test_the_functions_for_one_thread_import_neither_typing_nor_asyncio() -> None:
    program = "import sys, unspool; unspool.stream, unspool.Client; print(*{'typing', 'asyncio', 'inspect'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")
def test_importing_the_package_executes_few_instructions(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", "import unspool"], check=True)  # so that there is bytecode
    assert instructions("import unspool", tmp_path) - instructions("pass", tmp_path) < 8e6
