"""An answer again, from its journal: what `unspool.client.exchange` handed out as it arrived."""

from __future__ import annotations

from unspool import api
from unspool.api.deltas import Failure
from unspool.journal import reader, record
from unspool.jsontext import loads, parse
from unspool.outcome import INTERRUPTED, Ending
from unspool.sse import Event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from unspool.api.decoder import Decoder
    from unspool.api.deltas import Delta
    from unspool.journal.reader import Reader
    from unspool.journal.record import Record


class Replay:
    """Reads the answer that a journal holds, also one that is still being written.

    `turns` yields what is there by now and can be called again for what follows; `close` gives what was held back.
    ``request`` is what was asked, as the journal's first block has it; ``decoder`` knows what the answer said of itself. ``at`` is
    the seconds from the request to the newest turn, and ``ended_at`` those to the end, None while there is none. ``attempts`` counts the
    requests that were sent by the newest turn. What precedes the block ``first_id`` is read and not given out.
    """

    def __init__(self, journal: Reader, first_id: int = 0) -> None:
        self.request: dict[str, Any] | None = None
        self.decoder: Decoder | None = None
        self._journal = journal
        self._ended: dict[str, Any] | None = None
        self._first_id = first_id
        self._upstream_id = ""
        self.at = 0.0
        self.attempts = 1

    def turns(self) -> Iterator[tuple[list[Delta], list[Event], float]]:
        """Yield what arrived together: the deltas, the server's events they came in, and the seconds since the request."""
        for records in self._journal.batches():
            events: list[Event] = []
            for one in records:
                if one.at is None or one.at != self.at or one.id == self._first_id:
                    yield from self._decoded(events, one.id - 1)
                    events = []
                if one.at is not None:
                    self.at = one.at
                    if one.upstream_id is not None:
                        self._upstream_id = one.upstream_id
                    events.append(Event(one.type, one.data, self._upstream_id))
                else:
                    yield from self._own(one, loads(one.data))
            yield from self._decoded(events, self._journal.next_id - 1)

    def blocks(self) -> Iterator[tuple[int, list[Delta], list[Event]]]:
        """Like `turns`, but block by block: its id, its deltas, and the server's events, one or none.

        The block that ends the stream brings what was held back.
        """
        for records in self._journal.batches():
            for one in records:
                if one.at is not None:
                    self.at = one.at
                    if one.upstream_id is not None:
                        self._upstream_id = one.upstream_id
                    turns = self._decoded([Event(one.type, one.data, self._upstream_id)], one.id)
                else:
                    turns = self._own(one, loads(one.data))
                found = False
                for deltas, events, _ in turns:
                    found = True
                    yield one.id, deltas, events
                if not found and one.id >= self._first_id:
                    yield one.id, self.close() if one.type == record.END and one.at is None else [], []

    def close(self) -> list[Delta]:
        """Say that nothing more is read; return what was held back."""
        return self.decoder.close() if self.decoder is not None else []

    def _decoded(self, events: list[Event], last_id: int) -> Iterator[tuple[list[Delta], list[Event], float]]:
        if events and self.decoder is not None:
            # What comes before the first block asked for is decoded too: what follows may depend on it.
            deltas = self.decoder.decode(events)
            if last_id >= self._first_id:
                yield deltas, events, self.at

    def _own(self, one: Record, value: Any) -> Iterator[tuple[list[Delta], list[Event], float]]:
        """Take a block of the journal's own."""
        self._ended = value if one.type == record.END else None
        if one.type == record.REQUEST:
            self.request = value
            # A tape may be of a request that asks for no answer, such as the list of models.
            if value["api"] in api.NAMES:
                self.decoder = api.endpoint(value["api"]).decoder(value["body"].get("n") or 1)
                self.decoder.reads_think_tags = value.get("think_tags") is not False
        elif one.type == record.ATTEMPT:
            self.attempts = value.get("attempt", self.attempts)
        elif one.type == record.BODY and self.decoder is not None:
            body = parse(value["text"])
            if isinstance(body, dict | list):
                self.at = value["at"]
                deltas = self.decoder.decode_body(body)
                if one.id >= self._first_id:
                    yield deltas, [Event("message", value["text"])], self.at

    @property
    def ended_at(self) -> float | None:
        """The seconds from the request to the stream's end, None where the journal has none."""
        at = self._ended.get("at") if self._ended is not None else None
        return at if isinstance(at, int | float) else None

    @property
    def ending(self) -> Ending:
        """How the stream ended. One whose end is not in the journal is ``interrupted``, or still under way."""
        ended = self._ended
        if ended is not None:
            message = ended.get("message", "")
            failure = Failure(message, **ended["failure"]) if "failure" in ended else None
            return Ending(ended["outcome"], message, ended.get("finish_reason"), failure, ended.get("signal"))
        if reader.is_alive(self._journal.path):
            return Ending(INTERRUPTED, "the answer is still being written; this is what there is by now")
        return Ending(INTERRUPTED, "its process ended before the answer did; this is what had arrived")
