"""Taking up a stream where its connection broke, from a server that continues it and keeps it.

Background responses: ``GET /responses/{id}?stream=true&starting_after=N``. A response that was created with ``background`` and ``store``
continues at the server when a connection breaks, and its events have numbers. So the same answer can be continued, with nothing lost and
nothing twice.
Where the server will not stream it again (OpenAI refuses after five minutes), the response is polled until it has ended,
and what is missing is taken from its text.

Streams of a gateway, at every endpoint: ``GET /streams/{id}?after=EVENT``. The gateway (``unspool serve``) names the stream in
``X-Unspool-Id`` and gives each event an id.
"""

from __future__ import annotations

from unspool.config.url import percent_encode
from unspool.jsontext import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from unspool.sse import Event

# Connections in a row that bring nothing new before the stream counts as cut; LangGraph's clients allow as many.
_MOST_TRIES = 5
# Polls without an end before that: five seconds apart, some five minutes, which is how long OpenAI keeps a stream open to resuming.
_MOST_POLLS = 60
_LONGEST_POLL_WAIT = 5.0
# "can no longer be streamed", unknown to this endpoint, gone: streaming is refused, having the response may not be.
_REFUSALS = frozenset({400, 404, 405, 410, 422})


class Resumption:
    """What is known of a response that is being taken up again.

    ``gap`` says that the server left out events, so that the connection is of no use; ``polling`` that it will not stream.
    """

    def __init__(self, url: str, id: str) -> None:
        path, mark, query = url.partition("?")
        self.id = id
        self.url = f"{path}/{percent_encode(id)}"
        self.query = mark + query
        self.gap = False
        self.polling = False
        self.tries = 0
        self._polls = 0

    def location(self, last_sequence: int | None, last_event_id: str) -> str:
        """The URL of the next request, for what follows the event of this number or this id."""
        if self.polling:
            return self.url + self.query
        cursor = "" if last_sequence is None else f"&starting_after={last_sequence}"
        return f"{self.url}{self.query}{'&' if self.query else '?'}stream=true{cursor}"

    def is_answered_by(self, headers: dict[str, str]) -> bool:
        """Whether an answer with these headers can be the stream that is taken up."""
        return True

    def cancel_location(self) -> str:
        """The URL to which a POST cancels the response."""
        return f"{self.url}/cancel{self.query}"

    def fresh(self, events: Iterable[Event], last_sequence: int | None) -> Iterable[Event]:
        """Return those events that follow the last one, without any that came before.

        Stops before an event that leaves others out, and sets ``gap``. An event without a number passes.
        """
        kept = []
        for event in events:
            number = sequence_number(event)
            if number is not None and last_sequence is not None:
                if number <= last_sequence:
                    continue
                if number > last_sequence + 1:
                    self.gap = True
                    break
            if number is not None:
                last_sequence = number
            kept.append(event)
        if kept:
            self.tries = 0
        return kept

    def try_again(self, *, closed: bool) -> int | None:
        """Count a connection that brought no end; return how many in a row brought nothing at all, None after too many.

        ``closed`` says that the server closed it in good order.
        """
        if self.gap or (closed and self.tries):
            # The same request would bring the same gap; or, twice in good order, nothing, because the response was cancelled
            # or because there is no more to stream. The response itself says which, and has the complete text.
            self.gap = False
            self.polling = True
        self.tries += 1
        return self.tries if self.tries <= _MOST_TRIES else None

    def refused(self, status: int) -> bool:
        """Whether a status means that the response cannot be streamed again; polling begins."""
        if self.polling or status not in _REFUSALS:
            return False
        self.polling = True
        return True

    def poll_again(self) -> float | None:
        """Count a poll that found no end; return the seconds until the next, None after too many."""
        self.tries = 0
        self._polls += 1
        return min(float(self._polls), _LONGEST_POLL_WAIT) if self._polls <= _MOST_POLLS else None


class GatewayResumption(Resumption):
    """The same for a stream of a gateway. ``url`` is that of its streams, ``id`` the stream's."""

    def location(self, last_sequence: int | None, last_event_id: str) -> str:
        if not last_event_id:
            return self.url + self.query
        return f"{self.url}{self.query}{'&' if self.query else '?'}after={percent_encode(last_event_id)}"

    def is_answered_by(self, headers: dict[str, str]) -> bool:
        # A proxy's page in between must not be taken for the stream.
        return headers.get("x-unspool-id") == self.id

    def fresh(self, events: Iterable[Event], last_sequence: int | None) -> Iterable[Event]:
        # The gateway sends what follows the cursor; most endpoints have no numbers that could be compared.
        self.tries = 0
        return events

    def try_again(self, *, closed: bool) -> int | None:
        self.tries += 1
        return self.tries if self.tries <= _MOST_TRIES else None

    def refused(self, status: int) -> bool:
        return False


def sequence_number(event: Event) -> int | None:
    """The ``sequence_number`` of an event, None where it has none."""
    try:
        value = loads(event.data)
    except ValueError:
        return None
    number = value.get("sequence_number") if type(value) is dict else None
    return number if type(number) is int else None
