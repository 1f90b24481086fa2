"""Responses that are had again: by id, by the turn after, and by what they were asked."""

import asyncio
import http.client
import json
from urllib.parse import urlsplit

import pytest

from support.waiting import PATIENCE
from unspool.sim.endpoints.fields import Fields
from unspool.sim.endpoints.request_identity import RequestIdentity
from unspool.sim.endpoints.responses import ModelResponse
from unspool.sim.errors import RequestError
from unspool.sim.frames import Frame
from unspool.sim.log import Log
from unspool.sim.pace import Pace
from unspool.sim.running import Simulator
from unspool.sim.simulator import SimulatorSettings
from unspool.sim.store import Store, Stored
from unspool.sim.streaming import PacedFrames

PATH = "/responses"
ASK = {"model": "sim-1", "input": "What is Python?"}


def missing(id):
    return {
        "message": f"Response with id '{id}' not found.",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }


def get(client, path):
    status, _, raw = client.request("GET", path)
    assert status == 200
    return json.loads(raw)


@pytest.mark.parametrize("settings", [{}, {"store": True}, {"store": None}, {"max_output_tokens": 3}])
def test_a_response_can_be_had_again(client, settings):
    response = client.post(PATH, **ASK, **settings)
    assert get(client, f"{PATH}/{response['id']}") == response


def test_a_response_that_is_not_stored_is_not_found(client):
    id = client.post(PATH, **ASK, store=False, user="nobody")["id"]
    for method, path in [
        ("GET", ""),
        ("GET", "?stream=true"),
        ("DELETE", ""),
        ("GET", "/input_items"),
        ("POST", "/cancel"),
    ]:
        assert client.error(method, f"{PATH}/{id}{path}") == (404, missing(id))


@pytest.mark.parametrize("stream", [True, False])
def test_what_its_client_hangs_up_on_is_cancelled_and_cannot_be_resumed(client_of, eventually, stream):
    body = json.dumps({**ASK, "stream": stream}).encode()
    id = RequestIdentity(seed=0, method="POST", path="/v1/responses", body=body, clock=lambda: 0).id("resp_")
    with Simulator(SimulatorSettings(ttft=3600)) as simulator:
        client = client_of(simulator.url)
        address = urlsplit(simulator.url)
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=PATIENCE)
        connection.request("POST", "/v1/responses", body)
        assert client.error("GET", f"{PATH}/{id}") == (404, missing(id)), "while it is made it is not to be had"
        connection.close()
        eventually(lambda: client.request("GET", f"{PATH}/{id}")[0] == 200)
        response = get(client, f"{PATH}/{id}")
        assert (response["status"], response["output"]) == ("cancelled", [])
        status, error = client.error("GET", f"{PATH}/{id}?stream=true")
        assert (status, error["param"]) == (400, "stream")


def test_a_deleted_response_is_gone(client):
    id = client.post(PATH, **ASK)["id"]
    status, _, raw = client.request("DELETE", f"{PATH}/{id}")
    assert (status, json.loads(raw)) == (200, {"id": id, "object": "response", "deleted": True})
    assert client.error("GET", f"{PATH}/{id}") == (404, missing(id))
    assert client.error("DELETE", f"{PATH}/{id}")[0] == 404


def test_a_response_in_flight_cannot_be_deleted(client_of):
    with Simulator(SimulatorSettings(ttft=3600)) as simulator:
        client = client_of(simulator.url)
        id = client.post(PATH, **ASK, background=True)["id"]
        assert client.error("DELETE", f"{PATH}/{id}")[1]["message"] == "Cannot delete an in-flight response."
        client.request("POST", f"{PATH}/{id}/cancel")
        assert client.request("DELETE", f"{PATH}/{id}")[0] == 200


def test_a_turn_knows_how_many_were_before(client):
    first = client.post(PATH, **ASK)
    second = client.post(PATH, model="sim-1", input="And now?", previous_response_id=first["id"])
    third = client.post(PATH, model="sim-1", input="And then?", previous_response_id=second["id"])
    texts = [turn["output"][0]["content"][0]["text"] for turn in (first, second, third)]
    assert not texts[0].startswith("**Turn")
    assert texts[1].startswith("**Turn 2**\n\n")
    assert texts[2].startswith("**Turn 3**\n\n")
    assert second["previous_response_id"] == first["id"]


def test_what_was_said_before_counts_as_input(client):
    first = client.post(PATH, **ASK, instructions="Be brief.")
    second = client.post(PATH, **ASK, previous_response_id=first["id"])
    said = client.post(PATH, **ASK, store=False)["usage"]["input_tokens"]
    assert second["usage"]["input_tokens"] == said + first["usage"]["output_tokens"] + said


def test_an_unknown_previous_response_is_refused(client):
    assert client.error("POST", PATH, {**ASK, "previous_response_id": "resp_0"}) == (
        400,
        {
            "message": "Previous response with id 'resp_0' not found.",
            "type": "invalid_request_error",
            "param": "previous_response_id",
            "code": "previous_response_not_found",
        },
    )


def test_the_input_is_listed_with_the_latest_first(client):
    said = [{"role": "user", "content": f"Message {number}"} for number in range(5)]
    path = f"{PATH}/{client.post(PATH, model='sim-1', input=said)['id']}/input_items"

    def texts(query=""):
        return [item["content"][0]["text"][-1] for item in get(client, path + query)["data"]]

    assert texts() == ["4", "3", "2", "1", "0"]
    assert texts("?order=asc&limit=2") == ["0", "1"]
    page = get(client, path + "?limit=2")
    assert (page["first_id"], page["has_more"]) == (page["data"][0]["id"], True)
    assert texts(f"?limit=3&after={page['last_id']}") == ["2", "1", "0"]
    assert get(client, f"{path}?limit=3&after={page['last_id']}")["has_more"] is False


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "order=up", "after=msg_0"])
def test_a_wrong_query_for_the_input_is_named(client, query):
    id = client.post(PATH, **ASK)["id"]
    status, error = client.error("GET", f"{PATH}/{id}/input_items?{query}")
    assert (status, error["param"]) == (400, query.split("=")[0])


def test_half_a_surrogate_pair_in_the_input_can_be_had_again(client):
    _, _, raw = client.request("POST", PATH, b'{"model":"m","instructions":"\\ud83d","input":"\\ud83d"}')
    path = f"{PATH}/{json.loads(raw)['id']}"
    assert client.request("GET", path)[0] == client.request("GET", path + "/input_items")[0] == 200


def stored(user, **settings):
    body = {**ASK, "user": user, **settings}
    stamp = RequestIdentity(seed=0, method="POST", path="/", body=json.dumps(body).encode(), clock=lambda: 0)
    return Stored(ModelResponse(Fields(body), stamp, Store().previous), 0)


def test_one_response_too_many_pushes_out_the_oldest():
    store = Store(limit=2)
    kept = [stored(user) for user in "abc"]
    for one in kept:
        one.response.whole()
        store.keep(one)
    with pytest.raises(RequestError, match="not found"):
        store.get(kept[0].response.id)
    assert [store.get(one.response.id) for one in kept[1:]] == kept[1:]


def test_one_that_is_pushed_out_while_it_is_made_is_stopped():
    async def scenario():
        store = Store(limit=1)
        first = stored("a", background=True, stream=True)
        store.keep(first)
        first.make(PacedFrames(first.response.frames(), Pace(ttft=3600).of("")))
        events = first.log.read()
        assert (await anext(events)).type == "response.created"
        store.keep(stored("b"))
        # The stream ends although nothing ever comes due.
        assert "response.completed" not in [frame.type async for frame in events]
        assert first.response.status == "cancelled"

    asyncio.run(scenario())


def test_a_reader_of_a_log_waits_for_what_comes():
    async def scenario():
        log = Log()
        log.append(Frame("0"))
        early, late = log.read(), log.read(2)
        assert (await anext(early)).data == "0"
        waiting = [asyncio.ensure_future(anext(reader, None)) for reader in (early, late)]
        await asyncio.sleep(0)
        log.append(Frame("1"))
        assert (await waiting[0]).data == "1"
        assert not waiting[1].done()
        log.append(Frame("2"))
        assert (await waiting[1]).data == "2"
        log.close()
        assert [frame.data async for frame in early] == ["2"]
        assert [frame.data async for frame in late] == []

    asyncio.run(scenario())
