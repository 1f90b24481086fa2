"""Tapes that people change, scripted answers made from tapes, and tapes made from scripted answers."""

import http.client
import json
from urllib.parse import urlsplit

import pytest

from support.waiting import PATIENCE
from unspool.sim.running import Simulator
from unspool.sim.script import ScriptedAnswer, call
from unspool.sim.simulator import SimulatorSettings
from unspool.sim.tapes.editing import renew, to_answers
from unspool.sim.tapes.tape import NoTape, Tape

CHAT, RESPONSES, COMPLETIONS = "/chat/completions", "/responses", "/completions"


def ask(url, path, body):
    """The status and the body of an answer."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE)
    try:
        connection.request(
            "POST", "/v1" + path, json.dumps({"model": "m", **body}), {"Content-Type": "application/json"}
        )
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def said(path, text, **more):
    if path == COMPLETIONS:
        return {"prompt": text, **more}
    messages = [{"role": "user", "content": text}]
    return {"messages" if path == CHAT else "input": messages, **more}


@pytest.fixture
def taped(record, folder, ended):
    """Records scripted answers through a recorder, and returns their tapes."""

    def tape(asked, **rules):
        with Simulator(SimulatorSettings(clock=lambda: 1.8e9)) as simulator, record(simulator.url) as recorder:
            for user, answer in rules.items():
                simulator.when(user=user).answer(answer)
            for path, body in asked:
                ask(recorder.url, path, body)
            return ended(len(asked))

    return tape


def test_an_edited_tape_plays_again_once_its_checksums_are_renewed(taped, play):
    [path] = taped([(CHAT, said(CHAT, "hello"))], hello="Hi there")
    edited = path.read_bytes().replace(b"Hi there", b"Good morning to you")
    path.write_bytes(edited)
    with pytest.raises(NoTape, match="damaged"):
        Tape(str(path))
    assert renew(str(path)) is True
    assert renew(str(path)) is False
    with play() as player:
        status, body = ask(player.url, CHAT, said(CHAT, "hello"))
    assert status == 200
    assert json.loads(body)["choices"][0]["message"]["content"] == "Good morning to you"


def test_blocks_that_were_taken_out_leave_a_tape_that_is_numbered_again(taped, play):
    [path] = taped([(CHAT, said(CHAT, "hello", stream=True))], hello="One two three")
    blocks = path.read_bytes().split(b"\n\n")
    kept = [block for block in blocks if b"two" not in block]
    assert len(kept) < len(blocks)
    path.write_bytes(b"\r\n\r\n".join(block.replace(b"\n", b"\r\n") for block in kept))
    assert renew(str(path))
    with play() as player:
        body = ask(player.url, CHAT, said(CHAT, "hello", stream=True))[1]
    assert b"One" in body
    assert b"two" not in body
    assert body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("content", [b"", b"hello\n\n", b": unspool journal 1\n\nid: 0\nnonsense\n\n"])
def test_what_is_no_tape_is_left_as_it_is(tmp_path, content):
    path = tmp_path / "a.sse"
    path.write_bytes(content)
    with pytest.raises(NoTape):
        renew(str(path))
    assert path.read_bytes() == content
    assert [one.name for one in tmp_path.iterdir()] == ["a.sse"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", [CHAT, RESPONSES])
def test_answers_made_from_tapes_say_what_the_tapes_say(taped, path, stream):
    look = ScriptedAnswer("I look.", reasoning="Hm.", calls=[call("lookup", id=7)])
    asked = [(path, said(path, "hello", stream=stream)), (path, said(path, "look", stream=stream))]
    tapes = taped(asked, hello=ScriptedAnswer("Hi there", finish="length"), look=look)
    made = to_answers(Tape(str(one)) for one in tapes)
    hello, look = (rule["sequence"][0] for rule in made["answers"])
    assert ("".join(hello["text"]), hello["finish"]) == ("Hi there", "length")
    assert len(hello["text"]) == (2 if stream else 1)
    assert ("".join(look["text"]), "".join(look["reasoning"])) == ("I look.", "Hm.")
    [called] = look["calls"]
    assert (called["name"], called["arguments"]) == ("lookup", '{"id":7}')
    assert made["answers"][1]["when"]["user"] == "look"
    with Simulator() as simulator:
        simulator.answers.read(made)
        body = ask(simulator.url, path, said(path, "look"))[1]
        assert b"I look." in body
        assert b"lookup" in body
        assert ask(simulator.url, path, said(path, "hello"))[1].count(b"Hi there") == 1


def test_a_refused_request_becomes_an_answer_with_a_fault(record, folder, ended):
    with Simulator(SimulatorSettings(faults=["status=418"])) as simulator, record(simulator.url) as recorder:
        ask(recorder.url, CHAT, said(CHAT, "hello"))
        [path] = ended(1)
    with Simulator() as simulator:
        simulator.answers.read(to_answers([Tape(str(path))]))
        status, body = ask(simulator.url, CHAT, said(CHAT, "hello"))
    assert (status, json.loads(body)["error"]["message"]) == (418, "No.")


@pytest.mark.parametrize(
    ("ignore", "status"),
    [
        ([], 404),
        (["temperature"], 404),
        (["messages[0]", "temperature"], 200),
        ([r"/\d{4}-\d\d-\d\d/", "temperature"], 200),
    ],
)
def test_a_tape_answers_a_request_that_differs_in_what_is_ignored(taped, folder, ignore, status):
    def body(date, temperature):
        system = {"role": "system", "content": f"Today is {date}."}
        return {"messages": [system, {"role": "user", "content": "hello"}], "temperature": temperature}

    taped([(CHAT, body("2026-11-25", 0))], hello="Hi")
    with Simulator(SimulatorSettings(tapes=folder, tapes_only=True, tape_ignore=ignore)) as player:
        assert ask(player.url, CHAT, body("2027-01-01", 1))[0] == status
