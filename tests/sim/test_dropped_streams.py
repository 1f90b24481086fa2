"""Connections that the simulator cuts, so that clients show how they go on."""

import http.client
import json
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from support.waiting import PATIENCE
from unspool.sim.running import Simulator
from unspool.sim.simulator import SimulatorSettings
from unspool.sse import Decoder

ASKS = {
    "/completions": {"model": "sim-1", "prompt": "Hello"},
    "/chat/completions": {"model": "sim-1", "messages": [{"role": "user", "content": "Hello"}]},
    "/responses": {"model": "sim-1", "input": "Hello"},
}


def read(client, method, path, body=None):
    """The events of a stream, and whether it was cut."""
    address = urlsplit(client.url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=PATIENCE)
    try:
        connection.request(method, address.path + path, None if body is None else json.dumps(body))
        response = connection.getresponse()
        assert response.status == 200
        return Decoder().feed(response.read()), False
    except http.client.IncompleteRead as broken:
        return Decoder().feed(broken.partial), True
    finally:
        connection.close()


def cut(client, path, body):
    """The events of a stream that has to be cut."""
    events, was_cut = read(client, "POST", path, {**body, "stream": True})
    assert was_cut
    return events


@pytest.fixture(scope="module")
def dropping(client_of):
    with Simulator(SimulatorSettings(drop_after=7)) as simulator:
        yield client_of(simulator.url)


@pytest.mark.parametrize("path", ASKS)
def test_every_stream_is_cut_after_so_many_events(dropping, path):
    assert len(cut(dropping, path, ASKS[path])) == 7


@pytest.mark.parametrize("path", ASKS)
def test_an_answer_in_one_piece_is_not_cut(dropping, path):
    assert dropping.post(path, **ASKS[path])["id"]


def test_a_background_response_is_had_whole_by_resuming_again_and_again(dropping, client):
    ask = {**ASKS["/responses"], "background": True}
    events = cut(dropping, "/responses", ask)
    path = f"/responses/{json.loads(events[0].data)['response']['id']}?stream=true"
    while events[-1].type != "response.completed":
        more, _ = read(dropping, "GET", f"{path}&starting_after={len(events) - 1}")
        assert more
        events += more
    assert [json.loads(event.data)["sequence_number"] for event in events] == list(range(len(events)))
    assert [event.type for event in events] == [event.type for event in client.events("/responses", **ask)]


def test_a_foreground_response_that_was_cut_is_cancelled(dropping, eventually):
    events = cut(dropping, "/responses", ASKS["/responses"])
    id = json.loads(events[0].data)["response"]["id"]
    eventually(lambda: dropping.request("GET", f"/responses/{id}")[0] == 200)
    assert json.loads(dropping.request("GET", f"/responses/{id}")[2])["status"] == "cancelled"


def test_a_stream_of_exactly_that_length_is_cut_too(client, client_of):
    ask = {**ASKS["/completions"], "max_tokens": 3}
    length = len(client.events("/completions", **ask))
    with Simulator(SimulatorSettings(drop_after=length)) as simulator:
        assert cut(client_of(simulator.url), "/completions", ask)[-1].data == "[DONE]"
    with Simulator(SimulatorSettings(drop_after=length + 1)) as simulator:
        assert len(client_of(simulator.url).events("/completions", **ask)) == length


def test_no_event_at_all_is_not_a_stream():
    with pytest.raises(ValueError, match="at least 1"):
        SimulatorSettings(drop_after=0)


def test_nothing_is_said_about_it_and_nothing_is_left_to_warn_about():
    code = """
import http.client
from unspool.sim.running import Simulator
from unspool.sim.simulator import SimulatorSettings
with Simulator(SimulatorSettings(itl=60, drop_after=6)) as simulator:
    host = simulator.url.split("/")[2]
    for background in ("true", "false"):
        connection = http.client.HTTPConnection(host)
        body = '{"model":"m","input":"Hi","stream":true,"background":%s}' % background
        connection.request("POST", "/v1/responses", body)
        connection.getresponse().readline()
        connection.close()
    connection.request("POST", "/v1/responses", '{"model":"m","input":"Hi","background":true}')
    connection.getresponse().read()
    connection.close()
"""
    command = (sys.executable, "-X", "dev", "-W", "error", "-c", code)
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
