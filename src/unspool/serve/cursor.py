"""Event ids of the gateway: opaque to clients, and of use for one stream only.

An id names the stream by the end of its ULID, the epoch of its producer, and the position of the event in the log. A format that sends
several events for one entry of the log adds how many of them have been sent, to all but the last.
"""

from __future__ import annotations


class BadCursor(ValueError):
    """What a client sent is not the id of an event of this stream."""


_MARK = 8


def prefix(stream: str, epoch: int) -> bytes:
    """What the ids of a stream's events begin with, up to the position."""
    return b"%s-%d-" % (stream[-_MARK:].encode(), epoch)


def entry_end(position: int) -> bytes:
    """What follows `prefix` in the id of the last event of an entry."""
    return b"%d" % position


def entry_part(position: int, sent: int) -> bytes:
    """What follows `prefix` in the id of an event after which ``sent`` events of its entry have been sent, and others follow."""
    return b"%d.%d" % (position, sent)


def place_after(text: str, stream: str, epoch: int) -> tuple[int, int]:
    """The position of the entry that follows the event of this id, and how many events of that entry have been sent.

    ``epoch`` is the stream's by now: ids of earlier ones stay valid, for what an earlier producer appended stays. Raises BadCursor.
    """
    mark, _, rest = text.strip().partition("-")
    of, _, place = rest.partition("-")
    position, dot, sent = place.partition(".")
    numbers = (of, position, sent or ("" if dot else "0"))
    if mark != stream[-_MARK:] or not all(map(_is_number, numbers)) or int(of) > epoch:
        raise BadCursor(f"{text[:60]!r} is not the id of an event of this stream")
    return (int(position), int(sent)) if dot else (int(position) + 1, 0)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 16
