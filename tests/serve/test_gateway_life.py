"""Streams outlive their clients, and their ends are on the wire."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from unspool.serve.files import FileStore
from unspool.sim.running import Simulator
from unspool.sim.simulator import SimulatorSettings

from .gateways import CHAT, PATIENCE, Running, each_event, events

RESPONSES = {"model": "gpt-5.4-mini", "stream": True, "input": "What is Python?"}


@pytest.fixture(scope="module")
def slow() -> Iterator[Simulator]:
    """A simulator that takes some seconds for an answer."""
    with Simulator(SimulatorSettings(itl=0.05)) as simulator:
        yield simulator


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def state(gateway: Running, id: str) -> str:
    [one] = [one for one in gateway.get("/streams").json()["data"] if one["id"] == id]
    return str(one["state"])


def test_a_client_that_leaves_does_not_stop_the_stream(slow: Simulator, tmp_path: Path) -> None:
    with Running(slow.url, tmp_path / "g") as gateway:
        response = gateway.ask()
        id = response.headers["X-Unspool-Id"]
        begun = next(each_event(response))
        response.close()
        rest = events(gateway.get(f"/streams/{id}", headers={"Last-Event-ID": begun.id}))
        assert rest[-1].data == "[DONE]"
        until(lambda: state(gateway, id) == "complete")


def test_a_stream_without_any_viewer_is_cancelled_after_its_time(slow: Simulator, tmp_path: Path) -> None:
    with Running(slow.url, tmp_path / "g") as gateway:
        response = gateway.ask(headers={"X-Unspool-Abandon": "0"})
        id = response.headers["X-Unspool-Id"]
        next(each_event(response))
        response.close()
        until(lambda: state(gateway, id) == "cancelled")
        found = events(gateway.get(f"/streams/{id}"))
        assert json.loads(found[-1].data)["error"]["code"] == "cancelled"


def test_a_stream_is_cancelled_for_all_its_viewers(slow: Simulator, tmp_path: Path) -> None:
    with Running(slow.url, tmp_path / "g") as gateway:
        asked = gateway.ask()
        id = asked.headers["X-Unspool-Id"]
        watched = gateway.get(f"/streams/{id}?format=unspool")
        answer = requests.post(
            f"{gateway.url}/streams/{id}/cancel", headers={"Authorization": "Bearer sk-alice"}, timeout=PATIENCE
        )
        assert answer.status_code == 202
        assert json.loads(events(asked)[-1].data)["error"]["code"] == "cancelled"
        assert json.loads(events(watched)[-1].data)["outcome"] == "cancelled"


@pytest.mark.parametrize(("path", "body"), [("/chat/completions", CHAT), ("/responses", RESPONSES)])
def test_a_cut_upstream_ends_in_the_endpoints_error_event(path: str, body: dict[str, object], tmp_path: Path) -> None:
    with Simulator() as simulator, Running(simulator.url, tmp_path / "g") as gateway:
        simulator.script("cut=7")
        found = events(gateway.ask(body, path))
        last = json.loads(found[-1].data)
        if path == "/responses":
            assert found[-1].type == "error"
            assert last["code"] == "cut"
            assert last["sequence_number"] == json.loads(found[-2].data)["sequence_number"] + 1
        else:
            assert last["error"]["code"] == "cut"
        assert all(one.data != "[DONE]" for one in found)


WORKERS = """
import sys
from unspool.config.target import Target
from unspool.serve.gateway import Settings
from unspool.serve.running import Configuration, listen, run_workers
listener = listen("127.0.0.1", 0)
configuration = Configuration(Target("upstream", sys.argv[1], "chat"), sys.argv[2], Settings(drain=0.5), use_proxy=False)
ready = lambda: print(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", flush=True)
sys.exit(run_workers(configuration, listener, int(sys.argv[3]), ready))
"""


@contextlib.contextmanager
def workers(upstream: str, folder: Path, count: int) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    child = subprocess.Popen(
        [sys.executable, "-c", WORKERS, upstream, str(folder), str(count)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        yield child.stdout.readline().strip(), child
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(PATIENCE)
        child.stdout.close()


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_streams_of_a_lost_worker_end_as_interrupted_for_every_viewer(
    number: signal.Signals, slow: Simulator, tmp_path: Path
) -> None:
    with workers(slow.url, tmp_path / "g", 2) as (url, parent):
        headers = {"Authorization": "Bearer sk-alice"}
        response = requests.post(f"{url}/chat/completions", json=CHAT, headers=headers, stream=True, timeout=PATIENCE)
        id = response.headers["X-Unspool-Id"]
        reading = each_event(response)
        seen = [next(reading) for _ in range(4)]
        # The worker that produces it is the one that has the client's connection.
        port = response.raw._connection.sock.getsockname()[1]
        producer = next(pid for pid in children(parent.pid) if _has_connection(pid, port))
        os.kill(producer, number)
        try:
            found = []
            again = requests.get(
                f"{url}/streams/{id}", headers={**headers, "Last-Event-ID": seen[-1].id}, stream=True, timeout=PATIENCE
            )
            found = events(again)
            assert json.loads(found[-1].data)["error"]["code"] == "interrupted"
            everything = events(requests.get(f"{url}/streams/{id}", headers=headers, stream=True, timeout=PATIENCE))
            assert [one.data for one in everything] == [one.data for one in [*seen, *found]]
            if number == signal.SIGSTOP:
                os.kill(producer, signal.SIGCONT)
                with contextlib.suppress(requests.RequestException):
                    late = [one.data for one in reading]
                    # What it had read before it was stopped may still come; its end is no other than the log's.
                    assert "[DONE]" not in late
                after = events(requests.get(f"{url}/streams/{id}", headers=headers, stream=True, timeout=PATIENCE))
                assert [one.data for one in after] == [one.data for one in everything]
        finally:
            response.close()
            if number == signal.SIGSTOP:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(producer, signal.SIGCONT)


def _has_connection(pid: int, peer: int) -> bool:
    """Whether a process holds the server's side of a connection from this port."""
    inodes = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[2].rpartition(":")[2], 16) == peer:
            inodes.add(f"socket:[{fields[9]}]")
    folder = Path(f"/proc/{pid}/fd")
    return any(os.readlink(folder / fd) in inodes for fd in os.listdir(folder))


@pytest.mark.parametrize("header", [{}, {"X-Unspool-Abandon": "never"}])
def test_a_stream_that_is_never_abandoned_ends_without_any_viewer(
    header: dict[str, str], slow: Simulator, tmp_path: Path
) -> None:
    with Running(slow.url, tmp_path / "g", abandon_after=0.0 if header else None) as gateway:
        response = gateway.ask(headers=header)
        id = response.headers["X-Unspool-Id"]
        next(each_event(response))
        response.close()
        until(lambda: state(gateway, id) != "running")
        assert state(gateway, id) == "complete"


def test_a_viewer_at_another_worker_keeps_a_stream_from_being_abandoned(slow: Simulator, tmp_path: Path) -> None:
    one, other = Running(slow.url, tmp_path / "g", abandon_after=0.3), Running(slow.url, tmp_path / "g")
    with one, other:
        asked = one.ask()
        id = asked.headers["X-Unspool-Id"]
        watched = other.get(f"/streams/{id}")
        reading = each_event(watched)
        seen = [next(reading)]
        asked.close()
        seen += reading
        assert seen[-1].data == "[DONE]"


def test_the_requests_of_a_stopped_worker_are_logged_once(
    slow: Simulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Running(slow.url, tmp_path / "g") as gateway:
        store = gateway.worker.gateway.store
        assert isinstance(store, FileStore)
        store.stop_renewing()
        store.fenced = True
        for _ in range(5):
            assert gateway.ask().status_code == 503
    assert [one.name for one in caplog.records if one.levelname == "ERROR"] == ["unspool.serve"]
