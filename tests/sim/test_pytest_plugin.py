"""The fixture for other people's tests, as the guide shows it."""

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from support.waiting import PATIENCE

GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "simulator.md"

# A tree that is on the path but not installed has no entry points.
INSTALLED = any(
    entry.value == "unspool.sim.pytest_plugin" for entry in metadata.entry_points(group="pytest11", name="unspool")
)


def run_pytest(folder, test, *arguments):
    (folder / "test_mine.py").write_text(test)
    named = () if INSTALLED else ("-p", "unspool.sim.pytest_plugin")
    command = (
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-W",
        "error",
        *named,
        *arguments,
        str(folder),
    )
    # Nothing of the environment of these tests, whose proxies and keys would take part.
    environment = {"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE)


@pytest.mark.skipif(not GUIDE.exists(), reason="the guide is not installed")
def test_the_guide_s_example_passes(tmp_path):
    pytest.importorskip("openai")
    (example,) = re.findall(r"```python\n(import openai.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    done = run_pytest(tmp_path, example)
    assert (done.returncode, "3 passed" in done.stdout) == (0, True), done.stdout


def test_each_test_has_a_simulator_of_its_own_with_its_settings(tmp_path):
    test = """
import pytest, urllib.request

def test_one(unspool_sim):
    unspool_sim.script("status=500")

@pytest.mark.unspool_sim(dialect="ollama")
def test_two(unspool_sim):
    assert urllib.request.urlopen(unspool_sim.url + "/models").status == 200
    assert [request.path for request in unspool_sim.requests] == ["/v1/models"]
"""
    done = run_pytest(tmp_path, test, "--strict-markers")
    assert (done.returncode, "2 passed" in done.stdout) == (0, True), done.stdout


def test_the_server_is_not_imported_where_no_test_asks_for_it(tmp_path):
    test = "import sys\n\ndef test_none():\n    assert not {'starlette', 'uvicorn'} & set(sys.modules)\n"
    done = run_pytest(tmp_path, test, "-p", "no:anyio")
    assert done.returncode == 0, done.stdout
