"""JSON objects, one on each line, without any framing: what some servers and proxies send for an event stream."""

from __future__ import annotations

from unspool.api.decoder import is_event_data
from unspool.jsontext import parse
from unspool.sse import Event, Events

# Lines that are no event and are held.
_MOST_IGNORED = 100
_LONGEST_IGNORED = 4096


def begins(head: bytes) -> bool | None:
    """Say whether a body that begins with these bytes is such a stream; None while it cannot be told.

    The first object must be one that an event could carry: other protocols send a JSON object a line too.
    """
    first, _, rest = head.strip().partition(b"\n")
    if not rest.strip():
        return None
    value = parse(first)
    if type(value) is not dict or rest.lstrip()[:1] not in (b"{", b"[", b"d"):
        return False
    return type(value.get("choices")) is list or str(value.get("type")).startswith("response.") or "error" in value


class Decoder:
    """Decodes such a stream, and is used like `unspool.sse.Decoder`."""

    def __init__(self) -> None:
        self.last_event_id = ""
        self.ignored: list[bytes] = []
        self._line: list[bytes] = []

    def take(self, data: bytes) -> Events:
        """Return the events that end in this piece."""
        *lines, rest = data.split(b"\n")
        events = []
        for line in lines:
            events += self._event(b"".join([*self._line, line]))
            self._line.clear()
        self._line.append(rest)
        return Events.of(events)

    def close(self, *, dispatch_incomplete: bool = False) -> list[Event]:
        """Say that the stream has ended; return the event of a last line without its end."""
        line = b"".join(self._line)
        self._line.clear()
        return self._event(line) if dispatch_incomplete else []

    def _event(self, line: bytes) -> list[Event]:
        text = line.decode("utf-8", "replace").strip()
        if is_event_data(text):
            return [Event("message", text.removeprefix("data:").strip())] if text else []
        if len(self.ignored) < _MOST_IGNORED:
            self.ignored.append(line[:_LONGEST_IGNORED])
        return []
