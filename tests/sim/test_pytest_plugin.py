"""The fixture for other people's tests; `test_testing_guide.py` runs what the guide shows."""

import pytest

from support.pytests import INSTALLED, PLUGIN, run_pytest


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
    done = run_pytest(tmp_path, test)
    assert (done.returncode, "2 passed" in done.stdout) == (0, True), done.stdout


@pytest.mark.skipif(not INSTALLED, reason="the tree is on the path, but not installed")
def test_pytest_finds_the_plugin_and_imports_no_server_for_it(tmp_path):
    test = """
import sys

def test_none(request):
    assert request.config.pluginmanager.has_plugin("unspool")
    assert not {"starlette", "uvicorn"} & set(sys.modules)
"""
    done = run_pytest(tmp_path, test, "-p", "no:anyio", plugins=())
    assert done.returncode == 0, done.stdout


def test_with_xdist_each_test_and_each_worker_has_a_simulator_of_its_own(tmp_path):
    pytest.importorskip("xdist")
    test = f"""
import json, pathlib, urllib.request
import pytest

def ask(simulator, words):
    body = json.dumps({{"model": "m", "messages": [{{"role": "user", "content": words}}]}}).encode()
    request = urllib.request.Request(simulator.url + "/chat/completions", body, {{"Content-Type": "application/json"}})
    return json.load(urllib.request.urlopen(request))["choices"][0]["message"]["content"]

@pytest.mark.parametrize("number", range(8))
def test_one(unspool_sim, unspool_sim_session, worker_id, number):
    unspool_sim.when(user="hello").answer(f"Hello {{number}}")
    assert ask(unspool_sim, "hello") == f"Hello {{number}}"
    unspool_sim.assert_all_used()
    assert len(unspool_sim.requests) == 1
    unspool_sim_session.reset()
    unspool_sim_session.answer(worker_id)
    assert ask(unspool_sim_session, "who?") == worker_id
    assert len(unspool_sim_session.requests) == 1
    with open({str(tmp_path / "urls")!r}, "a") as urls:
        urls.write(f"{{worker_id}} {{unspool_sim_session.url}}\\n")
"""
    done = run_pytest(tmp_path, test, "-n", "2", plugins=(PLUGIN, "xdist"))
    assert (done.returncode, "8 passed" in done.stdout) == (0, True), done.stdout
    of = dict(line.split() for line in (tmp_path / "urls").read_text().splitlines())
    assert len(set((tmp_path / "urls").read_text().splitlines())) == len(of) == len(set(of.values())) <= 2
