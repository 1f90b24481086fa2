"""A recorded answer comes again to the byte, chunk for chunk, and ends as it ended, whatever was wrong with it."""

from __future__ import annotations

import socket
import threading
from itertools import pairwise
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import unspool
from support.effort import rounds, spread
from support.server import Server, sends, then_reset
from support.waiting import PATIENCE
from support.wire import CHUNKED_HEAD, LAST_CHUNK, chunk
from unspool.sim import proxy
from unspool.sim.faults.table import HEADER, TABLE
from unspool.sim.proxy import Proxy
from unspool.sim.running import Simulator
from unspool.sim.simulator import SimulatorSettings
from unspool.sim.tapes.recording import Recording

from .wire import ASKS, PATHS, ask

APIS = tuple(PATHS)
FAULTS = (
    "",
    # What waits in the table's example waits less here.
    *(fault.example.replace("2s", "200ms") for fault in TABLE),
    *("cut=0", "cut=7,clean", "cut=7,short", "cut=end", "cut=end,reset", "cut=end,short", "cut-byte=333,reset"),
    *("html", "gzip=truncated", "gzip; cut=7,clean", "gzip; one-byte", "line-ends=cr; one-byte; bom", "pings=data"),
    *("error=6,event", "error=6,nested", "malformed=4; cut=9,reset", "status=429,retry-after:1,body:no", "quota"),
    *("content-type=text/html", "comments; retry-line=5; no-space", "one-byte; u2028", "one-byte; split-utf8"),
)
# Of what is silent for ever, so much is waited for.
BEGINNING = 500


@pytest.mark.parametrize(("fault", "api"), spread(FAULTS, APIS))
def test_the_bytes_are_those_that_the_server_sent(fault, api, simulator, record, play, ended):
    until = b"\r\n\r\n" if fault.startswith("stall") and "," not in fault else None
    asked = {"path": PATHS[api], "body": ASKS[api], "until": until}
    direct = ask(simulator.url, **asked, **{HEADER: fault})
    with record(simulator.url) as recorder:
        first = ask(recorder.url, **asked, **{HEADER: fault})
        (tape,) = ended(1)
    if until is None:
        assert (first.first, first.body, first.ending) == (direct.first, direct.body, direct.ending)
    with play() as player:
        again = ask(player.url, **asked)
        third = ask(player.url, **asked)
    if until is None:
        assert again.answer == first.answer
        assert again.chunks == first.chunks
        assert third.answer == again.answer
    else:
        assert again.answer[:2] == first.answer[:2]
    assert tape.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("fault", "api"), spread(FAULTS, APIS, 1))
def test_unspool_ends_as_it_ended(fault, api, simulator, record, play, ended):
    def run(url):
        # Only what is silent for ever waits for this; a busy machine must not be silent for so long.
        limits = {"idle_timeout": 3} if fault.startswith("stall") and "," not in fault else {}
        options = {"model": "m-1", "key": "k", "retries": 0, "check": False, "max_tokens": 40, **limits}
        with unspool.stream("Hello", api=api, base_url=url, **options) as answer:
            text = "".join(answer)
        return answer.outcome, answer.ending.exit_code, text, answer.ending.failure, answer.ending.finish_reason

    with Simulator(SimulatorSettings(clock=lambda: 0.0, faults=[fault])) as faulty, record(faulty.url) as recorder:
        first = run(recorder.url)
        ended(1)
    with play() as player:
        assert run(player.url) == first


PIECES = st.lists(st.binary(min_size=1, max_size=12), min_size=1, max_size=6)


@settings(deadline=None, max_examples=rounds(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PIECES, st.integers(0, 30), st.sampled_from(["whole", "cut", "reset"]), st.lists(st.integers(1, 60), max_size=4))
def test_whatever_bytes_in_whatever_chunks_cut_wherever(tmp_path_factory, pieces, missing, how, reads):
    folder = tmp_path_factory.mktemp("tapes")
    body = b"".join(map(chunk, pieces)) + LAST_CHUNK
    if how != "whole":
        body = body[: max(0, len(body) - 1 - missing)]
    sent = CHUNKED_HEAD + body
    cuts = sorted({0, *(at for at in reads if at < len(sent)), len(sent)})
    parts = [sent[begin:end] for begin, end in pairwise(cuts)]
    with Server(then_reset(*parts) if how == "reset" else sends(*parts)) as upstream:
        with Proxy(upstream.url, record=folder) as recorder:
            first = ask(recorder.url, "/chat/completions", ASKS["chat"])
    (tape,) = folder.glob("*.sse")
    with Simulator(tapes=folder) as player:
        again = ask(player.url, "/chat/completions", ASKS["chat"])
    assert (again.ending, again.first) == (first.ending, first.first)
    if how == "whole":
        assert again.body == first.body
    # The size of a chunk that was cut is not known to whoever has its beginning, nor is half a size worth sending again.
    assert content(again.body) == content(first.body), tape.read_text("utf-8")


def content(body):
    """What of a chunked body has come out of its framing."""
    found = b""
    while b"\r\n" in body:
        size, _, body = body.partition(b"\r\n")
        found, body = found + body[: int(size, 16)], body[int(size, 16) + 2 :]
    return found


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: {}\n\n: until the end of file\n\n",
        b"HTTP/1.0 200 Fine So Far\r\nContent-Type: text/event-stream\r\nX-Odd:  Two  Words \r\n\r\ndata: {}\n\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        b'HTTP/1.1 429 Slow Down\r\nRetry-After: 3\r\nContent-Length: 15\r\n\r\n{"error": "no"}',
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 307 Elsewhere\r\nLocation: /v2\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort of it",
        CHUNKED_HEAD + b"40\r\nin the midst of a chunk",
        b"",
    ],
    ids=["no length", "HTTP/1.0", "JSON", "429", "204", "redirect", "short", "in a chunk", "nothing"],
)
def test_every_kind_of_answer_comes_again(answer, record, play, ended):
    with Server(sends(answer)) as upstream, record(upstream.url) as recorder:
        first = ask(recorder.url, "/chat/completions", ASKS["chat"])
        ended(1)
    assert first.raw == answer
    with play() as player:
        again = ask(player.url, "/chat/completions", ASKS["chat"])
    assert (again.first, again.ending) == (first.first, first.ending)
    assert [" ".join(line.split()) for line in again.answer[1]] == [" ".join(line.split()) for line in first.answer[1]]
    assert content(again.body) == content(first.body) if b"chunked" in answer else again.body == first.body


def test_an_interim_response_is_passed_on_and_not_kept(record, play, ended):
    with Server(sends(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", CHUNKED_HEAD, LAST_CHUNK)) as upstream:
        with record(upstream.url) as recorder:
            assert ask(recorder.url, "/chat/completions", ASKS["chat"]).raw.startswith(b"HTTP/1.1 103 ")
            ended(1)
    with play() as player:
        assert ask(player.url, "/chat/completions", ASKS["chat"]).raw.startswith(b"HTTP/1.1 200 ")


def test_a_whole_answer_is_whole_though_its_connection_is_reset_after_it(record, play, ended, texts):
    with (
        Server(then_reset(CHUNKED_HEAD, chunk(b"data: {}\n\n"), LAST_CHUNK)) as upstream,
        record(upstream.url) as recorder,
    ):
        ask(recorder.url, "/chat/completions", ASKS["chat"])
        (tape,) = ended(1)
    assert [one["end"] for one in texts(tape) if "end" in one] == ["clean"]


def test_a_chunk_that_came_in_pieces_is_one_chunk_again(record, ended, play, texts):
    arrived = threading.Event()
    whole = chunk(b"data: {}\n\n" * 20)

    def in_two(connection):
        connection.send(CHUNKED_HEAD + whole[:50])
        assert arrived.wait(PATIENCE)
        connection.send(whole[50:] + LAST_CHUNK)

    with Server(in_two) as upstream, record(upstream.url) as recorder:
        address = urlsplit(recorder.url)
        with socket.create_connection((address.hostname, address.port), timeout=PATIENCE) as client:
            client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")
            received = b""
            while not received.endswith(whole[:50]):
                data = client.recv(1 << 16)
                assert data, received
                received += data
            arrived.set()
            while client.recv(1 << 16):
                pass
        (tape,) = ended(1)
    assert [one.get("more") for one in texts(tape) if "text" in one] == [True, None]
    with play() as player:
        assert ask(player.url, "/chat/completions", b"{}").body == whole + LAST_CHUNK


def test_what_arrives_is_kept_before_it_is_passed_on(record, simulator, monkeypatch, ended):
    done = []
    keep, send = Recording.feed, proxy._Client.send

    def kept(recording, data):
        keep(recording, data)
        done.append(("kept", data))

    async def sent(client, data):
        done.append(("sent", data))
        await send(client, data)

    monkeypatch.setattr(Recording, "feed", kept)
    monkeypatch.setattr(proxy._Client, "send", sent)
    with record(simulator.url) as recorder:
        ask(recorder.url, "/chat/completions", ASKS["chat"])
        ended(1)
    assert len(done) > 1
    assert [what for what, _ in done] == ["kept", "sent"] * (len(done) // 2)
    assert [data for what, data in done if what == "kept"] == [data for what, data in done if what == "sent"]
