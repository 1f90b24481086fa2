"""Deltas for what comes beside the text. Apart from `unspool.api.deltas`, for few answers have any."""

from __future__ import annotations

from unspool.api.deltas import Part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class ToolResult(Part):
    """What a tool returned for the ``call`` with that id, as the model gets it. ``failed`` says that it is an error."""

    __match_args__ = __slots__ = ("call", "name", "content", "failed")

    def __init__(self, call: str, name: str, content: str, failed: bool = False) -> None:
        self.call = call
        self.name = name
        self.content = content
        self.failed = failed


class Annotation(Part):
    """A citation or another annotation of the text, as the server describes it: ``url_citation``, ``file_citation`` …"""

    __match_args__ = __slots__ = ("annotation", "choice")

    def __init__(self, annotation: dict[str, Any], choice: int = 0) -> None:
        self.annotation = annotation
        self.choice = choice


class Audio(Part):
    """A piece of spoken answer: base64 ``data``, its ``transcript``, or both. ``id`` refers to it in a later turn."""

    __match_args__ = __slots__ = ("data", "transcript", "id", "choice")

    def __init__(self, data: str, transcript: str, id: str | None = None, choice: int = 0) -> None:
        self.data = data
        self.transcript = transcript
        self.id = id
        self.choice = choice


class Image(Part):
    """A picture: a URL, ``data:`` ones included. One that is ``partial`` is a preview, which a later one replaces."""

    __match_args__ = __slots__ = ("url", "partial", "choice")

    def __init__(self, url: str, partial: bool = False, choice: int = 0) -> None:
        self.url = url
        self.partial = partial
        self.choice = choice


class Logprobs(Part):
    """Log probabilities of the tokens in the text just before, as the server gives them."""

    __match_args__ = __slots__ = ("tokens", "choice")

    def __init__(self, tokens: object, choice: int = 0) -> None:
        self.tokens = tokens
        self.choice = choice


# Items of the Responses API that ask the program to do something, and wait for an item with its outcome.
_PROGRAM_ITEMS = ("computer_call", "shell_call", "local_shell_call", "apply_patch_call", "mcp_approval_request")


class Item(Part):
    """Part of an answer that has no delta of its own, complete and as the server sent it.

    At Responses that is each output item but text and calls of functions: reasoning with its ``encrypted_content``, web searches,
    code, MCP, pictures, messages that have a ``phase``, and any type of tomorrow.
    """

    __match_args__ = __slots__ = ("item", "choice")

    def __init__(self, item: dict[str, Any], choice: int = 0) -> None:
        self.item = item
        self.choice = choice

    @property
    def is_handed_back(self) -> bool:
        """Whether the next turn has to repeat it: a server that stores nothing has no other copy, or waits for an answer to it."""
        item = self.item
        return self.awaits_program or bool(item.get("encrypted_content")) or item.get("type") == "message"

    @property
    def awaits_program(self) -> bool:
        """Whether the program has to carry this out, and to hand its outcome back in the next turn."""
        return self.item.get("type") in _PROGRAM_ITEMS
