"""Reads an answer from its journal: the one interpreter of journals, for every viewer and every summary."""

from __future__ import annotations

from unspool import api
from unspool.journal import blocks, reader, ulid
from unspool.journal.blocks import Attempt, End, Request, Response
from unspool.journal.record import TOOL
from unspool.journal.unframed import Body
from unspool.jsontext import parse
from unspool.outcome import DAMAGED, INTERRUPTED, Ending
from unspool.sse import Event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from unspool.api.decoder import Decoder
    from unspool.api.deltas import Delta
    from unspool.journal.reader import Reader
    from unspool.journal.record import Record
    from unspool.journal.toolruns import ToolRun


class Replay:
    """Reads the answer that a journal holds, also one that is still being written.

    `turns` yields what is there by now and can be called again for what follows; `close` gives what was held back.

    - ``request`` is what was asked, ``response`` the newest head of an answer, ``body`` the newest answer in one piece, ``end`` how it
      ended; None where the journal has none.
    - ``tool_runs`` are the runs of the answer's tool calls, by the ids of these.
    - ``decoder`` knows what the answer said of itself; None where nothing was asked that has an answer, as on some tapes.
    - ``at`` is the seconds from the request to the newest turn, ``attempts`` the number of requests sent by then.

    What precedes the block ``first_id`` is read and not given out.
    """

    def __init__(self, journal: Reader, first_id: int = 0) -> None:
        self.request: Request | None = None
        self.response: Response | None = None
        self.body: Body | None = None
        self.end: End | None = None
        self.tool_runs: dict[str, ToolRun] = {}
        self.decoder: Decoder | None = None
        self.at = 0.0
        self.attempts = 1
        #: Whether a turn holds only what arrived together. Set it to False where times no longer matter: larger turns decode faster.
        self.by_time = True
        self._journal = journal
        self._first_id = first_id
        self._upstream_id = ""

    def turns(self) -> Iterator[tuple[list[Delta], list[Event], float]]:
        """Yield what arrived together: the deltas, the server's events they came in, and the seconds since the request."""
        for records in self._journal.batches():
            events: list[Event] = []
            for one in records:
                if one.at is None or (one.at != self.at and self.by_time) or one.id == self._first_id:
                    yield from self._decoded(events, one.id - 1)
                    events = []
                if one.at is not None:
                    events.append(self._event(one))
                else:
                    yield from self._own(one)
            yield from self._decoded(events, self._journal.next_id - 1)

    def blocks(self) -> Iterator[tuple[int, list[Delta], list[Event]]]:
        """Like `turns`, but block by block: its id, its deltas, and the server's events, one or none.

        The block that ends the stream brings what was held back.
        """
        for records in self._journal.batches():
            for one in records:
                turns = self._own(one) if one.at is None else self._decoded([self._event(one)], one.id)
                found = False
                for deltas, events, _ in turns:
                    found = True
                    yield one.id, deltas, events
                if not found and one.id >= self._first_id:
                    yield one.id, self.close() if self.end is not None else [], []

    def close(self) -> list[Delta]:
        """Say that nothing more is read; return what was held back."""
        return self.decoder.close() if self.decoder is not None else []

    @property
    def ended_at(self) -> float | None:
        """The seconds from the request to the stream's end, None where the journal has none."""
        return self.end.at if self.end is not None else None

    @property
    def request_id(self) -> str | None:
        """The server's id for the request, None where it gave none."""
        failure = self.end.failure if self.end is not None else None
        named = failure.request_id if failure is not None else None
        return named or (self.response.request_id if self.response is not None else None)

    @property
    def stream_id(self) -> str | None:
        """The id under which a gateway keeps the stream, None where there is no gateway."""
        id = self.response.headers.get("x-unspool-id", "") if self.response is not None else ""
        return id if ulid.is_ulid(id) else None

    @property
    def is_final(self) -> bool:
        """Whether the server itself has ended the answer, well or not, so that nothing more of it can come."""
        return self.decoder is not None and (self.decoder.ended or self.decoder.failure is not None)

    @property
    def ending(self) -> Ending:
        """How the stream ended. One whose end is not in the journal is ``interrupted``, or still being written."""
        damage = self._journal.damage
        if damage is not None:
            return Ending(DAMAGED, str(damage))
        if self.end is not None:
            return self.end.ending
        if reader.is_alive(self._journal.path):
            return Ending(INTERRUPTED, "the answer is still being written; this is what has arrived so far")
        return Ending(INTERRUPTED, "its process ended before the answer did; this is what had arrived")

    def _event(self, one: Record) -> Event:
        assert one.at is not None
        self.at = one.at
        if one.upstream_id is not None:
            self._upstream_id = one.upstream_id
        return Event(one.type, one.data, self._upstream_id)

    def _decoded(self, events: list[Event], last_id: int) -> Iterator[tuple[list[Delta], list[Event], float]]:
        if events and self.decoder is not None:
            # What comes before the first block asked for is decoded too: what follows may depend on it.
            deltas = self.decoder.decode(events)
            if last_id >= self._first_id:
                yield deltas, events, self.at

    def _own(self, one: Record) -> Iterator[tuple[list[Delta], list[Event], float]]:
        """Take a block of the journal's own. Of what may follow an end (`unspool.journal.reader`), an attempt takes it back."""
        if one.type == TOOL:
            from unspool.journal.toolruns import ToolRun

            run = ToolRun.read(one.data)
            self.tool_runs[run.call] = run
            return
        block = blocks.read(one)
        self.end = block if isinstance(block, End) else None
        if isinstance(block, Request):
            # Only the first one counts: it is what the decoder was made for.
            if self.request is None:
                self.request = block
                if block.api in api.NAMES:
                    self.decoder = _decoder(block)
        elif isinstance(block, Attempt):
            if block.redirect is None:
                self.attempts = block.attempt or self.attempts + 1
                if block.resume is None and self.decoder is not None and self.request is not None:
                    # What came before was an error that was retried, and is no part of this answer.
                    self.decoder = _decoder(self.request)
        elif isinstance(block, Response):
            self.response = block
        elif isinstance(block, Body) and self.decoder is not None:
            self.body = block
            body = parse(block.text)
            if isinstance(body, dict | list):
                if block.at is not None:
                    self.at = block.at
                deltas = self.decoder.decode_body(body)
                if one.id >= self._first_id:
                    yield deltas, [Event("message", block.text)], self.at


def _decoder(request: Request) -> Decoder:
    decoder: Decoder = api.endpoint(request.api).decoder(request.choices)
    decoder.reads_think_tags = request.think_tags
    return decoder
