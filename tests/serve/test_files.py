"""The store of files keeps the contract of every store, and what only files promise."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import pytest

from unspool.outcome import COMPLETE, INTERRUPTED
from unspool.serve.files import FileStore
from unspool.serve.store import End, Store, StoreError

from .store_contract import StoreContract, append, begun, events, texts, until


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
