"""Which tape answers which request."""

from __future__ import annotations

import asyncio
import json

import pytest

from unspool.sim.clock import Clock
from unspool.sim.running import Simulator
from unspool.sim.simulator import SimulatorSettings
from unspool.sim.tapes.matcher import MATCHES, TapeMatcher
from unspool.sim.tapes.tape import NoTape, Tape

from .wire import ASKS, PATHS, ask

CHAT = "/chat/completions"


def chat(*texts, system=None, **more):
    roles = ("user", "assistant")
    messages = [{"role": roles[number % 2], "content": text} for number, text in enumerate(texts)]
    return {**ASKS["chat"], "messages": ([{"role": "system", "content": system}] if system else []) + messages, **more}


@pytest.fixture
def taped(record, simulator, ended, folder):
    """Records the answers to these chats and returns the folder."""

    def tape(*bodies):
        with record(simulator.url) as recorder:
            for number, body in enumerate(bodies):
                ask(recorder.url, CHAT, body)
                ended(number + 1)
        return folder

    return tape


TAPED = chat("One", "Two", "Three", system="Be brief.", temperature=0.5)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (TAPED, MATCHES),
        ({**TAPED, "user": "ann", "metadata": {"a": "b"}, "safety_identifier": "x", "prompt_cache_key": "y"}, MATCHES),
        ({**TAPED, "top_p": None}, MATCHES),
        ({**TAPED, "temperature": 1}, MATCHES[1:]),
        ({**TAPED, "stream_options": {"include_usage": True}}, MATCHES[1:]),
        (chat("One", "Two", [{"type": "text", "text": "Three"}], system="Be brief."), MATCHES[1:]),
        (chat("One", "Too", "Three", system="Be brief."), MATCHES[2:]),
        (chat("Three"), MATCHES[2:]),
        (chat("Three", model="m-2"), ()),
        (chat("Four"), ()),
        ({**TAPED, "stream": False}, ()),
    ],
    ids=[
        "same",
        "who asks",
        "null",
        "temperature",
        "options",
        "parts",
        "history",
        "alone",
        "model",
        "message",
        "whole",
    ],
)
def test_how_much_has_to_be_the_same(taped, asked, found):
    folder = taped(TAPED)
    body = json.dumps(asked).encode()
    assert tuple(how for how in MATCHES if TapeMatcher([folder], match=how).find("POST", CHAT, {}, body)) == found


@pytest.mark.parametrize("api", PATHS)
def test_the_last_message_is_found_at_every_endpoint(api, record, simulator, ended, folder):
    with record(simulator.url) as recorder:
        ask(recorder.url, PATHS[api], ASKS[api])
        ended(1)
    asked = {**ASKS[api], "temperature": 0.3}
    deck = TapeMatcher([folder], match="last-message")
    for path in PATHS.values():
        assert (deck.find("POST", path, {}, json.dumps(asked).encode()) is not None) == (path == PATHS[api])


def test_several_that_match_are_played_in_order_and_then_the_last_again(simulator, record, ended, folder):
    with record(simulator.url) as recorder:
        for number, fault in enumerate(("status=429", "status=503", "")):
            ask(recorder.url, CHAT, chat("Hi"), X_Unspool_Fault=fault)
            ended(number + 1)
    with Simulator(tapes=folder) as player:
        statuses = [ask(player.url, CHAT, chat("Hi")).first.split()[1] for _ in range(5)]
        assert [name[:4] for name in player.tapes.played] == ["0001", "0002", "0003", "0003", "0003"]
    assert statuses == ["429", "503", "200", "200", "200"]


def test_other_requests_are_matched_by_method_path_and_query(simulator, record, ended, play):
    with record(simulator.url) as recorder:
        ask(recorder.url, "/models?limit=2&key=0123456789", method="GET")
        ended(1)
    with play() as player:
        assert ask(player.url, "/models?limit=2&key=another-one", method="GET").first.endswith("200 OK")
        for path, method in (("/models", "GET"), ("/models?limit=3", "GET"), ("/models?limit=2", "DELETE")):
            assert ask(player.url, path, method=method).first.split()[1] == "404"


def test_a_refusal_says_what_the_nearest_tape_has_else(taped, play):
    taped(
        chat("Something else entirely", model="far"), chat("A long question, the same up to here: yes", temperature=1)
    )
    with play() as player:
        refused = ask(player.url, CHAT, chat("A long question, the same up to here: no", temperature=2, seed=3))
    error = json.loads(refused.body)["error"]
    assert (refused.first.split()[1], error["code"]) == ("404", "no_tape")
    assert error["message"].startswith(
        "No tape answers POST /chat/completions; the nearest of 2, 0002-chat-m-1-a-long-question-the-same-up-to-here-yes.sse, differs (strict): "
    )
    assert "temperature is 2, on the tape 1" in error["message"]
    assert (
        "messages[0].content is …'he same up to here: no', on the tape …'he same up to here: yes'" in error["message"]
    )
    assert "seed is 3, on the tape absent" in error["message"]


def test_what_is_on_no_tape_the_simulator_answers_itself(taped):
    folder = taped(chat("Hi"))
    with Simulator(tapes=folder) as player, Simulator() as plain:
        assert ask(player.url, CHAT, chat("Ho")).body.count(b"data: ") == ask(plain.url, CHAT, chat("Ho")).body.count(
            b"data: "
        )
        assert player.tapes.played == []


def test_the_deck_takes_files_and_folders_and_says_what_is_neither(taped, tmp_path):
    folder = taped(chat("Hi"))
    (tape,) = folder.iterdir()
    deck = TapeMatcher([tape])
    deck.add(str(folder))
    assert len(deck) == 2
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoTape, match="no tape in this folder"):
        deck.add(tmp_path / "empty")
    with pytest.raises(FileNotFoundError):
        deck.add(tmp_path / "none.sse")
    (tmp_path / "no.sse").write_text("data: {}\n\n")
    with pytest.raises(NoTape, match="not a journal"):
        deck.add(tmp_path / "no.sse")
    tape.write_bytes(tape.read_bytes().replace(b'"Hi"', b'"Ha"'))
    with pytest.raises(NoTape, match="damaged at byte"):
        deck.add(tape)
    with pytest.raises(ValueError, match="loosely"):
        TapeMatcher(match="loosely")
    with pytest.raises(ValueError, match="above zero"):
        SimulatorSettings(tape_speed=0)


def test_a_server_of_another_make_sends_the_same_content(taped):
    """One that does not let the application write to its connections."""
    from unspool.sim.simulator import app

    body = json.dumps(chat("Hi")).encode()
    application = app(SimulatorSettings(tapes=taped(chat("Hi")), tapes_only=True))
    sent = []

    async def receive(requests=[{"type": "http.request", "body": body}]):  # noqa: B006
        return requests.pop() if requests else await asyncio.get_running_loop().create_future()

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1" + CHAT, "query_string": b"", "headers": []}
    asyncio.run(application(scope, receive, send))
    start, *pieces = sent
    assert (start["status"], dict(start["headers"])[b"content-type"]) == (200, b"text/event-stream; charset=utf-8")
    assert [piece["body"] for piece in pieces][-2:] == [b"data: [DONE]\n\n", b""]
    assert not pieces[-1]["more_body"]


def test_a_fault_can_be_done_to_what_is_on_a_tape(taped, play):
    taped(chat("Hi"))
    with play() as player:
        whole = ask(player.url, CHAT, chat("Hi"))
        cut = ask(player.url, CHAT, chat("Hi"), X_Unspool_Fault="cut=3")
        commented = ask(player.url, CHAT, chat("Hi"), X_Unspool_Fault="comments=x; cut=2,clean")
        refused = ask(player.url, CHAT, chat("Hi"), X_Unspool_Fault="status=500")
    assert cut.chunks == whole.chunks[:3]
    assert commented.body.count(b": x\n\n") == 2
    assert refused.first.split()[1] == "500"


def test_the_pace_is_the_tape_s_times_the_speed(taped, monkeypatch):
    folder = taped(chat("Hi in 3 tokens"))
    (tape,) = folder.iterdir()
    answer = Tape(str(tape)).answer()
    for number, piece in enumerate(answer.pieces):
        piece.at = 10.0 * number
    answer.answered_at, answer.ended_at = 0.0, 1000.0
    monkeypatch.setattr(Tape, "answer", lambda self: answer)
    waits = []

    class Told(Clock):
        """A clock that says how long it was asked to wait, and has waited at once."""

        def now(self):
            return sum(waits)

        async def sleep(self, seconds):
            waits.append(seconds)

    with Simulator(SimulatorSettings(tapes=folder, tape_speed=10.0, clock=Told())) as player:
        ask(player.url, CHAT, chat("Hi in 3 tokens"))
    pieces = len(answer.pieces)
    assert [wait for wait in waits if wait] == pytest.approx([*[1.0] * (pieces - 1), 100.0 - (pieces - 1)])
