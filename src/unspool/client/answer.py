"""A streamed answer for one thread: iterate over it, or drive it turn by turn."""

from __future__ import annotations

import time

from unspool.client.facts import Asked, Facts, T
from unspool.client.http.curl import again, caught
from unspool.client.http.transport import Reactor, Transfer
from unspool.client.limits import Lapse, Limits
from unspool.outcome import CANCELLED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType
    from typing import Any, Self

    from unspool.api.deltas import Delta
    from unspool.client.exchange import Exchange
    from unspool.client.waker import Waker
    from unspool.sse import Event

# Seconds that telling the server to stop a background response may take, while somebody who pressed Ctrl-C waits.
CANCEL_PATIENCE = 2.0
# How long one turn waits when nothing else bounds it. Only a bound for the loop: what happens ends the wait at once.
_TURN = 3600.0


class Reading(Facts[T]):
    """The ways of reading an answer in one thread. Each continues where the others stopped."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[str]:
        for _ in self._runs():
            yield from self._said()
        self._raise()

    def deltas(self) -> Iterator[Delta]:
        """Yield everything that arrives, as the values of `unspool.api.deltas`."""
        for _ in self._runs():
            yield from self._each()
        self._raise()

    def events(self) -> Iterator[Event]:
        """Yield the server's own events as they arrive, to the letter."""
        for _ in self._turns():
            yield from self._events()
        self._raise()

    def partials(self) -> Iterator[Any]:
        """Yield the JSON object so far, each time that it has grown: dicts and lists, unvalidated, a new one each time.

        The last one is the complete object, which ``parsed`` then has validated. All of them together cost some thirty readings of the
        text, or a twentieth of the time, whichever is more: a fast stream skips some, a slow one none.
        """
        from unspool.client.library.objects import NOTHING, Growing

        growing = Growing(self._first.texts)
        for _ in self._turns(growing.due):
            if (value := growing.look()) is not NOTHING:
                yield value
        if (value := growing.look(last=True)) is not NOTHING:
            yield value
        self._raise()

    def read(self) -> str:
        """Read the answer to its end and return its text, of the first choice, with what had been read before."""
        for _ in self._turns():
            pass
        self._raise()
        return self.text

    def parse(self) -> T:
        """Read the answer to its end and return the object that ``schema`` describes: see ``parsed``."""
        self.read()
        return self.parsed

    def close(self) -> None:
        """Stop reading, and give back what that took."""
        raise NotImplementedError

    def _runs(self) -> Iterator[None]:
        """Yield whenever ``_batch`` has deltas that nobody has had, those included that whoever read before has left in it."""
        yield
        for batch in self._turns():
            self._batch = iter(batch)
            yield

    def _turns(self, due: Callable[[], float | None] | None = None) -> Iterator[list[Delta]]:
        """Yield what arrives, turn by turn, until the end; nothing, too, when ``due`` is, which says in how many seconds."""
        raise NotImplementedError

    def _events(self) -> Iterable[Event]:
        """The server's events of the present turn."""
        raise NotImplementedError


class Answer(Asked[T], Reading[T]):
    """A streamed answer. Iterating it yields its text as it arrives; `deltas` yields all that arrives.

        with unspool.stream("What is Python?") as answer:
            for piece in answer:
                print(piece, end="", flush=True)

    After the last piece ``outcome`` says how it ended. A stream that failed or was cut raises a `StreamError` after its last
    piece, unless ``check`` is False. The connection and the journal are closed after the last piece, by leaving the
    ``with`` block early, or with the last reference to the answer.

    One thread reads an answer at a time; a second one gets a RuntimeError. `cancel` may be called from any thread, and from a signal's
    handler. What a handler raises while the answer is read reaches the caller as it is, and ends the answer as ``cancelled``. In a child
    of ``os.fork`` the answer is of no use: reading it is a RuntimeError, and closing it does not touch the parent's stream.
    """

    #: Called once with the answer and its reactor when it is over and not its own.
    on_close: Callable[[Answer[Any], Reactor], None] | None = None
    _closed = True

    def __init__(
        self,
        exchange: Exchange,
        limits: Limits | None = None,
        *,
        reactor: Reactor | None = None,
        check: bool = True,
        keep_text: bool = True,
        schema: Any = None,
    ) -> None:
        super().__init__(schema=schema, check=check, keep_text=keep_text)
        self.exchange = exchange
        self.retry_at: float | None = None
        self.woken: set[int] = set()
        self._limits = limits or Limits()
        self._lapse = Lapse(self._limits)
        self._owns_reactor = reactor is None
        self._reactor = reactor or Reactor()
        # None until the first turn: the connection runs in `step` only, so the clocks start there too.
        self._transfer: Transfer | None = None
        self._waker: Waker | None = None
        # Who is inside of `step`, and what somebody else has asked for meanwhile: the arguments of `cancel`.
        self._reading = False
        self._stop: tuple[str, int | None, str] | None = None
        self._closed = False

    def __del__(self) -> None:
        if not self._closed:
            self.close()

    def cancel(self, message: str = "", signal: int | None = None, outcome: str = CANCELLED) -> list[Delta]:
        """Stop the stream now and close its connection; a background response is stopped at the server too.

        Returns what had come and was held back; nothing where another thread is reading, which is then woken and gets it. The ``outcome``
        is the journal's, and ``signal`` the number of the one that asked for it.
        """
        if self._reactor.is_inherited:
            return []
        if self._reading:
            self._stop = message, signal, outcome
            if self._waker is not None:
                self._waker.wake()
            return []
        deltas: list[Delta] = []
        if self._transfer is not None:
            self._reactor.cancel(self._transfer)
        if self.exchange.ending is None:
            if self._transfer is not None:
                deltas = self.exchange.receive(self._transfer)  # what had come is kept
            self._cancel_upstream()
        return self._kept(deltas + self.exchange.stop(outcome, message, signal))

    def close(self) -> None:
        """Cancel the stream if it has not ended, and give back its connection and its journal."""
        if self._closed:
            return
        if self._reading:  # by another thread, or below a signal's handler
            self.cancel()
            return
        self._closed = True
        if self._reactor.is_inherited:
            if self.exchange.journal is not None:
                self.exchange.journal.forget()
            return
        try:
            if self.exchange.ending is None:
                self.cancel()
        except BaseException:
            self._end_interrupted()
            raise
        finally:
            self._give_back()
        if caught:
            again()

    def _give_back(self) -> None:
        if self._waker is not None:
            self._waker.close()
            self._waker = None
        if self._owns_reactor:
            self._reactor.close()
        elif self.on_close is not None:
            self.on_close(self, self._reactor)
        if self.exchange.journal is not None:
            self.exchange.journal.close()

    def step(self, seconds: float | None = None, watch: Iterable[int] = (), errors: Iterable[int] = ()) -> list[Delta]:
        """One turn: wait for at most this long, and return what arrived, which may be nothing.

        Also returns when one of the ``watch`` descriptors can be read or one of ``errors`` breaks; ``woken`` then holds them.
        All that is returned is in the journal already.
        """
        if self._reading:
            raise RuntimeError("this answer is already being read, by another thread or outside a signal handler")
        if self._reactor.is_inherited:
            raise RuntimeError("this answer belongs to the process that started it; ask again after a fork")
        if self.exchange.ending is not None:
            return []
        if not watch:
            if self._waker is None:
                # The command always has descriptors of its own to watch.
                from unspool.client.waker import Waker

                self._waker = Waker()
            watch = self._waker.watch
        self._reading = True
        try:
            deltas = self._step(seconds, watch, errors)
        except BaseException:
            self._reading = False
            self._end_interrupted()
            again()  # libcurl may have made an error of its own of it
            raise
        self._reading = False
        if self._stop is not None:
            stop, self._stop = self._stop, None
            deltas += self.cancel(*stop)
        return deltas

    def _end_interrupted(self) -> None:
        """End the stream after an exception that struck anywhere in a turn, so that its journal says so."""
        self._reactor.is_damaged = True
        if self._transfer is not None:
            self._reactor.cancel(self._transfer)
        self.exchange.stop_interrupted()

    def _step(self, seconds: float | None, watch: Iterable[int], errors: Iterable[int]) -> list[Delta]:
        exchange = self.exchange
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
                total_left = self._lapse.total_left()
                if total_left is not None:
                    left = min(left, max(0.0, total_left))
                self.woken = self._reactor.wait(min(wait, left), watch, errors)
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
            if not transfer.over and exchange.decoder.done and self.on_close is not None:
                transfer.leave()  # its end is waited for when the connection is wanted again
            elif not transfer.over:
                self._reactor.cancel(transfer)
        if not transfer.over:
            self._lapse.observe(transfer, exchange, bool(deltas))
            fault = self._lapse.fault()
            if fault is not None:
                self._reactor.cancel(transfer, fault)
                if self._lapse.is_over():
                    return self._kept(deltas + exchange.receive(transfer) + exchange.end(fault))
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

    def _turns(self, due: Callable[[], float | None] | None = None) -> Iterator[list[Delta]]:
        if self._before:
            before, self._before = self._before, []
            yield before
        while self.exchange.ending is None:
            batch = self.step(None if due is None else due())
            if batch or due is not None or self.exchange.events:
                yield batch
        self.close()  # at its end; who stops before it, or never iterates, needs the with block

    def _events(self) -> Iterable[Event]:
        return self.exchange.events

    def _send(self) -> Transfer:
        transfer = Transfer(self.exchange.request(), self._limits.connect)
        self._reactor.start(transfer)
        return transfer

    def _end_if_late(self) -> list[Delta]:
        if not self._lapse.is_over():
            return []
        return self._kept(self.exchange.end(self._lapse.fault()))
