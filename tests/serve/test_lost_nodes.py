"""Nodes of a gateway are killed, stopped and drained under load, and their engine is killed, and no stream has a gap, a duplicate or
a wrong end."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from support.waiting import PATIENCE
from unspool.outcome import INTERRUPTED
from unspool.serve.store import LEASE
from unspool.sim.running import Simulator
from unspool.sim.simulator import SimulatorSettings

from .engines import EngineServer
from .gateways import CHAT
from .nodes import Node, Nodes
from .test_lost_workers import Client, difference

BODY = {**CHAT, "max_tokens": 60}


class Load:
    """Clients that ask through nginx, each again and again, and compare what they saw with what is kept."""

    def __init__(self, url: str, clients: int) -> None:
        self.wrong: list[str] = []
        self.ends: Counter[str] = Counter()
        #: When something was lost that may cost a stream its end.
        self.lost_at: list[float] = []
        self._over = threading.Event()
        self._url = url
        self._threads = [threading.Thread(target=self._ask_again_and_again, args=(name,)) for name in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE)
        assert not any(thread.is_alive() for thread in self._threads)
        assert not self.wrong, "\n".join(self.wrong)

    def pause(self, seconds: float) -> None:
        self._over.wait(seconds)

    def _ask_again_and_again(self, name: int) -> None:
        count = 0
        while not self._over.is_set() and not self.wrong:
            client = Client(self._url, BODY)
            began = time.monotonic()
            client.ask(f"{name}-{count}")
            count += 1
            self._check(client, began)

    def _check(self, client: Client, began: float) -> None:
        replayed = client.replay()
        seen = client.seen
        if [one.data for one in seen] != [one.data for one in replayed]:
            self.wrong.append(f"{client.id}: {difference([one.data for one in seen], [one.data for one in replayed])}")
        if len({one.id for one in seen}) != len(seen):
            self.wrong.append(f"{client.id}: an id came twice")
        if seen[-1].data == "[DONE]":
            self.ends["complete"] += 1
            if not any('"finish_reason":"' in one.data for one in seen):
                self.wrong.append(f"{client.id}: [DONE] without its answer")
            return
        code = json.loads(seen[-1].data)["error"]["code"]
        self.ends[code] += 1
        if code != INTERRUPTED or not any(began - 1 < lost for lost in self.lost_at):
            self.wrong.append(f"{client.id}: {seen[-1].data}")


def lose_nodes(folder: Path, losses: int, seed: int, pause: float, clients: int) -> tuple[Counter[str], Counter[str]]:
    """Lose so many nodes while clients read. Returns how often what was done, and how the streams ended."""
    chance = random.Random(seed)
    done: Counter[str] = Counter()
    stopped: dict[Node, float] = {}
    draining: set[Node] = set()
    with (
        EngineServer(folder / "engine") as engine,
        Simulator(SimulatorSettings(itl=0.02)) as simulator,
        Nodes(3, simulator.url, engine.url, folder, "--drain", "1") as nodes,
        Load(nodes.url, clients) as load,
    ):
        while sum(done.values()) < losses and not load.wrong:
            load.pause(pause)
            now = time.monotonic()
            for node, since in list(stopped.items()):
                if now - since > LEASE + 1:
                    del stopped[node]
                    load.lost_at.append(now)  # what it was asked meanwhile
                    node.signal(signal.SIGCONT)
            for node in [one for one in draining if one.is_over()]:
                draining.discard(node)
                node.start()
            if done["engine"] < losses // 10 and chance.random() < 0.1:
                done["engine"] += 1
                engine.stop(signal.SIGKILL)
                engine.start()
                continue
            able = [one for one in nodes.nodes if one not in stopped and one not in draining and one.is_ready()]
            if len(able) < 2:
                continue
            node = chance.choice(able)
            what = chance.choice(["kill", "stop", "drain"])
            done[what] += 1
            load.lost_at.append(now)
            if what == "stop":
                stopped[node] = now
                node.signal(signal.SIGSTOP)
            elif what == "kill":
                node.kill()
                node.start()
            else:
                draining.add(node)
                node.terminate()
        for node in stopped:
            node.signal(signal.SIGCONT)
        for node in draining:
            node.start_when_over()
    return done, load.ends


@pytest.mark.exhaustive
def test_no_answer_has_a_gap_a_duplicate_or_a_wrong_end_while_nodes_and_their_engine_are_lost(tmp_path: Path) -> None:
    losses = int(os.environ.get("UNSPOOL_LOST_NODES", "50"))
    clients = int(os.environ.get("UNSPOOL_CLIENTS", "40"))
    done, ends = lose_nodes(tmp_path, losses, 1, 0.5, clients)
    print(dict(done), dict(ends))
    assert ends["complete"]


def test_a_deploy_shows_viewers_nothing_but_a_reconnect(tmp_path: Path) -> None:
    with (
        EngineServer(tmp_path / "engine") as engine,
        Simulator(SimulatorSettings(itl=0.02)) as simulator,
        Nodes(3, simulator.url, engine.url, tmp_path, "--drain", "60") as nodes,
        Load(nodes.url, 8) as load,
    ):
        for node in nodes.nodes:
            node.terminate()
            node.start_when_over()
            node.wait_until_ready()
    assert set(load.ends) == {"complete"}
