"""Programs that are shipped as one file: the library's lazy imports are found by the tools that make them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipapp
from pathlib import Path

import pytest

import unspool
from unspool.sim.running import Simulator

PROGRAM = """
import asyncio
import sys

import unspool

asked = {"base_url": sys.argv[1], "api": "chat", "model": "sim-1", "journal": False}


async def main():
    async with unspool.astream("hi in 2 tokens", **asked) as answer:
        return await answer.read()


with unspool.stream("hi in 2 tokens", **asked) as answer:
    print(answer.read() == asyncio.run(main()) != "")
"""


def _run(command: list[str], tmp_path: Path) -> str:
    with Simulator() as simulator:
        return subprocess.run(
            [*command, simulator.url],
            env={**os.environ, "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout.strip()


def test_a_zipapp_streams_in_a_thread_and_in_asyncio(tmp_path: Path) -> None:
    app = tmp_path / "app"
    shutil.copytree(Path(unspool.__file__).parent, app / "unspool", ignore=shutil.ignore_patterns("__pycache__"))
    (app / "__main__.py").write_text(f"import unspool\n{PROGRAM}\nassert '.pyz' in unspool.__file__\n")
    zipapp.create_archive(app, tmp_path / "app.pyz")
    assert _run([sys.executable, str(tmp_path / "app.pyz")], tmp_path) == "True"


@pytest.mark.skipif(not sysconfig.get_config_var("Py_ENABLE_SHARED"), reason="PyInstaller needs a shared libpython")
def test_a_program_frozen_by_pyinstaller_streams_in_a_thread_and_in_asyncio(tmp_path: Path) -> None:
    pytest.importorskip("PyInstaller")
    (tmp_path / "program.py").write_text(PROGRAM)
    folders = ["--distpath", str(tmp_path / "dist"), "--workpath", str(tmp_path / "work"), "--specpath", str(tmp_path)]
    # Where the package is installed in place, the tool has to be told its folder.
    source = ["--paths", str(Path(unspool.__file__).parents[1])]
    subprocess.run(
        [sys.executable, "-m", "PyInstaller", "-y", *folders, *source, str(tmp_path / "program.py")],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        check=True,
        timeout=600,
    )
    assert _run([str(tmp_path / "dist" / "program" / "program")], tmp_path) == "True"
