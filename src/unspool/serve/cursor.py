"""Event ids of the gateway: opaque to clients, and of use for one stream only.

An id names the stream by the end of its ULID, the epoch of its producer, and the position of the event in the log.
"""

from __future__ import annotations


class BadCursor(ValueError):
    """What a client sent is not the id of an event of this stream."""


_MARK = 8


def event_id(stream: str, epoch: int, position: int) -> bytes:
    """The value of an event's ``id:`` field."""
    return b"%s-%d-%d" % (stream[-_MARK:].encode(), epoch, position)


def prefix(stream: str, epoch: int) -> bytes:
    """What the ids of a stream's events begin with, up to the position."""
    return b"%s-%d-" % (stream[-_MARK:].encode(), epoch)


def position_after(text: str, stream: str) -> int:
    """The position that follows the event of this id. Raises BadCursor."""
    mark, _, rest = text.strip().partition("-")
    epoch, _, position = rest.partition("-")
    if mark != stream[-_MARK:] or not _is_number(epoch) or not _is_number(position):
        raise BadCursor(f"{text[:60]!r} is not the id of an event of this stream")
    return int(position) + 1


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 16
