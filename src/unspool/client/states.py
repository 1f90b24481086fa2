"""The states of one stream, and what leads from each to the next, as h11 writes them (``h11/_state.py``).

`unspool.client.exchange.Exchange` is always in exactly one of these states. It moves only along this table, so that "can this happen here?"
is answered by looking it up, and an impossible step is a bug that raises at once instead of a wrong ending later::

    IDLE ──request──▶ SENT ──success──▶ HEAD ──events──▶ STREAMING
     ▲                 │                  └──document──▶ DOCUMENT
     │                 └──refusal──▶ REFUSED
     └───retry─────────── any state with a request, before the first token
    RESUMING ◀──resume─── any state with a request, once a background response has an id; its own request leads to SENT
    ENDED    ◀──end────── any state
"""

from __future__ import annotations

#: No request is under way: the first one is to be sent, or the next attempt after a wait.
IDLE = "idle"
#: The request has been sent and its answer has no head yet.
SENT = "sent"
#: A head with status 200 has arrived. Its label is not trusted: the first bytes say what the body is.
HEAD = "head"
#: The body is an event stream.
STREAMING = "streaming"
#: The body is one document: an answer that is not streamed, an error, a web page.
DOCUMENT = "document"
#: The head has another status than 200.
REFUSED = "refused"
#: The connection of a background response is gone; the next request asks for what follows.
RESUMING = "resuming"
#: How the stream ended is known, and in the journal.
ENDED = "ended"

REQUEST = "request"
SUCCESS = "success"
REFUSAL = "refusal"
EVENTS = "events"
BODY = "document"
RETRY = "retry"
RESUME = "resume"
END = "end"

_AGAIN = {RETRY: IDLE, RESUME: RESUMING, END: ENDED}

TRANSITIONS: dict[str, dict[str, str]] = {
    # A journal that another process began may be resumed before this process has sent anything.
    IDLE: {REQUEST: SENT, RESUME: RESUMING, END: ENDED},
    SENT: {SUCCESS: HEAD, REFUSAL: REFUSED, **_AGAIN},
    HEAD: {EVENTS: STREAMING, BODY: DOCUMENT, **_AGAIN},
    STREAMING: _AGAIN,
    # JSON objects on lines of their own look like one document at first.
    DOCUMENT: {EVENTS: STREAMING, **_AGAIN},
    REFUSED: _AGAIN,
    RESUMING: {REQUEST: SENT, END: ENDED},
    ENDED: {},
}


class ImpossibleStep(Exception):
    """A step that the table does not have: a mistake in the driver or in `unspool.client.exchange`."""


def after(state: str, event: str) -> str:
    """The state that follows ``state`` on this event. Raises ImpossibleStep where the table has none."""
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise ImpossibleStep(f"a stream that is {state} cannot take the step {event!r}") from None
