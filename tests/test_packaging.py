"""Programs that are shipped as one file: the library's lazy imports are found by the tools that make them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipapp
from pathlib import Path
from urllib.request import urlopen

import pytest

import unspool
from unspool.cli.commands import NAMES
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


def _archive(tmp_path: Path, main: str) -> Path:
    app = tmp_path / "app"
    shutil.copytree(Path(unspool.__file__).parent, app / "unspool", ignore=shutil.ignore_patterns("__pycache__"))
    (app / "__main__.py").write_text(main)
    zipapp.create_archive(app, tmp_path / "app.pyz")
    return tmp_path / "app.pyz"


def _frozen(tmp_path: Path, main: str) -> Path:
    pytest.importorskip("PyInstaller")
    (tmp_path / "program.py").write_text(main)
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
    return tmp_path / "dist" / "program" / "program"


def test_a_zipapp_streams_in_a_thread_and_in_asyncio(tmp_path: Path) -> None:
    app = _archive(tmp_path, f"import unspool\n{PROGRAM}\nassert '.pyz' in unspool.__file__\n")
    assert _run([sys.executable, str(app)], tmp_path) == "True"


needs_libpython = pytest.mark.skipif(
    not sysconfig.get_config_var("Py_ENABLE_SHARED"), reason="PyInstaller needs a shared libpython"
)


@needs_libpython
def test_a_program_frozen_by_pyinstaller_streams_in_a_thread_and_in_asyncio(tmp_path: Path) -> None:
    assert _run([str(_frozen(tmp_path, PROGRAM))], tmp_path) == "True"


COMMAND = "from unspool.cli import program\nprogram()\n"


def test_the_command_works_from_a_zipapp(tmp_path: Path) -> None:
    _use([sys.executable, str(_archive(tmp_path, COMMAND))], tmp_path)


@needs_libpython
@pytest.mark.exhaustive
def test_the_command_works_frozen_by_pyinstaller(tmp_path: Path) -> None:
    command = [str(_frozen(tmp_path, COMMAND))]
    _use(command, tmp_path)
    for name in NAMES:
        told = subprocess.run([*command, name, "--help"], capture_output=True, text=True, check=True)
        assert f"unspool {name}" in told.stdout


def _use(command: list[str], home: Path) -> None:
    """Ask, run a tool, stream in the background and serve, with the command."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "OPENAI_API_KEY": "sk-0123456789"}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [*command, *arguments], env=environ, cwd=home, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run("--version").split() == ["unspool", unspool.__version__]
    with Simulator() as simulator:
        environ["OPENAI_BASE_URL"] = simulator.url
        text = run("Hello in 9 tokens")
        assert text == run("last")
        assert "in 9" in run("log")
        tool = 'def get_weather(city: str) -> str:\n    "Weather."\n    return "blue sky"\n'
        assert "blue sky" in run("--functions", tool, "--tools-allow", "get_weather", "Please get weather in Oslo")
        id = run("--detach", "Hello in 9 tokens").strip()
        assert run("attach", id) == text
        with subprocess.Popen(
            [*command, "serve", "--port", "0"], env=environ, cwd=home, stdout=subprocess.PIPE, text=True
        ) as gateway:
            try:
                assert gateway.stdout is not None
                url = gateway.stdout.readline().strip()
                environ["OPENAI_BASE_URL"] = url
                assert run("Hello in 9 tokens") == text
                with urlopen(f"{url.removesuffix('/v1')}/page/page.js") as page:
                    assert page.status == 200
            finally:
                gateway.terminate()


BUILD = """
import email, sys, zipfile
from hatchling.build import build_wheel
with zipfile.ZipFile(sys.argv[1] + "/" + build_wheel(sys.argv[1])) as wheel:
    (name,) = (name for name in wheel.namelist() if name.endswith("METADATA"))
    print(wheel.read(name).decode())
"""


@pytest.mark.parametrize("repository", ["", "https://code.example/team/unspool"])
def test_the_links_of_the_packages_page_are_absolute_where_the_repository_is_named(
    repository: str, tmp_path: Path
) -> None:
    pytest.importorskip("hatchling")
    root = Path(__file__).parents[1]
    if not (root / "hatch_build.py").exists():
        pytest.skip("the source is not beside the tests")
    environ = {**os.environ, "UNSPOOL_REPOSITORY": repository}
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(tmp_path)], cwd=root, env=environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    relative = re.findall(r'\]\((?!https?:|#)|(?:src|srcset)="(?!https?:)', done.stdout)
    urls = re.findall("^Project-URL: (.*)$", done.stdout, re.MULTILINE)
    if not repository:
        assert relative
        assert not urls
        return
    assert not relative
    assert f"Issues, {repository}/issues" in urls
    assert f"]({repository}/blob/v{unspool.__version__}/docs/tutorial.md)" in done.stdout
    for path in re.findall(rf"{repository}/(?:blob|raw)/v[\d.]+/([^)\"\s]+)", done.stdout):
        assert (root / path.partition("#")[0]).exists()
