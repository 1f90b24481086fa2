"""A pytest plugin: the fixture ``unspool_sim`` is a running simulator, fresh for each test.

    @pytest.mark.unspool_sim(dialect="vllm")
    def test_my_client_tries_again(unspool_sim):
        unspool_sim.script("rate-limit=10ms", "")
        assert my_client(base_url=unspool_sim.url).ask("Hello")
        assert len(unspool_sim.requests) == 2

pytest loads this in every run, so the server is only imported once a test asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from unspool.server.running import Simulator


def pytest_configure(config: pytest.Config) -> None:
    """Tell pytest of the mark."""
    config.addinivalue_line("markers", "unspool_sim(**settings): the settings of this test's unspool simulator")


@pytest.fixture
def unspool_sim(request: pytest.FixtureRequest) -> Iterator[Simulator]:
    """A running unspool simulator: url, script(*faults), requests. The mark unspool_sim(**settings) sets it up."""
    from unspool.server.running import Simulator
    from unspool.server.simulator import Settings

    mark = request.node.get_closest_marker("unspool_sim")
    with Simulator(Settings(**(mark.kwargs if mark is not None else {}))) as simulator:
        yield simulator
