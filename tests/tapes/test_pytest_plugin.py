"""The fixture that records once and plays from then on, as the guide shows it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from support.waiting import PATIENCE
from unspool.sim.running import Simulator

GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "tapes.md"
# A tree that is on the path but not installed has no entry points.
INSTALLED = any(
    entry.value == "unspool.sim.pytest_plugin" for entry in metadata.entry_points(group="pytest11", name="unspool")
)
TEST = """
import json, pytest, urllib.request

@pytest.mark.unspool_tape(record="{url}")
@pytest.mark.parametrize("word", ["one two", "a/b"])
def test_one(unspool_tape, word):
    data = json.dumps({{"model": "m", "prompt": word, "stream": True}}).encode()
    request = urllib.request.Request(unspool_tape.url + "/completions", data, {{"Content-Type": "application/json"}})
    with urllib.request.urlopen(request) as answer:
        assert answer.read().endswith(b"data: [DONE]\\n\\n")
    assert len(unspool_tape.requests) == 1
"""


def run_pytest(folder, test, *arguments, **environ):
    (folder / "test_mine.py").write_text(test)
    named = () if INSTALLED else ("-p", "unspool.sim.pytest_plugin")
    options = ("-q", "-p", "no:cacheprovider", "-W", "error", "--strict-markers", *named, *arguments, str(folder))
    environment = {"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        (sys.executable, "-m", "pytest", *options),
        cwd=folder,
        env={**environment, **environ},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    return done.returncode, done.stdout


@pytest.mark.skipif(not GUIDE.exists(), reason="the guide is not installed")
def test_the_guide_s_example_records_and_then_passes_without_its_server(tmp_path):
    pytest.importorskip("openai")
    (example,) = re.findall(r"```python\n(import os.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    with Simulator() as real:
        example = example.replace("https://api.openai.com/v1", real.url)
        first = run_pytest(tmp_path, example, OPENAI_API_KEY="sk-0123456789abcdef")
        assert (first[0], len(real.requests)) == (0, 1), first[1]
    (tape,) = tmp_path.glob("tapes/test_mine/test_it_knows_who_made_python/*.sse")
    assert tape.name == "0001-responses-gpt-5.4-mini-what-is-python.sse"
    assert "sk-0123" not in tape.read_text("utf-8")
    again = run_pytest(tmp_path, example, CI="1")
    assert (again[0], "1 passed" in again[1]) == (0, True), again[1]


def test_each_test_has_tapes_of_its_own_and_they_are_made_anew_on_demand(tmp_path):
    with Simulator() as real:
        test = TEST.format(url=real.url)
        for arguments, asked in (((), 2), ((), 2), (("--unspool-record=all",), 4), (("--unspool-record=none",), 4)):
            code, said = run_pytest(tmp_path, test, *arguments)
            assert (code, len(real.requests)) == (0, asked), said
    assert sorted(str(tape.relative_to(tmp_path)) for tape in tmp_path.glob("tapes/*/*/*")) == [
        "tapes/test_mine/test_one-a-b/0001-completions-m-a-b.sse",
        "tapes/test_mine/test_one-one-two/0001-completions-m-one-two.sse",
    ]


def test_where_nothing_is_recorded_a_test_without_tapes_fails_and_asks_nobody(tmp_path):
    with Simulator() as real:
        for more in ({"CI": "true"}, {}):
            options = () if more else ("--unspool-record=none",)
            code, said = run_pytest(tmp_path, TEST.format(url=real.url), *options, **more)
            assert (code, "there are no tapes in" in said) == (1, True), said
        assert real.requests == []


def test_the_simulator_of_a_test_takes_tapes_too(tmp_path, record, simulator, ended):
    from .wire import ASKS, ask

    with record(simulator.url) as recorder:
        ask(recorder.url, "/chat/completions", ASKS["chat"])
        (tape,) = ended(1)
    test = f"""
import json, urllib.request

def test_one(unspool_sim):
    unspool_sim.tapes.add({str(tape)!r})
    urllib.request.urlopen(unspool_sim.url + "/chat/completions", {json_of(ASKS["chat"])!r}).read()
    assert unspool_sim.tapes.played == [{tape.name!r}]
"""
    code, said = run_pytest(tmp_path, test)
    assert code == 0, said


def json_of(value):
    import json

    return json.dumps(value).encode()
