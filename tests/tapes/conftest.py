"""A recorder before any server, and a simulator that has nothing but what it recorded."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.waiting import until
from unspool.sim.proxy import Proxy
from unspool.sim.running import Simulator
from unspool.sim.simulator import SimulatorSettings

NOON = 1_800_000_000.0


@pytest.fixture(autouse=True)
def plain_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith(("OPENAI_", "SSL_CERT_")) or name == "CURL_CA_BUNDLE":
            monkeypatch.delenv(name)
    monkeypatch.setenv("UNSPOOL_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="session")
def simulator() -> Iterator[Simulator]:
    with Simulator(SimulatorSettings(clock=lambda: NOON)) as simulator:
        yield simulator


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where tapes go."""
    return tmp_path / "tapes"


@pytest.fixture
def record(folder: Path) -> Callable[[str], contextlib.AbstractContextManager[Proxy]]:
    return lambda url: Proxy(url, record=folder)


@pytest.fixture
def play(folder: Path) -> Callable[..., Simulator]:
    return lambda **settings: Simulator(SimulatorSettings(tapes=folder, tapes_only=True, **settings))


@pytest.fixture
def ended(folder: Path) -> Callable[[int], list[Path]]:
    """Waits until so many tapes have come to their end, which is a moment after their clients have theirs, and returns them."""

    def wait(count: int) -> list[Path]:
        def ended() -> list[Path]:
            tapes = sorted(folder.glob("*.sse"))
            return tapes if sum(b"\nevent: unspool.end\n" in tape.read_bytes() for tape in tapes) >= count else []

        return until(ended, "the end of the tapes")

    return wait


@pytest.fixture
def texts() -> Callable[[Path], list[dict[str, Any]]]:
    """The journal's own blocks of a tape."""
    import json

    from unspool.journal.reader import Reader

    def read(path: Path) -> list[dict[str, Any]]:
        with Reader(str(path)) as journal:
            return [{"block": one.type, **json.loads(one.data)} for one in journal.read() if one.at is None]

    return read
