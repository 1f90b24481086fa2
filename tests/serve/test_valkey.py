"""The store on Valkey or Redis keeps the contract of every store, and what only an engine promises or breaks."""

from __future__ import annotations

import itertools
import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
import trustme

from support.waiting import PATIENCE, until
from unspool import Error
from unspool.serve.engine import Address
from unspool.serve.store import Store
from unspool.serve.valkey import ValkeyStore
from unspool.sim.running import Simulator
from unspool.sim.simulator import SimulatorSettings

from .engines import EngineServer, Sentinel, free_port
from .gateways import CHAT, Running, bearer, each_event, events
from .store_contract import StoreContract


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineServer]:
    with EngineServer(tmp_path_factory.mktemp("engine")) as engine:
        yield engine


#: An answer of a hundred tokens, which takes two seconds.
SLOW = {**CHAT, "max_tokens": 100}
PACE = SimulatorSettings(itl=0.02)


class TestValkey(StoreContract):
    @pytest.fixture(autouse=True)
    def empty(self, engine: EngineServer) -> None:
        engine.command("FLUSHDB")
        self.url = engine.url

    def make(self) -> Store:
        return ValkeyStore(self.url)

    def freeze(self, store: Store) -> None:
        assert isinstance(store, ValkeyStore)
        store.stop_renewing()


def test_a_stream_outlives_an_engine_that_is_killed_and_started_again(tmp_path: Path) -> None:
    with (
        EngineServer(tmp_path / "engine") as engine,
        Simulator(PACE) as simulator,
        Running(simulator.url, tmp_path / "g", engine=engine.url) as one,
        Running(simulator.url, tmp_path / "g", engine=engine.url) as other,
    ):
        asked = one.ask(SLOW)
        found = [*itertools.islice(reading := each_event(asked), 3)]
        watched = other.get(f"/streams/{asked.headers['X-Unspool-Id']}")
        engine.stop(signal.SIGKILL)
        engine.start()
        found += reading
        assert found[-1].data == "[DONE]"
        seen = events(watched)
        if seen[-1:] != found[-1:]:  # its connection was cut with the engine's
            seen += events(
                other.get(
                    f"/streams/{asked.headers['X-Unspool-Id']}", headers={"Last-Event-ID": seen[-1].id if seen else ""}
                )
            )
        assert [(event.id, event.data) for event in seen] == [(event.id, event.data) for event in found]


def test_every_node_serves_lists_and_cancels_the_streams_of_the_others(engine: EngineServer, tmp_path: Path) -> None:
    with (
        Simulator(PACE) as simulator,
        Running(simulator.url, tmp_path / "g", engine=engine.url) as one,
        Running(simulator.url, tmp_path / "g", engine=engine.url) as other,
    ):
        asked = one.ask(SLOW)
        id = asked.headers["X-Unspool-Id"]
        watched = other.get(f"/streams/{id}")
        begun = next(reading := each_event(watched))
        assert [one["id"] for one in other.get("/streams").json()["data"] if one["state"] == "running"] == [id]
        assert other.get(f"/streams/{id}", headers={"Authorization": "Bearer sk-bob"}).status_code == 404
        sent_at = time.monotonic()
        answer = requests.post(f"{other.url}/streams/{id}/cancel", headers=bearer("sk-alice"), timeout=PATIENCE)
        assert answer.status_code == 202
        own = events(asked)
        assert json.loads(own[-1].data)["error"]["code"] == "cancelled"
        assert time.monotonic() - sent_at < 5  # at once, and not by the next look at the engine, says the benchmark
        assert [event.data for event in [begun, *reading]] == [event.data for event in own]
        assert requests.delete(f"{other.url}/streams/{id}", headers=bearer("sk-alice"), timeout=PATIENCE).ok
        assert one.get(f"/streams/{id}").status_code == 404


def test_nothing_of_the_key_or_the_prompt_is_in_the_engine(tmp_path: Path) -> None:
    with (
        EngineServer(tmp_path / "engine") as engine,
        Simulator(PACE) as simulator,
        Running(simulator.url, tmp_path / "g", engine=engine.url) as gateway,
    ):
        body = {**CHAT, "messages": [{"role": "user", "content": "the prompt that nobody may read"}]}
        headers = {"Authorization": "Bearer sk-very-secret", "Idempotency-Key": "key-of-a-client"}
        events(gateway.ask({**body, "max_tokens": 3}, headers=headers))
        engine.stop()
        kept = b"".join(file.read_bytes() for file in (tmp_path / "engine").rglob("*") if file.is_file())
        engine.start()
    assert b"finish_reason" in kept
    for secret in (b"sk-very-secret", b"key-of-a-client", b"nobody may read"):
        assert secret not in kept


def test_a_gateway_with_another_secret_is_refused(engine: EngineServer, tmp_path: Path) -> None:
    engine.command("FLUSHALL")
    with Simulator(PACE) as simulator, Running(simulator.url, tmp_path / "g", engine=engine.url):
        with pytest.raises(Error, match="another secret"), Running(simulator.url, tmp_path / "h", engine=engine.url):
            pass


def test_an_engine_that_has_forgotten_everything_ends_its_streams(tmp_path: Path) -> None:
    with (
        EngineServer(tmp_path / "engine") as engine,
        Simulator(PACE) as simulator,
        Running(simulator.url, tmp_path / "g", engine=engine.url) as one,
        Running(simulator.url, tmp_path / "g", engine=engine.url) as other,
    ):
        asked = one.ask(SLOW)
        id = asked.headers["X-Unspool-Id"]
        watched = other.get(f"/streams/{id}")
        next(reading := each_event(watched))
        engine.command("FLUSHALL")
        assert json.loads(events(asked)[-1].data)["error"]["code"] == "interrupted"
        assert "no longer kept" in [*reading][-1].data
        assert other.get(f"/streams/{id}").status_code == 404
        assert events(other.ask(SLOW))[-1].data == "[DONE]"


def test_an_engine_that_is_away_is_a_503(tmp_path: Path) -> None:
    with EngineServer(tmp_path / "engine") as engine, Simulator(PACE) as simulator:
        with Running(simulator.url, tmp_path / "g", engine=engine.url) as gateway:
            engine.stop()
            assert gateway.ask().status_code == 503
            engine.start()
            assert events(gateway.ask(SLOW))[-1].data == "[DONE]"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("valkey+cluster://h:1", "Cluster"),
        ("postgres://h/db", "not a store"),
        ("redis+sentinel://h:26379", "SERVICE"),
        ("redis+sentinel://h:x/service", "HOST:PORT"),
        ("valkey://h:1/x?nonsense=1", "nonsense"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_with_its_reason(url: str, words: str) -> None:
    pytest.importorskip("redis")
    with pytest.raises(Error, match=words):
        Address(url).check()


@contextmanager
def replica_of(primary: EngineServer, folder: Path) -> Iterator[EngineServer]:
    with EngineServer(
        folder, "--replicaof", "127.0.0.1", str(primary.port), "--repl-diskless-sync-delay", "0"
    ) as replica:
        until(lambda: b"master_link_status:up" in replica.command("INFO", "replication"), "a replica in step")
        yield replica


def test_a_stream_outlives_a_failover_to_a_replica(tmp_path: Path) -> None:
    with (
        EngineServer(tmp_path / "primary") as primary,
        replica_of(primary, tmp_path / "replica"),
        Sentinel(tmp_path / "sentinel", primary) as sentinel,
        Simulator(PACE) as simulator,
        Running(simulator.url, tmp_path / "g", engine=sentinel.url) as gateway,
    ):
        asked = gateway.ask(SLOW)
        found = [*itertools.islice(reading := each_event(asked), 3)]
        primary.stop(signal.SIGKILL)
        found += reading
        assert found[-1].data == "[DONE]"
        kept = events(gateway.get(f"/streams/{asked.headers['X-Unspool-Id']}"))
        assert [(one.id, one.data) for one in kept] == [(one.id, one.data) for one in found]


def test_with_sync_replica_nothing_is_shown_that_no_replica_has(tmp_path: Path) -> None:
    with EngineServer(tmp_path / "primary") as primary, replica_of(primary, tmp_path / "replica") as replica:
        with (
            Simulator(PACE) as simulator,
            Running(simulator.url, tmp_path / "g", engine=primary.url, sync="replica") as gateway,
        ):
            asked = gateway.ask(SLOW)
            id = asked.headers["X-Unspool-Id"]
            shown = [*itertools.islice(reading := each_event(asked), 3)]
            replica.stop(signal.SIGKILL)
            replica.start()
            shown += reading
            assert shown[-1].data == "[DONE]"
            until(
                lambda: (
                    f"{len(shown) + 2}-0".encode() in replica.command("XREVRANGE", f"unspool:{{{id}}}:log", "+", "-")
                )
            )


def test_an_engine_over_tls_is_reached_with_its_certificate_checked(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "engine.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    port = free_port()
    options = ("--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no")
    files = ("--tls-cert-file", "engine.pem", "--tls-key-file", "engine.pem", "--tls-ca-cert-file", "ca.pem")
    paths = [str(tmp_path / one) if one.endswith(".pem") else one for one in files]
    with EngineServer(tmp_path / "engine", *options, *paths, port=port), Simulator(PACE) as simulator:
        url = f"valkeys://127.0.0.1:{port}/0"
        with Running(simulator.url, tmp_path / "g", engine=f"{url}?ssl_ca_certs={tmp_path / 'ca.pem'}") as gateway:
            assert events(gateway.ask(SLOW))[-1].data == "[DONE]"
        with pytest.raises(Error, match="certificate"), Running(simulator.url, tmp_path / "g", engine=url):
            pass
