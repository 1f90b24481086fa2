"""The fixture that records once and plays from then on, as the guide shows it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.pytests import run_pytest
from unspool.sim.running import Simulator

GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "tapes.md"
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


@pytest.mark.skipif(not GUIDE.exists(), reason="the guide is not installed")
def test_the_guide_s_example_records_and_then_passes_without_its_server(tmp_path):
    pytest.importorskip("openai")
    (example,) = re.findall(r"```python\n(import os.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    with Simulator() as real:
        example = example.replace("https://api.openai.com/v1", real.url)
        first = run_pytest(tmp_path, example, OPENAI_API_KEY="sk-0123456789abcdef")
        assert (first.returncode, len(real.requests)) == (0, 1), first.stdout
    (tape,) = tmp_path.glob("tapes/test_mine/test_it_knows_who_made_python/*.sse")
    assert tape.name == "0001-responses-gpt-5.4-mini-what-is-python.sse"
    assert "sk-0123" not in tape.read_text("utf-8")
    again = run_pytest(tmp_path, example, CI="1")
    assert (again.returncode, "1 passed" in again.stdout) == (0, True), again.stdout


def test_each_test_has_tapes_of_its_own_and_they_are_made_anew_on_demand(tmp_path):
    with Simulator() as real:
        test = TEST.format(url=real.url)
        for arguments, asked in (((), 2), ((), 2), (("--unspool-record=all",), 4), (("--unspool-record=none",), 4)):
            done = run_pytest(tmp_path, test, *arguments)
            assert (done.returncode, len(real.requests)) == (0, asked), done.stdout
    assert sorted(str(tape.relative_to(tmp_path)) for tape in tmp_path.glob("tapes/*/*/*")) == [
        "tapes/test_mine/test_one-a-b/0001-completions-m-a-b.sse",
        "tapes/test_mine/test_one-one-two/0001-completions-m-one-two.sse",
    ]


def test_where_nothing_is_recorded_a_test_without_tapes_fails_and_asks_nobody(tmp_path):
    with Simulator() as real:
        for more in ({"CI": "true"}, {}):
            options = () if more else ("--unspool-record=none",)
            done = run_pytest(tmp_path, TEST.format(url=real.url), *options, **more)
            assert (done.returncode, "there are no tapes in" in done.stdout) == (1, True), done.stdout
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
    done = run_pytest(tmp_path, test)
    assert done.returncode == 0, done.stdout


def json_of(value):
    import json

    return json.dumps(value).encode()
