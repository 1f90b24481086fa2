"""The events of a stream as the simulator makes them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from unspool import sse

#: The fields of a JSON object: a request's, an event's, or those of an object within.
JSONObject = dict[str, Any]

# OpenAI's streams are compact and carry text as UTF-8. One encoder, for making it takes as long as an event's encoding.
_COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


@dataclass(slots=True)
class Frame:
    """One event of a stream. ``tokens`` is the number of tokens that the model computes before it sends this event."""

    data: str
    type: str | None = None
    tokens: int = 0
    id: str | None = None

    @classmethod
    def of(cls, body: JSONObject, *, type: str | None = None, tokens: int = 0, id: str | None = None) -> Frame:
        """The event that carries ``body`` as JSON."""
        return cls(_COMPACT.encode(body), type=type, tokens=tokens, id=id)

    def encode(self, *, with_id: bool = False) -> bytes:
        return sse.encode(self.data, type=self.type, id=self.id if with_id else None)


DONE = Frame("[DONE]")
"""The end mark of the completions and chat endpoints. The responses endpoint has none."""
