"""A home for each test, and one simulator that paces its answers for all of them."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from .processes import Home, simulator

# Names of what a machine may have set for its own use of the network and of the API.
_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def plain_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower() in _VARIABLES or name.startswith(("OPENAI_", "AZURE_")):
            monkeypatch.delenv(name)
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "UNSPOOL_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))


@pytest.fixture(scope="session", autouse=True)
def many_descriptors() -> Iterator[None]:
    """Enough for a thousand streams and for the server that they ask."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 16384 if before[1] == resource.RLIM_INFINITY else min(16384, before[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(wanted, before[0]), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture(scope="session")
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bytecode")


@pytest.fixture
def home(tmp_path: Path, bytecode: Path) -> Iterator[Home]:
    made = Home(tmp_path, bytecode)
    yield made
    made.close()


@pytest.fixture(scope="session")
def paced(tmp_path_factory: pytest.TempPathFactory, bytecode: Path) -> Iterator[str]:
    """The URL of a simulator that sends a token each millisecond."""
    made = Home(tmp_path_factory.mktemp("simulator"), bytecode)
    yield from simulator(made, ttft="5ms", itl="1ms")
    made.close()


@pytest.fixture(scope="session")
def slow(tmp_path_factory: pytest.TempPathFactory, bytecode: Path) -> Iterator[str]:
    """The URL of a simulator whose answers outlast any test that does not wait for their end: a token each 5 ms."""
    made = Home(tmp_path_factory.mktemp("slow"), bytecode)
    yield from simulator(made, ttft="5ms", itl="5ms")
    made.close()


@pytest.fixture(scope="session")
def instant(tmp_path_factory: pytest.TempPathFactory, bytecode: Path) -> Iterator[str]:
    """The URL of a simulator that answers as fast as it can."""
    made = Home(tmp_path_factory.mktemp("instant"), bytecode)
    yield from simulator(made, ttft="0", itl="0")
    made.close()
