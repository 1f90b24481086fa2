"""How a stream ended whose producer was lost, as far as its log says."""

from __future__ import annotations

from collections.abc import Iterable

from unspool import api
from unspool.outcome import COMPLETE, CUT, Ending, judge
from unspool.serve.store import EVENT, End, Entry
from unspool.sse import Event, Events

_LAST = ("response.completed", "response.incomplete", "response.failed")


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
    events = [one for one in entries if one.kind == EVENT]
    if not events or not (events[-1].data == b"[DONE]" or events[-1].type in _LAST):
        return None
    decoder = api.endpoint(endpoint).decoder(1)
    decoder.decode(Events.of(Event(one.type, one.data.decode("utf-8", "replace")) for one in events))
    decoder.close()
    return end_of(judge(decoder, None), spoken=True)
