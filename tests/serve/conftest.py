"""A simulator, and a gateway before it, for the tests that need no other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from unspool.sim.running import Simulator

from .gateways import Running


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def gateway(simulator: Simulator, tmp_path: Path) -> Iterator[Running]:
    with Running(simulator.url, tmp_path / "gateway") as running:
        yield running
