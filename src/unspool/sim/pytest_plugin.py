"""A pytest plugin: the fixture ``unspool_sim`` is a running simulator, fresh for each test. Starting one takes some 20 ms.

    def test_my_bot_looks_the_order_up(unspool_sim):
        unspool_sim.when(user="order 7").answer(call("lookup", id=7))
        unspool_sim.when(result_of="lookup").answer("It is on its way.")
        assert my_bot(base_url=unspool_sim.url).ask("Where is order 7?") == "It is on its way."
        unspool_sim.assert_all_used()

    @pytest.mark.unspool_sim(dialect="vllm")
    def test_my_client_tries_again(unspool_sim):
        unspool_sim.script("rate-limit=10ms", "")
        assert my_client(base_url=unspool_sim.url).ask("Hello")
        assert len(unspool_sim.requests) == 2

The fixture ``unspool_tape`` is a real server the first time, and what it answered from then on.

    @pytest.mark.unspool_tape(record="https://api.openai.com/v1")
    def test_my_client_can_count(unspool_tape):
        assert my_client(base_url=unspool_tape.url).ask("How many r are in strawberry?") == "3"

pytest loads this in every run, so the server is only imported once a test asks for it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from unspool.sim.proxy import Proxy
    from unspool.sim.running import Simulator

_MODES = ("once", "all", "none")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option ``--unspool-record``."""
    parser.getgroup("unspool").addoption(
        "--unspool-record",
        choices=_MODES,
        help="which tests with unspool_tape use their real server: once (the default), those without tapes; all, which replaces all tapes;"
        " none, no test (the default if CI is set)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Tell pytest of the marks."""
    config.addinivalue_line("markers", "unspool_sim(**settings): the settings of this test's unspool simulator")
    config.addinivalue_line(
        "markers",
        "unspool_tape(record=URL, into=FOLDER, match=HOW, ignore=[WHAT]): the real server, the folder of the tapes, and how requests match them",
    )


@pytest.fixture
def unspool_sim(request: pytest.FixtureRequest) -> Iterator[Simulator]:
    """A running unspool simulator: url, answer, when, requests, assert_all_used, script, tapes. The mark unspool_sim(**settings) sets it up."""
    from unspool.sim.running import Simulator
    from unspool.sim.simulator import SimulatorSettings

    mark = request.node.get_closest_marker("unspool_sim")
    with Simulator(SimulatorSettings(**(mark.kwargs if mark is not None else {}))) as simulator:
        yield simulator


@pytest.fixture(scope="session")
def unspool_sim_session() -> Iterator[Simulator]:
    """One simulator for all tests of a process, whose url does not change. Settings of a test stay until reset() is called."""
    from unspool.sim.running import Simulator

    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def unspool_tape(request: pytest.FixtureRequest) -> Iterator[Simulator | Proxy]:
    """A server that answers from this test's tapes, or records them: url, requests. The mark unspool_tape(record=URL) says before which."""
    from unspool.sim.proxy import Proxy
    from unspool.sim.running import Simulator
    from unspool.sim.simulator import SimulatorSettings

    mark = request.node.get_closest_marker("unspool_tape")
    options = mark.kwargs if mark is not None else {}
    mode = request.config.getoption("--unspool-record") or ("none" if os.environ.get("CI") else "once")
    folder = _folder(request, options.get("into"))
    if mode == "all":
        for tape in folder.glob("*.sse"):
            tape.unlink()
    if any(folder.glob("*.sse")):
        settings = SimulatorSettings(
            tapes=folder,
            tapes_only=True,
            tape_match=options.get("match", "strict"),
            tape_ignore=options.get("ignore", ()),
        )
        with Simulator(settings) as simulator:
            yield simulator
    elif mode == "none":
        pytest.fail(f"there are no tapes in {folder}, and --unspool-record=none records none", pytrace=False)
    elif "record" not in options:
        pytest.fail("name the server to record: @pytest.mark.unspool_tape(record=URL)", pytrace=False)
    else:
        with Proxy(options["record"], record=folder) as proxy:
            yield proxy


def _folder(request: pytest.FixtureRequest, into: str | None) -> Path:
    """The folder of a test's tapes: beside its file, below the names of the file and the test."""
    if into is not None:
        return request.path.parent / into
    return request.path.parent / "tapes" / request.path.stem / re.sub(r"[^\w.-]+", "-", request.node.name).strip("-")
