"""Reading one answer from upstream: into the store first, then to the viewers here."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator

from unspool import api, sse
from unspool.api import failure as failures
from unspool.jsontext import parse
from unspool.outcome import CANCELLED, COMPLETE, CUT, ERROR, INTERRUPTED, Fault, judge, of_failure
from unspool.serve.channel import HEARTBEAT_SECONDS, Channel, sequence_number
from unspool.serve.judging import end_of
from unspool.serve.renderings import AWAY
from unspool.serve.store import End, Fenced, Head, Producer, Store, StoreError, StreamInfo
from unspool.serve.upstream import Call, fault_of, read_all
from unspool.sse import EventBatch, Events

_LONGEST_BODY = 64 << 20
# Events that are decoded together at most, and about how many bytes of them.
_MOST_UNDECODED, _MOST_UNDECODED_BYTES = 64, 1 << 16
# Seconds before each attempt to read a response again that upstream makes in the background.
_RESUME_PAUSES = (0.1, 0.5, 1.0, 2.0, 4.0, 8.0)


class Ingest:
    """Produces one stream. ``silence`` is how many seconds upstream may send nothing at all, ``longest`` how many it may take.

    ``resume``, for an answer that upstream makes in the background, asks it again for the events of a response after a sequence number.
    """

    def __init__(
        self,
        store: Store,
        producer: Producer,
        channel: Channel,
        call: Callable[[], Call],
        *,
        silence: float,
        longest: float | None = None,
        resume: Callable[[str, int], Call] | None = None,
        kept_headers: Callable[[int, dict[str, str]], Head],
        refused_key: str | None = None,
    ) -> None:
        self.store = store
        self.producer = producer
        self.channel = channel
        self.info: StreamInfo = channel.info
        #: Headers of upstream's response that only the first viewer gets.
        self.live_headers: dict[str, str] = {}
        #: For how many seconds upstream, with a 429, wants no further request.
        self.retry_after: float | None = None
        self._make_call = call
        self._call: Call | None = None
        self._silence = silence
        self._longest = longest
        self._resume = resume
        # The data of the last event in the log.
        self._last = b""
        self._resumed_after = -1
        self._pauses: Iterator[float] = iter(())
        self._kept_headers = kept_headers
        # What to say, and keep, instead of upstream's own words where it refuses the key.
        self._refused_key = refused_key
        body = self.info.request.get("body")
        n = body.get("n") if isinstance(body, dict) else None
        self._decoder = api.endpoint(self.info.endpoint).decoder(n if isinstance(n, int) and n > 0 else 1)
        self._bytes_in = sse.Decoder(max_event_size=_LONGEST_BODY)
        # Events in the log that have not been decoded yet: the log and the viewers come first, and many at a time are cheaper.
        self._undecoded: list[EventBatch] = []
        self._undecoded_bytes = 0
        self._last_type = ""
        self._sent_at = self._heard_at = time.monotonic()
        self._stop_reason: str | None = None
        self._stop_outcome = CANCELLED
        self._reading: asyncio.Task[End] | None = None
        self._trouble: StoreError | None = None
        self.store_failed = False
        producer.on_cancel = lambda: self.stop(producer.cancelled or "cancelled")
        producer.on_kept = channel.publish_events
        producer.on_trouble = self._on_trouble

    def stop(self, reason: str, outcome: str = CANCELLED) -> None:
        """End the stream soon, for this reason."""
        if self._stop_reason is None:
            self._stop_reason, self._stop_outcome = reason, outcome
            if self._reading is not None:
                self._reading.cancel()

    async def run(self) -> StreamInfo:
        """Read the answer to its end. Returns what is known of it then."""
        self._sent_at = self._heard_at = time.monotonic()
        reading = self._reading = asyncio.ensure_future(self._read())
        if self._stop_reason is not None:
            reading.cancel()
        watching = asyncio.ensure_future(self._watch_over())
        try:
            await asyncio.wait({reading})
            end = self._outcome(reading)
        except Fenced:
            return self._give_up()
        finally:
            for task in (reading, watching):
                task.cancel()
            await asyncio.gather(reading, watching, return_exceptions=True)
            if self._call is not None:
                self._call.leave() if self._decoder.done else self._call.stop()
        await self._end(end)
        return self.info

    def _give_up(self) -> StreamInfo:
        """Leave the stream to whoever found the lease expired: the end in the log is theirs, and viewers read it there."""
        self.producer.abandon()
        self.info.state = INTERRUPTED
        self.channel.follow()
        return self.info

    def _on_trouble(self, error: StoreError) -> None:
        self._trouble = error
        if self._reading is not None:
            self._reading.cancel()

    def _outcome(self, reading: asyncio.Task[End]) -> End:
        try:
            if self._trouble is not None:
                raise self._trouble
            if reading.cancelled():
                self._decode()
                return End(self._stop_outcome, self._stop_reason or "stopped")
            return reading.result()
        except Fenced:
            raise
        except StoreError as error:
            self.store_failed = True
            return End(INTERRUPTED, f"the gateway could not store the answer: {error}")

    async def _end(self, end: End) -> None:
        usage = self._decoder.usage
        if usage is not None:
            self.info.input_tokens, self.info.output_tokens = usage.input_tokens, usage.output_tokens
        self.info.response_id = self._decoder.response_id or self.info.response_id
        self.info.model = self._decoder.model or self.info.model
        if not self.channel.begun and end.outcome != COMPLETE:
            await self._forget_idempotency()
        self.info.ended = time.time()
        # Nothing is waited for between this and the end in the log: a viewer that finds the one looks for the other.
        self.info.state = end.outcome
        try:
            position = await self.producer.end(end, self.info)
        except Fenced:
            self._give_up()
            return
        except StoreError:
            position = self.channel.position
        self.channel.publish_end(position, end)

    async def _forget_idempotency(self) -> None:
        """Let the request be sent again: it failed before its first event. Comes before the client hears of that."""
        with contextlib.suppress(StoreError):
            await self.store.forget_idempotency(self.info.id)

    async def _read(self) -> End:
        call = self._call = self._make_call()
        if not await call.head():
            fault = fault_of(call) or Fault(CUT, "upstream sent nothing")
            return End(fault.outcome, fault.message)
        if self._refused_key is not None and call.status in (401, 403):
            return End(ERROR, self._refused_key)
        self.live_headers = dict(call.headers)
        head = self._kept_headers(call.status, call.headers)
        self.channel.publish_head(await self.producer.head(head), head)
        if call.status == 200 and _is_event_stream(head.headers.get("content-type", "")):
            return await self._read_stream(call)
        return await self._read_body(call)

    async def _read_stream(self, call: Call) -> End:
        decoder = self._decoder
        fault: Fault | None = None
        try:
            fault = await self._pour(call)
            while not decoder.done and (again := await self._resumed()) is not None:
                fault = await self._pour(again)
        except asyncio.CancelledError:
            if not self._decoder.done:
                raise
        except sse.EventTooLarge as error:
            fault = Fault(CUT, str(error))
        # A last event without its blank line counts where it is complete, not what a cut left of one.
        last = Events.of(
            one
            for one in self._bytes_in.close(dispatch_incomplete=True)
            if one.utf8 == b"[DONE]" or parse(one.utf8) is not None
        )
        if last:
            self._append(last)
        self._decode()
        decoder.close()
        return end_of(judge(decoder, fault), spoken=decoder.ended or decoder.failure is not None)

    async def _pour(self, call: Call) -> Fault | None:
        await call.pour(self._take)
        while self.producer.is_full and not self._decoder.done:
            await self.producer.room()
            await call.pour(self._take)
        return call.fault

    async def _resumed(self) -> Call | None:
        """Ask upstream for what follows the last event in the log, after its connection has broken; None where it has no more."""
        self._decode()
        after = sequence_number(self._last)
        if self._resume is None or self._decoder.done or self._decoder.response_id is None or after is None:
            return None
        if after != self._resumed_after:
            self._resumed_after, self._pauses = after, iter(_RESUME_PAUSES)
        for pause in self._pauses:
            if self._call is not None:
                self._call.stop()
            await asyncio.sleep(pause)
            call = self._call = self._resume(self._decoder.response_id, after)
            if not await call.head() or call.status in (429, 500, 502, 503, 504):
                continue
            if call.status != 200 or not _is_event_stream(call.headers.get("content-type", "")):
                return None
            # What a cut has left of an event comes again.
            self._bytes_in = sse.Decoder(max_event_size=_LONGEST_BODY)
            return call
        return None

    def _take(self, data: bytes) -> bool:
        """Take bytes of the event stream; True once nothing can follow. Hot: once for each network read."""
        self._heard_at = time.monotonic()
        events = self._bytes_in.take(data)
        if events.runs:
            self._append(events)
        return self._decoder.done or self.producer.is_full

    def _append(self, events: Events) -> None:
        self.producer.append(events, self._heard_at - self._sent_at)
        held = self._undecoded
        held += events.runs
        last = events.runs[-1]
        data = self._last = last.utf8[-1]
        self._undecoded_bytes += len(data)
        # An event of another type may be the end, and the first one has the ids; Chat's and Completions' end is a mark.
        if (
            last.type != self._last_type
            or data == b"[DONE]"
            or len(held) >= _MOST_UNDECODED
            or self._undecoded_bytes > _MOST_UNDECODED_BYTES
        ):
            self._last_type = last.type
            self._decode()

    def _decode(self) -> None:
        """Learn from the events so far how the answer is going."""
        held, self._undecoded, self._undecoded_bytes = self._undecoded, [], 0
        batches: list[EventBatch] = []
        for one in held:
            if batches and batches[-1].type == one.type:
                batches[-1].utf8.extend(one.utf8)
            else:
                batches.append(EventBatch(one.type, list(one.utf8)))
        self._decoder.decode(Events(batches))
        if held and self.info.ttft is None:
            self.info.ttft = self._heard_at - self._sent_at
            self.info.response_id = self._decoder.response_id
            self.info.model = self._decoder.model or self.info.model
            self._noting = asyncio.ensure_future(self._note())

    async def _note(self) -> None:
        with contextlib.suppress(StoreError):
            await self.store.note(self.info)

    async def _read_body(self, call: Call) -> End:
        try:
            data = await read_all(call, _LONGEST_BODY)
        except ValueError as error:
            return End(CUT, str(error))
        at = time.monotonic() - self._sent_at
        self.info.ttft = at
        position = await self.producer.body(data, at)
        if call.status != 200:
            await self._forget_idempotency()
        self.channel.publish_body(position, data, at)
        if call.fault is not None:
            return End(call.fault.outcome, call.fault.message)
        value = parse(data)
        if call.status != 200:
            failure = failures.from_response(call.status, call.headers, data)
            if call.status == 429:
                self.retry_after = failure.retry_after
            return End(of_failure(failure), f"upstream answered HTTP {call.status}", upstream=True)
        if isinstance(value, dict | list):
            self._decoder.decode_body(value)
        self._decoder.close()
        return end_of(judge(self._decoder, None), spoken=True)

    async def _watch_over(self) -> None:
        """Send a comment to silent viewers, from the loop that produces: a dead producer sends none. End a silent upstream."""
        loop = asyncio.get_running_loop()
        position, beat_at = -1, loop.time()
        while True:
            await asyncio.sleep(min(1.0, self._silence / 4, (self._longest or 4.0) / 4))
            # A server that ends without an end mark and leaves the connection open must not be waited for in vain.
            self._decode()
            if self._decoder.done and self._reading is not None:
                self._reading.cancel()
            if time.monotonic() - self._heard_at > self._silence:
                self.stop(f"upstream sent nothing for {self._silence:g} s", CUT)
            if self._longest is not None and time.monotonic() - self._sent_at > self._longest:
                self.stop(f"the answer took longer than {self._longest:g} s", CUT)
            if self.producer.trouble is not None:
                self.channel.heartbeat(AWAY)
            elif self.channel.position != position:
                position, beat_at = self.channel.position, loop.time()
            elif loop.time() - beat_at >= HEARTBEAT_SECONDS:
                beat_at = loop.time()
                self.channel.heartbeat()


def _is_event_stream(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == "text/event-stream"
