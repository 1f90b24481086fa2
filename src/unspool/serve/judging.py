"""How a stream ended whose producer was lost, as far as its log says."""

from __future__ import annotations

from collections.abc import Iterable

from unspool import api
from unspool.api.failure import MALFORMED_EVENT
from unspool.outcome import COMPLETE, CUT, Ending, judge
from unspool.serve.store import EVENT, End, Entry
from unspool.sse import Event, Events


def end_of(ending: Ending, *, spoken: bool) -> End:
    """The end that a decoder's facts mean. ``spoken`` says that upstream told it itself, so that viewers have it."""
    return End(
        ending.outcome,
        "" if ending.outcome == COMPLETE else ending.message,
        ending.finish_reason,
        upstream=spoken and ending.outcome != CUT,
    )


def end_in_log(endpoint: str, entries: Iterable[Entry]) -> End | None:
    """The end that upstream itself has sent, where its last event is in the log. Viewers have seen it, so nothing else may follow."""
    events = (Event(one.type, one.data.decode("utf-8", "replace")) for one in entries if one.kind == EVENT)
    decoder = api.endpoint(endpoint).decoder(1)
    decoder.decode(Events.of(events))
    has_failed = decoder.failure is not None and decoder.failure.type != MALFORMED_EVENT
    if not decoder.done and not has_failed:
        return None
    decoder.close()
    return end_of(judge(decoder, None), spoken=True)
