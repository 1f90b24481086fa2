"""The store on many machines: streams in Valkey or Redis, which any number of nodes share.

Keys. Those of a stream share the hash tag ``{ID}``: a hash with what is known of it, and a stream of its entries, whose ids are the
positions. The hash has the epoch, the node that produces the stream, and the position of the next entry. Everything else is an index,
which may name streams that are gone: who reads it looks.

Writing. Events are gathered for `_INTERVAL` over all streams of a node, the first of each stream excepted, and leave in one round trip,
one script for each stream. The script compares the epoch, appends what the engine does not have yet, and publishes. So what was sent may
be sent again: after a lost reply, and after a failover to a replica that had not seen the last appends, which the tail held here repairs.

Leases. Each node renews its name in a sorted set, by the engine's clock, from a thread with a connection of its own. Whoever finds an
expired one declares the node dead, which it can never undo, and ends its streams: a script raises the epoch and appends the end, so that
one node does it and the dead one's script is refused from then on.

Reading. A node subscribes to the channels of streams that are watched here and reads their entries from its own position at each wake.
Lost wakes do no harm: readers look from time to time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from unspool.journal import ulid
from unspool.outcome import INTERRUPTED, RUNNING
from unspool.serve.engine import Address, Argument, Engine, Script, is_unknown_script
from unspool.serve.judging import end_in_log
from unspool.serve.store import (
    BODY,
    END,
    EVENT,
    FIRST,
    HEAD,
    LEASE,
    UNLISTED_SECONDS,
    End,
    Entry,
    Fenced,
    Head,
    Idempotency,
    IdempotencyMismatch,
    Producer,
    Store,
    StoreError,
    StreamInfo,
    TooManyStreams,
)
from unspool.sse import Events

_log = logging.getLogger("unspool.serve")

_RENEW = LEASE / 4
# Seconds that events are gathered for, over all streams of this node, and how many of one stream do not wait for that.
_INTERVAL = 0.012
_MOST_GATHERED = 16
# Entries of one stream that are sent in one script, and bytes of them.
_MOST_SENT, _MOST_SENT_BYTES = 1024, 1 << 20
# What is held of one stream while the engine is away; upstream is not read beyond that.
_MOST_HELD_BYTES = 1 << 20
# Entries that the engine has acknowledged and that are held all the same, for an engine that forgets them in a failover.
_HELD_BACK = 256
# Seconds that an engine may be away, and seconds between attempts.
_PATIENCE = 30.0
_RETRY = 0.1
# A node judges others by the engine's clock only after it has itself been in touch for so long: when an engine comes back, all leases
# have expired, and every node needs a moment to renew its own.
_STEADY = LEASE + 2 * _RENEW
# Seconds that a dead node stays known as dead, and that indexes outlive what they name.
_REMEMBER_DEAD = 3600
_SPARE = 86400
# An upstream object is forgotten when nobody has used it for so long; a response is kept there for 30 days.
_OBJECT_SECONDS = 90 * 86400
_SYNC_MILLISECONDS = 1000

_STOPPED = "this node was away for so long that its streams have been ended"
_GONE = "the engine no longer has the stream"

# Replies of scripts below zero.
_REFUSED, _MISSING = -1, -2

# KEYS info, log; ARGV epoch, position of the first value, values. Returns the position of the next entry, and a wish to cancel.
_APPEND = Script("""
local info = redis.call('HMGET', KEYS[1], 'epoch', 'state', 'next', 'cancel')
if not info[1] then return -2 end
if info[1] ~= ARGV[1] or info[2] ~= 'running' then return -1 end
local next, first = tonumber(info[3]), tonumber(ARGV[2])
if next >= first then
  local sent = next
  for i = 3 + next - first, #ARGV do
    redis.call('XADD', KEYS[2], next .. '-0', 'd', ARGV[i])
    next = next + 1
  end
  if next > sent then
    redis.call('HSET', KEYS[1], 'next', next)
    redis.call('PUBLISH', KEYS[1], next)
  end
end
if info[4] then return {next, info[4]} end
return next
""")

# KEYS info, log; ARGV epoch (empty: of a dead node), node, position, value, milliseconds to keep, fields and values. Returns the next position.
_END = Script("""
local info = redis.call('HMGET', KEYS[1], 'epoch', 'state', 'next', 'node')
if not info[1] then return -2 end
local next = tonumber(info[3])
if ARGV[1] == '' then
  if info[2] ~= 'running' or info[4] ~= ARGV[2] then return -1 end
  redis.call('HINCRBY', KEYS[1], 'epoch', 1)
else
  if info[1] ~= ARGV[1] then return -1 end
  if info[2] ~= 'running' then return next == ARGV[3] + 1 and next or -1 end
  if next ~= tonumber(ARGV[3]) then return next end
end
redis.call('XADD', KEYS[2], next .. '-0', 'd', ARGV[4])
next = next + 1
redis.call('HSET', KEYS[1], 'next', next, unpack(ARGV, 6))
redis.call('PEXPIRE', KEYS[1], ARGV[5])
redis.call('PEXPIRE', KEYS[2], ARGV[5])
redis.call('PUBLISH', KEYS[1], next)
return next
""")

# KEYS info; ARGV fields and values. Not for a stream that is gone.
_NOTE = Script("""
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
return redis.call('HSET', KEYS[1], unpack(ARGV))
""")

# KEYS info; ARGV reason, id, prefix of the nodes' channels.
_CANCEL = Script("""
local info = redis.call('HMGET', KEYS[1], 'state', 'node')
if info[1] ~= 'running' then return 0 end
redis.call('HSET', KEYS[1], 'cancel', ARGV[1])
return redis.call('PUBLISH', ARGV[3] .. info[2], ARGV[2] .. ' ' .. ARGV[1])
""")

# KEYS one; ARGV what it must begin with.
_DROP = Script("""
local found = redis.call('GET', KEYS[1])
if found and string.sub(found, 1, #ARGV[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
""")

# KEYS the running streams of an owner; ARGV id, how many there may be. Returns 1, or 0 where there are as many.
_BEGIN = Script("""
if redis.call('SCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
return redis.call('SADD', KEYS[1], ARGV[1])
""")

# KEYS living nodes, dead nodes; ARGV node. Returns 1, or 0 for one that has been declared dead.
_RENEW_LEASE = Script("""
if redis.call('ZSCORE', KEYS[2], ARGV[1]) then return 0 end
local time = redis.call('TIME')
redis.call('ZADD', KEYS[1], time[1] * 1000 + math.floor(time[2] / 1000), ARGV[1])
return 1
""")

# KEYS living nodes, dead nodes; ARGV node.
_LEAVE = Script("""
if redis.call('ZREM', KEYS[1], ARGV[1]) == 0 then return 0 end
local time = redis.call('TIME')
return redis.call('ZADD', KEYS[2], time[1] * 1000 + math.floor(time[2] / 1000), ARGV[1])
""")

# KEYS living nodes, dead nodes; ARGV milliseconds of a lease, seconds to remember. Returns the dead.
_DECLARE_DEAD = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, node in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[1])) do
  redis.call('ZREM', KEYS[1], node)
  redis.call('ZADD', KEYS[2], now, node)
end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[2] * 1000)
return redis.call('ZRANGE', KEYS[2], 0, -1)
""")

_PREFIX = "unspool:"
_NODES, _DEAD = f"{_PREFIX}{{nodes}}", f"{_PREFIX}{{nodes}}:dead"
_NODE_CHANNEL = f"{_PREFIX}node:"
_ALL = f"{_PREFIX}streams"


def _key(kind: str, *names: str) -> str:
    return _PREFIX + ":".join((kind, *names))


def _info_key(id: str) -> str:
    """The hash of a stream, and the channel of its wakes."""
    return f"{_PREFIX}{{{id}}}"


def _log_key(id: str) -> str:
    return f"{_PREFIX}{{{id}}}:log"


def _viewers_key(id: str) -> str:
    return f"{_PREFIX}{{{id}}}:viewers"


def _produced_key(node: str) -> str:
    return _key("produced", node)


def _running_key(owner: str) -> str:
    """The running streams of an owner and its users."""
    return _key("running", owner.partition("/")[0])


class ValkeyStore(Store):
    """Keeps streams in Valkey or Redis. ``keep`` is for how many seconds after a stream's end.

    ``fingerprint`` tells the gateway's secret from others without giving it away: nodes with another one know other owners, and must not
    share the streams. With ``sync="replica"`` nothing counts as kept before a replica has it.
    """

    def __init__(self, url: str, *, fingerprint: str = "", sync: str = "interval", keep: float = 86400.0) -> None:
        self._address = Address(url)
        self._address.check()
        self._fingerprint = fingerprint
        self._waits_for_replica = sync == "replica"
        self._keep = keep
        self._node = ulid.new()
        self._engine: Engine
        self._channels: Any
        self._fenced = False
        # By the clock of this machine: the last renewal, and since when none has been late.
        self._renewed_at = self._steady_since = 0.0
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._producers: dict[str, ValkeyProducer] = {}
        self._watches: dict[str, list[Callable[[], None]]] = {}
        self._subscribing: set[asyncio.Task[None]] = set()
        # Producers with something to send, and when that happens.
        self._due: dict[ValkeyProducer, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._flushing: asyncio.Task[None] | None = None
        self._is_urgent = False
        self._away_since: float | None = None
        # Streams whose end could not be written, to be ended when the engine is there again.
        self.unended: list[str] = []

    async def open(self) -> None:
        self._engine = Engine(self._address)
        try:
            await self._open()
        except StoreError:
            self._stopping.set()
            await self._engine.close()
            raise

    async def _open(self) -> None:
        await self._engine.check(_log.warning)
        if self._fingerprint:
            first = await self._engine("SET", _key("secret"), self._fingerprint, "NX", "GET")
            if first is not None and first.decode() != self._fingerprint:
                raise StoreError(f"{self._address.shown} has streams of a gateway with another secret; see --secret")
        await self._begin_lease()
        self._channels = self._engine.client.pubsub()
        await self._reach(self._channels.subscribe(_NODE_CHANNEL + self._node))
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(one()) for one in (self._listen, self._sweep)]

    async def close(self) -> None:
        for producer in list(self._producers.values()):
            with contextlib.suppress(StoreError, TimeoutError):
                async with asyncio.timeout(LEASE):  # then the others end it
                    info = await self.find(producer.id)
                    if info is not None:
                        await producer.end(End(INTERRUPTED, "the gateway was stopped"), info)
        self._stopping.set()
        for task in (*self._tasks, *self._subscribing, *filter(None, [self._flushing])):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if self._timer is not None:
            self._timer.cancel()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
        with contextlib.suppress(StoreError):
            # Declared dead: should a stream of this node still run, the others end it.
            await self._engine.run(_LEAVE, [_NODES, _DEAD], self._node)
        await self._channels.aclose()
        await self._engine.close()

    async def create(
        self, info: StreamInfo, idempotency: Idempotency | None = None, *, at_most: int | None = None
    ) -> tuple[Producer | None, StreamInfo]:
        if time.monotonic() - self._renewed_at > LEASE and not self._fenced:
            # Stopped for long, perhaps: the others would end what begins under a name that they have declared dead.
            self._fenced = not await self._engine.run(_RENEW_LEASE, [_NODES, _DEAD], self._node)
        if self._fenced:
            raise Fenced(_STOPPED)
        try:
            return await self._create(info, idempotency, at_most)
        except StoreError:
            self.unended.append(info.id)
            raise

    async def _create(
        self, info: StreamInfo, idempotency: Idempotency | None, at_most: int | None
    ) -> tuple[Producer | None, StreamInfo]:
        engine, id = self._engine, info.id
        fields = {"node": self._node, "next": FIRST, **_fields(info)}
        if idempotency is not None:
            fields["idempotency"] = idempotency.scope
        # In this order: a node that dies in between leaves no running stream that is not counted among its own.
        produced = engine("SADD", _produced_key(self._node), id)
        written = engine("HSET", _info_key(id), *_flat(fields))
        if idempotency is not None:
            found = await self._attach(id, idempotency)
            if found is not None:
                await asyncio.gather(
                    produced, written, engine("DEL", _info_key(id)), engine("SREM", _produced_key(self._node), id)
                )
                if found[1] != idempotency.body:
                    raise IdempotencyMismatch
                return None, found[0]
        if at_most is not None and not await self._count_in(info, at_most):
            await asyncio.gather(produced, written)
            await self.forget_idempotency(id)
            await asyncio.gather(engine("DEL", _info_key(id)), engine("SREM", _produced_key(self._node), id))
            raise TooManyStreams
        indexed = [engine("SADD", _running_key(info.owner), id)]
        if info.listed:
            indexed += self._list(info)
        await asyncio.gather(produced, written, *indexed)
        producer = self._producers[id] = ValkeyProducer(self, info)
        return producer, info

    async def forget_idempotency(self, id: str) -> None:
        scope = await self._engine("HGET", _info_key(id), "idempotency")
        if scope is not None:
            await self._engine.run(_DROP, [_key("idempotency", scope.decode())], id)

    async def find(self, id: str) -> StreamInfo | None:
        if not ulid.is_ulid(id):
            return None
        return _info(id, await self._engine("HGETALL", _info_key(id)))

    async def find_response(self, response_id: str, owner: str) -> StreamInfo | None:
        id = await self._engine("GET", _key("response", owner, response_id))
        return None if id is None else await self.find(id.decode())

    async def streams(self, owner: str | None, limit: int = 200) -> list[StreamInfo]:
        index = _ALL if owner is None else _key("streams", owner)
        found: list[StreamInfo] = []
        at = 0
        while len(found) < limit:
            ids = [one.decode() for one in await self._engine("ZREVRANGE", index, at, at + limit - 1)]
            gone: list[str] = []
            for id, fields in zip(
                ids, await asyncio.gather(*(self._engine("HGETALL", _info_key(id)) for id in ids)), strict=True
            ):
                info = _info(id, fields)
                found.append(info) if info is not None else gone.append(id)
            if gone:
                await self._engine("ZREM", index, *gone)
            if len(ids) < limit:
                break
            at += limit - len(gone)
        return found[:limit]

    async def note(self, info: StreamInfo) -> None:
        fields = {"response_id": info.response_id, "ttft": info.ttft, "model": info.model}
        noted = [self._engine.run(_NOTE, [_info_key(info.id)], *_flat(fields))]
        if info.response_id is not None:
            noted.append(self.name_response(info))
        await asyncio.gather(*noted)

    async def delete(self, id: str) -> None:
        engine = self._engine
        info, scope = await asyncio.gather(self.find(id), engine("HGET", _info_key(id), "idempotency"))
        if info is None:
            return
        done = [engine("DEL", _log_key(id), _info_key(id), _viewers_key(id)), engine("PUBLISH", _info_key(id), "")]
        done += [engine("ZREM", index, id) for index in (_ALL, _key("streams", info.owner))]
        if scope is not None:
            done.append(engine.run(_DROP, [_key("idempotency", scope.decode())], id))
        if info.response_id is not None:
            done.append(engine.run(_DROP, [_key("response", info.owner, info.response_id)], id))
        await asyncio.gather(*done)

    async def cancel(self, id: str, reason: str) -> None:
        producer = self._producers.get(id)
        if producer is not None:
            producer.ask_to_stop(reason)
        else:
            await self._engine.run(_CANCEL, [_info_key(id)], reason, id, _NODE_CHANNEL)

    async def read(self, id: str, position: int, limit: int = 1024) -> list[Entry]:
        bound = ("COUNT", limit) if limit < 1 << 20 else ()
        exists, found = await asyncio.gather(
            self._engine("EXISTS", _info_key(id)), self._engine("XRANGE", _log_key(id), f"{position}-0", "+", *bound)
        )
        if not exists:
            raise KeyError(id)
        return [_entry(int(place.partition(b"-")[0]), value) for place, (_, value) in found]

    def watch(self, id: str, on_news: Callable[[], None]) -> Callable[[], None]:
        callbacks = self._watches.get(id)
        if callbacks is None:
            callbacks = self._watches[id] = []
            self._subscribe(id)
        callbacks.append(on_news)

        def stop() -> None:
            callbacks.remove(on_news)
            if not callbacks and self._watches.get(id) is callbacks:
                del self._watches[id]
                self._subscribe(id)

        return stop

    async def viewing(self, id: str, count: int) -> None:
        key = _viewers_key(id)
        if count:
            await asyncio.gather(self._engine("SADD", key, self._node), self._engine("EXPIRE", key, _SPARE))
        else:
            await self._engine("SREM", key, self._node)

    async def viewers_elsewhere(self, id: str) -> bool:
        nodes = [one for one in await self._engine("SMEMBERS", _viewers_key(id)) if one.decode() != self._node]
        scores = await asyncio.gather(*(self._engine("ZSCORE", _NODES, one) for one in nodes))
        return any(one is not None for one in scores)

    async def _count_in(self, info: StreamInfo, at_most: int) -> bool:
        """Take a stream in among the running ones of its owner; False where there are as many as there may be."""
        key = _running_key(info.owner)
        if await self._engine.run(_BEGIN, [key], info.id, at_most):
            return True
        # Some may have ended with their node.
        ids = [one.decode() for one in await self._engine("SMEMBERS", key)]
        states = await asyncio.gather(*(self._engine("HGET", _info_key(id), "state") for id in ids))
        ended = [id for id, state in zip(ids, states, strict=True) if state != RUNNING.encode()]
        if not ended:
            return False
        await self._engine("SREM", key, *ended)
        return bool(await self._engine.run(_BEGIN, [key], info.id, at_most))

    async def spend(self, owner: str, tokens: int) -> int:
        key = _key("spent", owner, time.strftime("%Y-%m-%d", time.gmtime()))
        if not tokens:
            return int(await self._engine("GET", key) or 0)
        total, _ = await asyncio.gather(self._engine("INCRBY", key, tokens), self._engine("EXPIRE", key, 2 * _SPARE))
        return int(total)

    async def own_object(self, object_id: str, owner: str) -> None:
        await self._engine("SET", _key("object", owner, object_id), "", "EX", _OBJECT_SECONDS)

    async def owns_object(self, object_id: str, owner: str) -> bool:
        return bool(await self._engine("EXPIRE", _key("object", owner, object_id), _OBJECT_SECONDS))

    def stop_renewing(self) -> None:
        """Let the lease run out, as that of a stopped process does."""
        self._stopping.set()
        for task in self._tasks:
            task.cancel()

    # Indexes

    async def _attach(self, id: str, idempotency: Idempotency) -> tuple[StreamInfo, str] | None:
        """Give the key to a stream. Returns the stream that has it already, and the hash of its body."""
        key = _key("idempotency", idempotency.scope)
        while True:
            value = f"{id} {idempotency.body}"
            had = await self._engine("SET", key, value, "NX", "GET", "EX", int(self._keep + _SPARE))
            if had is None:
                return None
            first, _, body = had.decode().partition(" ")
            if (info := await self.find(first)) is not None:
                return info, body
            await self._engine.run(_DROP, [key], first)

    def _list(self, info: StreamInfo) -> list[Any]:
        at, own = ulid.milliseconds(info.id), _key("streams", info.owner)
        return [
            self._engine("ZADD", _ALL, at, info.id),
            self._engine("ZADD", own, at, info.id),
            self._engine("EXPIRE", own, int(self._keep + _SPARE)),
        ]

    async def name_response(self, info: StreamInfo) -> None:
        """Let a stream be found by the id of upstream's response."""
        key = _key("response", info.owner, info.response_id or "")
        await self._engine("SET", key, info.id, "EX", int(self._keep + _SPARE))

    async def uncount(self, id: str, owner: str, node: str | None = None) -> None:
        """Take an ended stream of this node, or another, out of what counts running ones."""
        await asyncio.gather(
            self._engine("SREM", _produced_key(node or self._node), id), self._engine("SREM", _running_key(owner), id)
        )

    # The lease

    async def _begin_lease(self) -> None:
        await self._engine.run(_RENEW_LEASE, [_NODES, _DEAD], self._node)
        self._fenced = False
        self._renewed_at = self._steady_since = time.monotonic()
        self._thread = threading.Thread(target=self._keep_lease, args=(self._node,), name="unspool-lease", daemon=True)
        self._thread.start()

    def _keep_lease(self, node: str) -> None:
        import redis

        client, *sentinels = self._address.blocking_clients()
        with contextlib.ExitStack() as closed:
            for one in (client, *sentinels):
                closed.enter_context(contextlib.closing(one))
            while not self._stopping.wait(_RENEW):
                try:
                    alive = client.eval(_RENEW_LEASE.source, 2, _NODES, _DEAD, node)
                except (redis.RedisError, OSError):
                    continue
                now = time.monotonic()
                if now - self._renewed_at > LEASE:
                    self._steady_since = now
                self._renewed_at = now
                if not alive:
                    self._fenced = True
                    return

    async def _sweep(self) -> None:
        try:
            while True:
                await asyncio.sleep(_RENEW)
                with contextlib.suppress(StoreError):
                    for id in self._watches.keys() - {one.decode()[9:-1] for one in self._channels.channels}:
                        self._subscribe(id)
                    if self._fenced:
                        await self._start_again()
                        continue
                    while self.unended:
                        await self._interrupt(self.unended[0], self._node)
                        del self.unended[0]
                    now = time.monotonic()
                    if now - self._steady_since > _STEADY and now - self._renewed_at < LEASE:
                        await self._end_orphans()
        finally:
            self._stopping.set()

    async def _start_again(self) -> None:
        """Take part again under another name, once everything of the old one has been given up."""
        if self._producers:
            for producer in list(self._producers.values()):
                producer.fail(Fenced(_STOPPED))
            return
        old, self._node = self._node, ulid.new()
        await self._begin_lease()
        await self._reach(self._channels.subscribe(_NODE_CHANNEL + self._node))
        await self._reach(self._channels.unsubscribe(_NODE_CHANNEL + old))

    async def _end_orphans(self) -> None:
        dead = await self._engine.run(_DECLARE_DEAD, [_NODES, _DEAD], int(LEASE * 1000), _REMEMBER_DEAD)
        nodes = [one.decode() for one in dead]
        for node, ids in zip(
            nodes, await asyncio.gather(*(self._engine("SMEMBERS", _produced_key(node)) for node in nodes)), strict=True
        ):
            await asyncio.gather(*(self._interrupt(id.decode(), node) for id in ids))

    async def _interrupt(self, id: str, node: str) -> None:
        """End the stream of a dead node, unless another node has."""
        info = await self.find(id)
        if info is not None and info.state == RUNNING:
            entries = await self.read(id, FIRST, 1 << 30)
            if not any(entry.kind in (EVENT, BODY) for entry in entries):
                await self.forget_idempotency(id)  # nobody has seen anything of it: the request may be sent again
            end = end_in_log(info.endpoint, entries) or End(
                INTERRUPTED, "the node that produced the answer was lost before it ended"
            )
            fields = {"state": end.outcome, "ended": time.time()}
            keep = self.milliseconds_to_keep(info)
            await self._engine.run(
                _END, [_info_key(id), _log_key(id)], "", node, 0, _end_value(end), keep, *_flat(fields)
            )
        await self.uncount(id, info.owner if info is not None else "", node)

    def milliseconds_to_keep(self, info: StreamInfo) -> int:
        """How long a stream is kept after its end."""
        return int(1000 * (self._keep if info.listed else min(UNLISTED_SECONDS, self._keep)))

    # Sending

    def due(self, producer: ValkeyProducer, *, at_once: bool) -> None:
        """A producer has something to send."""
        self._due[producer] = None
        if self._flushing is not None:
            self._is_urgent |= at_once
        elif at_once:
            self._flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_INTERVAL, self._flush)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().create_task(self._send())

    async def _send(self) -> None:
        pause = _INTERVAL
        try:
            self._is_urgent = False
            due, self._due = self._due, {}
            sent = [(one, command) for one in due if (command := one.command()) is not None]
            try:
                await self._exchange(sent)
            except StoreError as error:
                pause = _RETRY
                self._stay_away(due, error)
            else:
                self._away_since = None
        finally:
            self._flushing = None
        if self._due and self._timer is None:
            delay = 0.0 if self._is_urgent and pause == _INTERVAL else pause
            self._timer = asyncio.get_running_loop().call_later(delay, self._flush)

    async def _exchange(self, sent: list[tuple[ValkeyProducer, Command]]) -> None:
        """Send what is due, and tell each producer what became of it."""
        if not sent:
            return
        waiting = [("WAIT", 1, _SYNC_MILLISECONDS)] if self._waits_for_replica else []
        replies = await self._engine.exchange([*(one[1].command() for one in sent), *waiting])
        if any(map(is_unknown_script, replies)):
            # All of it goes again: what the engine has taken already does nothing the second time.
            for script in {command.script for _, command in sent}:
                await self._engine("SCRIPT", "LOAD", script.source)
            replies = await self._engine.exchange([*(one[1].command() for one in sent), *waiting])
        if waiting and not (isinstance(replies[-1], int) and replies[-1] >= 1):
            raise StoreError(f"{self._address.shown}: no replica has confirmed an append within 1 s")
        refused: StoreError | None = None
        for (producer, command), reply in zip(sent, replies, strict=False):
            if isinstance(reply, Exception):
                refused = self._engine.failure(reply)
                self._due[producer] = None
            else:
                producer.take_reply(command, reply)
        if refused is not None:
            raise refused

    def _stay_away(self, due: Iterable[ValkeyProducer], error: StoreError) -> None:
        """Keep what could not be sent for the next attempt, but not for ever."""
        now = time.monotonic()
        if self._away_since is None:
            self._away_since = now
            _log.warning("the engine is away: %s", error)
        for producer in due:
            if now - self._away_since > _PATIENCE:
                producer.fail(error)
            else:
                producer.trouble = str(error)
                self._due[producer] = None

    def release(self, producer: ValkeyProducer) -> None:
        """Forget a stream that this node produced."""
        self._producers.pop(producer.id, None)

    # News

    async def _reach(self, subscribing: Any) -> None:
        import redis

        try:
            await subscribing
        except (redis.RedisError, OSError, TimeoutError) as error:
            raise self._engine.failure(error) from error

    def _subscribe(self, id: str) -> None:
        """Subscribe to a stream, or no longer, as it is watched now."""

        async def change() -> None:
            with contextlib.suppress(StoreError):  # those who watch look from time to time
                channel = _info_key(id)
                await self._reach(
                    self._channels.subscribe(channel) if id in self._watches else self._channels.unsubscribe(channel)
                )

        task = asyncio.get_running_loop().create_task(change())
        self._subscribing.add(task)
        task.add_done_callback(self._subscribing.discard)

    async def _listen(self) -> None:
        import redis

        prefix = len(_info_key(""))
        while True:
            try:
                message = await self._channels.get_message(timeout=None)
            except (redis.RedisError, OSError, TimeoutError):
                # redis-py connects at the next attempt, and subscribes again.
                with contextlib.suppress(redis.RedisError, OSError):
                    await self._channels.connection.disconnect()
                await asyncio.sleep(_RETRY)
                continue
            if message is None or message["type"] not in ("message", "subscribe"):
                continue
            channel = message["channel"].decode()
            if channel.startswith(_NODE_CHANNEL):
                if message["type"] == "message":
                    id, _, reason = message["data"].decode("utf-8", "replace").partition(" ")
                    if id in self._producers:
                        self._producers[id].ask_to_stop(reason)
                continue
            # A subscription that has come into force is news as well: what was appended before it woke nobody.
            for callback in list(self._watches.get(channel[prefix - 1 : -1], ())):
                callback()


class Command:
    """A script of one producer's on its way, and the position after what it carries."""

    __slots__ = ("arguments", "after", "is_end", "keys", "script")

    def __init__(
        self, script: Script, keys: tuple[str, str], arguments: list[Argument], after: int, *, is_end: bool = False
    ) -> None:
        self.script = script
        self.keys = keys
        self.arguments = arguments
        self.after = after
        self.is_end = is_end

    def command(self) -> tuple[Argument, ...]:
        return self.script.command(self.keys, self.arguments)


class ValkeyProducer(Producer):
    """Writes one stream, as long as its epoch holds."""

    def __init__(self, store: ValkeyStore, info: StreamInfo) -> None:
        self.id = info.id
        self.epoch = info.epoch
        self._store = store
        self._keys = (_info_key(info.id), _log_key(info.id))
        # Entries from this position on: a few that the engine has, and all that it has not acknowledged.
        self._held: deque[bytes] = deque()
        self._held_from = FIRST
        self._kept = FIRST
        self._unkept_bytes = 0
        # What to do at which position.
        self._waiting: deque[tuple[int, Events | asyncio.Future[None], float]] = deque()
        self._end: tuple[bytes, int, list[Argument]] | None = None
        self._failure: StoreError | None = None
        self._room: asyncio.Future[None] | None = None

    @property
    def _next(self) -> int:
        return self._held_from + len(self._held)

    async def head(self, head: Head) -> int:
        return await self._put(b"h" + json.dumps({"status": head.status, "headers": head.headers}).encode())

    def append(self, events: Events, at: float) -> None:
        # Hot: once for each network read.
        if self._failure is not None:
            raise self._failure
        held = self._held
        for run in events.runs:
            start = b"e%.3f %s\n" % (at, b"" if run.type == "message" else run.type.encode("utf-8", "replace"))
            for data in run.utf8:
                held.append(start + data)
                self._unkept_bytes += len(data)
        after = self._held_from + len(held)
        self._waiting.append((after, events, at))
        if self._unkept_bytes > _MOST_HELD_BYTES:
            self.is_full = True
        # Nothing but the head is kept before the first events, which do not wait for others.
        self._store.due(self, at_once=self._kept <= FIRST + 1 or after - self._kept >= _MOST_GATHERED)

    async def body(self, data: bytes, at: float) -> int:
        return await self._put(b"b%.3f\n" % at + data.decode("utf-8", "replace").encode())

    async def end(self, end: End, info: StreamInfo) -> int:
        store = self._store
        if self._failure is not None:
            store.release(self)
            raise self._failure
        fields = {**_fields(info), "state": end.outcome, "ended": time.time()}
        self._end = (_end_value(end), store.milliseconds_to_keep(info), _flat(fields))
        position = self._next
        try:
            await self._until(position + 1)
        finally:
            store.release(self)
        with contextlib.suppress(StoreError):  # the sweeper of another node does it when this one is gone
            await store.uncount(self.id, info.owner)
            if info.response_id is not None:
                await store.name_response(info)
        return position

    def abandon(self) -> None:
        self._failure = self._failure or Fenced(_STOPPED)
        self._store.release(self)

    async def room(self) -> None:
        if self.is_full:
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    def _make_room(self) -> None:
        self.is_full = False
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def ask_to_stop(self, reason: str) -> None:
        """Tell whoever produces the stream that somebody wants it to end."""
        if self.cancelled is None:
            self.cancelled = reason
            if self.on_cancel is not None:
                self.on_cancel()

    def command(self) -> Command | None:
        """What is to be sent now."""
        if self._failure is not None:
            return None
        arguments: list[Argument] = [self.epoch, self._kept]
        start = self._kept - self._held_from
        if start < len(self._held):
            size = 0
            for place in range(start, min(len(self._held), start + _MOST_SENT)):
                arguments.append(self._held[place])
                size += len(self._held[place])
                if size >= _MOST_SENT_BYTES:
                    break
            return Command(_APPEND, self._keys, arguments, self._kept + len(arguments) - 2)
        if self._end is not None:
            value, keep, fields = self._end
            arguments = [self.epoch, "", self._kept, value, keep, *fields]
            return Command(_END, self._keys, arguments, self._kept + 1, is_end=True)
        return None

    def take_reply(self, command: Command, reply: int | list[Any]) -> None:
        """The engine has run a command of this producer's."""
        cancel: bytes | None = None
        if isinstance(reply, list):
            reply, cancel = reply
        assert isinstance(reply, int)
        if reply == _REFUSED:
            return self.fail(Fenced(_STOPPED))
        if reply == _MISSING:
            return self.fail(StoreError(_GONE))
        if reply < self._held_from:
            return self.fail(StoreError("the engine has lost more of the stream than is held here"))
        self.trouble = None
        # Less than it was: a replica that took over had not seen the last appends. They are sent again.
        self._kept = reply
        is_over = command.is_end and reply == command.after
        if not is_over and (self._kept < self._next or self._end is not None):
            self._store.due(self, at_once=self._end is not None)
        self._advance()
        if cancel is not None:
            self.ask_to_stop(cancel.decode("utf-8", "replace"))

    def fail(self, error: StoreError) -> None:
        """Nothing more can be kept."""
        if self._failure is not None:
            return
        self._failure = error
        if not isinstance(error, Fenced):
            self._store.unended.append(self.id)
        self._make_room()
        for _, waiting, _ in self._waiting:
            if isinstance(waiting, asyncio.Future) and not waiting.done():
                waiting.set_exception(error)
        self._waiting.clear()
        if self.on_trouble is not None:
            self.on_trouble(error)

    async def _put(self, value: bytes) -> int:
        """Append an entry and wait until it is kept. Returns its position."""
        if self._failure is not None:
            raise self._failure
        position = self._next
        self._held.append(value)
        self._unkept_bytes += len(value)
        await self._until(position + 1)
        return position

    async def _until(self, position: int) -> None:
        """Wait until everything before this position is kept."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((position, future, 0.0))
        self._store.due(self, at_once=True)
        await future

    def _advance(self) -> None:
        """Tell of what is kept now, and let go of what will not be needed again."""
        waiting, kept = self._waiting, self._kept
        while waiting and waiting[0][0] <= kept:
            after, what, at = waiting.popleft()
            if isinstance(what, Events):
                self.on_kept(after - len(what), what, at)
            elif not what.done():
                what.set_result(None)
        held = self._held
        while kept - self._held_from > _HELD_BACK and held:
            held.popleft()
            self._held_from += 1
        if kept >= self._next:
            self._unkept_bytes = 0
            if self.is_full:
                self._make_room()


def _flat(fields: dict[str, Any]) -> list[Argument]:
    """Fields and values one after the other, as the engine takes them; without those that are not known."""
    return [
        one
        for name, value in fields.items()
        if value is not None
        for one in (name, int(value) if isinstance(value, bool) else value)
    ]


def _fields(info: StreamInfo) -> dict[str, Any]:
    """What of a stream is kept beside its entries: not its request."""
    return {
        "owner": info.owner,
        "endpoint": info.endpoint,
        "model": info.model,
        "created": info.created,
        "state": info.state,
        "ttft": info.ttft,
        "input_tokens": info.input_tokens,
        "output_tokens": info.output_tokens,
        "response_id": info.response_id,
        "listed": info.listed,
        "abandon_after": info.abandon_after,
        "epoch": info.epoch,
    }


def _info(id: str, found: list[bytes]) -> StreamInfo | None:
    """The stream that a hash describes; None for an empty one."""
    fields = dict(zip(found[::2], found[1::2], strict=True))
    if b"epoch" not in fields:
        return None

    def text(name: bytes) -> str:
        return fields.get(name, b"").decode("utf-8", "replace")

    def number(name: bytes) -> float | None:
        return float(fields[name]) if name in fields else None

    def count(name: bytes) -> int | None:
        return int(fields[name]) if name in fields else None

    return StreamInfo(
        id,
        text(b"owner"),
        text(b"endpoint"),
        text(b"model"),
        number(b"created") or 0.0,
        text(b"state"),
        number(b"ended"),
        number(b"ttft"),
        count(b"input_tokens"),
        count(b"output_tokens"),
        text(b"response_id") or None,
        fields.get(b"listed") == b"1",
        number(b"abandon_after"),
        count(b"epoch") or 0,
    )


def _end_value(end: End) -> bytes:
    return (
        b"z"
        + json.dumps(
            {
                "outcome": end.outcome,
                "message": end.message,
                "finish_reason": end.finish_reason,
                "upstream": end.upstream,
                "successor": end.successor,
            }
        ).encode()
    )


def _entry(position: int, value: bytes) -> Entry:
    """The entry that a value of the log is."""
    kind = value[:1]
    if kind == b"e":
        start, _, data = value.partition(b"\n")
        at, _, type = start[1:].partition(b" ")
        return Entry(position, EVENT, float(at), type.decode() or "message", data)
    if kind == b"b":
        start, _, data = value.partition(b"\n")
        return Entry(position, BODY, float(start[1:]), data=data)
    found = json.loads(value[1:])
    if kind == b"h":
        return Entry(position, HEAD, head=Head(found["status"], found["headers"]))
    return Entry(position, END, end=End(**found))
