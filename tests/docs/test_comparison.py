"""What the comparison says of the tutorial's script, of which bench/faults.json has no column."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from unspool.sim.running import Simulator

from .pages import ROOT

SCRIPT = ROOT / "bench" / "rivals" / "tutorial.py"
pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="the measurements are not beside the tests")


@pytest.fixture
def run(tmp_path: Path):
    pytest.importorskip("requests")
    pytest.importorskip("sseclient")

    def asked(fault: str) -> subprocess.CompletedProcess[str]:
        with Simulator() as simulator:
            simulator.script(fault)
            environ = {"OPENAI_BASE_URL": simulator.url, "OPENAI_API_KEY": "any", "HOME": str(tmp_path)}
            command = [sys.executable, str(SCRIPT), "gpt-3.5-turbo-instruct"]
            return subprocess.run(command, env=environ, capture_output=True, text=True)

    return asked


@pytest.mark.parametrize("fault", ["status=401", "rate-limit=300ms", "html"])
def test_the_script_takes_a_refusal_for_an_empty_answer(run, fault):
    done = run(fault)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_script_takes_an_answer_that_was_cut_politely_for_a_whole_one(run):
    done = run("cut=7,clean")
    assert done.returncode == 0
    assert 0 < len(done.stdout) < len(run("").stdout)


def test_the_script_shows_an_error_within_the_stream_as_a_missing_key(run):
    done = run("error=6,nested")
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("KeyError: 'choices'")
