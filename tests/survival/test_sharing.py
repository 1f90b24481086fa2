"""One journal has one writer, and a thousand streams have a thousand journals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from support.effort import rounds
from support.server import Connection, Server
from support.waiting import PATIENCE, until
from support.wire import SSE_HEAD, event
from unspool import outcome
from unspool.journal import reader, record
from unspool.journal.writer import Busy, Writer

from .processes import Home, Kept

# Streams one after the other in a process of its own, so that many processes do it at once.
_MANY = """
import asyncio, json, sys
from unspool.api.prompt import Prompt
from unspool.client.aio import AsyncAnswer
from unspool.client.exchange import Exchange
from unspool.config.target import Target
from unspool.config.paths import streams_dir
from unspool.journal.writer import Writer

url, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
APIS = ("responses", "chat", "completions")

async def one(number):
    api = APIS[number % 3]
    marker = f"marker-{number:06d}-end"
    prompt = Prompt(f"{marker}: say so", "sim-1", max_tokens=500)
    writer = Writer(streams_dir(), sync="never" if number % 2 else "interval")
    exchange = Exchange(Target("test", url, api, needs_key=False), prompt, journal=writer)
    async with AsyncAnswer(exchange) as answer:
        text = "".join([piece async for piece in answer])
    return [marker, writer.id, text]

async def main():
    return await asyncio.gather(*(one(number) for number in range(first, last)))

print(json.dumps(asyncio.run(main())))
"""


def test_a_thousand_streams_at_once_keep_each_its_own(home: Home, paced: str, capsys) -> None:
    processes, each = 4, rounds(250)
    children = [
        subprocess.Popen(
            [sys.executable, "-c", _MANY, paced, str(number * each), str((number + 1) * each)],
            env=home.env,
            stdout=subprocess.PIPE,
        )
        for number in range(processes)
    ]
    told: dict[str, tuple[str, str]] = {}
    for child in children:
        stdout, _ = child.communicate(timeout=PATIENCE)
        assert child.returncode == 0
        told |= {marker: (id, text) for marker, id, text in json.loads(stdout)}
    assert len(told) == len({id for id, _ in told.values()}) == processes * each
    assert len(home.journals()) == processes * each
    events = 0
    for marker, (id, text) in told.items():
        kept = Kept(home.streams / f"{id}.sse")
        events += len(kept.events)
        assert kept.damage is None
        assert kept.ending.outcome == outcome.COMPLETE
        assert kept.text == text
        # The answer quotes its prompt, and no other's.
        assert marker in text
        assert text.count("marker-") == 1
        assert f"{marker}: say so" in json.dumps(kept.request.body)
    with capsys.disabled():
        print(f"\n  {len(told)} streams at once, {events} events", end="")


class Background:
    """A server with a background response of ``length`` events, of which it streams the first few and then hangs up.

    The rest it streams to those who come again, once it is let go on.
    """

    def __init__(self, length: int, first: int) -> None:
        self.length = length
        self.first = first
        self.go_on = threading.Event()
        self.streamed_again = 0

    def event(self, number: int) -> bytes:
        if number == 0:
            value = {"type": "response.created", "response": {"id": "resp_1", "model": "m", "status": "in_progress"}}
        elif number == self.length - 1:
            value = {"type": "response.completed", "response": {"id": "resp_1", "status": "completed", "output": []}}
        else:
            place = {"item_id": "i", "output_index": 0, "content_index": 0}
            value = {"type": "response.output_text.delta", **place, "delta": f"word{number} "}
        return event({**value, "sequence_number": number})

    def __call__(self, connection: Connection) -> None:
        if connection.method == "POST" and connection.path.endswith("/responses"):
            connection.send(SSE_HEAD, *(self.event(number) for number in range(self.first)))
            connection.wait_closed()
        elif "stream=true" in connection.path:
            self.streamed_again += 1
            after = int(connection.path.rpartition("starting_after=")[2])
            self.go_on.wait(PATIENCE)
            connection.send(SSE_HEAD, *(self.event(number) for number in range(after + 1, self.length)))
            connection.close()


def interrupted(home: Home, stage: Server) -> None:
    """A background stream that was killed in its middle."""
    child = home.start("--base-url", stage.url, "--api", "responses", "--background", "-m", "m", "hi")
    assert child.stdout is not None
    shown = b""
    while not shown.endswith(b"word4 "):
        shown += os.read(child.stdout.fileno(), 1000)
    child.kill()
    child.wait()


def test_of_many_that_resume_one_stream_exactly_one_takes_it_up(home: Home) -> None:
    for _ in range(rounds(3)):
        server = Background(12, 5)
        with Server(server) as stage:
            interrupted(home, stage)
            path = home.newest()
            children = [home.start("resume", "-N", path.stem) for _ in range(8)]
            losers = [child for child in children if child is not None]
            until(lambda losers=losers: sum(child.poll() is not None for child in losers) >= 7)
            server.go_on.set()
            outputs = [child.communicate(timeout=PATIENCE) for child in children]
            winners = [child for child in children if child.returncode == 0]
            assert len(winners) == 1, [stderr for _, stderr in outputs]
            whole = "".join(f"word{number} " for number in range(1, 11)).encode()
            for child, (stdout, stderr) in zip(children, outputs, strict=True):
                if child.returncode == 0:
                    assert (stdout, stderr) == (whole, b"")
                else:
                    assert child.returncode == 1
                    assert stdout == b""
                    assert (
                        b"is still running; to follow it: unspool attach" in stderr
                        or b"being written by another process" in stderr
                    )
            kept = Kept(path)
            assert kept.damage is None
            assert kept.sequence == list(range(12))
            assert sum(one.is_own(record.ATTEMPT) for one in kept.records) == 1
            assert server.streamed_again == 1


def test_a_stream_that_another_has_ended_meanwhile_is_not_taken_up_again(home: Home) -> None:
    """A resume that finds the stream whole shows it, however close behind the one that completed it."""
    server = Background(12, 5)
    server.go_on.set()
    with Server(server) as stage:
        interrupted(home, stage)
        path = home.newest()
        outputs = [
            child.communicate(timeout=PATIENCE) for child in [home.start("resume", "-N", path.stem) for _ in range(12)]
        ]
    whole = "".join(f"word{number} " for number in range(1, 11)).encode()
    assert {stdout for stdout, _ in outputs} <= {whole, b""}
    assert any(stdout == whole for stdout, _ in outputs)
    kept = Kept(path)
    assert kept.damage is None
    assert kept.sequence == list(range(12))
    assert sum(one.is_own(record.END) for one in kept.records) == 1


def test_asking_whether_a_writer_lives_keeps_nobody_from_writing(tmp_path: Path) -> None:
    writer = Writer(str(tmp_path / "streams"))
    assert writer.path is not None
    path = writer.path
    writer.close()
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            reader.is_alive(path)
            time.sleep(0.0001)

    askers = [threading.Thread(target=ask) for _ in range(3)]
    for asker in askers:
        asker.start()
    try:
        for _ in range(rounds(100)):
            again = Writer.reopen(path, sync="never")
            with pytest.raises(Busy):
                Writer.reopen(path)
            again.close()
    finally:
        stop.set()
        for asker in askers:
            asker.join()
