"""What a 200 really is: servers send event streams labelled as JSON, and web pages and JSON labelled as event streams."""

from __future__ import annotations

STREAM = "stream"
BODY = "body"

_FIELD_NAMES = (b"data", b"event", b"id", b"retry")


def kind(head: bytes, content_type: str) -> str | None:
    """Say whether an answer that begins with these bytes is an event stream or one body; None while it cannot be told.

    What the bytes look like decides, the label only where they leave it open. No event stream begins with a brace, a
    bracket or an angle bracket: there would have to be a field of such a name.
    """
    head = head.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    if not head:
        return None
    if head[:1] in (b"{", b"[", b"<"):
        return BODY
    if is_event_stream(content_type) or head[:1] == b":":
        return STREAM
    name = head[:6].partition(b":")[0].rstrip(b"\r\n")
    if name in _FIELD_NAMES and len(head) > len(name):
        return STREAM
    if any(field.startswith(head) for field in _FIELD_NAMES):
        return None
    return BODY


def is_event_stream(content_type: str) -> bool:
    """Whether a Content-Type's essence is ``text/event-stream``, in any case and with any parameters."""
    return content_type.partition(";")[0].strip().lower() == "text/event-stream"
