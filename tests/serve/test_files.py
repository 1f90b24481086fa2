"""The store of files keeps the contract of every store, and what only files promise."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from pathlib import Path

import pytest

from unspool.journal.blocks import End as EndBlock
from unspool.outcome import COMPLETE, INTERRUPTED
from unspool.serve.files import FileProducer, FileStore
from unspool.serve.store import End, Fenced, Idempotency, Store, StoreError, StreamInfo
from unspool.sse import Events

from .store_contract import StoreContract, append, begun, events, info, texts, until


class TestFiles(StoreContract):
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> None:
        self.path = str(tmp_path / "gateway")

    def make(self) -> Store:
        return FileStore(self.path)

    def freeze(self, store: Store) -> None:
        assert isinstance(store, FileStore)
        store.stop_renewing()


def test_folder_and_journals_are_for_their_owner_alone(tmp_path: Path) -> None:
    async def check() -> None:
        store = FileStore(str(tmp_path / "gateway"))
        await store.open()
        _, one = await begun(store)
        await store.close()
        assert stat.S_IMODE(os.stat(tmp_path / "gateway").st_mode) == 0o700
        assert stat.S_IMODE(os.stat(tmp_path / "gateway/streams" / f"{one.id}.sse").st_mode) == 0o600

    asyncio.run(check())


def test_a_lost_index_is_made_again_from_the_journals(tmp_path: Path) -> None:
    async def check() -> None:
        store = FileStore(str(tmp_path))
        await store.open()
        producer, whole = await begun(store)
        await append(producer, events("a"), 0.0)
        await producer.end(End(COMPLETE, upstream=True), whole)
        producer, cut = await begun(store, "bob")
        await append(producer, events("b"), 0.0)
        store.stop_renewing()
        for name in os.listdir(tmp_path):
            if name.startswith("index.db"):
                os.unlink(tmp_path / name)
        (tmp_path / "streams/01ARZ3NDEKTSV4RRFFQ69G5FAV.sse").write_bytes(b": unspool journal 1\n\n")
        producer.writer.close()  # type: ignore[attr-defined]
        again = FileStore(str(tmp_path))
        await again.open()
        assert [(one.id, one.owner, one.state) for one in await again.streams(None)] == [
            (cut.id, "bob", INTERRUPTED),
            (whole.id, "alice", COMPLETE),
        ]
        assert texts(await again.read(cut.id, 0)) == ["b"]
        await again.close()

    asyncio.run(check())


def test_streams_are_removed_by_age_and_by_size_but_never_while_they_run(tmp_path: Path) -> None:
    async def check() -> None:
        store = FileStore(str(tmp_path), keep_bytes=2500)
        await store.open()
        _, running = await begun(store)
        ended = []
        for _ in range(4):
            producer, one = await begun(store)
            await append(producer, events("x" * 700), 0.0)
            await producer.end(End(COMPLETE), one)
            ended.append(one.id)

        async def fewer() -> bool:
            return len(await store.streams(None)) == 3

        await until(fewer)
        assert {one.id for one in await store.streams(None)} == {running.id, *ended[2:]}
        await store.close()

    asyncio.run(check())


def test_a_folder_that_cannot_be_used_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    async def check() -> None:
        with pytest.raises(StoreError, match="file"):
            await FileStore(str(tmp_path / "file" / "gateway")).open()

    asyncio.run(check())


def test_a_stream_whose_process_was_lost_before_its_first_event_can_be_asked_again(tmp_path: Path) -> None:
    async def check() -> None:
        lost, other = FileStore(str(tmp_path)), FileStore(str(tmp_path))
        await lost.open()
        await other.open()
        key = Idempotency("k", "body")
        created: list[StreamInfo] = []
        for one in (True, False):
            producer, it = await lost.create(info("alice"), key if one else None)
            created.append(it)
        # One was lost before it had a journal.
        os.unlink(tmp_path / "streams" / f"{created[0].id}.sse")
        lost.stop_renewing()

        async def interrupted() -> bool:
            return [one.state for one in await other.streams("alice")] == [INTERRUPTED] * 2

        await until(interrupted)
        for it in created:
            [*_, last] = await other.read(it.id, 0)
            assert last.end is not None
            assert last.end.outcome == INTERRUPTED
        producer, again = await other.create(info("alice"), key)
        assert producer is not None
        assert again.id not in [it.id for it in created]
        await other.close()

    asyncio.run(check())


def test_an_end_that_its_lost_process_had_written_is_the_end(tmp_path: Path) -> None:
    async def check() -> None:
        lost, other = FileStore(str(tmp_path)), FileStore(str(tmp_path))
        await lost.open()
        await other.open()
        producer, it = await begun(lost)
        await append(producer, events("a"), 0.0)
        assert isinstance(producer, FileProducer)
        producer.write(EndBlock(COMPLETE, upstream=True))
        lost.stop_renewing()

        async def ended() -> bool:
            return [one.state for one in await other.streams("alice")] == [COMPLETE]

        await until(ended)
        assert texts(await other.read(it.id, 0)) == ["a"]
        await other.close()

    asyncio.run(check())


def test_a_process_that_is_stopped_while_it_writes_shows_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check() -> None:
        lost, other = FileStore(str(tmp_path)), FileStore(str(tmp_path))
        await lost.open()
        await other.open()
        producer, it = await begun(lost)
        assert isinstance(producer, FileProducer)
        await append(producer, events("a"), 0.0)
        lost.stop_renewing()

        async def interrupted() -> bool:
            return [one.state for one in await other.streams("alice")] == [INTERRUPTED]

        await until(interrupted)
        # As if it had looked at its lease just before it was stopped.
        expired, lost.renewed_at = lost.renewed_at, time.monotonic()
        write = producer.writer.events

        def late(found: Events, at: float) -> int:
            lost.renewed_at = expired
            return write(found, at)

        monkeypatch.setattr(producer.writer, "events", late)
        shown: list[int] = []
        producer.on_kept = lambda position, events, at: shown.append(position)
        with pytest.raises(Fenced):
            producer.append(events("b"), 1.0)
        assert not shown
        assert texts(await other.read(it.id, 0)) == ["a"]
        await other.close()

    asyncio.run(check())
