"""The library as programs use it: clients, facts, conversations, tools, objects, and answers read from their journals."""

from __future__ import annotations

import asyncio
import copy
import gc
import json
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import pytest

import unspool
from support.server import Connection, Server, sends
from support.waiting import PATIENCE
from support.wire import CHUNKED_HEAD, DONE, LAST_CHUNK, SSE_HEAD, chunk, error, event
from unspool.client.library import objects
from unspool.outcome import Ending
from unspool.sim.running import Simulator

from .reading import KEY, WHOLE, finish, piece


@pytest.fixture(autouse=True)
def at_home(home: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator() as running:
        yield running


@pytest.fixture
def url(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("OPENAI_BASE_URL", simulator.url)
    monkeypatch.setenv("UNSPOOL_MODEL", "sim-1")
    return simulator.url


def keeps_alive(connection: Connection) -> None:
    """Answer every request of a connection, as servers do."""
    while True:
        connection.send(CHUNKED_HEAD + chunk(WHOLE) + LAST_CHUNK)
        if not connection.read_request():
            return


def at(server: Server) -> dict[str, Any]:
    return {"base_url": server.url, "model": "m", "key": KEY}


# Clients.


def test_a_client_uses_one_connection_for_one_answer_after_another() -> None:
    with Server(keeps_alive) as server:
        with unspool.Client(**at(server)) as client:
            assert [client.stream("Hi").read() for _ in range(5)] == ["Hello"] * 5
        assert server.connections == 1


async def test_an_async_client_uses_one_connection_for_one_answer_after_another() -> None:
    with Server(keeps_alive) as server:
        async with unspool.AsyncClient(**at(server)) as client:
            assert [await client.stream("Hi").read() for _ in range(5)] == ["Hello"] * 5
        assert server.connections == 1


def ends_late(sent: threading.Event, read: threading.Event) -> Any:
    """End the HTTP answer only when its stream has been read."""

    def script(connection: Connection) -> None:
        while True:
            connection.send(CHUNKED_HEAD + chunk(WHOLE))
            assert read.wait(PATIENCE)
            read.clear()
            connection.send(LAST_CHUNK)
            sent.set()
            if not connection.read_request():
                return

    return script


def test_a_connection_is_used_again_whose_http_answer_ends_after_its_stream() -> None:
    sent, read = threading.Event(), threading.Event()
    with Server(ends_late(sent, read)) as server:
        with unspool.Client(**at(server)) as client:
            for _ in range(3):
                assert client.stream("Hi").read() == "Hello"
                read.set()
                assert sent.wait(PATIENCE)
                sent.clear()
        assert server.connections == 1


async def test_a_connection_is_used_again_whose_http_answer_ends_after_its_stream_in_asyncio() -> None:
    sent, read = threading.Event(), threading.Event()
    with Server(ends_late(sent, read)) as server:
        async with unspool.AsyncClient(**at(server)) as client:
            for _ in range(3):
                assert await client.stream("Hi").read() == "Hello"
                read.set()
                assert await asyncio.to_thread(sent.wait, 10)
                sent.clear()
        assert server.connections == 1


def test_sixteen_threads_share_a_client_and_each_gets_its_own_answer() -> None:
    together = threading.Barrier(16)

    def script(connection: Connection) -> None:
        while True:
            asked = json.loads(connection.body)["messages"][-1]["content"]
            connection.send(CHUNKED_HEAD, chunk(piece(asked)))
            if asked.endswith(".0"):
                together.wait(PATIENCE)  # so that all of them stream at once
            connection.send(chunk(piece("!") + finish() + DONE) + LAST_CHUNK)
            if not connection.read_request():
                return

    answers: dict[str, str] = {}

    def work(number: int) -> None:
        for turn in range(5):
            asked = f"{number}.{turn}"
            answers[asked] = client.stream(asked).read()

    with Server(script) as server:
        with unspool.Client(**at(server)) as client:
            threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert answers == {f"{number}.{turn}": f"{number}.{turn}!" for number in range(16) for turn in range(5)}
        assert server.connections < 40


def test_a_clients_arguments_are_defaults_and_options_are_joined() -> None:
    with Server(sends(SSE_HEAD, WHOLE)) as server:
        with unspool.Client(**at(server), system="Be brief.", max_tokens=7, options={"a": 1, "b": 1}) as client:
            client.stream("Hi", max_tokens=9, options={"b": 2}).read()
        body = json.loads(server.requests[0].body)
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (body["max_tokens"], body["a"], body["b"]) == (9, 1, 2)


def test_a_closed_client_says_so() -> None:
    client = unspool.Client(base_url="http://127.0.0.1:9/v1", model="m")
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.stream("Hi")


def test_a_key_that_was_refused_is_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = tmp_path / "keys"
    keys.write_text("sk-the-first-one")
    config = tmp_path / "config.toml"
    monkeypatch.setenv("UNSPOOL_CONFIG", str(config))
    with Server(sends(error(401)), sends(SSE_HEAD, WHOLE)) as server:
        config.write_text(f'profile = "lab"\n[profiles.lab]\nbase_url = "{server.url}"\nkey_cmd = ["cat", "{keys}"]\n')
        with unspool.Client(model="m") as client:
            keys.write_text("sk-the-second-one")
            client.stream("Hi", check=False).read()
            assert client.stream("Hi").read() == "Hello"
        assert [one.headers["authorization"][-10:] for one in server.requests] == ["-first-one", "second-one"]


def test_a_forked_child_does_not_use_its_parents_connections() -> None:
    with Server(keeps_alive) as server:
        client = unspool.Client(**at(server), journal=False)
        client.stream("Hi").read()
        child = os.fork()
        if child == 0:
            try:
                os._exit(0 if client.stream("Hi").read() == "Hello" else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert client.stream("Hi").read() == "Hello"
        client.close()
        assert server.connections == 2


def test_an_argument_that_does_not_exist_is_told_with_the_one_that_was_meant() -> None:
    with pytest.raises(TypeError, match="stream\\(\\) takes no argument 'temprature': did you mean 'temperature'"):
        unspool.stream("Hi", temprature=1)  # type: ignore[call-overload]


def test_a_missing_key_is_told_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(unspool.ConfigError, match="OPENAI_API_KEY"):
        unspool.stream("Hi", model="m")


# What an answer knows.


def test_an_answer_knows_its_facts(url: str) -> None:
    with unspool.stream("Hi") as answer:
        assert answer.text == ""
        text = answer.read()
    assert (answer.text, answer.read()) == (text, text)
    assert (answer.outcome, answer.finish_reason) == ("complete", "stop")
    assert (answer.model, answer.refusal, answer.reasoning, answer.tool_calls) == ("sim-1", None, "", [])
    assert answer.response_id
    assert answer.request_id
    assert answer.message == {"role": "assistant", "content": text}


def test_the_ways_of_reading_go_on_where_the_others_have_stopped(url: str) -> None:
    with unspool.stream("Hi in 9 tokens") as answer:
        first = next(iter(answer))
        second = next(one for one in answer.deltas() if isinstance(one, unspool.Text)).text
        assert answer.read().startswith(first + second)


def test_pieces_that_came_together_are_given_one_by_one_however_they_are_read() -> None:
    words = [f"w{number} " for number in range(300)]
    sent = SSE_HEAD + b"".join(map(piece, words)) + finish() + b"data: [DONE]\n\n"
    with Server(sends(sent)) as server:
        with unspool.stream("Hi", **at(server)) as answer:
            assert list(answer) == words
        with unspool.stream("Hi", **at(server)) as answer:
            assert [one.text for one in answer.deltas() if type(one) is unspool.Text] == words
        with unspool.stream("Hi", **at(server)) as answer:
            read: list[str] = []
            # A piece in each way in turn: neither loses what the other has begun.
            while len(read) < len(words):
                read.append(next(iter(answer)))
                read.append(next(one.text for one in answer.deltas() if type(one) is unspool.Text))
            assert read == words
            assert list(answer) == []
        assert answer.text == "".join(words)


async def test_pieces_that_came_together_are_given_one_by_one_in_asyncio() -> None:
    words = [f"w{number} " for number in range(300)]
    sent = SSE_HEAD + b"".join(map(piece, words)) + finish() + b"data: [DONE]\n\n"
    with Server(sends(sent)) as server:
        async with unspool.astream("Hi", **at(server)) as answer:
            assert [one async for one in answer] == words
        async with unspool.astream("Hi", **at(server)) as answer:
            read: list[str] = []
            while len(read) < len(words):
                read.append(await anext(aiter(answer)))
                async for one in answer.deltas():
                    if type(one) is unspool.Text:
                        read.append(one.text)
                        break
            assert read == words


def test_events_are_the_servers_own() -> None:
    with Server(sends(SSE_HEAD, WHOLE)) as server, unspool.stream("Hi", **at(server)) as answer:
        events = list(answer.events())
    assert [one.data for one in events[-2:]] == [finish()[6:-2].decode(), "[DONE]"]
    assert len(events) == 4


async def test_events_are_the_servers_own_in_asyncio() -> None:
    with Server(sends(SSE_HEAD, WHOLE)) as server:
        async with unspool.astream("Hi", **at(server)) as answer:
            assert len([one async for one in answer.events()]) == 4


def test_reading_a_cut_answer_raises_after_its_last_piece_and_keeps_it() -> None:
    with Server(sends(SSE_HEAD, piece("Hel"))) as server, unspool.stream("Hi", **at(server)) as answer:
        with pytest.raises(unspool.StreamCut):
            answer.read()
    assert answer.text == "Hel"


def test_errors_survive_pickling_and_copying() -> None:
    failure = unspool.Failure("slow", 429, "t", "c", None, "req_1", 3.5)
    made = unspool.RateLimited(Ending("rate_limited", "slow", None, failure), "01M", "req_2")
    for one in (pickle.loads(pickle.dumps(made)), copy.copy(made)):
        assert type(one) is unspool.RateLimited
        assert (one.status, one.code, one.request_id, one.retry_after, one.id) == (429, "c", "req_1", 3.5, "01M")
        assert (str(one), one.ending) == ("slow", made.ending)
    invalid = pickle.loads(pickle.dumps(unspool.InvalidOutput("no", "text", "id")))
    assert (str(invalid), invalid.text, invalid.id) == ("no", "text", "id")


@pytest.mark.parametrize("name", ["StreamError", "ConfigError", "InvalidOutput", "NotFound", "Busy"])
def test_every_error_is_an_unspool_error(name: str) -> None:
    assert issubclass(getattr(unspool, name), unspool.Error)


# Conversations and tools.


def test_the_next_turn_carries_the_answer_the_system_and_its_parent(simulator: Simulator, url: str) -> None:
    first = unspool.stream("Hi in 3 tokens", system="Be brief.")
    text = first.read()
    second = unspool.stream(first.reply("And more?"))
    second.read()
    body = json.loads(simulator.requests[-1].body)
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi in 3 tokens"},
        {"role": "assistant", "content": text},
        {"role": "user", "content": "And more?"},
    ]
    with unspool.follow(second.id or "") as kept:
        kept.read()
        assert [one["role"] for one in kept.reply()] == ["user", "assistant", "user", "assistant"]
        assert kept._replay.request is not None
        assert kept._replay.request.parent == first.id


def weather(city: str, days: int = 1, kind: unspool.Usage | None = None) -> None:
    """Never called."""


def forecast(city: str, days: int = 1) -> str:
    """Say how the weather will be.

    Args:
        city: where, in English
        days (int): how many,
            from today
    """
    return f"{days} sunny days in {city}"


def test_a_function_is_described_by_its_annotations_and_its_docstring() -> None:
    assert unspool.tool(forecast) == {
        "type": "function",
        "function": {
            "name": "forecast",
            "description": "Say how the weather will be.",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "where, in English"},
                    "days": {"type": "integer", "description": "how many, from today"},
                },
                "required": ["city"],
                "additionalProperties": False,
            },
        },
    }
    with pytest.raises(TypeError, match="no form for Usage"):
        unspool.tool(weather)


CALL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "forecast", "arguments": '{"city":'}}
CALL_END = {"index": 0, "function": {"arguments": ' "Oslo"}'}}


def test_a_tool_call_is_answered_in_the_next_turn() -> None:
    calling = [
        event({"id": "c1", "choices": [{"index": 0, "delta": {"tool_calls": [one]}}]}) for one in (CALL, CALL_END)
    ]
    with Server(sends(SSE_HEAD, *calling, finish("tool_calls"), DONE), sends(SSE_HEAD, WHOLE)) as server:
        answer = unspool.stream("Weather?", **at(server), tools=[forecast])
        assert answer.read() == ""
        assert answer.outcome == "complete"
        results = [call.result(forecast(**call.parsed())) for call in answer.tool_calls]
        assert unspool.stream(answer.reply(*results), **at(server), tools=[forecast]).read() == "Hello"
        first, second = (json.loads(one.body) for one in server.requests)
    assert first["tools"][0]["function"]["name"] == "forecast"
    assert second["messages"][1:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "forecast", "arguments": '{"city": "Oslo"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "1 sunny days in Oslo"},
    ]


def test_arguments_that_are_no_object_are_refused() -> None:
    for arguments in ("{", "[1]"):
        with pytest.raises(ValueError, match="calls f with arguments that are not"):
            unspool.ToolCall(0, "c", "f", arguments).parsed()
    assert unspool.ToolCall(0, "c", "f", "").parsed() == {}


def test_attachments_go_with_the_last_thing_the_user_says(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("remember")
    with Server(sends(SSE_HEAD, WHOLE)) as server:
        attached = [tmp_path / "note.txt", b"\x89PNG\r\n\x1a\n0", "https://example.org/a.png"]
        unspool.stream("What is this?", **at(server), attachments=attached).read()
        content = json.loads(server.requests[0].body)["messages"][0]["content"]
    assert [part["type"] for part in content] == ["text", "image_url", "image_url", "text"]
    assert content[-1]["text"] == "What is this?"


# Objects.


@dataclass
class Step:
    """One thing to do."""

    text: str
    minutes: int | None = None


@dataclass
class Recipe:
    name: str
    steps: list[Step]


RECIPE = {
    "name": "Tea \N{TEACUP WITHOUT HANDLE}",
    "steps": [{"text": "Boil", "minutes": 4}, {"text": "Wait", "minutes": None}],
}


def says(text: str, size: int = 5) -> bytes:
    return b"".join(piece(text[at : at + size]) for at in range(0, len(text), size)) + finish() + DONE


def test_an_answer_is_parsed_into_its_class_and_partly_while_it_streams() -> None:
    acknowledged = threading.Semaphore(0)
    text = json.dumps(RECIPE, ensure_ascii=False)

    def script(connection: Connection) -> None:
        connection.send(SSE_HEAD)
        for at in range(0, len(text), 4):
            connection.send(piece(text[at : at + 4]))
            acknowledged.acquire(timeout=0.05)
        connection.send(finish(), DONE)

    with Server(script) as server, unspool.stream("Tea?", **at(server), schema=Recipe) as answer:
        partials = []
        for one in answer.partials():
            partials.append(one)
            acknowledged.release()
        body = json.loads(server.requests[0].body)
    assert len(partials) > 5
    assert partials[-1] == RECIPE
    assert {"name": "Te"} in partials
    assert answer.parsed == Recipe("Tea \N{TEACUP WITHOUT HANDLE}", [Step("Boil", 4), Step("Wait", None)])
    described = body["response_format"]["json_schema"]
    assert (described["name"], described["strict"]) == ("Recipe", True)
    assert described["schema"]["$defs"]["Step"]["required"] == ["text", "minutes"]


async def test_partials_stream_in_asyncio() -> None:
    with Server(sends(SSE_HEAD, says(json.dumps(RECIPE)))) as server:
        async with unspool.astream("Tea?", **at(server), schema=Recipe) as answer:
            partials = [one async for one in answer.partials()]
    assert partials[-1] == RECIPE
    assert answer.parsed.steps[0] == Step("Boil", 4)


def test_partials_of_a_cut_answer_come_before_the_error() -> None:
    with Server(sends(SSE_HEAD, piece('{"name": "Te'))) as server:
        with unspool.stream("Tea?", **at(server), schema=Recipe) as answer:
            seen: list[Any] = []
            with pytest.raises(unspool.StreamCut):
                seen.extend(answer.partials())
    assert seen[-1] == {"name": "Te"}
    with pytest.raises(unspool.InvalidOutput, match="incomplete \\(cut\\)"):
        _ = answer.parsed


WRONG = [
    ('{"name": 1, "steps": []}', "name is 1, and not a string"),
    ('{"steps": []}', "the answer has no 'name'"),
    ('{"name": "T", "steps": [{"text": "a", "minutes": "b"}]}', "steps\\[0\\].minutes is 'b', and not a integer"),
    ('{"name": "T", "steps": [], "x": 1}', "which the schema does not allow"),
    ("Certainly!", "not JSON"),
]


@pytest.mark.parametrize(("text", "why"), WRONG)
def test_an_answer_that_does_not_fit_says_where(text: str, why: str) -> None:
    with Server(sends(SSE_HEAD, says(text))) as server:
        answer = unspool.stream("Tea?", **at(server), schema=Recipe)
        with pytest.raises(unspool.InvalidOutput, match=why) as raised:
            answer.parse()
    assert (raised.value.text, raised.value.id) == (text, answer.id)


class Place(TypedDict):
    city: str


@pytest.mark.parametrize("library", ["pydantic", "msgspec", "a TypedDict", "a dict"])
def test_a_schema_may_be_of_any_kind(library: str) -> None:
    schema: Any
    if library == "pydantic":
        pydantic = pytest.importorskip("pydantic")
        schema = pydantic.create_model("Place", city=(str, ...))
    elif library == "msgspec":
        msgspec = pytest.importorskip("msgspec")
        schema = msgspec.defstruct("Place", [("city", str)])
    elif library == "a TypedDict":
        schema = Place
    else:
        properties = {"city": {"type": "string"}}
        schema = {"type": "object", "properties": properties, "required": ["city"], "additionalProperties": False}
    with Server(sends(SSE_HEAD, says('{"city": "Oslo"}')), sends(SSE_HEAD, says('{"city": 7}'))) as server:
        place = unspool.stream("Where?", **at(server), schema=schema).parse()
        assert (place["city"] if isinstance(place, dict) else place.city) == "Oslo"
        assert isinstance(place, dict if library.startswith("a ") else schema)
        with pytest.raises(unspool.InvalidOutput, match="city"):
            unspool.stream("Where?", **at(server), schema=schema).parse()
        described = json.loads(server.requests[0].body)["response_format"]["json_schema"]
    assert described["strict"] is True
    assert described["name"] == ("answer" if library == "a dict" else "Place")
    assert described["schema"]["properties"]["city"]["type"] == "string"


def test_a_code_fence_around_the_object_is_taken_off() -> None:
    with Server(sends(SSE_HEAD, says(f"```json\n{json.dumps(RECIPE)}\n```\n"))) as server:
        assert unspool.stream("Tea?", **at(server), schema=Recipe).parse().name == RECIPE["name"]


def test_an_answer_that_has_not_ended_has_no_object_yet() -> None:
    with Server(sends(SSE_HEAD, says("{}"))) as server, unspool.stream("Tea?", **at(server), schema={}) as answer:
        with pytest.raises(RuntimeError, match="parse"):
            _ = answer.parsed
        assert answer.parse() == {}


def test_a_refusal_is_no_object() -> None:
    refusing = event({"id": "c1", "choices": [{"index": 0, "delta": {"refusal": "No."}, "finish_reason": None}]})
    with Server(sends(SSE_HEAD, refusing, finish(), DONE)) as server:
        answer = unspool.stream("Tea?", **at(server), schema=Recipe)
        with pytest.raises(unspool.InvalidOutput, match="refused"):
            answer.parse()
    assert answer.refusal == "No."


def test_a_long_objects_partials_read_each_byte_a_bounded_number_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    read = 0
    parse = objects.from_json

    def counting(data: bytes, **options: Any) -> Any:
        nonlocal read
        read += len(data)
        return parse(data, **options)

    monkeypatch.setattr(objects, "from_json", counting)
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)
    text = json.dumps({"rows": [{"n": number, "text": "x" * 20} for number in range(5000)]})
    pieces: list[str] = []
    growing = objects.Growing(pieces)
    for start in range(0, len(text), 4):
        pieces.append(text[start : start + 4])
        growing._next_at = 1e9  # it is never cheap
        growing.look()
    growing.look(last=True)
    assert growing._last == json.loads(text)
    assert len(text) > 200_000
    assert read < 40 * len(text)


# Journals.


def test_a_stream_is_followed_while_another_thread_writes_it() -> None:
    shown = threading.Semaphore(0)

    def script(connection: Connection) -> None:
        connection.send(SSE_HEAD, piece("Hel"))
        assert shown.acquire(timeout=PATIENCE)
        connection.send(piece("lo"), finish(), DONE)

    with Server(script) as server:
        answer = unspool.stream("Hi", **at(server))
        writing = threading.Thread(target=answer.read)
        writing.start()
        seen = []
        with unspool.follow(answer.id or "") as followed:
            for text in followed:
                seen.append(text)
                shown.release()
        writing.join()
    assert seen == ["Hel", "lo"]
    assert (followed.outcome, followed.text, followed.model) == ("complete", "Hello", "m")


async def test_a_stream_is_followed_in_asyncio_from_where_one_was(url: str) -> None:
    async with unspool.astream("Hi in 9 tokens") as answer:
        text = await answer.read()
    whole = unspool.afollow(answer.id or "")
    assert await whole.read() == text
    rest = unspool.afollow(answer.id or "", after=5)
    assert text.endswith(await rest.read())
    assert 0 < len(rest.text) < len(text)
    assert whole.last_id == rest.last_id
    assert whole.usage == answer.usage


def test_following_what_is_not_kept_says_so() -> None:
    with pytest.raises(unspool.NotFound):
        unspool.follow("7ZZZZZ")


def waits(connection: Connection) -> None:
    connection.send(SSE_HEAD, piece("Hel"))
    connection.wait_closed()


def test_a_stream_whose_process_was_killed_is_followed_to_a_cut() -> None:
    program = "import os, sys, unspool\nfor piece in unspool.stream('Hi', model='m'): os.kill(os.getpid(), 9)"
    with Server(waits) as server:
        environ = {**os.environ, "OPENAI_BASE_URL": server.url}
        subprocess.run([sys.executable, "-c", program], env=environ, check=False)
    [journal] = Path(os.environ["UNSPOOL_HOME"]).glob("streams/*.sse")
    followed = unspool.follow(journal.stem)
    seen: list[str] = []
    with pytest.raises(unspool.StreamCut):
        seen.extend(followed)
    assert seen == ["Hel"]


def test_a_cut_answer_is_resumed_in_a_new_stream_that_begins_with_what_was_kept() -> None:
    rest = piece("brown fox jumps over") + finish() + DONE
    with Server(sends(SSE_HEAD, piece("The quick brown fox")), sends(SSE_HEAD, rest)) as server:
        cut = unspool.stream("Hi", **at(server), check=False)
        cut.read()
        resumed = unspool.resume(cut.id or "")
        pieces = list(resumed)
    assert pieces[0] == "The quick brown fox"
    assert resumed.text == "".join(pieces) == "The quick brown fox jumps over"
    assert resumed.id != cut.id
    assert resumed.reply("Go on")[:2] == [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "The quick brown fox jumps over"},
    ]


async def test_a_cut_answer_is_resumed_in_asyncio() -> None:
    with Server(sends(SSE_HEAD, piece("Hel")), sends(SSE_HEAD, piece("lo") + finish() + DONE)) as server:
        cut = unspool.astream("Hi", **at(server), check=False)
        await cut.read()
        assert await unspool.aresume(cut.id or "").read() == "Hello"


def test_a_whole_answer_is_resumed_by_reading_it(url: str) -> None:
    answer = unspool.stream("Hi")
    text = answer.read()
    again = unspool.resume(answer.id or "")
    assert (again.read(), again.id, again.outcome) == (text, answer.id, "complete")
    assert again.usage == answer.usage


def test_a_background_response_is_taken_up_as_the_same_stream() -> None:
    from unspool.sim.simulator import SimulatorSettings

    with Simulator(SimulatorSettings(drop_after=4)) as running:
        options = {"background": True, "store": True}
        with unspool.stream(
            "Hi in 30 tokens", model="sim-1", api="responses", base_url=running.url, options=options, check=False
        ) as answer:
            next(iter(answer))
            journal = answer.exchange.journal
            assert journal is not None
            journal.close()  # as if the process were gone
            answer.exchange.journal = None
            id = journal.id
            answer._reactor.close()
            answer._closed = True
        resumed = unspool.resume(id)
        text = resumed.read()
    assert resumed.id == id
    assert len(text.split()) > 20


def test_what_another_process_still_writes_is_not_resumed(url: str) -> None:
    with unspool.stream("Hi") as answer:
        with pytest.raises(unspool.Busy, match="follow"):
            unspool.resume(answer.id or "")


# What is left behind.


def test_an_answer_that_is_dropped_gives_back_its_journal_and_its_connection() -> None:
    closed = threading.Event()

    def script(connection: Connection) -> None:
        connection.send(SSE_HEAD, piece("Hel"))
        if connection.wait_closed():
            closed.set()

    with Server(script) as server:
        answer: Any = unspool.stream("Hi", **at(server))
        for _ in answer:
            break
        id = answer.id
        del answer
        gc.collect()
        assert closed.wait(PATIENCE)
    assert unspool.follow(id, check=False).read() == "Hel"


def test_trio_is_told_what_to_do() -> None:
    trio = pytest.importorskip("trio")

    async def main() -> None:
        async with unspool.astream("Hi", model="m"):
            pass

    with pytest.raises(RuntimeError, match=r"trio.*to_thread"):
        trio.run(main)


async def test_a_loop_that_cannot_watch_sockets_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio, "ProactorEventLoop", type(asyncio.get_running_loop()), raising=False)
    answer = unspool.astream("Hi", model="m")
    with pytest.raises(RuntimeError, match="SelectorEventLoop"):
        await answer.read()


def test_uvloop_streams() -> None:
    uvloop = pytest.importorskip("uvloop")

    async def main() -> list[str]:
        async with unspool.AsyncClient(**at(server)) as client:
            return await asyncio.gather(*(client.stream("Hi").read() for _ in range(20)))

    with Server(sends(SSE_HEAD, WHOLE)) as server:
        assert uvloop.run(main()) == ["Hello"] * 20
