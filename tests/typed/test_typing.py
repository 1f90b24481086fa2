"""Type checkers understand the library as its users write it, and find what is wrong with what they write."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MISTAKES = {
    number
    for number, line in enumerate((HERE / "mistakes.py").read_text().splitlines(), 1)
    if line.endswith("# MISTAKE")
}


def mypy(name: str, folder: Path) -> tuple[str, set[int]]:
    """What mypy says of a file, and on which lines it finds something."""
    (folder / name).write_text((HERE / name).read_text())
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", name]
    said = subprocess.run(command, capture_output=True, text=True, cwd=folder).stdout
    return said, {int(number) for number in re.findall(r"\.py:(\d+): error", said)}


def pyright(name: str, folder: Path) -> tuple[str, set[int]]:
    """What pyright says of a file in strict mode, and on which lines it finds something."""
    pytest.importorskip("basedpyright")
    (folder / name).write_text((HERE / name).read_text())
    settings = {"typeCheckingMode": "strict", "pythonVersion": "3.11", "include": [name]}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", sys.executable]
    done = subprocess.run([*command, "-p", str(folder)], capture_output=True, text=True, cwd=folder)
    found = [one for one in json.loads(done.stdout)["generalDiagnostics"] if one["severity"] == "error"]
    said = "\n".join(f"{one['range']['start']['line'] + 1}: {one['message']}" for one in found)
    return said, {one["range"]["start"]["line"] + 1 for one in found}


CHECKERS = [
    pytest.param(mypy, marks=pytest.mark.skipif(not importlib.util.find_spec("mypy"), reason="mypy is not installed")),
    pyright,
]


@pytest.mark.parametrize("check", CHECKERS)
def test_a_program_that_uses_everything_has_the_types_that_it_says(check, tmp_path: Path) -> None:
    assert check("program.py", tmp_path) == (
        "" if check is pyright else "Success: no issues found in 1 source file\n",
        set(),
    )


@pytest.mark.parametrize("check", CHECKERS)
def test_mistakes_are_found_and_nothing_else(check, tmp_path: Path) -> None:
    said, lines = check("mistakes.py", tmp_path)
    assert lines == MISTAKES, said
