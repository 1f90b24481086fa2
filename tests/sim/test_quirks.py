"""What real servers send, by name, as a client that knows nothing but HTTP sees it; and the faults that these are written with."""

import http.client
import json
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.waiting import PATIENCE
from unspool.sim.faults.quirks import QUIRKS
from unspool.sim.faults.rewriting import Selector, patch_of, patched
from unspool.sim.faults.table import HEADER, TABLE, read
from unspool.sim.proxy import Proxy
from unspool.sim.running import Simulator
from unspool.sim.simulator import SimulatorSettings
from unspool.sse import Decoder

HELLO = [{"role": "user", "content": "Hello"}]
ASKS = {
    "completions": ("/completions", {"model": "m", "prompt": "Hello"}),
    "chat": ("/chat/completions", {"model": "m", "messages": HELLO}),
    "responses": ("/responses", {"model": "m", "input": "Hello"}),
}
CALLS = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]


@pytest.fixture(scope="module", params=["simulator", "proxy"])
def server(request):
    with Simulator() as simulator:
        if request.param == "simulator":
            yield simulator.url
        else:
            with Proxy(simulator.url) as proxy:
                yield proxy.url


class Answer:
    """A response: as much of its body as came before ``until``."""

    def __init__(self, url, api, fault, until=None, **fields):
        path, body = ASKS[api]
        address = urlsplit(url)
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=PATIENCE)
        data = json.dumps({**body, "stream": True, **fields})
        connection.request("POST", address.path + path, data, {HEADER: fault, "Content-Type": "application/json"})
        response = connection.getresponse()
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = b""
        while until is None or self.body.count(until) < 3:
            if not (piece := response.read1(1 << 16)):
                break
            self.body += piece
        connection.close()

    @property
    def events(self):
        return Decoder().feed(self.body)

    @property
    def bodies(self):
        return [json.loads(event.data) for event in self.events if event.data != "[DONE]"]


@pytest.fixture
def ask(server):
    return lambda api, fault="", **more: Answer(server, api, fault, **more)


@pytest.mark.parametrize(
    ("name", "api"),
    [(quirk.name, api) for quirk in QUIRKS.values() for api in quirk.where if "stall" not in quirk.faults],
)
def test_each_quirk_is_on_the_wire_wherever_it_makes_sense(ask, name, api):
    fields = {"max_output_tokens": 16} if name.endswith("limit") and api == "responses" else {}
    fields |= {"n": 2} if name == "choice-cut" else {}
    if name.startswith("needs-"):
        call = {"role": "assistant", "tool_calls": CALLS}
        result = {"role": "tool", "tool_call_id": "c", "content": "1"}
        asked = (
            {"messages": [*HELLO, call, result]}
            if api == "chat"
            else {"input": [{"role": "assistant", "content": "x"}]}
        )
        assert (ask(api, **asked).status, ask(api, name, **asked).status) == (200, 400)
        return
    plain, odd = ask(api, **fields), ask(api, name, **fields)
    assert (plain.status, plain.body) != (odd.status, odd.body)


def test_a_quirk_has_a_name_that_no_fault_has_and_takes_no_value():
    assert not {fault.name for fault in TABLE} & set(QUIRKS)
    with pytest.raises(ValueError, match="there is no fault 'nan'"):
        read("nan=1")


@pytest.mark.parametrize("name", ["held-open", "comments-for-ever"])
def test_a_connection_is_held_open_with_comments(ask, name):
    answer = ask("chat", name, until=b": ping\n\n")
    ended = any(choice["finish_reason"] for body in answer.bodies for choice in body["choices"])
    assert (ended, "[DONE]" in answer.body.decode()) == (name == "held-open", False)


def test_framings_keep_each_event_s_data(ask):
    plain = ask("responses")
    assert ask("responses", "framing=lines").body == plain.body.replace(b"\n\n", b"\n")
    assert ask("responses", "framing=doubled").body == plain.body.replace(b"data: ", b"data: data: ")
    assert ask("responses", "framing=bare").body.decode().splitlines() == [event.data for event in plain.events]


def test_numbers_stand_in_an_event_as_they_were_written(ask):
    for name, written in (("nan", b":NaN"), ("infinity", b":1e400"), ("huge-integer", b"9" * 5000)):
        for api in ASKS:
            assert ask(api, name).body.count(written) == 1


def test_a_response_that_was_cut_by_its_limit_is_called_completed(ask):
    answer = ask("responses", "llamacpp-limit", max_output_tokens=16)
    last = answer.bodies[-1]
    assert (answer.headers["server"], answer.events[-1].type) == ("llama.cpp", "response.completed")
    assert (last["type"], last["response"]["status"]) == ("response.completed", "completed")
    assert last["response"]["usage"]["output_tokens"] == 16


def test_an_item_comes_with_its_events_before_the_others(ask):
    bodies = ask("responses", "commentary").bodies
    assert [body["sequence_number"] for body in bodies] == list(range(len(bodies)))
    said = [
        body["delta"] for body in bodies if body["type"] == "response.output_text.delta" and not body["output_index"]
    ]
    assert "".join(said) == "Let me look that up."
    assert [item.get("phase") for item in bodies[-1]["response"]["output"]] == ["commentary", None]
    assert [item["type"] for item in ask("responses", "computer-call").bodies[-1]["response"]["output"]] == [
        "computer_call",
        "message",
    ]


def test_one_of_two_choices_is_cut(ask):
    ends = [choice for body in ask("chat", "choice-cut", n=2).bodies for choice in body["choices"]]
    assert {choice["index"] for choice in ends} == {0, 1}
    assert [choice["index"] for choice in ends if choice["finish_reason"]] == [0]


def test_an_error_has_the_code_asked_for_in_each_shape(ask):
    for shape in ("nested", "flat", "line", "object", "event", "field", "string"):
        body = ask("chat", f"error=0,{shape},rate_limit_exceeded").body.decode()
        assert "rate_limit_exceeded" in body or "429" in body or shape == "string"
        assert "Rate limit reached" in body
    failed = ask("responses", "error=3,failed,context_length_exceeded").bodies[-1]
    assert failed["response"]["error"]["code"] == "context_length_exceeded"
    assert ask("chat", 'error=1,{"a;b":[1,{"c":2}]}').bodies[-1] == {"a;b": [1, {"c": 2}]}


def test_a_signature_that_came_with_a_call_lets_the_next_request_pass(ask):
    bodies = ask("chat", "needs-signature", tools=TOOLS, tool_choice="required").bodies
    (call,) = [
        one
        for body in bodies
        for choice in body["choices"]
        for one in choice["delta"].get("tool_calls", ())
        if "id" in one
    ]
    said = {"role": "assistant", "tool_calls": [{**CALLS[0], "id": call["id"], "extra_content": call["extra_content"]}]}
    messages = [*HELLO, said, {"role": "tool", "tool_call_id": call["id"], "content": "1"}]
    assert ask("chat", "needs-signature", messages=messages).status == 200


def test_a_dialect_s_header_is_on_every_response():
    with Simulator(SimulatorSettings(dialect="llamacpp")) as simulator:
        for fields in ({}, {"stream": False}, {"model": 3}):
            assert Answer(simulator.url, "chat", "", **fields).headers["server"] == "llama.cpp"
        assert Answer(simulator.url, "chat", "status=500").headers["server"] == "llama.cpp"


@pytest.mark.parametrize(
    "text",
    [
        "set=finish",
        "set=finish,{",
        "set=finish,[1]",
        "set=,{}",
        "drop=a&",
        'insert=end,"x',
        "item=3",
        "header=x",
        "needs=a,b",
        "header=content-length:5",
        "header=x:日本",
        "append=each,[]",
        "set=each," + '{"a":' * 200 + "1" + "}" * 200,
        "set=each," + "[" * 5000,
        "error=1,nested,x",
    ],
)
def test_what_no_such_fault_can_be_is_refused(text):
    with pytest.raises(ValueError, match=r"the fault \w+"):
        read(text)


@pytest.mark.parametrize(
    "fault",
    [
        'set=each,{"choices":null}; finish-with-text; usage=finish; no-finish',
        'set=each,{"choices":[1,null,"x"]}; finish=length; unset=choices.x,null; done=more',
        'append=role,{"choices":[5]}',
        'item={"content":[1,null,{"type":["x"]},{"type":"output_text","text":5}],"summary":"x"}',
        'insert=each,{"type":["x"]}; set=each,{"type":5}',
        'error=0,{"choices":5}',
        r'set=each,{"x":"\ud800"}',
    ],
)
@pytest.mark.parametrize("api", ASKS)
def test_whatever_stands_in_an_event_the_stream_gets_to_its_end(ask, fault, api):
    assert ask(api, fault).status == 200


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=1), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text("ab", max_size=1), JSON, max_size=3)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(OBJECTS, OBJECTS)
def test_a_patch_is_in_what_it_changed_and_changes_nothing_twice(value, patch):
    changed = patched(value, patch)
    assert patched(changed, patch) == changed
    assert {key: inner for key, inner in changed.items() if key not in patch} == {
        key: inner for key, inner in value.items() if key not in patch
    }


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(OBJECTS)
def test_a_patch_can_be_read_and_an_event_can_be_selected_by_its_values(value):
    patch_of(json.dumps(value))
    for name, found in value.items():
        if isinstance(found, bool | int | None):
            assert Selector(f"{name}={json.dumps(found)}").holds(value) or not name
