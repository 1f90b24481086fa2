"""Journals of real streams, cut, flipped, zeroed and overwritten: what is read is what was written, up to where it is not.

Recorded from the simulator: each endpoint, an answer in one piece, one that was tried twice, one taken up after its connection
was cut, and one ended and then taken up by another process.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from support.effort import ROUNDS, rounds
from support.wire import APIS
from unspool.api.prompt import Prompt
from unspool.client import retry
from unspool.client.answer import Answer
from unspool.client.exchange import Exchange
from unspool.config.target import Target
from unspool.journal import record, summary
from unspool.journal.reader import Damage, Reader
from unspool.journal.record import Record
from unspool.journal.replay import Replay
from unspool.journal.writer import Writer
from unspool.sim.running import Simulator
from unspool.sim.simulator import SimulatorSettings
from unspool.sse import Event, Events

KINDS = (*APIS, "whole", "retried", "resumed", "taken up")
CORRUPTIONS = 1000
EVENT = Event("message", '{"choices":[{"index":0,"delta":{"content":"more"}}]}')


def ask(folder: Path, url: str, api: str, *, stream: bool = True, retries: int = 2, **options: object) -> Path:
    target = Target("test", url, api, needs_key=False)
    background = bool(options.get("background"))
    prompt = Prompt("Tell it in 12 tokens", "sim-1", max_tokens=60, stream=stream, store=background, options=options)
    writer = Writer(str(folder), sync="never")
    with Answer(Exchange(target, prompt, journal=writer, retries=retries), check=False) as answer:
        for _ in answer:
            pass
    assert writer.path is not None
    return Path(writer.path)


def take_up(path: Path, url: str) -> None:
    """Go on with a background response whose connection broke, as another process does."""
    one = summary.read(str(path))
    writer = Writer.reopen(str(path), sync="never")
    with Reader(str(path)) as reader:
        replay = Replay(reader)
        list(replay.turns())
    target = Target("test", url, "responses", needs_key=False)
    exchange = Exchange(target, Prompt([], one.model), journal=None, body=one.body)
    assert replay.decoder is not None
    exchange.take_up(writer, replay.decoder, 0.0)
    with Answer(exchange) as answer:
        for _ in answer:
            pass


@pytest.fixture(scope="module")
def journals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The bytes of each kind of journal."""
    folder = tmp_path_factory.mktemp("recorded") / "state" / "streams"
    kept: dict[str, Path] = {}
    with pytest.MonkeyPatch.context() as patch, Simulator() as simulator:
        patch.setattr(retry, "_FIRST_WAIT", 0.001)
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            patch.delenv(name, raising=False)
        for api in APIS:
            kept[api] = ask(folder, simulator.url, api)
        kept["whole"] = ask(folder, simulator.url, "chat", stream=False)
        # Nothing listens at port 1, so it is tried again.
        kept["retried"] = ask(folder, "http://127.0.0.1:1/v1", "chat")
        kept["taken up"] = ask(folder, simulator.url, "responses", background=True)
    with Simulator(SimulatorSettings(drop_after=6)) as dropping:
        kept["resumed"] = ask(folder, dropping.url, "responses", background=True)
        # The end, the attempt that takes up what it ended, and events and an end again.
        whole = ask(folder, dropping.url, "responses", background=True)
        blocks = whole.read_bytes().split(b"\n\n")
        at = next(index for index, block in enumerate(blocks) if record.ATTEMPT.encode() in block)
        whole.write_bytes(b"\n\n".join(blocks[:at]) + b"\n\n")
        writer = Writer.reopen(str(whole), sync="never")
        writer.own(record.END, '{"outcome":"cut","finish_reason":null}')
        writer.close()
        take_up(whole, dropping.url)
        kept["taken up"] = whole
    contents = {name: path.read_bytes() for name, path in kept.items()}
    assert contents["retried"].count(b"event: unspool.attempt") == 2
    assert contents["resumed"].count(b"event: unspool.attempt") > 2
    assert contents["taken up"].count(b"event: unspool.end") == 2
    return contents


class States:
    """States of a file that is written to again and again, each of which must read as a prefix of what was written."""

    def __init__(self, path: Path, whole: bytes) -> None:
        self.path = path
        self.whole = whole
        self.count = 0
        path.write_bytes(whole)
        with Reader(str(path)) as reader:
            self.everything = reader.read()
            assert reader.damage is None
            assert reader.torn_at() is None
        # What was written at once is read when its checksum has come.
        checksums = [at.end() for at in re.finditer(rb"\ncrc: [0-9a-f]{8}\n\n", whole)]
        self.ends = [next(end for end in checksums if end > one.offset) for one in self.everything]

    def read(self, content: bytes) -> tuple[list[Record], Damage | None, int | None]:
        """Write the state and read it. What is read must be a prefix, and story, replay and reopening must agree."""
        self.count += 1
        # In place: some file systems wait for the disk when a file that was emptied is closed.
        with self.path.open("r+b", buffering=0) as file:
            file.write(content)
            file.truncate()
        with Reader(str(self.path)) as reader:
            records = reader.read()
            damage, torn = reader.damage, reader.torn_at()
        # Compared from the back, where they would differ first.
        assert len(records) <= len(self.everything)
        assert records == self.everything[: len(records)]
        # What is not read is told of: as damage with its place, or as a torn end.
        end = self.ends[len(records) - 1] if records else (len(record.HEADER) if content else 0)
        if damage is not None:
            assert damage.offset in (end, 0)
            assert f"damaged at byte {damage.offset}" in str(damage)
        elif torn is not None:
            assert torn in (end, 0)
        else:
            assert len(content) in (end, 0)
        return records, damage, torn

    def go_on(self, records: list[Record], damage: Damage | None) -> None:
        """Reopen the state and append: it goes on after the prefix, or is refused and left alone."""
        before = self.path.read_bytes()
        if damage is not None:
            with pytest.raises(Damage) as refused:
                Writer.reopen(str(self.path), sync="never")
            assert refused.value.offset == damage.offset
            assert self.path.read_bytes() == before
            return
        writer = Writer.reopen(str(self.path), sync="never")
        writer.own(record.ATTEMPT, '{"attempt":2}')
        writer.events(Events.of([EVENT]), 9.0)
        writer.own(record.END, '{"outcome":"complete"}')
        writer.close()
        with Reader(str(self.path)) as reader:
            after = reader.read()
            assert reader.damage is None
            assert reader.torn_at() is None
        assert after[: len(records)] == records
        assert [one.type for one in after[len(records) :]] == [record.ATTEMPT, EVENT.type, record.END]

    def tell(self) -> summary.Summary | None:
        """Its story, which must be one whatever the state, but for a file that is no journal at all."""
        try:
            return summary.read(str(self.path))
        except summary.NoJournal:
            return None


@pytest.fixture(params=KINDS)
def states(request: pytest.FixtureRequest, journals: dict[str, bytes], tmp_path: Path) -> States:
    return States(tmp_path / "01KAPXJ8M00000000000000000.sse", journals[request.param])


def test_every_truncation_is_a_prefix_of_whole_blocks(states: States) -> None:
    step = max(1, round(9 / ROUNDS))  # each byte in a long run
    around = {max(0, end + place) for end in states.ends for place in (-2, -1, 0, 1, 2)}
    for size in sorted({*range(0, len(states.whole), step), *around}):
        records, damage, _ = states.read(states.whole[:size])
        assert damage is None
        assert len(records) == sum(1 for end in states.ends if end <= size)


def test_a_journal_goes_on_after_truncation(states: States) -> None:
    chance = random.Random(1)
    header = range(len(record.HEADER) + 2)
    for size in [*header, *chance.sample(range(len(states.whole) + 1), min(rounds(120), len(states.whole)))]:
        records, damage, _ = states.read(states.whole[:size])
        states.go_on(records, damage)


def test_a_flipped_bit_is_found(states: States) -> None:
    chance = random.Random(2)
    for _ in range(rounds(500)):
        place = chance.randrange(len(states.whole))
        flipped = bytearray(states.whole)
        flipped[place] ^= 1 << chance.randrange(8)
        records, damage, torn = states.read(bytes(flipped))
        assert len(records) < len(states.everything)
        assert damage is not None or torn is not None
        assert all(one.offset <= place for one in records)


def _zeroed_tail(content: bytearray, chance: random.Random) -> None:
    """As some file systems leave a file after a power cut: its length is there, and its last pages are not."""
    at = chance.randrange(len(content))
    content[at:] = bytes(len(content) - at + chance.choice((0, 0, 1, 511, 4096)))


def _zeroed_hole(content: bytearray, chance: random.Random) -> None:
    at, size = chance.randrange(len(content)), chance.choice((1, 16, 512))
    content[at : at + size] = bytes(len(content[at : at + size]))


def _overwritten(content: bytearray, chance: random.Random) -> None:
    at, size = chance.randrange(len(content)), chance.randint(2, 64)
    content[at : at + size] = chance.randbytes(len(content[at : at + size]))


def _removed(content: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(content))
    del content[at : at + chance.randint(1, 200)]


def _inserted(content: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(content))
    content[at:at] = chance.randbytes(chance.randint(1, 40))


def _repeated(content: bytearray, chance: random.Random) -> None:
    at, size = chance.randrange(len(content)), chance.randint(1, 400)
    content[at:at] = content[at : at + size]


def _exchanged(content: bytearray, chance: random.Random) -> None:
    """Two blocks, each of them whole, in each other's place."""
    blocks = bytes(content).split(b"\n\n")
    one, other = chance.sample(range(len(blocks) - 1), 2)
    blocks[one], blocks[other] = blocks[other], blocks[one]
    content[:] = b"\n\n".join(blocks)


CORRUPT: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _zeroed_tail,
    _zeroed_hole,
    _overwritten,
    _removed,
    _inserted,
    _repeated,
    _exchanged,
)


def test_whatever_is_corrupted_is_told_and_what_precedes_it_is_kept(states: States, capsys) -> None:
    chance = random.Random(3)
    for number in range(rounds(CORRUPTIONS)):
        content = bytearray(states.whole)
        for _ in range(chance.choice((1, 1, 1, 2, 5))):
            CORRUPT[number % len(CORRUPT)](content, chance)
            content = content or bytearray(b"\0")
        intact = next((at for at, (a, b) in enumerate(zip(content, states.whole, strict=False)) if a != b), None)
        records, damage, torn = states.read(bytes(content))
        if bytes(content) != states.whole:
            assert damage is not None or torn is not None or len(records) < len(states.everything)
        if intact is not None:
            # All that precedes the first wrong byte is read.
            assert len(records) >= sum(1 for end in states.ends if end <= intact)
        if number % 10 == 0:
            told = states.tell()
            assert told is None or (told.damage is None) == (damage is None)
            states.go_on(records, damage)
    with capsys.disabled():
        print(f" {states.count}", end="")


def test_the_text_of_a_truncated_journal_is_a_prefix_of_the_text(states: States) -> None:
    states.read(states.whole)
    whole = states.tell()
    assert whole is not None
    chance = random.Random(4)
    for size in chance.sample(range(len(record.HEADER), len(states.whole)), rounds(60)):
        states.read(states.whole[:size])
        part = states.tell()
        assert part is not None
        assert whole.text.startswith(part.text)
        # The end that a journal had before it was taken up is an end again when what followed is cut away.
        assert part.outcome in ("interrupted", "cut")
