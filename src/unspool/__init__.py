"""unspool streams answers from the OpenAI API, and from every server that speaks it, and never loses a token.

    import unspool

    with unspool.stream("What is Python?") as answer:
        for piece in answer:
            print(piece, end="", flush=True)

Importing this package imports nothing else: each name is fetched from its room when it is first used.
"""

from __future__ import annotations

__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool import sse as sse
    from unspool.api.deltas import Delta as Delta
    from unspool.api.deltas import Failure as Failure
    from unspool.api.deltas import Finish as Finish
    from unspool.api.deltas import Reasoning as Reasoning
    from unspool.api.deltas import Refusal as Refusal
    from unspool.api.deltas import Started as Started
    from unspool.api.deltas import Text as Text
    from unspool.api.deltas import ToolCall as ToolCall
    from unspool.api.deltas import ToolCallDelta as ToolCallDelta
    from unspool.api.deltas import Usage as Usage
    from unspool.client.aio import AsyncAnswer as AsyncAnswer
    from unspool.client.answer import Answer as Answer
    from unspool.client.errors import BadRequest as BadRequest
    from unspool.client.errors import Cancelled as Cancelled
    from unspool.client.errors import RateLimited as RateLimited
    from unspool.client.errors import ServerError as ServerError
    from unspool.client.errors import StreamCut as StreamCut
    from unspool.client.errors import StreamError as StreamError
    from unspool.client.errors import Unauthorized as Unauthorized
    from unspool.client.errors import Unreachable as Unreachable
    from unspool.client.library import astream as astream
    from unspool.client.library import stream as stream

_DELTAS = "Delta Failure Finish Reasoning Refusal Started Text ToolCall ToolCallDelta Usage"
_ERRORS = "BadRequest Cancelled RateLimited ServerError StreamCut StreamError Unauthorized Unreachable"

_ROOMS = {
    **dict.fromkeys(_DELTAS.split(), "unspool.api.deltas"),
    **dict.fromkeys(_ERRORS.split(), "unspool.client.errors"),
    "Answer": "unspool.client.answer",
    "AsyncAnswer": "unspool.client.aio",
    "stream": "unspool.client.library",
    "astream": "unspool.client.library",
}

__all__ = ["__version__", "sse", *_ROOMS]


def __getattr__(name: str) -> object:
    if name == "sse":
        return __import__("unspool.sse", fromlist=["sse"])
    if name not in _ROOMS:
        raise AttributeError(f"module 'unspool' has no attribute {name!r}")
    value = getattr(__import__(_ROOMS[name], fromlist=[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
