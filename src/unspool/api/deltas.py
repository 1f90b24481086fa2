"""What a decoded stream is made of, the same for all three endpoints.

A decoder turns events into these values; viewers and programs match on them::

    for delta in answer.deltas():
        match delta:
            case Text(text): print(text, end="")
            case Finish(reason): print(f"[{reason}]")

``choice`` is the index among the ``n`` answers asked for; 0 where only one was.
"""

from __future__ import annotations

from unspool.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any


class Delta(Value):
    """Base of everything a decoder yields."""

    __slots__ = ()
    choice = 0


class Part(Delta):
    """Base of what comes beside the text: the deltas of `unspool.api.parts`, which few answers have."""

    __slots__ = ()


class Started(Delta):
    """The server has begun an answer: its own id for it and the model that really answers. Comes once, before all else."""

    __match_args__ = __slots__ = ("id", "model")

    def __init__(self, id: str | None, model: str | None) -> None:
        self.id = id
        self.model = model


class Text(Delta):
    """A piece of the answer's text. Never empty, never half a character: what a server splits is put together first.

    Of the first choice's pieces those that come together may be one Text: ``pieces`` is the text as the server cut it.
    """

    __match_args__ = ("text", "choice")
    __slots__ = ("text", "choice", "_utf8")

    def __init__(self, text: str, choice: int = 0) -> None:
        self.text = text
        self.choice = choice
        # Each piece, where there are several. Nearly nobody looks at them, so they are left as they came.
        self._utf8: list[bytes] | None = None

    @property
    def pieces(self) -> list[str]:
        """The text as the server cut it, in pieces none of which is empty."""
        return [self.text] if self._utf8 is None else [piece.decode() for piece in self._utf8 if piece]


def text_of(utf8: list[bytes]) -> Text:
    """One Text of several pieces of the first choice, given in UTF-8."""
    one = Text(b"".join(utf8).decode())
    if len(utf8) > 1:
        one._utf8 = utf8
    return one


def apart(deltas: Iterable[Delta]) -> Iterator[Delta]:
    """Yield these deltas with each piece of text separately."""
    for delta in deltas:
        if type(delta) is Text and delta._utf8 is not None:
            for piece in delta.pieces:
                yield Text(piece, delta.choice)
        else:
            yield delta


class Reasoning(Delta):
    """A piece of the model's reasoning: ``kind`` is ``"summary"`` where the vendor sends a summary of it, else ``"raw"``."""

    __match_args__ = __slots__ = ("text", "choice", "kind")

    def __init__(self, text: str, choice: int = 0, kind: str = "raw") -> None:
        self.text = text
        self.choice = choice
        self.kind = kind


class Refusal(Delta):
    """A piece of the model's refusal: content in place of an answer, not a failure."""

    __match_args__ = __slots__ = ("text", "choice")

    def __init__(self, text: str, choice: int = 0) -> None:
        self.text = text
        self.choice = choice


class ToolCallDelta(Delta):
    """A piece of a tool call as it streams. ``id`` and ``name`` are None after they came once; ``arguments`` is a fragment of JSON text."""

    __match_args__ = __slots__ = ("index", "id", "name", "arguments", "choice")

    def __init__(self, index: int, id: str | None, name: str | None, arguments: str, choice: int = 0) -> None:
        self.index = index
        self.id = id
        self.name = name
        self.arguments = arguments
        self.choice = choice


class ToolCall(Delta):
    """A complete tool call, merged from its pieces. ``arguments`` is the JSON text as the model wrote it, which may not parse.

    ``kind`` is ``"function"``, or ``"custom"`` for a tool whose ``arguments`` are free text. ``extra`` is what the server wants
    back with the call: Google's thought signatures (``extra_content``).
    """

    __match_args__ = __slots__ = ("index", "id", "name", "arguments", "choice", "kind", "extra")

    def __init__(
        self,
        index: int,
        id: str,
        name: str,
        arguments: str,
        choice: int = 0,
        kind: str = "function",
        extra: dict[str, Any] | None = None,
    ) -> None:
        self.index = index
        self.id = id
        self.name = name
        self.arguments = arguments
        self.choice = choice
        self.kind = kind
        self.extra = extra

    def message(self) -> dict[str, Any]:
        """Return the call as it stands among the ``tool_calls`` of an assistant's message in Chat Completions."""
        given = {"function": "arguments", "custom": "input"}[self.kind]
        call = {"id": self.id, "type": self.kind, self.kind: {"name": self.name, given: self.arguments}}
        return call if self.extra is None else {**call, "extra_content": self.extra}

    def parsed(self) -> dict[str, Any]:
        """Return the arguments as the dict that they are to be. Raises ValueError when they are none.

        >>> ToolCall(0, "call_1", "weather", '{"city": "Oslo"}').parsed()
        {'city': 'Oslo'}
        """
        from unspool.jsontext import clean, loads

        try:
            value = clean(loads(self.arguments or "{}"))
        except ValueError as error:
            raise ValueError(f"the model calls {self.name} with arguments that are not JSON: {error}") from error
        if not isinstance(value, dict):
            raise ValueError(
                f"the model calls {self.name} with arguments that are not a JSON object: {self.arguments[:80]}"
            )
        return value

    def result(self, value: object) -> dict[str, Any]:
        """Return the message that answers this call, for `reply`: a str as it is, anything else as JSON.

        >>> ToolCall(0, "call_1", "weather", "{}").result({"sky": "blue"})
        {'role': 'tool', 'tool_call_id': 'call_1', 'content': '{"sky":"blue"}'}
        """
        from unspool.jsontext import dumps

        return {
            "role": "tool",
            "tool_call_id": self.id,
            "content": value if isinstance(value, str) else dumps(value),
        }


class Usage(Delta):
    """Tokens counted by the server. None where it did not say. ``raw`` is its own object."""

    __match_args__ = __slots__ = (
        "input_tokens",
        "output_tokens",
        "total_tokens",
        "cached_tokens",
        "reasoning_tokens",
        "raw",
    )

    def __init__(
        self,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        total_tokens: int | None = None,
        cached_tokens: int | None = None,
        reasoning_tokens: int | None = None,
        raw: dict[str, Any] | None = None,
    ) -> None:
        self.input_tokens = input_tokens
        self.output_tokens = output_tokens
        self.total_tokens = total_tokens
        self.cached_tokens = cached_tokens
        self.reasoning_tokens = reasoning_tokens
        self.raw = raw


class Finish(Delta):
    """A choice has ended, for the reason the server gives in its own word."""

    __match_args__ = __slots__ = ("reason", "choice")

    def __init__(self, reason: str, choice: int = 0) -> None:
        self.reason = reason
        self.choice = choice


class Failure(Delta):
    """The server says that something failed, in the HTTP answer or inside a stream.

    ``status`` is the HTTP status, None for an error inside a stream. ``type``, ``code`` and ``param`` are the server's own
    words. ``retry_after`` is the wait it asks for, in seconds. ``should_retry`` is its explicit word on retrying
    (``x-should-retry``), None where it gave none.
    """

    __match_args__ = __slots__ = (
        "message",
        "status",
        "type",
        "code",
        "param",
        "request_id",
        "retry_after",
        "should_retry",
    )

    def __init__(
        self,
        message: str,
        status: int | None = None,
        type: str | None = None,
        code: str | None = None,
        param: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        should_retry: bool | None = None,
    ) -> None:
        self.message = message
        self.status = status
        self.type = type
        self.code = code
        self.param = param
        self.request_id = request_id
        self.retry_after = retry_after
        self.should_retry = should_retry
