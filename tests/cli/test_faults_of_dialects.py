"""Each dialect's streams when they go wrong: what ends an answer is seen whatever surrounds it."""

from __future__ import annotations

import pytest

import unspool
from unspool.sim.faults.dialects import TABLE
from unspool.sim.running import Simulator
from unspool.sim.simulator import SimulatorSettings

OUTCOMES = {
    "": "complete",
    "cut=12": "cut",
    "cut=12,clean": "cut",
    "no-finish; done=off": "cut",
    "finish=length": "length",
    "finish=content_filter": "filtered",
    "error=9": "server_error",
    "error=9,string": "server_error",
    "error=9,object": "server_error",
    "json-error": "server_error",
    "status=401": "unauthorized",
    "quota": "rate_limited",
    "line-ends=crlf; no-space; comments; bom": "complete",
}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    for name in ("UNSPOOL_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))


@pytest.mark.parametrize("dialect", TABLE, ids=lambda dialect: dialect.name)
def test_an_end_means_the_same_in_every_dialect(dialect):
    with Simulator(SimulatorSettings(dialect=dialect.name)) as simulator:
        for api in dialect.endpoints:
            for faults, outcome in OUTCOMES.items():
                simulator.script(faults)
                options = {"base_url": simulator.url, "api": api, "max_tokens": 400, "retries": 0, "journal": False}
                with unspool.stream("Hello", model="m", check=False, **options) as answer:
                    for _ in answer:
                        pass
                assert (api, faults, answer.outcome) == (api, faults, outcome)
