"""What one process knows of a stream that is being read here: its viewers, and where the log is by now.

A channel is fed by whoever learns first of new entries: the producer in this process, after the store has them, or else a tail that reads
the store. It hands them to the viewers that have everything before. A viewer that is behind, for it came late or reads slowly, reads the
store at its own pace until it has caught up; so a slow viewer costs the others nothing, and holds no memory.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from unspool.jsontext import parse
from unspool.outcome import INTERRUPTED, RUNNING
from unspool.serve.http import ClientGone, ResponseStream
from unspool.serve.renderings import HEARTBEAT, Rendering, UpstreamRendering
from unspool.serve.store import BODY, END, EVENT, FIRST, HEAD, End, Entry, Head, Store, StoreError, StreamInfo
from unspool.sse import Event, Events

# Entries that a viewer reads from the store at a time.
_SLICE = 1024

# Seconds that readers wait for a store that is away, and between attempts.
_PATIENCE, _PAUSE = 30.0, 0.2
_GONE = End("error", "the stream is no longer kept")

#: Seconds of silence after which a comment says that the producer lives.
HEARTBEAT_SECONDS = 15.0


class Channel:
    """One stream in this process. ``position`` is that of the next entry; ``end`` is set once the stream has ended."""

    def __init__(self, store: Store, info: StreamInfo, on_idle: Callable[[Channel], None]) -> None:
        self.store = store
        self.info = info
        self.position = FIRST
        self.head: Head | None = None
        self.end: End | None = None
        #: Whether upstream's first event or body has arrived.
        self.begun = False
        self.is_local = False
        self.viewers: set[Viewer] = set()
        # Viewers that are handed what arrives: those that are sent the same bytes, and the others. Replaced at each change.
        self._sharing: tuple[Viewer, ...] = ()
        self._live: tuple[Viewer, ...] = ()
        self._on_idle = on_idle
        self._news: list[asyncio.Future[None]] = []
        self._tail: asyncio.Task[None] | None = None
        self._rendering = UpstreamRendering(info)

    # What arrives

    def publish_head(self, position: int, head: Head) -> None:
        """Upstream's status and headers are in the log."""
        self.head = head
        self._move(position + 1)

    def publish_events(self, position: int, events: Events, at: float) -> None:
        """These events are in the log."""
        # Hot: once for each network read, and what follows for each viewer. The bytes are prepared once.
        self.begun = True
        self.position = after = position + len(events)
        if self._sharing:
            chunk = self._rendering.chunk(position, events)
            for viewer in self._sharing:
                viewer.position = after
                viewer.write_chunk(chunk)
        for viewer in self._live:
            viewer.push(viewer.rendering.events(position, events, at), after)
        if self._news:
            self._wake()

    def publish_body(self, position: int, data: bytes, at: float) -> None:
        """The answer is in the log, as one body."""
        self.begun = True
        for viewer in self._sharing + self._live:
            viewer.push(viewer.rendering.body(position, data, at), position + 1)
        self._move(position + 1)

    def publish_end(self, position: int, end: End) -> None:
        """The end is in the log."""
        self.end = end
        self.info.state = end.outcome
        self._move(position + 1)
        for viewer in self._sharing + self._live:
            viewer.finish(position, end)
        self._idle()

    def heartbeat(self, comment: bytes = HEARTBEAT) -> None:
        """The producer lives: say so to those who have heard nothing for long."""
        for viewer in self._sharing + self._live:
            viewer.response.write(comment)

    # Who reads and waits

    async def read(self, position: int, limit: int) -> list[Entry]:
        """The entries from this position on. Waits for a store that is away for a moment. Raises KeyError, and StoreError."""
        deadline = asyncio.get_running_loop().time() + _PATIENCE
        while True:
            try:
                return await self.store.read(self.info.id, position, limit)
            except StoreError:
                if asyncio.get_running_loop().time() > deadline:
                    raise
            await asyncio.sleep(_PAUSE)

    async def wait(self, seconds: float | None = None) -> bool:
        """Return at the next news; False where none came in this time."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._news.append(future)
        try:
            async with asyncio.timeout(seconds):
                await future
        except TimeoutError:
            return False
        finally:
            if future in self._news:
                self._news.remove(future)
        return True

    async def attach(self, viewer: Viewer) -> None:
        """Count a viewer in."""
        self.viewers.add(viewer)
        if not self.is_local and self.end is None and self.info.state == RUNNING:
            await self._announce()
            self.follow()

    async def _announce(self) -> None:
        """Let the producer know whether the stream has viewers here."""
        with contextlib.suppress(StoreError):  # said again as long as it is followed
            await self.store.viewing(self.info.id, len(self.viewers))

    def follow(self) -> None:
        """Read the store from now on, for this process does not produce the stream, or no longer."""
        self.is_local = False
        if self._tail is None:
            self._tail = asyncio.get_running_loop().create_task(self._follow())

    async def detach(self, viewer: Viewer) -> None:
        """Count a viewer out."""
        self.viewers.discard(viewer)
        self.leave_live(viewer)
        if not self.viewers and not self.is_local:
            await self._announce()
        self._idle()

    def reaches(self, position: int) -> bool:
        """Whether this is not ahead of the channel. A tail that nobody is handed anything from yet begins where its first viewer is."""
        if position > self.position and not self.is_local and not self._live and not self._sharing:
            self.position = position
        return position <= self.position

    def join_live(self, viewer: Viewer) -> None:
        """From now on this viewer is handed what arrives: it has everything before."""
        if viewer.shares:
            self._sharing += (viewer,)
        else:
            self._live += (viewer,)

    def leave_live(self, viewer: Viewer) -> None:
        """This viewer reads the store itself."""
        self._sharing = tuple(one for one in self._sharing if one is not viewer)
        self._live = tuple(one for one in self._live if one is not viewer)

    def close(self) -> None:
        """Stop following the store."""
        if self._tail is not None:
            self._tail.cancel()
            self._tail = None

    def _move(self, position: int) -> None:
        self.position = max(self.position, position)
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, []
        for future in news:
            if not future.done():
                future.set_result(None)

    def _idle(self) -> None:
        if not self.viewers:
            self._on_idle(self)

    async def _follow(self) -> None:
        """Read what another process produces."""
        loop = asyncio.get_running_loop()
        news = asyncio.Event()
        stop = self.store.watch(self.info.id, news.set)
        heard = loop.time()
        try:
            while self.end is None:
                news.clear()
                try:
                    position = self.position
                    entries = await self.read(position, _SLICE)
                except KeyError:
                    self.publish_end(self.position, _GONE)
                    return
                except StoreError:
                    await asyncio.sleep(0.1)
                    continue
                if entries and position == self.position:
                    heard = loop.time()
                    for group in _groups(entries):
                        self._publish(group)
                    continue
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1.0):
                        await news.wait()
                if loop.time() - heard >= HEARTBEAT_SECONDS:
                    heard = loop.time()
                    with contextlib.suppress(StoreError):
                        found = await self.store.find(self.info.id)
                        if found is not None and found.ended is None:
                            self.heartbeat()
                            await self._announce()
                        elif found is not None and not await self.read(self.position, 1):
                            # The log is shorter than what was shown.
                            self.publish_end(self.position, End(INTERRUPTED, "the end of the answer was lost"))
        finally:
            stop()

    def _publish(self, group: list[Entry]) -> None:
        first = group[0]
        if first.kind == EVENT:
            self.publish_events(first.position, _events(group), first.at)
        elif first.kind == BODY:
            self.publish_body(first.position, first.data, first.at)
        elif first.kind == HEAD and first.head is not None:
            self.publish_head(first.position, first.head)
        elif first.kind == END and first.end is not None:
            self.publish_end(first.position, first.end)


class Viewer:
    """One client that is sent a stream. ``position`` is that of the next entry to send; ``skip_to`` a sequence number of Responses."""

    def __init__(
        self,
        channel: Channel,
        rendering: Rendering,
        response: ResponseStream,
        position: int,
        *,
        skip_to: int | None = None,
    ) -> None:
        self.channel = channel
        self.rendering = rendering
        self.response = response
        #: Whether it is sent the bytes of others, by this.
        self.shares = rendering.is_stateless and response.is_chunked
        self.write_chunk = response.write_chunk
        # A rendering with a state is fed everything, and leaves out what the client has.
        self.position = max(position if rendering.is_stateless else 0, FIRST)
        self._send_from = position
        self._skip_to = skip_to
        self._left: asyncio.Future[None] | None = None

    async def run(self) -> None:
        """Send the stream to its end. Returns early when the client has gone."""
        await self.channel.attach(self)
        # Called where the client has gone, or takes less than it is sent.
        self.response.on_slow = self.leave_live
        try:
            if self._send_from == 0:
                self.response.write(self.rendering.begin() or HEARTBEAT)
            with contextlib.suppress(ClientGone):
                await self._send()
        finally:
            self.response.on_slow = None
            await self.channel.detach(self)

    def push(self, data: bytes, position: int) -> None:
        """Send what has just arrived."""
        self.position = position
        if data:
            self.response.write(data)

    def finish(self, position: int, end: End) -> None:
        """Send the end that has just arrived."""
        if self.rendering.needs_log_for(end):
            return self.leave_live()
        self.push(self.rendering.end(position, end), position + 1)
        self.response.end()
        self.leave_live()

    def leave_live(self) -> None:
        """Read the store from now on."""
        self.channel.leave_live(self)
        if self._left is not None and not self._left.done():
            self._left.set_result(None)

    async def _send(self) -> None:
        channel, response = self.channel, self.response
        is_first = channel.is_local and not channel.begun and channel.end is None
        if is_first and self._send_from == 0 and self._skip_to is None:
            # The viewer that asked: nothing has been sent yet that it could have missed.
            self.position = channel.position
        while not response.is_gone and not response.is_ended:
            await response.drained()
            if self.position == channel.position and channel.is_local and channel.end is None:
                await self._be_live()
                continue
            runs = channel.info.state == RUNNING  # before it is read: the end may come meanwhile
            try:
                entries = await channel.read(self.position, _SLICE)
            except KeyError:
                # Removed, or lost with its store: the end cannot come from the log.
                self.push(self.rendering.end(self.position, channel.end or _GONE), self.position + 1)
                response.end()
                return
            if entries:
                for group in _groups(entries, by_time=not self.rendering.is_stateless):
                    end = group[0].end
                    if end is not None and self.rendering.needs_log_for(end):
                        self.rendering.last_sequence = await self._last_sequence()
                    self._catch_up(group)
                    if group[0].kind == END:
                        response.end()
                        return
                if len(entries) >= _SLICE:
                    await asyncio.sleep(0)  # others get their turn in between
                continue
            if not runs:
                response.abort()  # the log lost its end: a broken response says so
                return
            if not channel.reaches(self.position):
                await channel.wait(1.0)
            elif self.position == channel.position:
                await self._be_live()
            else:
                await channel.wait(0.05)  # the store has not shown us yet what the channel knows of

    async def _be_live(self) -> None:
        """Be handed what arrives, until `leave_live`."""
        if self._skip_to is not None:
            await self.channel.wait(1.0)  # what arrives next may be what the client has
            return
        self._left = asyncio.get_running_loop().create_future()
        self.channel.join_live(self)
        if self.response.is_full or self.response.is_gone:
            self.leave_live()
        await self._left

    async def _last_sequence(self) -> int | None:
        """The last sequence number in the log."""
        entries = await self.channel.store.read(self.channel.info.id, 0, 1 << 30)
        numbers = [sequence_number(entry.data) for entry in entries if entry.kind == EVENT]
        return max((number for number in numbers if number is not None), default=None)

    def _catch_up(self, group: list[Entry]) -> None:
        first, self.position = group[0], group[-1].position + 1
        if first.kind == EVENT:
            events = _events(group)
            if self._skip_to is not None:
                group = self._beyond(group)
                if not group:
                    return
                first, events = group[0], _events(group)
            data = self.rendering.events(first.position, events, first.at)
        elif first.kind == BODY:
            data = self.rendering.body(first.position, first.data, first.at)
        elif first.kind == END and first.end is not None:
            data = self.rendering.end(first.position, first.end)
        else:
            return
        if data:
            self.response.write(data)

    def _beyond(self, group: list[Entry]) -> list[Entry]:
        """What of these events has a larger sequence number than the client's last one."""
        assert self._skip_to is not None
        for index, entry in enumerate(group):
            number = sequence_number(entry.data)
            if number is not None and number > self._skip_to:
                self._skip_to = None
                return group[index:]
        return []


def sequence_number(data: bytes) -> int | None:
    """The ``sequence_number`` of an event of Responses."""
    value = parse(data)
    number = value.get("sequence_number") if isinstance(value, dict) else None
    return number if isinstance(number, int) and not isinstance(number, bool) else None


def _groups(entries: list[Entry], *, by_time: bool = False) -> list[list[Entry]]:
    """Events that follow each other together (``by_time``: that arrived together), everything else alone."""
    groups: list[list[Entry]] = []
    for entry in entries:
        last = groups[-1][0] if groups else None
        if last and entry.kind == last.kind == EVENT and (not by_time or entry.at == last.at):
            groups[-1].append(entry)
        else:
            groups.append([entry])
    return groups


def _events(entries: list[Entry]) -> Events:
    made: list[Event] = []
    for entry in entries:
        event = Event.__new__(Event)
        event.type, event.utf8, event.id, event.retry = entry.type, entry.data, "", None
        made.append(event)
    return Events.of(made)
