"""What every store must do. A store's own test file subclasses `StoreContract` and says how one more process's store is made."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from support.waiting import PATIENCE
from unspool.journal import ulid
from unspool.outcome import COMPLETE, INTERRUPTED, RUNNING
from unspool.serve.store import (
    END,
    EVENT,
    HEAD,
    End,
    Entry,
    Fenced,
    Head,
    Idempotency,
    IdempotencyMismatch,
    Producer,
    Store,
    StreamInfo,
    TooManyStreams,
)
from unspool.sse import Event, Events


def info(owner: str = "alice", **fields: Any) -> StreamInfo:
    request: dict[str, object] = {"api": "chat", "body": {"model": "m"}}
    return StreamInfo(ulid.new(), owner, "chat", "m", time.time(), request=request, **fields)


def events(*texts: str) -> Events:
    return Events.of([Event("message", text) for text in texts])


async def begun(store: Store, owner: str = "alice", **fields: Any) -> tuple[Producer, StreamInfo]:
    producer, created = await store.create(info(owner, **fields))
    assert producer is not None
    return producer, created


async def append(producer: Producer, events: Events, at: float) -> int:
    """Append, and wait until it is kept. Returns the position of the first event."""
    kept: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    producer.on_kept = lambda position, events, at: kept.set_result(position)
    producer.on_trouble = kept.set_exception
    producer.append(events, at)
    return await kept


def texts(entries: list[Entry]) -> list[str]:
    return [one.data.decode() for one in entries if one.kind == EVENT]


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await condition():
            await asyncio.sleep(0.02)


class StoreContract:
    """``make`` returns the store of one more process over the same streams; ``freeze`` stops it from renewing its lease."""

    def make(self) -> Store:
        raise NotImplementedError

    def freeze(self, store: Store) -> None:
        raise NotImplementedError

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Store]:
        store = self.make()
        await store.open()
        try:
            yield store
        finally:
            await store.close()

    def test_what_was_appended_is_read_from_any_position_by_every_process(self) -> None:
        async def check() -> None:
            async with self.open() as store, self.open() as other:
                producer, one = await begun(store)
                await producer.head(Head(200, {"x-request-id": "r"}))
                first = await append(producer, events("a", "b"), 0.1)
                third = await append(producer, events("c"), 0.2)
                assert third == first + 2
                for reader in (store, other):
                    entries = await reader.read(one.id, 0)
                    assert [entry.kind for entry in entries] == [HEAD, EVENT, EVENT, EVENT]
                    assert entries[0].head == Head(200, {"x-request-id": "r"})
                    assert texts(await reader.read(one.id, first + 1)) == ["b", "c"]
                    assert await reader.read(one.id, third + 1) == []
                position = await producer.end(End(COMPLETE, upstream=True), one)
                [end] = await other.read(one.id, third + 1)
                assert (end.position, end.kind, end.end) == (position, END, End(COMPLETE, upstream=True))

        asyncio.run(check())

    def test_positions_have_no_gap_and_do_not_depend_on_how_events_were_grouped(self) -> None:
        async def check() -> None:
            async with self.open() as store:
                for groups in (["a", "b", "c"],), (["a"], ["b", "c"]), (["a"], ["b"], ["c"]):
                    producer, one = await begun(store)
                    for group in groups:
                        await append(producer, events(*group), 0.0)
                    positions = [entry.position for entry in await store.read(one.id, 0)]
                    assert positions == list(range(positions[0], positions[0] + 3))
                    await producer.end(End(COMPLETE), one)

        asyncio.run(check())

    def test_a_watcher_hears_of_every_append_whichever_process_made_it(self) -> None:
        async def check() -> None:
            async with self.open() as store, self.open() as other:
                producer, one = await begun(store)
                for reader in (store, other):
                    news = asyncio.Event()
                    stop = reader.watch(one.id, news.set)
                    seen = len(texts(await reader.read(one.id, 0)))
                    news.clear()
                    await append(producer, events("x"), 0.0)
                    async with asyncio.timeout(PATIENCE):
                        while len(texts(await reader.read(one.id, 0))) == seen:
                            await news.wait()
                            news.clear()
                    stop()
                await producer.end(End(COMPLETE), one)

        asyncio.run(check())

    def test_a_stream_that_is_not_there_is_a_key_error(self) -> None:
        async def check() -> None:
            async with self.open() as store:
                with pytest.raises(KeyError):
                    await store.read(ulid.new(), 0)
                assert await store.find(ulid.new()) is None
                assert await store.find("../secrets") is None

        asyncio.run(check())

    def test_the_same_idempotency_key_gives_the_stream_that_has_it_to_one_of_many(self) -> None:
        async def check() -> None:
            async with self.open() as store, self.open() as other:
                key = Idempotency("scope", "hash")
                results = await asyncio.gather(
                    *((store if number % 2 else other).create(info(), key) for number in range(20))
                )
                producers = [producer for producer, _ in results if producer is not None]
                assert len(producers) == 1
                assert {one.id for _, one in results} == {producers[0].id}
                with pytest.raises(IdempotencyMismatch):
                    await other.create(info(), Idempotency("scope", "another"))
                await store.forget_idempotency(producers[0].id)
                again, _ = await other.create(info(), Idempotency("scope", "another"))
                assert again is not None

        asyncio.run(check())

    def test_a_dead_producers_stream_ends_as_interrupted_and_it_writes_nothing_more(self) -> None:
        async def check() -> None:
            store, other = self.make(), self.make()
            await store.open()
            await other.open()
            producer, one = await begun(store)
            await append(producer, events("a"), 0.0)
            self.freeze(store)

            async def ended() -> bool:
                entries = await other.read(one.id, 0)
                return bool(entries) and entries[-1].kind == END

            await until(ended)
            before = await other.read(one.id, 0)
            assert texts(before) == ["a"]
            assert before[-1].end is not None
            assert before[-1].end.outcome == INTERRUPTED
            with pytest.raises(Fenced):
                await append(producer, events("late"), 0.0)
            with pytest.raises(Fenced):
                await producer.end(End(COMPLETE), one)
            assert await other.read(one.id, 0) == before
            found = await other.find(one.id)
            assert found is not None
            assert (found.state, found.epoch) == (INTERRUPTED, one.epoch + 1)
            await store.close()
            await other.close()

        asyncio.run(check())

    def test_an_idempotency_key_is_free_again_where_its_producer_died_before_the_first_event(self) -> None:
        async def check() -> None:
            stores = [self.make() for _ in range(2)]
            for store in stores:
                await store.open()
            found = {}
            for begun_with in ((), ("a",)):
                key = Idempotency(f"scope{begun_with}", "hash")
                producer, one = await stores[0].create(info(), key)
                assert producer is not None
                await producer.head(Head(200, {}))
                if begun_with:
                    await append(producer, events(*begun_with), 0.0)
                found[one.id] = key
            self.freeze(stores[0])
            for id in found:

                async def ended(id: str = id) -> bool:
                    one = await stores[1].find(id)
                    return one is not None and one.state != RUNNING

                await until(ended)
            again = [(await stores[1].create(info(), key))[1].id in found for key in found.values()]
            assert again == [False, True]
            for store in stores:
                await store.close()

        asyncio.run(check())

    def test_an_end_that_viewers_have_seen_stays_the_end_where_the_producer_dies_after_it(self) -> None:
        async def check() -> None:
            stores = [self.make() for _ in range(2)]
            for store in stores:
                await store.open()
            producer, one = await begun(stores[0])
            last = '{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}'
            await append(producer, events(last, "[DONE]"), 0.0)
            self.freeze(stores[0])

            async def ended() -> bool:
                found = await stores[1].find(one.id)
                return found is not None and found.state != RUNNING

            await until(ended)
            entries = await stores[1].read(one.id, 0)
            end = entries[-1].end
            assert end is not None
            assert (end.outcome, end.upstream) == (COMPLETE, True)
            for store in stores:
                await store.close()

        asyncio.run(check())

    def test_exactly_one_of_many_processes_ends_a_dead_producers_stream(self) -> None:
        async def check() -> None:
            stores = [self.make() for _ in range(4)]
            for store in stores:
                await store.open()
            producer, one = await begun(stores[0])
            await append(producer, events("a"), 0.0)
            self.freeze(stores[0])

            async def ended() -> bool:
                found = await stores[1].find(one.id)
                return found is not None and found.state != RUNNING

            await until(ended)
            entries = await stores[2].read(one.id, 0)
            assert [entry.kind for entry in entries] == [EVENT, END]
            found = await stores[3].find(one.id)
            assert found is not None
            assert found.epoch == one.epoch + 1
            for store in stores:
                await store.close()

        asyncio.run(check())

    def test_streams_of_a_store_that_closes_end_as_interrupted(self) -> None:
        async def check() -> None:
            async with self.open() as other:
                async with self.open() as store:
                    producer, one = await begun(store)
                    await append(producer, events("a"), 0.0)
                entries = await other.read(one.id, 0)
                assert entries[-1].end is not None
                assert entries[-1].end.outcome == INTERRUPTED

        asyncio.run(check())

    def test_a_cancel_reaches_the_producer_from_every_process(self) -> None:
        async def check() -> None:
            async with self.open() as store, self.open() as other:
                for asker in (store, other):
                    producer, one = await begun(store)
                    asked = asyncio.Event()
                    producer.on_cancel = asked.set
                    await asker.cancel(one.id, "enough")
                    async with asyncio.timeout(PATIENCE):
                        await asked.wait()
                    assert producer.cancelled == "enough"
                    await producer.end(End(COMPLETE), one)

        asyncio.run(check())

    def test_an_owner_sees_its_own_listed_streams_newest_first(self) -> None:
        async def check() -> None:
            async with self.open() as store, self.open() as other:
                mine = [(await begun(store))[1].id for _ in range(3)]
                await begun(store, "bob")
                await begun(store, listed=False)
                assert [one.id for one in await other.streams("alice")] == sorted(mine, reverse=True)
                assert [one.owner for one in await other.streams("bob")] == ["bob"]
                assert len(await other.streams(None)) == 4

        asyncio.run(check())

    def test_an_owner_and_its_users_run_so_many_streams_at_once_over_all_processes(self) -> None:
        async def check() -> None:
            async with self.open() as store, self.open() as other:
                asked = [info(owner) for owner in ("alice", "alice/x", "alice/y", "alicia", "alice")]
                key = Idempotency("k", "body")
                asked.append(info("alice/x"))
                found = await asyncio.gather(
                    *(one.create(it, at_most=2) for one, it in zip([store, other] * 3, asked, strict=True)),
                    return_exceptions=True,
                )
                assert sum(isinstance(one, TooManyStreams) for one in found) == 3
                assert not isinstance(found[3], BaseException)
                with pytest.raises(TooManyStreams):
                    await store.create(info(), key, at_most=2)
                # The key of what was refused is not taken.
                begun = [(one, it) for one, it in zip(found, asked, strict=True) if not isinstance(one, BaseException)]
                (producer, _), ended = next((one, it) for one, it in begun if it.owner != "alicia")
                assert producer is not None
                await producer.end(End(COMPLETE), ended)
                producer, kept = await other.create(info(), key, at_most=2)
                assert producer is not None
                # Attaching begins none.
                assert (await store.create(info(), key, at_most=2))[1].id == kept.id

        asyncio.run(check())

    def test_a_response_is_found_for_its_owner_alone(self) -> None:
        async def check() -> None:
            async with self.open() as store, self.open() as other:
                _, one = await begun(store)
                one.response_id = "resp_1"
                await store.note(one)
                found = await other.find_response("resp_1", "alice")
                assert found is not None
                assert found.id == one.id
                assert await other.find_response("resp_1", "bob") is None
                await store.own_object("file-1", "alice")
                assert await other.owns_object("file-1", "alice")
                assert not await other.owns_object("file-1", "bob")

        asyncio.run(check())

    def test_a_deleted_stream_is_gone_for_every_process(self) -> None:
        async def check() -> None:
            async with self.open() as store, self.open() as other:
                producer, one = await begun(store)
                await producer.end(End(COMPLETE), one)
                await other.delete(one.id)
                assert await store.find(one.id) is None
                with pytest.raises(KeyError):
                    await store.read(one.id, 0)

        asyncio.run(check())

    def test_viewers_of_another_process_are_known_while_it_lives(self) -> None:
        async def check() -> None:
            async with self.open() as store:
                _, one = await begun(store)
                async with self.open() as other:
                    assert not await store.viewers_elsewhere(one.id)
                    await other.viewing(one.id, 1)
                    assert await store.viewers_elsewhere(one.id)
                    assert not await other.viewers_elsewhere(one.id)
                    await other.viewing(one.id, 0)
                    assert not await store.viewers_elsewhere(one.id)
                    await other.viewing(one.id, 2)
                assert not await store.viewers_elsewhere(one.id)

        asyncio.run(check())

    def test_tokens_add_up_over_all_processes(self) -> None:
        async def check() -> None:
            async with self.open() as store, self.open() as other:
                assert await store.spend("alice", 3) == 3
                assert await other.spend("alice", 4) == 7
                assert await store.spend("alice", 0) == 7
                assert await store.spend("bob", 0) == 0

        asyncio.run(check())
