"""Many streams at once, measured: the load that `unspool bench` puts on a server.

One thread and one loop drive all of them, as `unspool.client.http.transport.Reactor` drives one: libcurl's sockets in a selector, for what
polls a list would go through all of them for each event. Every stream is an `Exchange`, so that how it ended is judged as the command
would. Nothing is kept in journals.

The loop measures itself too, for a client that cannot keep up makes any server look slow.
"""

from __future__ import annotations

import heapq
import random
import selectors
import time
from collections import Counter

from unspool.api.deltas import Reasoning, Refusal, Text, ToolCallDelta
from unspool.client.http.curl import pycurl
from unspool.client.http.transport import Transfer
from unspool.client.limits import Lapse, Limits
from unspool.client.load.percentiles import Distribution
from unspool.outcome import COMPLETE, LENGTH, Ending
from unspool.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from unspool.api.deltas import Delta
    from unspool.client.exchange import Exchange
    from unspool.client.http import Request
    from unspool.outcome import Fault

#: The outcomes of a complete answer: a load test limits the tokens on purpose.
WHOLE = (COMPLETE, LENGTH)

_CONTENT = (Text, Reasoning, Refusal, ToolCallDelta)

# Often enough to see each stop of the loop that a person would call one, seldom enough to cost nothing.
_HEARTBEAT = 0.01
# How exactly limits of time are kept, and how often progress is told.
_SWEEP = 0.1
# Seconds that a stream which has said all may take to end its HTTP answer, so that its connection can serve the next one.
_GRACE = 0.5
# A loop that has less than this share of its core left cannot take events when they come.
_BUSY = 0.9
# Of a measured time, the share that is ours to make, above which the figures say more about this side than about the server.
_TELLING = 0.1


class Schedule(Value):
    """When requests are sent.

    Without ``rate`` the loop is closed: ``concurrency`` streams at a time, and each that ends makes room for the next one. With it the loop
    is open: so many requests a second on average, evenly or, with ``poisson``, at random as independent people come; ``concurrency``
    then bounds the streams at a time, None for no bound, and a request that has to wait for that is measured from when it was due.
    ``requests`` and ``duration`` (seconds) say when the last one is sent; what is under way then is waited for.
    """

    __slots__ = ("concurrency", "requests", "duration", "rate", "poisson")

    def __init__(
        self,
        *,
        concurrency: int | None = None,
        requests: int | None = None,
        duration: float | None = None,
        rate: float | None = None,
        poisson: bool = False,
    ) -> None:
        self.concurrency = concurrency
        self.requests = requests
        self.duration = duration
        self.rate = rate
        self.poisson = poisson


class Measures:
    """What was measured. Times are in seconds.

    ``ttft`` is from the request, or when it was due, to the first piece of content; ``gaps`` between two reads of content of a stream;
    ``per_token`` from the first to the last piece, for each token in between; ``total`` from the request to the last event of a complete answer.
    ``late`` is how long after it was due a request was sent. ``lag`` is how long the loop was late for its own heartbeat, which is how
    long an event has to wait to be read; ``own_lag`` is what of all that it was busy with its own work. ``rates`` are tokens a second of single streams.
    """

    def __init__(self) -> None:
        self.ttft = Distribution()
        self.gaps = Distribution()
        self.per_token = Distribution()
        self.total = Distribution()
        self.late = Distribution()
        self.lag = Distribution()
        self.rates = Distribution()
        self.outcomes: Counter[str] = Counter()
        self.messages: Counter[tuple[str, str]] = Counter()
        self.started = self.ended = self.unfinished = self.retries = 0
        self.under_way = self.most_under_way = 0
        self.tokens = self.events = 0
        self.tokens_are_counted = False
        self.elapsed = self.cpu = self.own_lag = 0.0

    @property
    def whole(self) -> int:
        """The complete answers."""
        return sum(self.outcomes[outcome] for outcome in WHOLE)

    @property
    def failed(self) -> int:
        """The streams that ended in any other way."""
        return self.ended - self.whole

    @property
    def cpu_share(self) -> float:
        """How much of one core the loop took, 0 to 1."""
        return min(self.cpu / self.elapsed, 1.0) if self.elapsed else 0.0

    def share_of(self, measured: Distribution) -> float:
        """The share of a measured time that is ours, at the median: how long an event waited here to be read."""
        middle = measured.percentile(50)
        return min(self.lag.percentile(50) / middle, 1.0) if middle else 0.0

    @property
    def bottleneck(self) -> str:
        """Whether this side was too slow: ``"cpu"`` for its own work, ``"lag"`` because it was kept from that, ``""`` if it was not."""
        if self.cpu_share >= _BUSY:
            return "cpu"
        if max(self.share_of(self.ttft), self.share_of(self.gaps)) <= _TELLING:
            return ""
        return "cpu" if self.own_lag > self.lag.total / 2 else "lag"


class _Stream:
    """One stream under way."""

    __slots__ = ("exchange", "transfer", "lapse", "due", "first_at", "last_at", "pieces", "done_at")

    def __init__(self, exchange: Exchange, limits: Limits, due: float) -> None:
        self.exchange = exchange
        self.transfer: _Transfer | None = None
        self.lapse = Lapse(limits)
        self.due = due
        self.first_at: float | None = None
        self.last_at = due
        self.pieces = 0
        self.done_at: float | None = None


class _Transfer(Transfer):
    """A transfer that says when there is news, and whose."""

    def __init__(self, request: Request, connect_timeout: float, stream: _Stream, news: list[_Stream]) -> None:
        self.stream = stream
        self._news = news
        super().__init__(request, connect_timeout)

    def _taker(self) -> Callable[[bytes], int | None]:
        take, chunks, news, stream = super()._taker(), self._chunks, self._news, self.stream

        def take_news(chunk: bytes) -> int | None:
            if not chunks:
                news.append(stream)
            return take(chunk)

        return take_news


class Load:
    """Sends requests by a schedule and measures their streams. ``make`` makes the exchange of the request of that number.

    ``watch`` is a descriptor that ends the waiting when it can be read; ``tick`` is called about ten times a second with what was
    measured so far, and ends the test early by returning True: streams under way are then given up, and not counted as failures.
    """

    def __init__(
        self,
        make: Callable[[int], Exchange],
        schedule: Schedule,
        limits: Limits,
        *,
        tick: Callable[[Measures], bool] = lambda measures: False,
        watch: int | None = None,
        seed: int = 0,
    ) -> None:
        self.measures = Measures()
        self._make = make
        self._schedule = schedule
        self._limits = limits
        self._tick = tick
        self._watch = watch
        self._random = random.Random(seed)
        self._selector = selectors.DefaultSelector()
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._on_socket)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._on_timer)
        self._deadline: float | None = None
        self._streams: set[_Stream] = set()
        self._by_curl: dict[Any, _Stream] = {}
        self._news: list[_Stream] = []
        self._waiting: list[tuple[float, int, _Stream]] = []
        self._made = 0
        self._next_due = 0.0
        self._begun = 0.0

    def run(self) -> Measures:
        """Run to the end, and return what was measured."""
        measures = self.measures
        cpu = time.thread_time()
        now = self._begun = self._next_due = time.monotonic()
        beat, sweep, worked = now + _HEARTBEAT, now + _SWEEP, 0.0
        if self._watch is not None:
            self._selector.register(self._watch, selectors.EVENT_READ)
        try:
            while True:
                self._send_due(now)
                if not self._streams and not self._goes_on(now):
                    break
                wake = min(beat, self._next_wake())
                ready = self._selector.select(max(wake - time.monotonic(), 0.0))
                # The heartbeat takes its turn in the middle: that is when an event does, on average.
                middle = len(ready) // 2
                self._take(ready[:middle])
                now = time.monotonic()
                if now >= beat:
                    measures.lag.add(now - beat)
                    worked, worked_before = time.thread_time() - cpu, worked
                    measures.own_lag += min(now - beat, worked - worked_before)
                    beat = now + _HEARTBEAT
                self._take(ready[middle:])
                self._take_timers()
                now = time.monotonic()
                if now >= sweep:
                    sweep = now + _SWEEP
                    self._sweep(now)
                    measures.elapsed, measures.cpu = now - self._begun, time.thread_time() - cpu
                    if self._tick(measures):
                        break
        finally:
            measures.unfinished = len(self._streams)
            for stream in list(self._streams):
                self._drop(stream)
            self._selector.close()
            self._multi.close()
        measures.elapsed, measures.cpu = time.monotonic() - self._begun, time.thread_time() - cpu
        return measures

    # Sending

    def _goes_on(self, now: float) -> bool:
        """Whether another request is to be sent, now or later."""
        schedule = self._schedule
        if schedule.requests is not None and self._made >= schedule.requests:
            return False
        at = max(now, self._next_due) if schedule.rate is not None else now
        return schedule.duration is None or at - self._begun < schedule.duration

    def _may_send(self, now: float) -> bool:
        schedule = self._schedule
        has_room = schedule.concurrency is None or len(self._streams) < schedule.concurrency
        return has_room and self._goes_on(now) and (schedule.rate is None or now >= self._next_due)

    def _send_due(self, now: float) -> None:
        while self._waiting and self._waiting[0][0] <= now:
            stream = heapq.heappop(self._waiting)[2]
            if stream in self._streams:
                stream.lapse.restart()
                self._send(stream)
        while self._may_send(now):
            due = now
            if self._schedule.rate is not None:
                due = self._next_due
                step = 1 / self._schedule.rate
                self._next_due += self._random.expovariate(1 / step) if self._schedule.poisson else step
            stream = _Stream(self._make(self._made), self._limits, due)
            self._made += 1
            self._streams.add(stream)
            measures = self.measures
            measures.started += 1
            measures.under_way = len(self._streams)
            measures.most_under_way = max(measures.most_under_way, measures.under_way)
            self._send(stream)
            if self._schedule.rate is not None:
                measures.late.add(stream.exchange.sent_at - due)
            else:
                # In a closed loop nobody was due before there was room for him.
                stream.due = stream.exchange.sent_at
            now = time.monotonic()

    def _send(self, stream: _Stream) -> None:
        stream.transfer = _Transfer(stream.exchange.request(), self._limits.connect, stream, self._news)
        self._by_curl[stream.transfer.curl] = stream
        self._multi.add_handle(stream.transfer.curl)

    # Receiving

    def _take(self, ready: list[tuple[selectors.SelectorKey, int]]) -> None:
        sockets = self._selector.get_map()
        for key, events in ready:
            fd = key.fd
            if fd == self._watch or fd not in sockets:  # given up on the way, for another's news
                continue
            bits = pycurl.CSELECT_IN if events & selectors.EVENT_READ else 0
            self._multi.socket_action(fd, bits | pycurl.CSELECT_OUT if events & selectors.EVENT_WRITE else bits)
            if self._news:
                self._receive_news()
        if ready:
            self._collect()

    def _take_timers(self) -> None:
        if self._deadline is not None and self._deadline <= time.monotonic():
            self._deadline = None
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
            self._receive_news()
            self._collect()

    def _receive_news(self) -> None:
        news, self._news[:] = self._news[:], []
        for stream in news:
            transfer = stream.transfer
            if transfer is not None and not transfer.over:
                self._note(stream, stream.exchange.receive(transfer))
                while transfer.held and transfer.status:
                    self._note(stream, stream.exchange.receive(transfer))
                if stream.exchange.done and stream.done_at is None:
                    stream.done_at = time.monotonic()

    def _note(self, stream: _Stream, deltas: list[Delta]) -> None:
        # Hot: once for each read.
        exchange = stream.exchange
        self.measures.events += len(exchange.events)
        exchange.events.clear()
        pieces = 0
        for delta in deltas:
            if isinstance(delta, _CONTENT):
                pieces += len(delta.pieces) if type(delta) is Text else 1
        if not pieces:
            return
        at = exchange.sent_at + exchange.at
        if stream.first_at is None:
            stream.first_at = at
            self.measures.ttft.add(at - stream.due)
        else:
            self.measures.gaps.add(at - stream.last_at)
        stream.last_at = at
        stream.pieces += pieces

    def _collect(self) -> None:
        while True:
            more, finished, failed = self._multi.info_read()
            for curl in finished:
                self._over(curl, 0, "")
            for curl, code, message in failed:
                self._over(curl, code, message)
            if not more:
                return

    def _over(self, curl: object, code: int, message: str) -> None:
        stream = self._by_curl.pop(curl)
        self._multi.remove_handle(curl)
        transfer = stream.transfer
        assert transfer is not None
        transfer.finish(code, message)
        self._finish(stream, transfer)

    def _finish(self, stream: _Stream, transfer: Transfer) -> None:
        deltas, wait = stream.exchange.finish(transfer)
        self._note(stream, deltas)
        if wait is None:
            return self._end(stream)
        self.measures.retries += stream.exchange.attempt > 1
        stream.transfer = None
        heapq.heappush(self._waiting, (time.monotonic() + wait, id(stream), stream))

    def _end(self, stream: _Stream) -> None:
        self._streams.discard(stream)
        measures, exchange = self.measures, stream.exchange
        ending = exchange.ending
        assert isinstance(ending, Ending)
        measures.under_way = len(self._streams)
        measures.ended += 1
        measures.outcomes[ending.outcome] += 1
        usage = exchange.decoder.usage
        counted = usage.output_tokens if usage is not None else None
        measures.tokens_are_counted = measures.tokens_are_counted or counted is not None
        tokens = stream.pieces if counted is None else counted
        measures.tokens += tokens
        if ending.outcome not in WHOLE:
            measures.messages[ending.outcome, ending.message] += 1
            return
        measures.total.add(exchange.sent_at + exchange.at - stream.due)
        if stream.first_at is not None and stream.pieces > 1 and tokens > 1:
            spent = stream.last_at - stream.first_at
            measures.per_token.add(spent / (tokens - 1))
            if spent > 0:
                measures.rates.add((tokens - 1) / spent)

    # Time

    def _next_wake(self) -> float:
        wakes = [self._next_due] if self._schedule.rate is not None and self._goes_on(self._next_due) else []
        schedule = self._schedule
        if wakes and schedule.concurrency is not None and len(self._streams) >= schedule.concurrency:
            wakes = []  # not before one of them has ended
        if self._waiting:
            wakes.append(self._waiting[0][0])
        if self._deadline is not None:
            wakes.append(self._deadline)
        return min(wakes, default=float("inf"))

    def _sweep(self, now: float) -> None:
        """End the streams that have passed a limit, and those that have said all but do not end."""
        for stream in list(self._streams):
            transfer = stream.transfer
            if transfer is None:
                if stream.lapse.is_over():
                    self._give_up(stream, stream.lapse.fault())
                continue
            if stream.done_at is not None:
                if now - stream.done_at > _GRACE:
                    self._remove(stream)
                    self._finish(stream, transfer)
                continue
            stream.lapse.observe(transfer, stream.exchange, True)
            fault = stream.lapse.fault()
            if fault is not None:
                self._give_up(stream, fault)

    def _give_up(self, stream: _Stream, fault: Fault | None) -> None:
        self._remove(stream)
        self._note(stream, stream.exchange.end(fault))
        self._end(stream)

    def _remove(self, stream: _Stream) -> None:
        transfer = stream.transfer
        if transfer is not None and self._by_curl.pop(transfer.curl, None) is not None:
            self._multi.remove_handle(transfer.curl)
            transfer.finish(0, "")

    def _drop(self, stream: _Stream) -> None:
        self._remove(stream)
        self._streams.discard(stream)

    def _on_socket(self, what: int, fd: int, multi: object, data: object) -> None:
        known = fd in self._selector.get_map()
        if what == pycurl.POLL_REMOVE:
            if known:
                self._selector.unregister(fd)
            return
        events = (selectors.EVENT_READ if what & pycurl.POLL_IN else 0) | (
            selectors.EVENT_WRITE if what & pycurl.POLL_OUT else 0
        )
        if known:
            self._selector.modify(fd, events)
        else:
            self._selector.register(fd, events)

    def _on_timer(self, milliseconds: int) -> None:
        self._deadline = None if milliseconds < 0 else time.monotonic() + milliseconds / 1000
