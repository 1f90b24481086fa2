"""A background response whose connections break in every way: its text is the uncut one, and no event is missing or doubled."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path

import pytest

from support import background as acts
from support.background import BackgroundServer, nothing, rest, silent, status
from support.effort import rounds
from unspool import outcome
from unspool.api.prompt import Prompt
from unspool.client import retry
from unspool.client.aio import AsyncAnswer
from unspool.client.answer import Answer
from unspool.client.exchange import Exchange
from unspool.client.limits import Limits
from unspool.client.resume import connection
from unspool.config.target import Target
from unspool.journal.writer import Writer
from unspool.sim.running import Simulator
from unspool.sim.simulator import SimulatorSettings

from .processes import Kept


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "_FIRST_WAIT", 0.001)
    monkeypatch.setattr(connection, "_LONGEST_POLL_WAIT", 0.001)


class Asked:
    """A background response, read to its end by either client."""

    def __init__(
        self, url: str, folder: Path, *, concurrent: bool = False, prompt: str = "Say it in 30 tokens"
    ) -> None:
        asked = Prompt(prompt, "sim-1", max_tokens=999, store=True, options={"background": True})
        writer = Writer(str(folder / "streams"), sync="never")
        exchange = Exchange(Target("test", url, "responses", needs_key=False), asked, journal=writer)
        limits = Limits(idle=0.3)
        if concurrent:
            self.text = asyncio.run(self._read(exchange, limits))
        else:
            with Answer(exchange, limits, check=False) as answer:
                self.text = "".join(answer)
        assert writer.path is not None
        assert exchange.ending is not None
        self.ending = exchange.ending
        self.outcome = exchange.ending.outcome
        self.kept = Kept(Path(writer.path))
        assert self.kept.damage is None
        assert self.kept.text == self.text
        assert self.kept.ending.outcome == self.outcome

    async def _read(self, exchange: Exchange, limits: Limits) -> str:
        async with AsyncAnswer(exchange, limits, check=False) as answer:
            return "".join([piece async for piece in answer])


either = pytest.mark.parametrize("concurrent", [False, True], ids=["sync", "async"])


@pytest.fixture(scope="module")
def uncut(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    with Simulator() as simulator:
        asked = Asked(simulator.url, tmp_path_factory.mktemp("uncut"))
    assert asked.outcome == outcome.COMPLETE
    assert asked.kept.sequence == list(range(len(asked.kept.sequence)))
    return asked


@either
@pytest.mark.parametrize("events", [1, 2, 3, 4, 5, 7, 11, 19, 38, 39])
def test_dropped_after_each_few_events_it_is_the_uncut_one(
    tmp_path: Path, uncut: Asked, events: int, concurrent: bool
) -> None:
    with Simulator(SimulatorSettings(drop_after=events)) as simulator:
        asked = Asked(simulator.url, tmp_path, concurrent=concurrent)
    assert (asked.outcome, asked.text) == (outcome.COMPLETE, uncut.text)
    assert asked.kept.sequence == uncut.kept.sequence


@either
@pytest.mark.parametrize("event_ids", [False, True])
def test_dropped_while_the_model_still_computes(
    tmp_path: Path, uncut: Asked, concurrent: bool, event_ids: bool
) -> None:
    with Simulator(SimulatorSettings(drop_after=6, itl=0.002, event_ids=event_ids)) as simulator:
        asked = Asked(simulator.url, tmp_path, concurrent=concurrent)
    assert (asked.outcome, asked.text) == (outcome.COMPLETE, uncut.text)
    assert asked.kept.sequence == uncut.kept.sequence


@either
@pytest.mark.parametrize("events", [1, 3, 6, 20])
def test_where_streams_are_not_streamed_again_it_is_polled(
    tmp_path: Path, uncut: Asked, events: int, concurrent: bool
) -> None:
    with Simulator(SimulatorSettings(drop_after=events, itl=0.002, resumable_for=0)) as simulator:
        asked = Asked(simulator.url, tmp_path, concurrent=concurrent)
    assert (asked.outcome, asked.text) == (outcome.COMPLETE, uncut.text)
    assert asked.kept.sequence == list(range(events))


# How the connections after the first behave, and what is polled then.
WHOLE = {
    "the rest": (rest,),
    "one event at a time": (acts.one_more,),
    "all from the start": (acts.from_the_start,),
    "doubled events": (acts.stuttering,),
    "a gap": (acts.with_a_gap,),
    "a gap at once": (acts.gap_at_once,),
    "out of order": (acts.out_of_order,),
    "half an event": (acts.half_an_event,),
    "half an event, then the rest": (acts.half_an_event, rest),
    "nothing, then the rest": (nothing, rest),
    "nothing at all": (nothing,),
    "a reset, then the rest": (acts.reset_at_once, rest),
    "resets, then the rest": (acts.reset_at_once, acts.reset_after_head, acts.reset_at_once, rest),
    "silence, then the rest": (silent, rest),
    "404": (status(404),),
    "410": (status(410),),
    "400": (status(400),),
    "405": (status(405),),
    "422": (status(422),),
    "500, then the rest": (status(500), status(503), rest),
    "429, then the rest": (status(429), rest),
    "429 with a wait, then the rest": (status(429, retry_after_ms="5"), rest),
    "one more, 500, one more, 404": (acts.one_more, status(500), acts.one_more, status(404)),
}


@either
@pytest.mark.parametrize("way", WHOLE)
def test_it_comes_to_its_end_after(tmp_path: Path, way: str, concurrent: bool) -> None:
    with BackgroundServer(*WHOLE[way], polls=("in_progress", "queued", "completed")) as server:
        asked = Asked(server.url, tmp_path, concurrent=concurrent)
        assert (asked.outcome, asked.text) == (outcome.COMPLETE, server.text)
        sequence = asked.kept.sequence
        assert sequence == list(range(len(sequence)))
        # Asked for what follows the last event that was kept, each time.
        assert all(after >= server.first - 1 for after in server.streams)


CUT = {
    "resets": ((acts.reset_at_once,), ("completed",), outcome.CUT),
    "500": ((status(500),), ("completed",), outcome.CUT),
    "429": ((status(429),), ("completed",), outcome.CUT),
    "401": ((status(401),), ("completed",), outcome.CUT),
    "404 both ways": ((status(404),), (404,), outcome.CUT),
    "404, then polls that fail": ((status(404),), (500,), outcome.CUT),
    "polls that find no end": ((status(400),), ("in_progress",), outcome.CUT),
    "polls that find it queued for ever": ((status(400),), ("queued",), outcome.CUT),
    "a server that is gone": ((acts.gone,), ("completed",), outcome.CUT),
    "a failure": ((acts.failing,), ("completed",), outcome.SERVER_ERROR),
    "a poll that finds it failed": ((status(404),), ("failed",), outcome.SERVER_ERROR),
    "a poll that finds it cancelled": ((nothing,), ("cancelled",), outcome.CUT),
}


@either
@pytest.mark.parametrize("way", CUT)
def test_it_ends_and_keeps_what_came_after(tmp_path: Path, way: str, concurrent: bool) -> None:
    again, polls, expected = CUT[way]
    with BackgroundServer(*again, polls=polls) as server:
        asked = Asked(server.url, tmp_path, concurrent=concurrent)
        assert asked.outcome == expected
        assert server.text.startswith(asked.text)
        assert asked.text.startswith("".join(server.words[: server.first - 1]))
        assert asked.ending.message
        assert server.polled <= 61
        assert len(server.streams) <= 6
    sequence = asked.kept.sequence
    assert sequence == list(range(len(sequence)))


@either
def test_only_the_id_is_needed(tmp_path: Path, concurrent: bool) -> None:
    with BackgroundServer(rest, first=1) as server:
        asked = Asked(server.url, tmp_path, concurrent=concurrent)
        assert (asked.outcome, asked.text) == (outcome.COMPLETE, server.text)
        assert server.streams == [0]


def test_random_misbehaviour_never_loses_or_doubles_a_word(tmp_path: Path) -> None:
    chance = random.Random(7)
    harmless = [acts.one_more, acts.stuttering, acts.half_an_event, acts.from_the_start, rest, acts.reset_after_head]
    for number in range(rounds(40)):
        length = chance.randint(3, 30)
        again = [chance.choice([*harmless, nothing, acts.with_a_gap, acts.out_of_order, status(500)]) for _ in range(9)]
        with BackgroundServer(*again, rest, first=chance.randint(1, length - 1), length=length) as server:
            asked = Asked(server.url, tmp_path / str(number), concurrent=bool(number % 2))
            assert (asked.outcome, asked.text) == (outcome.COMPLETE, server.text), [act.__name__ for act in again]
        sequence = asked.kept.sequence
        assert sequence == list(range(len(sequence)))


def test_every_attempt_is_in_the_journal(tmp_path: Path) -> None:
    with BackgroundServer(acts.one_more, status(500), rest) as server:
        asked = Asked(server.url, tmp_path)
    attempts = [json.loads(one.data) for one in asked.kept.records if one.type == "unspool.attempt"]
    assert [(one["resume"], one["starting_after"]) for one in attempts] == [("resp_1", 3), ("resp_1", 4), ("resp_1", 4)]
