"""Applies the faults of a request to one answer. No I/O: frames in, steps out.

A `FaultPlan` is what the faults of a request add up to. A `FaultyStream` takes the frames of one stream and returns steps: bytes to send,
a `Pause`, or the `Close` after which nothing follows. The owner of the connection carries them out.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from unspool.sim.frames import Frame

#: The ways a connection can end before its answer does.
CLEAN, UNCLEAN, RESET, SHORT = "clean", "unclean", "reset", "short"
CLOSES = (CLEAN, UNCLEAN, RESET, SHORT)

#: The Content-Length of an answer that is to fall short of it: more than any of them has.
ANNOUNCED = 1 << 30

_BEAT = 0.1


@dataclass(slots=True)
class Pause:
    """Send nothing, or ``beat`` every tenth of a second, for so many ``seconds``; None is until the client gives up."""

    seconds: float | None
    beat: bytes = b""

    def parts(self) -> Iterator[tuple[float | None, bytes]]:
        """Yield times to wait, each with the bytes to send after it."""
        if not self.beat:
            yield self.seconds, b""
            return
        left = math.inf if self.seconds is None else self.seconds
        while left > 0:
            yield min(left, _BEAT), self.beat
            left -= _BEAT


@dataclass(slots=True)
class Close:
    """End the connection: ``clean``, ``unclean`` (without the last chunk), ``reset`` (RST) or ``short`` of its Content-Length."""

    how: str


Step = bytes | Pause | Close
#: Given a frame, returns its replacement; given None (the end of the stream), the remaining frames.
Rewriter = Callable[[Frame | None], Sequence[Frame | Step]]


@dataclass(slots=True)
class Stop:
    """Something that happens after so many events or bytes; ``at`` is None for the end of the stream."""

    unit: str
    at: int | None
    step: Pause | Close


@dataclass(slots=True)
class Refusal:
    """A response that is sent in place of an answer. The words of a ``verbatim`` one are no dialect's to change."""

    status: int
    headers: dict[str, str]
    body: bytes
    verbatim: bool = False


@dataclass
class FaultPlan:
    """The sum of one request's faults.

    ``hang_up`` closes the connection without an answer, and ``refusal`` is sent in place of one, both after ``wait`` seconds.
    ``unstreamed`` has the answer made in one piece, and ``usage`` has it count its tokens, whatever the request asks for.
    ``needs`` say why a request is refused, given its body; ``every`` are headers of any response.
    The rest is for streams: ``headers`` to send, ``rewriters`` of frames, one made for each stream, and what the bytes look like;
    ``framing`` is a pattern in the bytes of an event and what replaces it.
    """

    wait: float = 0.0
    hang_up: bool = False
    refusal: Refusal | None = None
    unstreamed: bool = False
    usage: bool = False
    needs: list[Callable[[object], str | None]] = field(default_factory=list)
    every: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    rewriters: list[Callable[[], Rewriter]] = field(default_factory=list)
    stops: list[Stop] = field(default_factory=list)
    line_end: bytes = b"\n"
    space: bool = True
    framing: tuple[bytes, bytes] | None = None
    unterminated: bool = False
    gzip: str = ""
    one_byte: bool = False
    split_characters: bool = False

    @property
    def short(self) -> bool:
        """Whether a Content-Length is announced that will not be reached."""
        return any(isinstance(stop.step, Close) and stop.step.how == SHORT for stop in self.stops)

    @property
    def precedes(self) -> bool:
        """Whether something happens before the answer, or instead of it."""
        return bool(self.wait or self.hang_up or self.refusal)

    @property
    def alters_stream(self) -> bool:
        """Whether the stream is changed on its way."""
        return self != FaultPlan(self.wait, self.hang_up, self.refusal, self.unstreamed, self.usage)


class FaultyStream:
    """One stream under a plan. ``take`` its frames one by one, then ``end`` it; after a `Close` it wants no more."""

    def __init__(self, plan: FaultPlan, *, event_ids: bool = False) -> None:
        self._plan = plan
        self._event_ids = event_ids
        self._rewriters = [make() for make in plan.rewriters]
        self._begun = False
        self._events = 0
        self._bytes = 0
        self._held = b""
        self._stops = list(plan.stops)
        self._gzip = zlib.compressobj(wbits=31) if plan.gzip else None
        self.closed = False

    def take(self, frame: Frame | bytes) -> list[Step]:
        """The next frame, or bytes of the stream that are no event, such as a comment."""
        out: list[Step] = []
        if not self._begun:
            self._begun = True
            self._stop(out, "events", 0)
        self._rewrite([frame], self._rewriters, out)
        return out

    def end(self) -> list[Step]:
        """Return the steps after the last frame."""
        out: list[Step] = []
        for position, rewriter in enumerate(self._rewriters):
            self._rewrite(list(rewriter(None)), self._rewriters[position + 1 :], out)
        if self._plan.unterminated and self._held:
            self._send(self._held.rstrip(b"\r\n") + self._plan.line_end, out)
            self._held = b""
        for stop in self._stops:
            if stop.at is None:
                self._do(stop.step, out)
        # A length that was announced and not reached leaves no clean way to end.
        self._do(Close(SHORT if self._plan.short else CLEAN), out)
        return out

    def _rewrite(self, items: Sequence[Frame | Step], rewriters: Sequence[Rewriter], out: list[Step]) -> None:
        for item in items:
            if self.closed:
                return
            if isinstance(item, Frame):
                if rewriters:
                    self._rewrite(list(rewriters[0](item)), rewriters[1:], out)
                else:
                    self._event(item, out)
            elif isinstance(item, bytes):
                held, self._held = self._held, b""
                self._send(held + self._dressed(item), out)
            else:
                self._do(item, out)

    def _event(self, frame: Frame, out: list[Step]) -> None:
        data = frame.encode(with_id=self._event_ids)
        if self._plan.framing is not None:
            data = re.sub(*self._plan.framing, data)
        data = self._dressed(data)
        if self._plan.unterminated:
            # Only the last event's blank line is left out, and which one is last is known at the end.
            data, self._held = self._held, data
        if data:
            self._send(data, out)
        if not self.closed:
            self._events += 1
            self._stop(out, "events", self._events)

    def _dressed(self, data: bytes) -> bytes:
        plan = self._plan
        if not plan.space:
            lines = (line.replace(b": ", b":", 1) if line[:1] != b":" else line for line in data.split(b"\n"))
            data = b"\n".join(lines)
        return data if plan.line_end == b"\n" else data.replace(b"\n", plan.line_end)

    def _send(self, data: bytes, out: list[Step]) -> None:
        for stop in sorted((stop for stop in self._stops if stop.unit == "bytes"), key=lambda stop: stop.at or 0):
            if stop.at is not None and self._bytes + len(data) >= stop.at:
                before = stop.at - self._bytes
                self._emit(data[:before], out)
                self._bytes, data = stop.at, data[before:]
                self._stops.remove(stop)
                self._do(stop.step, out)
                if self.closed:
                    return
        self._bytes += len(data)
        self._emit(data, out)

    def _emit(self, data: bytes, out: list[Step]) -> None:
        if self._gzip is not None and data:
            data = self._gzip.compress(data) + self._gzip.flush(zlib.Z_SYNC_FLUSH)
        if not data:
            return
        if self._plan.one_byte:
            out += (data[at : at + 1] for at in range(len(data)))
        elif self._plan.split_characters:
            out += _within_characters(data)
        else:
            out.append(data)

    def _stop(self, out: list[Step], unit: str, count: int) -> None:
        for stop in self._stops:
            if stop.unit == unit and stop.at == count:
                self._do(stop.step, out)

    def _do(self, step: Pause | Close, out: list[Step]) -> None:
        if self.closed:
            return
        if isinstance(step, Close):
            self.closed = True
            if step.how == CLEAN and self._gzip is not None and self._plan.gzip != "truncated":
                out.append(self._gzip.flush())
        out.append(step)


def _within_characters(data: bytes) -> list[bytes]:
    """Cut bytes after the first byte of each character that has several."""
    pieces, begun = [], 0
    for at in range(1, len(data)):
        if data[at - 1] >= 0xC0:
            pieces.append(data[begun:at])
            begun = at
    return [*pieces, data[begun:]]
