"""Blocks for bytes that are no events: bodies, what a parser ignored, and tapes. Apart from `unspool.journal.blocks`, for few streams have any."""

from __future__ import annotations

from unspool.journal import record
from unspool.journal.blocks import Block

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from unspool.journal.blocks import Seconds, Word
    from unspool.jsontext import JsonObject


class Body(Block):
    """An answer, or a piece of one, that was no event stream: its ``text``."""

    TYPE = record.BODY
    text: str = ""
    content_type: str = ""
    at: Seconds | None = None


class Ignored(Block):
    """What of an event stream became no event, as ``text``. Readers of the answer leave it out."""

    TYPE = record.IGNORED
    text: str = ""
    at: Seconds | None = None


class Wire(Block):
    """A piece of an answer's bytes in a tape. ``more``: its HTTP chunk continues in the next. ``end``: how the connection ended."""

    TYPE = record.WIRE
    at: Seconds = 0.0
    data: bytes = b""
    more: bool = False
    end: Word | None = None

    @classmethod
    def of(cls, value: JsonObject) -> Self:
        found = super().of(value)
        text, base64 = value.get("text"), value.get("base64")
        if type(text) is str:
            found.data = text.encode("utf-8", "replace")
        elif type(base64) is str:
            from binascii import a2b_base64

            try:
                found.data = a2b_base64(base64)
            except ValueError:
                pass
        return found

    def described(self) -> JsonObject:
        value: JsonObject = {"at": round(self.at, 3), "end": self.end}
        if self.end is None:
            try:
                value["text"] = self.data.decode()
            except UnicodeDecodeError:
                from binascii import b2a_base64

                value["base64"] = b2a_base64(self.data, newline=False).decode()
        value["more"] = True if self.more else None
        return value


CLASSES: dict[str, type[Block]] = {one.TYPE: one for one in (Body, Ignored, Wire)}
