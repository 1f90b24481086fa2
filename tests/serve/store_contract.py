"""What every store must do. A store's own test file subclasses `StoreContract` and says how two processes' stores are made."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from unspool.journal import ulid
from unspool.serve.store import (
    EVENT,
    Producer,
    Store,
    StreamInfo,
)
from unspool.sse import Event, Events


def info(owner: str = "alice", **fields: object) -> StreamInfo:
    return StreamInfo(
        ulid.new(),
        owner,
        "chat",
        "m",
        time.time(),
        request={"api": "chat", "body": {"model": "m"}},
        **fields,  # type: ignore[arg-type]
    )


def events(*texts: str) -> Events:
    return Events.of([Event("message", text) for text in texts])


async def begun(store: Store, **fields: object) -> tuple[Producer, StreamInfo]:
    producer, created = await store.create(info(**fields))  # type: ignore[arg-type]
    assert producer is not None
    return producer, created


async def data_of(store: Store, id: str, position: int = 0) -> list[bytes]:
    return [one.data for one in await store.read(id, position) if one.kind == EVENT]


class StoreContract:
    async def make(self) -> Store:
        """One more process's store over the same streams."""
        raise NotImplementedError

    @pytest.fixture
    async def store(self) -> AsyncIterator[Store]:
        store = await self.make()
        await store.open()
        yield store
        await store.close()

    @pytest.fixture
    async def other(self, store: Store) -> AsyncIterator[Store]:
        other = await self.make()
        await other.open()
        yield other
        await other.close()
