"""Any client works through the gateway, and what it lost it gets again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from support.waiting import PATIENCE
from unspool.sim.running import Simulator
from unspool.sse import Event

from .gateways import CHAT, Running, events

RESPONSES = {"model": "gpt-5.4-mini", "stream": True, "input": "What is Python?"}
COMPLETIONS = {"model": "gpt-3.5-turbo-instruct", "stream": True, "prompt": "What is Python?", "max_tokens": 100}
BODIES = {"/chat/completions": CHAT, "/responses": RESPONSES, "/completions": COMPLETIONS}


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


def said(found: list[Event]) -> list[tuple[str, str]]:
    return [(one.type, one.data) for one in found]


@pytest.mark.parametrize("path", BODIES)
def test_events_pass_with_their_data_unchanged_and_ids_of_their_own(
    path: str, gateway: Running, tmp_path: Path
) -> None:
    response = gateway.ask(BODIES[path], path)
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/event-stream")
    assert response.headers["Cache-Control"] == "no-store, no-transform"
    assert response.headers["X-Accel-Buffering"] == "no"
    found = events(response)
    ids = [one.id for one in found]
    assert len(set(ids)) == len(ids)
    journal = (tmp_path / "gateway/streams" / (response.headers["X-Unspool-Id"] + ".sse")).read_text()
    for one in found:
        assert f"data: {one.data}\n" in journal


@pytest.mark.parametrize("path", BODIES)
def test_a_stream_is_taken_up_after_every_event(path: str, gateway: Running) -> None:
    response = gateway.ask(BODIES[path], path)
    complete = events(response)
    id = response.headers["X-Unspool-Id"]
    for index, event in enumerate(complete):
        again = gateway.get(f"/streams/{id}", headers={"Last-Event-ID": event.id})
        rest = complete[index + 1 :]
        assert again.status_code == (200 if rest else 204)
        assert said(events(again)) == said(rest)
        query = gateway.get(f"/streams/{id}?after={event.id}")
        assert said(events(query)) == said(rest)


@pytest.mark.parametrize("format", ["unspool", "ai-sdk"])
@pytest.mark.parametrize("path", BODIES)
def test_a_decoded_stream_is_taken_up_after_every_event_without_a_gap_or_a_duplicate(
    path: str, format: str, gateway: Running
) -> None:
    id = gateway.ask(BODIES[path], path).headers["X-Unspool-Id"]
    complete = events(gateway.get(f"/streams/{id}?format={format}"))
    begun = next(
        index for index, event in enumerate(complete) if event.id
    )  # the AI SDK's first ones come before all events
    assert begun == (2 if format == "ai-sdk" else 0)
    ids = [event.id for event in complete[begun:]]
    assert len(set(ids)) == len(ids) > 10
    for index in [*range(begun, len(complete), 7), *range(len(complete) - 5, len(complete))]:
        again = gateway.get(f"/streams/{id}?format={format}", headers={"Last-Event-ID": complete[index].id})
        assert said(events(again)) == said(complete[index + 1 :]), index


def test_a_cursor_within_an_entry_that_is_malformed_is_refused(gateway: Running) -> None:
    id = gateway.ask().headers["X-Unspool-Id"]
    for place in ("3.", "3.x", ".1", "3.1.1", "-1.1", "3.-1", "3.99999999999999999"):
        assert gateway.get(f"/streams/{id}?after={id[-8:]}-0-{place}").status_code == 400, place


def test_no_block_of_a_stream_is_without_data(gateway: Running) -> None:
    # openai's SDK for Python takes every blank line for the end of an event, and fails where that has no data.
    id = gateway.ask().headers["X-Unspool-Id"]
    for format in ("upstream", "unspool", "ai-sdk"):
        blocks = gateway.get(f"/streams/{id}?format={format}").text.removesuffix("\n\n").split("\n\n")
        assert all("\ndata: " in f"\n{block}" for block in blocks)


def test_responses_are_taken_up_by_sequence_number(gateway: Running) -> None:
    complete = events(gateway.ask(RESPONSES, "/responses"))
    [created, *_] = [one for one in complete if one.type == "response.created"]
    id = json.loads(created.data)["response"]["id"]
    numbers = [json.loads(one.data)["sequence_number"] for one in complete]
    for number in numbers:
        again = events(gateway.get(f"/responses/{id}?stream=true&starting_after={number}"))
        assert said(again) == said([one for one in complete if json.loads(one.data)["sequence_number"] > number])
    whole = gateway.get(f"/responses/{id}").json()
    assert whole == json.loads(complete[-1].data)["response"]


@pytest.mark.parametrize("path", BODIES)
def test_answers_that_are_not_streamed_pass_as_they_are(path: str, gateway: Running, simulator: Simulator) -> None:
    body = {**BODIES[path], "stream": False}
    response = gateway.ask(body, path)
    direct = requests.post(
        simulator.url + path, json=body, headers={"Authorization": "Bearer sk-alice"}, timeout=PATIENCE
    )
    assert response.status_code == 200
    assert response.json().keys() == direct.json().keys()
    assert response.headers["X-Unspool-Id"]


def test_errors_of_upstream_pass_as_they_are(gateway: Running, simulator: Simulator) -> None:
    wrong = {**CHAT, "temperature": "hot"}
    response = gateway.ask(wrong)
    direct = requests.post(
        simulator.url + "/chat/completions",
        json=wrong,
        headers={"Authorization": "Bearer sk-alice"},
        timeout=PATIENCE,
    )
    assert response.status_code == 400
    assert (response.status_code, response.json()) == (direct.status_code, direct.json())


def test_the_same_idempotency_key_attaches(gateway: Running) -> None:
    first = gateway.ask(headers={"Idempotency-Key": "k"})
    complete = events(first)
    again = gateway.ask(headers={"Idempotency-Key": "k"})
    assert again.headers["X-Unspool-Id"] == first.headers["X-Unspool-Id"]
    assert said(events(again)) == said(complete)
    other = gateway.ask({**CHAT, "temperature": 1}, headers={"Idempotency-Key": "k"})
    assert other.status_code == 422
    stranger = gateway.ask(headers={"Idempotency-Key": "k", "Authorization": "Bearer sk-bob"})
    assert stranger.headers["X-Unspool-Id"] != first.headers["X-Unspool-Id"]


def test_a_stream_is_its_owners_alone(gateway: Running) -> None:
    id = gateway.ask().headers["X-Unspool-Id"]
    bob = {"Authorization": "Bearer sk-bob"}
    assert gateway.get(f"/streams/{id}", headers=bob).status_code == 404
    assert requests.delete(f"{gateway.url}/streams/{id}", headers=bob, timeout=PATIENCE).status_code == 404
    assert requests.post(f"{gateway.url}/streams/{id}/cancel", headers=bob, timeout=PATIENCE).status_code == 404
    assert gateway.get("/streams", headers=bob).json()["data"] == []
    assert [one["id"] for one in gateway.get("/streams").json()["data"]] == [id]
