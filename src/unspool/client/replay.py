"""An answer again, from its journal: what `unspool.client.exchange` handed out as it arrived."""

from __future__ import annotations

import jiter

from unspool import api
from unspool.api.deltas import Failure
from unspool.client.exchange import parse
from unspool.journal import reader, record
from unspool.outcome import INTERRUPTED, Ending
from unspool.sse import Event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from unspool.api.decoder import Decoder
    from unspool.api.deltas import Delta
    from unspool.journal.reader import Reader


class Replay:
    """Reads the answer that a journal holds. ``ending`` is valid once `turns` has been read to its end."""

    def __init__(self, journal: Reader) -> None:
        self._journal = journal
        self._ended: dict[str, Any] | None = None

    def turns(self) -> Iterator[tuple[list[Delta], list[Event], float]]:
        """Yield what arrived together: the deltas, the server's events they came in, and the seconds since the request."""
        decoder: Decoder | None = None
        held: list[Delta] = []
        events: list[Event] = []
        at = 0.0
        last_id = ""
        for records in self._journal.batches():
            for one in records:
                if one.at is not None:
                    if decoder is not None and events and one.at != at:
                        yield decoder.decode(events), events, at
                        events = []
                    at = one.at
                    last_id = one.upstream_id or last_id
                    events.append(Event(one.type, one.data, last_id))
                elif one.type == record.REQUEST:
                    request = jiter.from_json(one.data.encode())
                    decoder = api.endpoint(request["api"]).Decoder(request["body"].get("n") or 1)
                elif one.type == record.BODY and decoder is not None:
                    text = jiter.from_json(one.data.encode())["text"]
                    body = parse(text.encode())
                    if isinstance(body, dict | list):
                        held, events = decoder.decode_body(body), [Event("message", text)]
                elif one.type == record.END:
                    self._ended = ended = jiter.from_json(one.data.encode())
                    at = at or ended["at"]
        if decoder is not None:
            yield (held or decoder.decode(events)) + decoder.close(), events, at

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
