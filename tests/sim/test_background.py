"""Responses in the background: made without a connection, streamed again from any event on, cancelled."""

import http.client
import json
from urllib.parse import urlsplit

import pytest

from support.waiting import PATIENCE
from unspool.sim.running import Simulator
from unspool.sim.simulator import SimulatorSettings
from unspool.sse import Decoder

PATH = "/responses"
ASK = {"model": "sim-1", "input": "What is Python?", "background": True}
TOO_OLD = "This response can no longer be streamed because it is more than 5 minutes old"


class Stream:
    """A stream that is read while it is sent. Leaving it hangs up."""

    def __init__(self, url, method, path, body=None):
        address = urlsplit(url)
        self._connection = http.client.HTTPConnection(address.hostname, address.port, timeout=PATIENCE)
        self._connection.request(method, address.path + path, None if body is None else json.dumps(body))
        self._response = self._connection.getresponse()
        assert self._response.status == 200
        self._decoder = Decoder()

    def __iter__(self):
        # To its end, which raises IncompleteRead when the connection was cut.
        while raw := self._response.read1():
            yield from (json.loads(event.data) for event in self._decoder.feed(raw))

    def until(self, type):
        """The events up to the first of that type."""
        events = []
        for event in self:
            events.append(event)
            if event["type"] == type:
                return events
        raise AssertionError(f"no {type} among {[event['type'] for event in events]}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._connection.close()
        self._response.close()


@pytest.fixture(scope="module")
def slow(client_of):
    """A simulator whose streams stand still after the first token, for an hour."""
    with Simulator(SimulatorSettings(itl=3600, clock=lambda: 1_800_000_000.0)) as simulator:
        yield client_of(simulator.url)


def stream(client, **body):
    return Stream(client.url, "POST", PATH, {**ASK, "stream": True, **body})


def resume(client, id, query=""):
    return Stream(client.url, "GET", f"{PATH}/{id}?stream=true{query}")


def replay(client, id, query=""):
    """The events of a stream that is no longer live."""
    with resume(client, id, query) as stream:
        return list(stream)


def bodies(client, **body):
    return [json.loads(event.data) for event in client.events(PATH, **{**ASK, **body})]


def get(client, id):
    status, _, raw = client.request("GET", f"{PATH}/{id}")
    assert status == 200
    return json.loads(raw)


def cancel(client, id):
    status, _, raw = client.request("POST", f"{PATH}/{id}/cancel")
    assert status == 200
    return json.loads(raw)


def status_of(client, id):
    return get(client, id)["status"]


def test_a_response_is_queued_before_it_is_in_progress(client):
    events = bodies(client)
    assert [(event["type"], event["response"]["status"]) for event in events if "response" in event] == [
        ("response.created", "queued"),
        ("response.queued", "queued"),
        ("response.in_progress", "in_progress"),
        ("response.completed", "completed"),
    ]
    assert all(event["response"]["background"] for event in events if "response" in event)


def test_sequence_numbers_count_from_zero_without_a_hole(client):
    numbers = [event["sequence_number"] for event in bodies(client)]
    assert numbers == list(range(len(numbers)))


def test_without_stream_the_queued_response_is_the_answer(slow, eventually):
    response = slow.post(PATH, **ASK)
    assert (response["status"], response["output"], response["usage"]) == ("queued", [], None)
    eventually(lambda: status_of(slow, response["id"]) == "in_progress")


def test_without_stream_it_is_made_all_the_same(client, eventually):
    id = client.post(PATH, **ASK)["id"]
    eventually(lambda: status_of(client, id) == "completed")
    assert get(client, id)["output"][0]["content"][0]["text"].startswith("# What is Python?")


def test_the_stored_response_is_the_last_snapshot_of_its_stream(client):
    ended = bodies(client)[-1]["response"]
    assert get(client, ended["id"]) == ended


def test_a_limit_leaves_it_incomplete(client):
    ended = bodies(client, max_output_tokens=3)[-1]
    assert ended["type"] == "response.incomplete"
    assert status_of(client, ended["response"]["id"]) == "incomplete"


def test_a_replay_is_the_first_stream_byte_for_byte(client):
    raw = client.request("POST", PATH, {**ASK, "stream": True})[2]
    id = json.loads(Decoder().feed(raw)[0].data)["response"]["id"]
    status, headers, again = client.request("GET", f"{PATH}/{id}?stream=true")
    assert (status, headers["content-type"], again) == (200, "text/event-stream; charset=utf-8", raw)


def test_a_replay_begins_after_any_event(client):
    events = bodies(client, max_output_tokens=5)
    id = events[0]["response"]["id"]
    for number in range(len(events) + 2):
        assert replay(client, id, f"&starting_after={number}") == events[number + 1 :]


def test_a_replay_can_do_without_padding(client):
    events = bodies(client, max_output_tokens=5)
    bare = [{name: value for name, value in event.items() if name != "obfuscation"} for event in events]
    assert bare != events
    assert replay(client, events[0]["response"]["id"], "&include_obfuscation=false") == bare


@pytest.mark.parametrize(
    ("query", "param"),
    [("starting_after=x", "starting_after"), ("starting_after=-1", "starting_after"), ("stream=1", "stream")],
)
def test_a_wrong_query_is_named(client, query, param):
    id = bodies(client)[0]["response"]["id"]
    status, error = client.error("GET", f"{PATH}/{id}?stream=true&{query}")
    assert (status, error["param"]) == (400, param)


def test_hanging_up_does_not_stop_it(client_of):
    with Simulator(SimulatorSettings(itl=0.002)) as simulator:
        client = client_of(simulator.url)
        with stream(client, input="A story in 40 tokens") as first:
            begun = first.until("response.created")
        with resume(client, begun[0]["response"]["id"], "&starting_after=0") as second:
            events = begun + second.until("response.completed")
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert sum(event["type"] == "response.output_text.delta" for event in events) == 40


def test_a_resumed_stream_replays_and_then_is_live(slow):
    with stream(slow) as first:
        begun = first.until("response.output_text.delta")
    id = begun[0]["response"]["id"]
    with resume(slow, id, "&starting_after=1") as second:
        assert second.until("response.output_text.delta") == begun[2:]
        cancel(slow, id)
        assert list(second) == []


def test_any_number_of_readers_get_the_same_stream(slow):
    with stream(slow) as first:
        begun = first.until("response.output_text.delta")
        id = begun[0]["response"]["id"]
        with resume(slow, id) as second, resume(slow, id) as third:
            assert second.until("response.output_text.delta") == begun
            assert third.until("response.output_text.delta") == begun
            cancel(slow, id)
            assert (list(first), list(second), list(third)) == ([], [], [])


def test_two_identical_ones_alive_at_once_have_ids_of_their_own(slow):
    ids = {slow.post(PATH, **ASK, user="two")["id"] for _ in range(3)}
    assert len(ids) == 3


def test_one_made_on_its_connection_is_alive_too(slow):
    with stream(slow, background=False) as first, stream(slow, background=False) as second:
        ids = {each.until("response.created")[0]["response"]["id"] for each in (first, second)}
    assert len(ids) == 2


def test_once_one_has_ended_the_same_request_gets_the_same_bytes(client):
    first, second = (client.request("POST", PATH, {**ASK, "stream": True})[2] for _ in range(2))
    assert first == second


def test_a_cancelled_response_ends_its_stream_without_a_terminal_event(slow):
    with stream(slow) as live:
        id = live.until("response.output_text.delta")[0]["response"]["id"]
        cancelled = cancel(slow, id)
        assert list(live) == []
    assert (cancelled["status"], cancelled["output"], cancelled["completed_at"]) == ("cancelled", [], None)
    assert get(slow, id) == cancelled


def test_cancelling_twice_is_cancelling_once(slow):
    id = slow.post(PATH, **ASK)["id"]
    assert cancel(slow, id) == cancel(slow, id)


def test_a_cancelled_stream_can_still_be_replayed(slow):
    with stream(slow) as live:
        begun = live.until("response.output_text.delta")
    id = begun[0]["response"]["id"]
    cancel(slow, id)
    assert replay(slow, id) == begun


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "Cannot cancel a completed response."),
        ({"max_output_tokens": 3}, "Cannot cancel a response in terminal state."),
        ({"background": False}, "Cannot cancel a synchronous response."),
    ],
)
def test_what_has_ended_cannot_be_cancelled(client, settings, message):
    id = bodies(client, **settings)[-1]["response"]["id"]
    status, error = client.error("POST", f"{PATH}/{id}/cancel")
    assert (status, error["message"]) == (400, message)


@pytest.mark.parametrize(
    ("settings", "lacking"), [({"background": False}, "background"), ({"stream": False}, "stream")]
)
def test_only_a_background_stream_can_be_streamed_again(client, settings, lacking):
    status, _, raw = client.request("POST", PATH, {**ASK, "stream": True, **settings})
    assert status == 200
    id = (json.loads(raw) if raw.startswith(b"{") else json.loads(Decoder().feed(raw)[0].data)["response"])["id"]
    status, error = client.error("GET", f"{PATH}/{id}?stream=true")
    assert (status, error["param"]) == (400, "stream")
    assert f"not created with {lacking}=true" in error["message"]


def test_a_stream_that_may_never_be_resumed_is_too_old_at_once(client_of):
    with Simulator(SimulatorSettings(resumable_for=0)) as simulator:
        client = client_of(simulator.url)
        id = bodies(client)[0]["response"]["id"]
        status, error = client.error("GET", f"{PATH}/{id}?stream=true&starting_after=3")
        assert (status, error["type"], error["message"]) == (400, "invalid_request_error", TOO_OLD)
        assert status_of(client, id) == "completed"


def test_a_stream_can_be_resumed_for_five_minutes(client_of):
    now = [1_800_000_000.0]
    with Simulator(SimulatorSettings(clock=lambda: now[0])) as simulator:
        client = client_of(simulator.url)
        events = bodies(client)
        id = events[0]["response"]["id"]
        now[0] += 299
        assert replay(client, id) == events
        now[0] += 1
        assert client.error("GET", f"{PATH}/{id}?stream=true")[1]["message"] == TOO_OLD


@pytest.fixture(scope="module")
def numbered(client_of):
    with Simulator(SimulatorSettings(event_ids=True)) as simulator:
        yield client_of(simulator.url)


def test_event_ids_are_the_sequence_numbers(numbered):
    for event in numbered.events(PATH, **ASK):
        assert event.id == str(json.loads(event.data)["sequence_number"])


def test_last_event_id_resumes_when_ids_are_sent(numbered):
    events = numbered.events(PATH, **ASK)
    path = f"{PATH}/{json.loads(events[0].data)['response']['id']}?stream=true"
    for query, header, after in [("", "6", 6), ("&starting_after=2", "6", 2), ("", "junk", -1)]:
        raw = numbered.request("GET", path + query, None, **{"Last-Event-ID": header})[2]
        assert Decoder().feed(raw) == events[after + 1 :]


def test_last_event_id_means_nothing_when_no_ids_are_sent(client):
    raw = client.request("POST", PATH, {**ASK, "stream": True})[2]
    id = json.loads(Decoder().feed(raw)[0].data)["response"]["id"]
    assert b"\nid:" not in raw
    assert client.request("GET", f"{PATH}/{id}?stream=true", None, **{"Last-Event-ID": "6"})[2] == raw


def test_a_run_ends_with_the_server_and_can_be_asked_about_after_a_restart(client_of):
    simulator = Simulator(SimulatorSettings(itl=3600))
    with simulator:
        id = client_of(simulator.url).post(PATH, **ASK, stream=False)["id"]
    with simulator:
        assert status_of(client_of(simulator.url), id) == "cancelled"
