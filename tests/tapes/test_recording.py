"""What goes on a tape and what does not, and what recording does to the traffic: nothing."""

from __future__ import annotations

import gzip
import json
import re
import socket
import ssl
import threading
from itertools import pairwise
from urllib.parse import urlsplit

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from support.server import Server, sends
from support.waiting import PATIENCE
from support.wire import CHUNKED_HEAD, LAST_CHUNK, chunk
from unspool.journal.summary import read as story_of
from unspool.sim.proxy import Proxy
from unspool.sim.tapes.masking import Mask, secrets_of

from .wire import ASKS, ask

KEY = "sk-proj-0123456789abcdef"
CHAT = "/chat/completions"
EVENT = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"Py"},"finish_reason":"stop"}]}\n\n'
WHOLE = CHUNKED_HEAD + chunk(EVENT) + chunk(b"data: [DONE]\n\n") + LAST_CHUNK


def json_answer(body, *lines):
    head = [b"HTTP/1.1 401 Unauthorized", b"Content-Type: application/json", b"Content-Length: %d" % len(body), *lines]
    return b"\r\n".join([*head, b"", body])


def test_no_key_is_on_a_tape_wherever_it_was(record, ended, folder):
    body = {"model": "m", "messages": [{"role": "user", "content": f"my key is {KEY} and gsk_abcdefghij0123456789"}]}
    quoted = 'pass"word\\with quotes'
    answers = [
        json_answer(json.dumps({"error": {"message": f"Incorrect key: {KEY}. Or {quoted}"}}).encode()),
        json_answer(b'{"error":{"message":"no"}}', b"X-Echo: " + KEY.encode(), b"Set-Cookie: session=verysecret"),
        CHUNKED_HEAD + b"".join(chunk(bytes([one])) for one in f": {KEY}\n\ndata: {{}}\n\n".encode()) + LAST_CHUNK,
        CHUNKED_HEAD + chunk(f": unknown sk-other-{'9' * 20}".encode()) + chunk(b"7777\n\n") + LAST_CHUNK,
    ]
    headers = {"Authorization": f"Bearer {KEY}", "Api_Key": "azure-key-value", "Cookie": "a=1; b=cookievalue"}
    with Server(*map(sends, answers)) as upstream, record(upstream.url) as recorder:
        for _ in answers:
            ask(recorder.url, f"{CHAT}?key=AIza-google-key&api-version=2&x=1", body, X_Goog_Api_Key=quoted, **headers)
        tapes = ended(len(answers))
        assert KEY.encode() in upstream.requests[0].head
        assert b"key=AIza-google-key" in upstream.requests[0].head
    for tape in tapes:
        text = tape.name + tape.read_text("utf-8")
        for secret in (
            KEY,
            "0123456789",
            "google-key",
            "azure-key",
            "verysecret",
            "cookievalue",
            "word",
            "99999",
            "7777",
        ):
            assert secret not in text
        assert "api-version=2" in text
        assert '\\"content\\":\\"my key' not in text


def test_the_length_of_what_is_masked_is_kept(record, ended, play):
    body = json.dumps({"error": {"message": f"Incorrect key: {KEY}."}}).encode()
    with Server(sends(json_answer(body))) as upstream, record(upstream.url) as recorder:
        first = ask(recorder.url, CHAT, ASKS["chat"], Authorization=f"Bearer {KEY}")
        ended(1)
    with play() as player:
        again = ask(player.url, CHAT, ASKS["chat"], Authorization="Bearer another")
    assert first.body == body
    assert again.body == body.replace(KEY.encode(), b"*" * len(KEY))


@given(st.lists(st.integers(0, 60), max_size=8), st.sampled_from(["", "a", "task-", '{"', "s", "sk-", "ss"]))
def test_a_key_is_masked_wherever_it_is_cut(cuts, before):
    data = f'{before} {KEY}", sk-{"x" * 30} and Bearer {"y" * 16}!'.encode()
    places = sorted({0, *(cut for cut in cuts if cut < len(data)), len(data)})
    mask = Mask([KEY])
    parts = [mask.feed(data[begin:end]) for begin, end in pairwise(places)]
    masked = b"".join(part for part in [*parts, mask.close()] if part is not None)
    assert masked == Mask([KEY]).all(data)
    assert len(masked) == len(data)
    assert masked == f'{before} {"*" * len(KEY)}", {"*" * 33} and Bearer {"*" * 16}!'.encode()


@pytest.mark.parametrize(
    "text", ["a task-specific-consideration", "risk-management", "sk-learn", "desk-42", "hf_hub_download"]
)
def test_what_is_no_key_is_not_masked(text):
    assert Mask([]).text(text) == text


def test_short_values_are_no_keys():
    assert secrets_of({"authorization": "Bearer any", "content-type": "application/json"}, "key=k") == ["Bearer any"]


def test_a_compressed_answer_is_kept_as_it_was_sent_unless_a_key_is_in_it(folder, play):
    told = []
    from unspool.sim.tapes.recording import Recorder

    def answer(text):
        data = gzip.compress(text, mtime=0)  # else it has the time, and two are not alike
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
        return head % len(data) + data

    script = [sends(answer(EVENT)), sends(answer(b": " + KEY.encode() + b"\n\n" + EVENT))]
    with Server(*script) as upstream, Proxy(upstream.url, record=Recorder(folder, tell=told.append)) as recorder:
        first = ask(recorder.url, CHAT, ASKS["chat"])
        assert ask(recorder.url, CHAT, ASKS["chat"]).raw == answer(b": " + KEY.encode() + b"\n\n" + EVENT)
    assert len(list(folder.iterdir())) == 1
    assert told[1].startswith("not recorded: the compressed answer contains a key")
    with play() as player:
        assert ask(player.url, CHAT, ASKS["chat"]).body == first.body
    (tape,) = folder.iterdir()
    assert story_of(str(tape)).text == "Py"


def test_what_is_compressed_in_a_way_that_cannot_be_looked_into_is_not_recorded(folder, record):
    with Server(sends(b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\nx")) as upstream:
        with record(upstream.url) as recorder:
            assert ask(recorder.url, CHAT, ASKS["chat"]).body == b"x"
    assert list(folder.iterdir()) == []


def test_each_token_is_on_the_disk_and_at_the_client_before_the_next_is_sent(record, folder):
    goes_on = threading.Event()

    def slowly(connection):
        connection.send(CHUNKED_HEAD + chunk(EVENT))
        assert goes_on.wait(PATIENCE)
        connection.send(LAST_CHUNK)

    with Server(slowly) as upstream, record(upstream.url) as recorder:
        address = urlsplit(recorder.url)
        with socket.create_connection((address.hostname, address.port), timeout=PATIENCE) as client:
            client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")
            received = b""
            while not received.endswith(EVENT + b"\r\n"):
                received += client.recv(1 << 16)
            (tape,) = folder.iterdir()
            assert '"content":"Py"' in tape.read_text("utf-8")
            assert "unspool.end" not in tape.read_text("utf-8")
            goes_on.set()
            while client.recv(1 << 16):
                pass


def test_streams_at_once_have_a_tape_each(record, simulator, ended, play):
    asked = [
        {**ASKS["chat"], "messages": [{"role": "user", "content": f"Question {n} in 20 tokens"}]} for n in range(20)
    ]
    first = {}

    def one(number):
        first[number] = ask(recorder.url, CHAT, asked[number])

    with record(simulator.url) as recorder:
        threads = [threading.Thread(target=one, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        tapes = ended(20)
    assert [tape.name[:4] for tape in tapes] == [f"{n:04d}" for n in range(1, 21)]
    with play() as player:
        for number in range(20):
            assert ask(player.url, CHAT, asked[number]).answer == first[number].answer


def test_a_client_that_hangs_up_leaves_a_tape_of_what_it_had_asked_for(record, ended, texts, play):
    gone = threading.Event()

    def until_it_hangs_up(connection):
        connection.send(CHUNKED_HEAD + chunk(EVENT))
        connection.socket.recv(1)
        gone.set()

    with Server(until_it_hangs_up) as upstream, record(upstream.url) as recorder:
        ask(recorder.url, CHAT, ASKS["chat"], until=EVENT)
        (tape,) = ended(1)
        assert gone.wait(PATIENCE)
    assert [one["end"] for one in texts(tape) if "end" in one] == ["left"]
    assert story_of(str(tape)).outcome == "closed"
    with play() as player:
        assert ask(player.url, CHAT, ASKS["chat"]).body == chunk(EVENT)


def test_a_client_that_leaves_before_the_last_chunk_leaves_a_whole_tape(record, simulator, ended, texts):
    with record(simulator.url) as recorder:
        ask(recorder.url, CHAT, ASKS["chat"], until=b"[DONE]")
        (tape,) = ended(1)
    assert [one["end"] for one in texts(tape) if "end" in one] == ["clean"]


def test_names_say_what_was_asked_and_go_on_in_number(record, simulator, folder):
    for _ in range(2):
        with record(simulator.url) as recorder:
            ask(
                recorder.url,
                "/completions",
                {**ASKS["completions"], "prompt": "../../Wo ist  das Café? " * 9, "model": "a/b:7"},
            )
            ask(recorder.url, "/models", method="GET")
    names = sorted(tape.name for tape in folder.iterdir())
    assert [name[:4] for name in names] == ["0001", "0002", "0003", "0004"]
    assert names[1] == "0002-get-models.sse"
    assert re.fullmatch(r"0001-completions-a-b-7-wo-ist-das-caf-[a-z-]{0,40}\.sse", names[0])


def test_a_tape_is_a_journal_that_tells_its_story(record, simulator, ended):
    with record(simulator.url) as recorder:
        ask(recorder.url, "/responses", {**ASKS["responses"], "input": "Hello in 3 tokens"})
        ask(recorder.url, "/responses", {"model": "m-1", "input": "Hello in 3 tokens"})
        ask(recorder.url, CHAT, {**ASKS["chat"], "model": 7})
        stream, whole, refused = map(story_of, map(str, ended(3)))
    assert (stream.outcome, stream.text, stream.question) == ("complete", "This text comes", "Hello in 3 tokens")
    assert (whole.outcome, whole.text, whole.usage.output_tokens) == ("complete", "This text comes", 3)
    assert (refused.outcome, refused.failure.status, refused.damage) == ("bad_request", 400, None)


def test_a_server_that_cannot_be_reached_leaves_no_tape(record, folder):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with record(f"http://127.0.0.1:{port}/v1") as recorder:
        assert ask(recorder.url, CHAT, ASKS["chat"]).first.split()[1] == "502"
    assert list(folder.iterdir()) == []


def test_what_is_no_http_is_passed_on_and_leaves_no_tape(record, folder):
    with Server(sends(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")) as upstream, record(upstream.url) as recorder:
        assert ask(recorder.url, CHAT, ASKS["chat"]).raw == b"SSH-2.0-OpenSSH_9.9\r\n\r\n"
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("by", ["environment", "argument"])
def test_a_server_behind_tls_is_recorded_if_its_authority_is_trusted(by, record, folder, tmp_path, monkeypatch, ended):
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    bundle = tmp_path / "bundle.pem"
    authority.cert_pem.write_to_path(str(bundle))
    with Server(sends(WHOLE), tls=context) as upstream:
        with record(upstream.url) as recorder:
            refused = ask(recorder.url, CHAT, ASKS["chat"])
            assert (refused.first.split()[1], b"certificate" in refused.body.lower()) == ("502", True)
        trusted = None
        if by == "environment":
            monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
        else:
            trusted = ssl.create_default_context(cafile=str(bundle))
        with Proxy(upstream.url, record=folder, tls=trusted) as recorder:
            assert ask(recorder.url, CHAT, ASKS["chat"]).body == WHOLE.partition(b"\r\n\r\n")[2]
            ended(1)
