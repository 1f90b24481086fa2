"""``ps``, ``log``, ``attach`` and ``cancel`` with ``--base-url``: the streams of a gateway, from a terminal."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from serve.cutting import Cutter
from serve.gateways import CHAT, Running, each_event, events
from unspool.api import endpoint
from unspool.sim.running import Simulator
from unspool.sim.simulator import SimulatorSettings
from unspool.sse import Event, Events

from .conftest import Unspool


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def gateway(simulator: Simulator, tmp_path: Path) -> Iterator[Running]:
    with Running(simulator.url, tmp_path / "gateway") as running:
        yield running


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Running]:
    with Simulator(SimulatorSettings(itl=0.05)) as simulator, Running(simulator.url, tmp_path / "slow") as running:
        yield running


@pytest.fixture(autouse=True)
def alice(unspool: Unspool) -> None:
    unspool.env["OPENAI_API_KEY"] = "sk-alice"
    (unspool.home / "config/unspool").mkdir(parents=True)


def use(unspool: Unspool, gateway: Running) -> list[str]:
    """Make a profile that names the gateway, with Alice's key."""
    unspool.env["GATEWAY_KEY"] = "sk-alice"
    text = f'[profiles.team]\nbase_url = "{gateway.url}"\nkey_env = "GATEWAY_KEY"\nmodel = "m"\napi = "chat"\n'
    (unspool.home / "config/unspool/config.toml").write_text(text)
    return ["-P", "team"]


def ask(gateway: Running) -> tuple[str, list[Event]]:
    response = gateway.ask()
    return response.headers["X-Unspool-Id"], events(response)


def text_of(found: list[Event]) -> str:
    decoder = endpoint("chat").decoder()
    return "".join(getattr(delta, "text", "") for delta in decoder.decode(Events.of(found)))


def test_log_lists_the_owners_streams_with_their_outcomes(unspool: Unspool, gateway: Running) -> None:
    team = use(unspool, gateway)
    id, _ = ask(gateway)
    gateway.ask(headers={"Authorization": "Bearer sk-bob"}).content  # noqa: B018
    rows = unspool("log", *team).stdout.decode().splitlines()
    assert [row.split("\t")[0] for row in rows] == [id]
    assert rows[0].split("\t")[2:5] == ["complete", "gpt-5.4-mini", "chat"]
    assert json.loads(unspool("log", "--json", *team).stdout)["outcome"] == "complete"
    assert unspool("log", "--outcome", "cut", *team).stdout == b""
    assert f"{id[-6:]}" in "\n".join(unspool.on_terminal("log", *team).lines)
    assert unspool("log").stdout == b""


def test_attach_prints_an_ended_stream_as_whoever_asked_saw_it(unspool: Unspool, gateway: Running) -> None:
    team = use(unspool, gateway)
    id, found = ask(gateway)
    done = unspool("attach", id[-6:], *team)
    assert done.stdout.decode().rstrip("\n") == text_of(found).rstrip("\n")
    assert done.returncode == 0
    raw = unspool("attach", id, "--sse", *team).stdout
    assert raw.count(b"data: ") == len(found)
    assert unspool.journals() == []


def test_attach_continues_when_its_connection_breaks(unspool: Unspool, gateway: Running) -> None:
    use(unspool, gateway)
    id, found = ask(gateway)
    with Cutter(gateway.url, lambda number, line: None if f"/{id}" not in line else 40) as way:
        done = unspool("attach", id, "--base-url", way.url, "--key", "sk-alice")
        assert len(way.requests) > 2
    assert done.stdout.decode().rstrip("\n") == text_of(found).rstrip("\n")


def test_leaving_attach_does_not_stop_the_stream_and_cancel_does(unspool: Unspool, slow: Running) -> None:
    team = use(unspool, slow)
    response = slow.ask()
    id = response.headers["X-Unspool-Id"]
    stream = each_event(response)
    next(stream)
    listed = unspool("ps", *team).stdout.decode()
    assert id[-6:] in listed
    assert json.loads(unspool("ps", "--json", *team).stdout)["id"] == id
    child = unspool.start("attach", id, *team)
    assert child.stdout is not None
    assert child.stdout.read(5)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate()
    assert child.returncode == 130
    assert f"detached; the stream continues; to follow it again: unspool attach -P team {id[-6:]}" in said.decode()
    next(stream)
    reader = threading.Thread(target=list, args=(stream,))
    reader.start()
    assert unspool("cancel", id, *team).returncode == 0
    reader.join()
    assert slow.get("/streams").json()["data"][0]["state"] == "cancelled"
    assert unspool("ps", *team).stdout == b""
    again = unspool("cancel", id, *team)
    assert again.returncode == 1
    assert b"is not running any more (cancelled)" in again.stderr
    assert unspool("attach", id, *team).returncode == 130


def test_anothers_stream_is_none_here(unspool: Unspool, gateway: Running) -> None:
    team = use(unspool, gateway)
    id = gateway.ask(headers={"Authorization": "Bearer sk-bob"}).headers["X-Unspool-Id"]
    for command in ("attach", "cancel"):
        done = unspool(command, id[-6:], *team)
        assert done.returncode == 1
        assert b"the gateway has no stream" in done.stderr
        assert unspool(command, id, *team).returncode != 0


def test_a_server_that_is_no_gateway_is_named(unspool: Unspool, simulator: Simulator) -> None:
    done = unspool("ps", "--base-url", simulator.url)
    assert done.returncode != 0
    assert b"is not an unspool gateway" in done.stderr
    gone = unspool("log", "--base-url", "http://127.0.0.1:9/v1")
    assert gone.returncode == 6


def test_hostile_model_names_reach_a_terminal_only_made_safe(unspool: Unspool, gateway: Running) -> None:
    team = use(unspool, gateway)
    gateway.ask({**CHAT, "model": "m\x1b]0;pwned\x07\n\u202e"}).content  # noqa: B018
    for command in (["log"], ["log", "--json"]):
        assert not set(unspool(*command, *team).stdout) & {0x1B, 0x07}
    assert b"pwned\x07" not in unspool.on_terminal("log", *team).output
