"""Reading one answer from upstream: into the store first, then to the viewers here."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from unspool import api, sse
from unspool.api import failure as failures
from unspool.jsontext import parse
from unspool.outcome import CANCELLED, COMPLETE, CUT, INTERRUPTED, Ending, Fault, judge, of_failure
from unspool.serve.channel import HEARTBEAT_SECONDS, Channel
from unspool.serve.store import End, Fenced, Head, Producer, Store, StoreError, StreamInfo
from unspool.serve.upstream import Call, fault_of
from unspool.sse import Events

_LONGEST_BODY = 64 << 20


class Ingest:
    """Produces one stream. ``silence`` is how many seconds upstream may send nothing at all."""

    def __init__(
        self,
        store: Store,
        producer: Producer,
        channel: Channel,
        call: Callable[[], Call],
        *,
        silence: float,
        kept_headers: Callable[[int, dict[str, str]], Head],
    ) -> None:
        self.store = store
        self.producer = producer
        self.channel = channel
        self.info: StreamInfo = channel.info
        #: Headers of upstream's response that only the first viewer gets.
        self.live_headers: dict[str, str] = {}
        self.failed_before_first_event = False
        self._make_call = call
        self._call: Call | None = None
        self._silence = silence
        self._kept_headers = kept_headers
        body = self.info.request.get("body")
        n = body.get("n") if isinstance(body, dict) else None
        self._decoder = api.endpoint(self.info.endpoint).decoder(n if isinstance(n, int) and n > 0 else 1)
        self._sent_at = self._heard_at = time.monotonic()
        self._stop_reason: str | None = None
        self._stop_outcome = CANCELLED
        self._stopped = asyncio.Event()
        producer.on_cancel = lambda: self.stop(producer.cancelled or "cancelled")

    def stop(self, reason: str, outcome: str = CANCELLED) -> None:
        """End the stream soon, for this reason."""
        if self._stop_reason is None:
            self._stop_reason, self._stop_outcome = reason, outcome
            self._stopped.set()

    async def run(self) -> StreamInfo:
        """Read the answer to its end. Returns what is known of it then."""
        self._sent_at = self._heard_at = time.monotonic()
        reading = asyncio.ensure_future(self._read())
        stopping = asyncio.ensure_future(self._stopped.wait())
        beating = asyncio.ensure_future(self._watch_over())
        try:
            await asyncio.wait({reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                reading.cancel()
            end = await self._outcome(reading)
        except Fenced as error:
            # The end has been written by whoever found the lease expired; the log cannot be trusted to be ours any more.
            self.channel.publish_end(self.channel.position, End(INTERRUPTED, str(error)))
            return self.info
        finally:
            for task in (reading, stopping, beating):
                task.cancel()
            await asyncio.gather(reading, stopping, beating, return_exceptions=True)
            if self._call is not None:
                self._call.leave() if self._decoder.done else self._call.stop()
        await self._end(end)
        return self.info

    async def _outcome(self, reading: asyncio.Future[End]) -> End:
        if self._stop_reason is not None:
            with contextlib.suppress(asyncio.CancelledError, StoreError):
                await reading
            return End(self._stop_outcome, self._stop_reason)
        try:
            return await reading
        except Fenced:
            raise
        except StoreError as error:
            return End(INTERRUPTED, f"the gateway could not keep the answer: {error}")

    async def _end(self, end: End) -> None:
        usage = self._decoder.usage
        if usage is not None:
            self.info.input_tokens, self.info.output_tokens = usage.input_tokens, usage.output_tokens
        self.info.response_id = self._decoder.response_id or self.info.response_id
        self.info.model = self._decoder.model or self.info.model
        self.info.ended = time.time()
        self.info.state = end.outcome
        try:
            position = await self.producer.end(end, self.info)
        except Fenced as error:
            end = End(INTERRUPTED, str(error))
            position = self.channel.position
        except StoreError:
            position = self.channel.position
        self.channel.publish_end(position, end)

    async def _read(self) -> End:
        call = self._call = self._make_call()
        if not await call.head():
            fault = fault_of(call) or Fault(CUT, "upstream sent nothing")
            self.failed_before_first_event = True
            return End(fault.outcome, fault.message)
        self.live_headers = dict(call.headers)
        head = self._kept_headers(call.status, call.headers)
        self.channel.publish_head(await self.producer.head(head), head)
        if call.status == 200 and _is_event_stream(head.headers.get("content-type", "")):
            return await self._read_stream(call)
        return await self._read_body(call)

    async def _read_stream(self, call: Call) -> End:
        decoder, bytes_in = self._decoder, sse.Decoder(max_event_size=_LONGEST_BODY)
        producer, channel = self.producer, self.channel
        fault: Fault | None = None
        while True:
            data = await call.read()
            if not data:
                fault = call.fault
                break
            self._heard_at = time.monotonic()
            try:
                events = bytes_in.take(data)
            except sse.EventTooLarge as error:
                fault = Fault(CUT, str(error))
                break
            if not events:
                continue
            at = self._heard_at - self._sent_at
            position = await producer.append(events, at)
            channel.publish_events(position, events, at)
            decoder.decode(events)
            if self.info.ttft is None:
                await self._first_event(at)
            if decoder.done:
                break
        # A last event without its blank line counts where it is complete, not what a cut left of one.
        last = Events.of(
            one
            for one in bytes_in.close(dispatch_incomplete=True)
            if one.utf8 == b"[DONE]" or parse(one.utf8) is not None
        )
        if last:
            at = time.monotonic() - self._sent_at
            channel.publish_events(await producer.append(last, at), last, at)
            decoder.decode(last)
        decoder.close()
        return _end_of(judge(decoder, fault), spoken=decoder.ended or decoder.failure is not None)

    async def _first_event(self, at: float) -> None:
        self.info.ttft = at
        self.info.response_id = self._decoder.response_id
        self.info.model = self._decoder.model or self.info.model
        with contextlib.suppress(StoreError):
            await self.store.note(self.info)

    async def _read_body(self, call: Call) -> End:
        try:
            data = await call.read_all(_LONGEST_BODY)
        except ValueError as error:
            return End(CUT, str(error))
        at = time.monotonic() - self._sent_at
        self.info.ttft = at
        self.channel.publish_body(await self.producer.body(data, at), data, at)
        if call.fault is not None:
            return End(call.fault.outcome, call.fault.message)
        value = parse(data)
        if call.status != 200:
            self.failed_before_first_event = True
            failure = failures.from_response(call.status, call.headers, data)
            return End(of_failure(failure), f"upstream answered HTTP {call.status}", upstream=True)
        if isinstance(value, dict | list):
            self._decoder.decode_body(value)
        self._decoder.close()
        return _end_of(judge(self._decoder, None), spoken=True)

    async def _watch_over(self) -> None:
        """Send a comment to silent viewers, from the loop that produces: a dead producer sends none. End a silent upstream."""
        loop = asyncio.get_running_loop()
        position, beat_at = -1, loop.time()
        while True:
            await asyncio.sleep(min(1.0, self._silence / 4))
            if time.monotonic() - self._heard_at > self._silence:
                self.stop(f"upstream sent nothing for {self._silence:g} s", CUT)
            if self.channel.position != position:
                position, beat_at = self.channel.position, loop.time()
            elif loop.time() - beat_at >= HEARTBEAT_SECONDS:
                beat_at = loop.time()
                self.channel.heartbeat()


def _end_of(ending: Ending, *, spoken: bool) -> End:
    """The end that a decoder's facts mean. ``spoken`` says that upstream told it itself, so that viewers have it."""
    return End(
        ending.outcome,
        "" if ending.outcome == COMPLETE else ending.message,
        ending.finish_reason,
        upstream=spoken and ending.outcome != CUT,
    )


def _is_event_stream(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == "text/event-stream"
