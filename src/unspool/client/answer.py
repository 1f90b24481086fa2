"""A streamed answer for one thread: iterate over it, or drive it turn by turn."""

from __future__ import annotations

import time

from unspool.api.deltas import Refusal, Text
from unspool.client.transport import CONNECT_TIMEOUT, Reactor, Transfer
from unspool.outcome import CANCELLED, CUT, Ending, Fault
from unspool.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from unspool.api.deltas import Delta, Usage
    from unspool.client.exchange import Exchange

# Between two bytes, comments included. Reasoning models are silent for minutes where the server sends no keep-alives; the
# openai SDK waits 600 s, proxies on the way often cut at 60.
IDLE_TIMEOUT = 300.0
# Seconds that telling the server to stop a background response may take, while somebody who pressed Ctrl-C waits.
CANCEL_PATIENCE = 2.0
# How long one turn waits when nothing else bounds it. Only a bound for the loop: what happens ends the wait at once.
_TURN = 3600.0


class Limits(Value):
    """The longest times, in seconds: to connect, between two bytes, and for the whole stream (None for no limit)."""

    __slots__ = ("connect", "idle", "total")

    def __init__(
        self, connect: float = CONNECT_TIMEOUT, idle: float = IDLE_TIMEOUT, total: float | None = None
    ) -> None:
        self.connect = connect
        self.idle = idle
        self.total = total


class Lapse:
    """Watches the limits of a stream: what has been silent too long, or has taken too long in all."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.began_at = time.monotonic()
        self.active_at = self.began_at
        self._seen = (0, 0)

    def observe(self, transfer: Transfer) -> None:
        """Note whether anything arrived since the last call; bytes of comments count.

        While bytes wait to be taken it is the reader who is slow, and not the server that is silent.
        """
        seen = (transfer.taken, transfer.status)
        if seen != self._seen or transfer.held:
            self._seen = seen
            self.active_at = time.monotonic()

    def restart(self) -> None:
        """Begin the silence anew, for another attempt."""
        self.active_at = time.monotonic()

    def left(self) -> float:
        """Seconds until a limit is passed, if nothing arrives."""
        now = time.monotonic()
        left = self.active_at + self.limits.idle - now
        if self.limits.total is not None:
            left = min(left, self.began_at + self.limits.total - now)
        return left

    def is_over(self) -> bool:
        """Whether the time for the whole stream has passed, so that no further attempt makes sense."""
        total = self.limits.total
        return total is not None and time.monotonic() >= self.began_at + total

    def fault(self) -> Fault | None:
        """What to say when a limit is passed, None when none is."""
        if self.left() > 0:
            return None
        if self.is_over():
            words = f"the answer was not whole after the {self.limits.total:g} s allowed for it (--timeout)"
            return Fault(CUT, words)
        return Fault(CUT, f"nothing arrived for {self.limits.idle:g} s (--idle-timeout)")


class Facts:
    """What is known of an answer, at any moment: the same for one thread and for asyncio."""

    exchange: Exchange
    _texts: list[str] | None

    @property
    def id(self) -> str | None:
        """The stream's id, under which its journal is kept; None without a journal."""
        return self.exchange.journal.id if self.exchange.journal is not None else None

    @property
    def ending(self) -> Ending | None:
        """How the stream ended, None while it has not."""
        return self.exchange.ending

    @property
    def outcome(self) -> str | None:
        """How the stream ended in one word of `unspool.outcome`, None while it has not."""
        return self.exchange.ending.outcome if self.exchange.ending else None

    @property
    def usage(self) -> Usage | None:
        """The tokens that the server counted, None while or if it has not said."""
        return self.exchange.decoder.usage

    @property
    def model(self) -> str | None:
        """The model that answers, in the server's words; None until it says."""
        return self.exchange.decoder.model

    @property
    def text(self) -> str:
        """The text so far, of the first choice."""
        return "".join(self._texts or ())

    def _kept(self, deltas: list[Delta]) -> list[Delta]:
        """Return the deltas, after keeping what they add to `text`."""
        if self._texts is not None:
            self._texts.extend(
                [one.text for one in deltas if (type(one) is Text or type(one) is Refusal) and one.choice == 0]
            )
        return deltas


class Answer(Facts):
    """A streamed answer. Iterating it yields its text as it arrives; `deltas` yields all that arrives.

        with unspool.stream("What is Python?") as answer:
            for piece in answer:
                print(piece, end="", flush=True)

    After the last piece ``outcome`` says how it ended. A stream that failed or was cut raises a `StreamError` after its last
    piece, unless ``check`` is False. The connection and the journal are closed after the last piece, or by leaving the
    ``with`` block early. Not to be shared by threads.
    """

    def __init__(
        self,
        exchange: Exchange,
        limits: Limits | None = None,
        *,
        reactor: Reactor | None = None,
        check: bool = True,
        keep_text: bool = True,
    ) -> None:
        self.exchange = exchange
        self.retry_at: float | None = None
        self.woken: set[int] = set()
        self._limits = limits or Limits()
        self._lapse = Lapse(self._limits)
        self._owns_reactor = reactor is None
        self._reactor = reactor or Reactor()
        self._check = check
        self._texts: list[str] | None = [] if keep_text else None
        # None until the first turn: the connection runs in `step` only, so the clocks start there too.
        self._transfer: Transfer | None = None

    def __enter__(self) -> Answer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[str]:
        for batch in self._batches():
            for delta in batch:
                if (type(delta) is Text or type(delta) is Refusal) and delta.choice == 0:
                    yield delta.text

    def deltas(self) -> Iterator[Delta]:
        """Yield everything that arrives, as the values of `unspool.api.deltas`."""
        for batch in self._batches():
            yield from batch

    def cancel(self, message: str = "", signal: int | None = None, outcome: str = CANCELLED) -> list[Delta]:
        """Stop the stream now and close its connection; a background response is stopped at the server too.

        Returns what was held back.
        """
        if self._transfer is not None:
            self._reactor.cancel(self._transfer)
        if self.exchange.ending is None:
            self._cancel_upstream()
        return self._kept(self.exchange.stop(outcome, message, signal))

    def close(self) -> None:
        """Cancel the stream if it has not ended, and give back its connection and its journal."""
        if self.exchange.ending is None:
            self.cancel()
        if self._owns_reactor:
            self._reactor.close()
        if self.exchange.journal is not None:
            self.exchange.journal.close()

    def step(self, seconds: float | None = None, watch: Iterable[int] = (), errors: Iterable[int] = ()) -> list[Delta]:
        """One turn: wait for at most this long, and return what arrived, which may be nothing.

        Also returns when one of the ``watch`` descriptors can be read or one of ``errors`` breaks; ``woken`` then holds them.
        All that is returned is in the journal already.
        """
        exchange = self.exchange
        if exchange.ending is not None:
            return []
        exchange.events.clear()
        journal = exchange.journal
        wait = _TURN if seconds is None else seconds
        if journal is not None:
            due = journal.sync_due()
            if due is not None:
                if due <= 0:
                    journal.sync()
                else:
                    wait = min(wait, due)
        if self.retry_at is not None:
            left = self.retry_at - time.monotonic()
            if left > 0:
                self.woken = self._reactor.wait(min(wait, left, max(0.0, self._total_left())), watch, errors)
                return self._end_if_late()
            self.retry_at = self._transfer = None
        transfer = self._transfer
        if transfer is None:
            self._lapse.restart()
            transfer = self._transfer = self._send()
        # Taking what was held lets a paused transfer go on, which may bring more at once: that is not to be waited for.
        wait = 0.0 if transfer.held else max(0.0, min(wait, self._lapse.left()))
        self.woken = self._reactor.wait(wait, watch, errors)
        deltas = exchange.receive(transfer)
        if exchange.done and not transfer.over:
            # The end mark came; what may follow is the end of the HTTP answer, after which the connection can be used again.
            self._reactor.wait(0)
            if not transfer.over:
                self._reactor.cancel(transfer)
        if not transfer.over:
            self._lapse.observe(transfer)
            fault = self._lapse.fault()
            if fault is not None:
                self._reactor.cancel(transfer, fault)
                if self._lapse.is_over():
                    return self._kept(deltas + exchange.end(fault))
        if transfer.over:
            more, retry_in = exchange.finish(transfer)
            deltas += more
            if retry_in is not None:
                self.retry_at = time.monotonic() + retry_in
        return self._kept(deltas)

    @property
    def connecting(self) -> bool:
        """Whether a request is to be sent whose connection does not stand yet."""
        return self._transfer is None or not self._transfer.connected

    def _cancel_upstream(self) -> None:
        request = self.exchange.cancel_request()
        if request is None:
            return
        transfer = Transfer(request, CANCEL_PATIENCE)
        self._reactor.start(transfer)
        deadline = time.monotonic() + CANCEL_PATIENCE
        while not transfer.status and not transfer.over and (left := deadline - time.monotonic()) > 0:
            self._reactor.wait(left)
        self._reactor.cancel(transfer)

    def _batches(self) -> Iterator[list[Delta]]:
        while self.exchange.ending is None:
            batch = self.step()
            if batch:
                yield batch
        self.close()  # at its end; who stops before it, or never iterates, needs the with block
        if self._check:
            from unspool.client.errors import error_of

            error = error_of(self.exchange.ending, self.id)
            if error is not None:
                raise error

    def _send(self) -> Transfer:
        transfer = Transfer(self.exchange.request(), self._limits.connect)
        self._reactor.start(transfer)
        return transfer

    def _total_left(self) -> float:
        total = self._limits.total
        return _TURN if total is None else self._lapse.began_at + total - time.monotonic()

    def _end_if_late(self) -> list[Delta]:
        if self._total_left() > 0:
            return []
        return self._kept(self.exchange.end(self._lapse.fault()))
