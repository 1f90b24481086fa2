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
    from unspool.api.parts import Annotation as Annotation
    from unspool.api.parts import Audio as Audio
    from unspool.api.parts import Image as Image
    from unspool.api.parts import Item as Item
    from unspool.api.parts import Logprobs as Logprobs
    from unspool.api.parts import ToolResult as ToolResult
    from unspool.client.aio import AsyncAnswer as AsyncAnswer
    from unspool.client.aio import AsyncReading as AsyncReading
    from unspool.client.answer import Answer as Answer
    from unspool.client.answer import Reading as Reading
    from unspool.client.errors import BadRequest as BadRequest
    from unspool.client.errors import Cancelled as Cancelled
    from unspool.client.errors import InvalidOutput as InvalidOutput
    from unspool.client.errors import RateLimited as RateLimited
    from unspool.client.errors import ServerError as ServerError
    from unspool.client.errors import StreamCut as StreamCut
    from unspool.client.errors import StreamError as StreamError
    from unspool.client.errors import Unauthorized as Unauthorized
    from unspool.client.errors import Unreachable as Unreachable
    from unspool.client.facts import Messages as Messages
    from unspool.client.library import AsyncClient as AsyncClient
    from unspool.client.library import Client as Client
    from unspool.client.library import afollow as afollow
    from unspool.client.library import aresume as aresume
    from unspool.client.library import astream as astream
    from unspool.client.library import follow as follow
    from unspool.client.library import resume as resume
    from unspool.client.library import stream as stream
    from unspool.client.library.converse import AsyncConversation as AsyncConversation
    from unspool.client.library.converse import Conversation as Conversation
    from unspool.client.library.converse import TooManyCalls as TooManyCalls
    from unspool.client.library.converse import UnfinishedCall as UnfinishedCall
    from unspool.client.library.converse import aconverse as aconverse
    from unspool.client.library.converse import converse as converse
    from unspool.client.library.following import AsyncFollowing as AsyncFollowing
    from unspool.client.library.following import Following as Following
    from unspool.client.observing import Logging as Logging
    from unspool.client.observing import Observation as Observation
    from unspool.client.observing import Observer as Observer
    from unspool.client.observing import Tracing as Tracing
    from unspool.client.tools import tool as tool
    from unspool.config import ConfigError as ConfigError
    from unspool.journal.folder import NotFound as NotFound
    from unspool.journal.writer import Busy as Busy
    from unspool.outcome import Ending as Ending
    from unspool.serve.relay import Relay as Relay

# The names of each room. Written out once more above, where type checkers look, and below, in __all__, where they do too;
# tests/test_exports.py compares the three.
_NAMES = {
    "unspool.api.deltas": "Delta Failure Finish Reasoning Refusal Started Text ToolCall ToolCallDelta Usage",
    "unspool.api.parts": "Annotation Audio Image Item Logprobs ToolResult",
    "unspool.client.aio": "AsyncAnswer AsyncReading",
    "unspool.client.answer": "Answer Reading",
    "unspool.client.errors": "BadRequest Cancelled InvalidOutput RateLimited ServerError StreamCut StreamError Unauthorized Unreachable",
    "unspool.client.facts": "Messages",
    "unspool.client.library.converse": "AsyncConversation Conversation TooManyCalls UnfinishedCall aconverse converse",
    "unspool.client.library.following": "AsyncFollowing Following",
    "unspool.client.library": "AsyncClient Client afollow aresume astream follow resume stream",
    "unspool.client.tools": "tool",
    "unspool.client.observing": "Logging Observation Observer Tracing",
    "unspool.config": "ConfigError",
    "unspool.journal.folder": "NotFound",
    "unspool.journal.writer": "Busy",
    "unspool.outcome": "Ending",
    "unspool.serve.relay": "Relay",
}
_ROOMS = {name: room for room, names in _NAMES.items() for name in names.split()}

__all__ = [
    "Annotation",
    "Answer",
    "AsyncAnswer",
    "AsyncClient",
    "AsyncConversation",
    "AsyncFollowing",
    "AsyncReading",
    "Audio",
    "BadRequest",
    "Busy",
    "Cancelled",
    "Client",
    "ConfigError",
    "Conversation",
    "Delta",
    "Ending",
    "Error",
    "Failure",
    "Finish",
    "Following",
    "Image",
    "InvalidOutput",
    "Item",
    "Logging",
    "Logprobs",
    "Messages",
    "NotFound",
    "Observation",
    "Observer",
    "RateLimited",
    "Reading",
    "Reasoning",
    "Refusal",
    "Relay",
    "ServerError",
    "Started",
    "StreamCut",
    "StreamError",
    "Text",
    "TooManyCalls",
    "ToolCall",
    "ToolCallDelta",
    "ToolResult",
    "Tracing",
    "Unauthorized",
    "UnfinishedCall",
    "Unreachable",
    "Usage",
    "__version__",
    "aconverse",
    "afollow",
    "aresume",
    "astream",
    "converse",
    "follow",
    "resume",
    "sse",
    "stream",
    "tool",
]


class Error(Exception):
    """Base class of errors that happen at run time, as opposed to wrong arguments: `StreamError`, `ConfigError` and the others."""


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
