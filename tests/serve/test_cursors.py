"""Where a stream is taken up: event ids, sequence numbers, links, idempotency keys."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import requests

from support import wire
from support.server import Connection, Server
from support.waiting import PATIENCE, until
from unspool.sim.running import Simulator
from unspool.sim.simulator import SimulatorSettings

from .gateways import CHAT, Running, bearer, each_event, events

RESPONSES = {"model": "gpt-5.4-mini", "stream": True, "input": "What is Python?"}


@pytest.mark.parametrize(
    "after",
    [
        "x",
        "1",
        "-",
        "0-0-0",
        "{mark}",
        "{mark}-0",
        "{mark}-0-",
        "{mark}-0-x",
        "{other}-0-3",
        "{mark}-0-0",
        "{mark}-0-1",
        "{mark}-0-99999",
        "{mark}-1-3",
    ],
)
def test_an_id_that_is_malformed_or_of_another_stream_is_400(after: str, gateway: Running) -> None:
    id, other = (gateway.ask(RESPONSES, "/responses").headers["X-Unspool-Id"] for _ in range(2))
    after = after.format(mark=id[-8:], other=other[-8:])
    for answer in (
        gateway.get(f"/streams/{id}", headers={"Last-Event-ID": after}),
        gateway.get(f"/streams/{id}", params={"after": after}),
    ):
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "invalid_cursor"


def test_only_the_complete_id_of_a_stream_names_it(gateway: Running) -> None:
    id = gateway.ask().headers["X-Unspool-Id"]
    assert gateway.get(f"/streams/{id}").status_code == 200
    for other in (id[:-1], id[-8:], id[:8], id.lower(), f"{id}0", f"{id}.sse", "..", f"../{id}", "%00", f"{id}%00"):
        assert gateway.get(f"/streams/{other}").status_code in (404, 405) or other == "..", other
    assert gateway.ask({}, f"/streams/{id[:10]}/cancel").status_code == 404


def test_starting_after_is_a_sequence_number_of_responses_and_nothing_else(gateway: Running) -> None:
    asked = gateway.ask(RESPONSES, "/responses")
    found = events(asked)
    response_id = json.loads(found[0].data)["response"]["id"]
    for value in ("", "x", "-1", "1.5", "٣", "1e3", "9" * 20, found[0].id):
        query = {"stream": "true", "starting_after": value}
        assert gateway.get(f"/responses/{response_id}", params=query).status_code == 400, value
    assert gateway.get(f"/streams/{asked.headers['X-Unspool-Id']}?starting_after=1").status_code == 400
    chat = gateway.ask().headers["X-Unspool-Id"]
    assert gateway.get(f"/streams/{chat}?starting_after=1").status_code == 400


def test_starting_after_is_400_where_upstream_sends_no_sequence_numbers(tmp_path: Path) -> None:
    answer = wire.SSE_HEAD + wire.start("responses") + wire.piece("responses", "Hi") + wire.end("responses")
    with Server(answer) as server, Running(server.url, tmp_path / "g") as gateway:
        events(gateway.ask(RESPONSES, "/responses"))
        answer_to = gateway.get("/responses/r1?stream=true&starting_after=1")
        assert answer_to.status_code == 400
        assert "/v1/streams" in answer_to.json()["error"]["message"]


# Links


def link(gateway: Running, id: str, **asked: object) -> str:
    return str(gateway.ask(asked, f"/streams/{id}/link").json()["path"]).removeprefix("/v1")


def read(gateway: Running, path: str, **options: object) -> requests.Response:
    return requests.get(gateway.url + path, timeout=PATIENCE, **options)  # type: ignore[arg-type]


def test_a_link_reads_its_stream_in_its_format_without_a_key(gateway: Running) -> None:
    id = gateway.ask().headers["X-Unspool-Id"]
    for format in ("unspool", "ai-sdk"):
        answer = read(gateway, link(gateway, id, format=format) + "&format=upstream")
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.text == gateway.get(f"/streams/{id}?format={format}").text
    assert link(gateway, id).partition("link=")[2].startswith("unspool.")


def test_a_link_that_was_changed_or_is_of_another_stream_is_404(gateway: Running) -> None:
    id, other = (gateway.ask().headers["X-Unspool-Id"] for _ in range(2))
    path = link(gateway, id)
    format, expires, signature = path.partition("link=")[2].split(".")
    for changed in (
        f"upstream.{expires}.{signature}",
        f"ai-sdk.{expires}.{signature}",
        f"{format}.{int(expires) + 1}.{signature}",
        f"{format}.{expires}.{'0' * len(signature)}",
        f"{format}.{expires}.",
        f"{format}.{expires}",
        f"{format}.{expires}.%C3%A9",
        f"{format}.%C2%B2.{signature}",
        f"{format} {expires}..{signature}",
        "",
        ".",
        "...",
    ):
        assert read(gateway, f"/streams/{id}?link={changed}").status_code == 404, changed
    assert read(gateway, path.replace(id, other)).status_code == 404


def test_a_link_only_reads(gateway: Running) -> None:
    id = gateway.ask().headers["X-Unspool-Id"]
    path = link(gateway, id)
    query = path.partition("?")[2]
    for method, target in (
        ("DELETE", path),
        ("POST", path),
        ("POST", f"/streams/{id}/cancel?{query}"),
        ("POST", f"/streams/{id}/link?{query}"),
        ("GET", f"/streams?{query}"),
    ):
        answer = requests.request(method, gateway.url + target, headers=bearer("sk-bob"), timeout=PATIENCE)
        assert answer.status_code == 404 or answer.json() == {"object": "list", "data": []}
    assert read(gateway, path).status_code == 200


def test_a_link_ends_at_its_time_and_with_its_stream(gateway: Running) -> None:
    id = gateway.ask().headers["X-Unspool-Id"]
    short = link(gateway, id, seconds=0.01)
    until(lambda: read(gateway, short).status_code == 404)
    for seconds in (0, -1, 7 * 86400 + 1, "1", None, 1e999):
        answer = gateway.ask({"seconds": 1}, f"/streams/{id}/link", data=None) if seconds == 1e999 else None
        answer = answer or gateway.ask({"seconds": seconds}, f"/streams/{id}/link")
        assert answer.status_code == (200 if seconds == 1e999 else 400), seconds
    path = link(gateway, id)
    requests.delete(f"{gateway.url}/streams/{id}", headers=bearer("sk-alice"), timeout=PATIENCE)
    assert read(gateway, path).status_code == 404


def test_no_log_has_a_links_signature(gateway: Running, caplog: pytest.LogCaptureFixture) -> None:
    id = gateway.ask().headers["X-Unspool-Id"]
    path = link(gateway, id)
    with caplog.at_level(logging.DEBUG, "unspool"):
        assert read(gateway, path).status_code == 200
        until(lambda: [one for one in caplog.records if one.name == "unspool.serve.audit"])
    signature = path.rpartition(".")[2]
    assert all(
        signature not in f"{one.getMessage()} {vars(one)}" for one in caplog.records if one.name.startswith("unspool")
    )


# Idempotency keys


def test_a_running_stream_is_attached_to_by_its_idempotency_key(tmp_path: Path) -> None:
    with Simulator(SimulatorSettings(itl=0.05)) as simulator, Running(simulator.url, tmp_path / "g") as gateway:
        key = {"Idempotency-Key": "k"}
        first = gateway.ask(headers=key)
        reading = each_event(first)
        begun = [next(reading)]
        again = gateway.ask(headers=key)
        assert again.headers["X-Unspool-Id"] == first.headers["X-Unspool-Id"]
        assert [one.data for one in events(again)] == [one.data for one in [*begun, *reading]]
        assert len(simulator.requests) == 1


def test_an_idempotency_key_is_of_one_path_and_one_body(gateway: Running) -> None:
    key = {"Idempotency-Key": "k"}
    events(gateway.ask(headers=key))
    other = gateway.ask({**CHAT, "temperature": 1}, headers=key)
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_mismatch")
    assert gateway.ask(RESPONSES, "/responses", headers=key).status_code == 200


@pytest.mark.parametrize(
    "failure",
    [wire.error(500), wire.error(400), b"", wire.SSE_HEAD, wire.CHUNKED_HEAD, wire.SSE_HEAD + b"data: {\n"],
    ids=["500", "400", "no head", "no event", "cut chunks", "half an event"],
)
def test_a_request_that_failed_before_its_first_event_is_forgotten(failure: bytes, tmp_path: Path) -> None:
    good = wire.SSE_HEAD + wire.start("chat") + wire.piece("chat", "Hi") + wire.end("chat")
    key = {"Idempotency-Key": "k"}
    with Server(*[failure] * 5, good) as server, Running(server.url, tmp_path / "g") as gateway:
        failed = []
        for _ in range(5):
            answer = gateway.ask(headers=key)
            failed.append(answer.headers["X-Unspool-Id"])
            assert "Hi" not in answer.text
        assert len(set(failed)) == 5
        assert events(gateway.ask(headers=key))[-1].data == "[DONE]"
        assert len(server.requests) == 6
        assert events(gateway.ask(headers=key))[-1].data == "[DONE]"
        assert len(server.requests) == 6


def test_a_request_that_failed_after_its_first_event_is_attached_to(tmp_path: Path) -> None:
    key = {"Idempotency-Key": "k"}
    with (
        Server(wire.SSE_HEAD + wire.start("chat") + wire.piece("chat", "Hi")) as server,
        Running(server.url, tmp_path / "g") as gateway,
    ):
        first, again = (events(gateway.ask(headers=key)) for _ in range(2))
        assert [one.data for one in first] == [one.data for one in again]
        assert json.loads(first[-1].data)["error"]["code"] == "cut"
        assert len(server.requests) == 1


# Background responses, of which upstream goes on without anybody


def test_a_background_response_is_asked_of_upstream_until_it_has_ended(tmp_path: Path) -> None:
    states = iter(["queued", "in_progress", "completed"])

    def answer(connection: Connection) -> None:
        connection.reply(200, {"id": "resp_1", "object": "response", "status": next(states), "output": []})

    with Server(answer) as server, Running(server.url, tmp_path / "g") as gateway:
        body = {"model": "m", "input": "Hi", "background": True}
        assert gateway.ask(body, "/responses").json()["status"] == "queued"
        assert gateway.get("/responses/resp_1").json()["status"] == "in_progress"
        assert gateway.get("/responses/resp_1").json()["status"] == "completed"
        assert [one.method for one in server.requests] == ["POST", "GET", "GET"]
