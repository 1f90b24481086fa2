"""Workers are killed and stopped under load, and no stream has a gap, a duplicate or a wrong end."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import signal
import sqlite3
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from support.waiting import PATIENCE
from unspool.serve.store import LEASE
from unspool.sim.running import Simulator
from unspool.sim.simulator import SimulatorSettings
from unspool.sse import Decoder, Event

from .gateways import CHAT
from .test_gateway_life import children, workers

KEY = {"Authorization": "Bearer sk-alice"}


class Client:
    """Asks, and comes back with the id of its last event until the answer has ended."""

    def __init__(self, url: str, body: dict[str, Any] = CHAT) -> None:
        self._url = urlsplit(url)
        self._body = json.dumps(body).encode()
        self.seen: list[Event] = []
        self.id: str | None = None

    def read(self, method: str, path: str, headers: dict[str, str], body: bytes | None = None) -> list[Event]:
        """The events of one response, until its end or the connection's."""
        found: list[Event] = []
        connection = http.client.HTTPConnection(self._url.hostname or "", self._url.port, timeout=PATIENCE)
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection.request(method, f"/v1{path}", body, {**KEY, **headers})
            response = connection.getresponse()
            self.id = response.headers.get("X-Unspool-Id") or self.id
            decoder = Decoder()
            while response.status == 200 and (data := response.read1(1 << 16)):
                found += decoder.feed(data)
        connection.close()
        return found

    def ask(self, key: str) -> None:
        while not self.seen or not _is_end(self.seen[-1]):
            before = len(self.seen)
            if not self.seen:
                headers = {"Content-Type": "application/json", "Idempotency-Key": key}
                self.seen = self.read("POST", "/chat/completions", headers, self._body)
            else:
                self.seen += self.read("GET", f"/streams/{self.id}", {"Last-Event-ID": self.seen[-1].id})
            if len(self.seen) == before:
                time.sleep(0.05)  # whoever could answer is not there yet

    def replay(self) -> list[Event]:
        while True:
            found = self.read("GET", f"/streams/{self.id}", {})
            if found and _is_end(found[-1]):
                return found
            time.sleep(0.05)


def difference(seen: list[str], kept: list[str]) -> str:
    """Where two lists differ."""
    same = next(
        (place for place, (one, other) in enumerate(zip(seen, kept, strict=False)) if one != other),
        min(len(seen), len(kept)),
    )
    return f"read {len(seen)}, kept {len(kept)}, differ at {same}: {seen[same : same + 2]}, {kept[same : same + 2]}"


def _is_end(event: Event) -> bool:
    return event.data == "[DONE]" or event.data.startswith('{"error"')


@dataclass(slots=True)
class Losses:
    """What became of answers while workers were lost: how many were checked, how many were interrupted, and after how many seconds
    each of these had its end in the log."""

    checked: int
    interrupted: int
    seconds: list[float]


def lose_workers(folder: Path, losses: int, seed: int, pause: float) -> Losses:
    """Lose so many workers while clients read. Fails on an answer with a gap, a duplicate or a wrong end."""
    chance = random.Random(seed)
    over = threading.Event()
    wrong: list[str] = []
    outcomes: list[str] = []

    def ask_again_and_again(url: str, name: int) -> None:
        count = 0
        while not over.is_set() and not wrong:
            client = Client(url)
            began = time.monotonic()
            client.ask(f"{name}-{count}")
            ended = time.monotonic()
            count += 1
            replayed = [one.data for one in client.replay()]
            seen = [one.data for one in client.seen]
            if seen != replayed:
                wrong.append(f"{client.id}: {difference(seen, replayed)}")
            if len({one.id for one in client.seen}) != len(client.seen):
                wrong.append(f"{client.id}: an id came twice")
            if seen[-1] != "[DONE]":
                outcomes.append(json.loads(seen[-1])["error"]["code"])
                if outcomes[-1] != "interrupted":
                    wrong.append(f"{client.id}: {seen[-1]}")
                if not any(began - 1 < lost < ended for lost in lost_at):
                    wrong.append(f"{client.id}: interrupted without a lost worker")
            else:
                outcomes.append("complete")
                if not any('"finish_reason":"stop"' in one for one in seen):
                    wrong.append(f"{client.id}: [DONE] without its answer: {seen}")

    lost_at: list[float] = []
    stopped: dict[int, float] = {}
    # When the producer of each stream was lost, by the clock of the index.
    producer_lost: dict[str, float] = {}
    with (
        Simulator(SimulatorSettings(itl=0.01)) as simulator,
        workers(simulator.url, folder, 4) as (url, parent),
    ):
        threads = [threading.Thread(target=ask_again_and_again, args=(url, name)) for name in range(6)]
        for thread in threads:
            thread.start()
        while len(lost_at) < losses and not wrong:
            over.wait(pause)
            now = time.monotonic()
            for pid, since in list(stopped.items()):
                if now - since > LEASE + 1:
                    del stopped[pid]
                    _signal(pid, signal.SIGCONT)
            running = [pid for pid in children(parent.pid) if pid not in stopped and serves(pid)]
            if len(running) > 1:
                pid = chance.choice(running)
                number = chance.choice([signal.SIGKILL, signal.SIGSTOP])
                lost_at.append(now)
                # Stopped in either case, so that what it produces can be seen.
                _signal(pid, signal.SIGSTOP)
                producer_lost.update(dict.fromkeys(produced_by(pid), time.time()))
                _signal(pid, number)
                if number == signal.SIGSTOP:
                    stopped[pid] = now
        for pid in stopped:
            _signal(pid, signal.SIGCONT)
        over.set()
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()
    assert not wrong, "\n".join(wrong)
    with sqlite3.connect(folder / "index.db") as index:
        ends = dict(index.execute("SELECT id, ended FROM stream WHERE state = 'interrupted'"))
    seconds = [ends[id] - lost for id, lost in producer_lost.items() if id in ends]
    return Losses(len(outcomes), outcomes.count("interrupted"), seconds)


def open_files(pid: int) -> list[Path]:
    """What a process has open; nothing for one that has ended."""
    found: list[Path] = []
    with contextlib.suppress(OSError):
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.append(Path(os.readlink(fd)))
    return found


def produced_by(pid: int) -> list[str]:
    """The streams whose journals a process has open."""
    return [path.stem for path in open_files(pid) if path.suffix == ".sse"]


def serves(pid: int) -> bool:
    """Whether a worker is ready."""
    return any(path.name == "index.db" for path in open_files(pid))


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # one that was killed just now
        os.kill(pid, number)


@pytest.mark.exhaustive
def test_no_answer_has_a_gap_a_duplicate_or_a_wrong_end_while_workers_are_lost(tmp_path: Path) -> None:
    count = int(os.environ.get("UNSPOOL_LOST_WORKERS", "50"))
    found = lose_workers(tmp_path / "g", count, int(os.environ.get("UNSPOOL_SEED", "1")), 0.6)
    late = [round(one, 2) for one in found.seconds if one > LEASE + 1]
    slowest = max(found.seconds)
    print(
        f"{count} workers lost; {found.checked} answers, {found.interrupted} interrupted; their ends after at most {slowest:.2f} s"
    )
    assert not late
