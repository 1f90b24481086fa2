"""What to ask, in one form for all three endpoints."""

from __future__ import annotations

from unspool.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Prompt(Value):
    """One question to a model, independent of the endpoint that carries it.

    ``messages`` are dicts with ``role`` and ``content`` as in Chat Completions; a str stands for one user message.
    ``system`` is the instruction that precedes them. ``max_tokens`` bounds the output whatever the endpoint calls that.
    ``store`` asks the server to keep the answer, where it can. ``options`` are sent as they are, and win over all else:
    a value of None removes the field.
    """

    __slots__ = (
        "messages",
        "model",
        "system",
        "temperature",
        "top_p",
        "max_tokens",
        "stop",
        "seed",
        "n",
        "stream",
        "store",
        "options",
    )

    def __init__(
        self,
        messages: str | list[dict[str, Any]],
        model: str,
        *,
        system: str | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        max_tokens: int | None = None,
        stop: str | list[str] | None = None,
        seed: int | None = None,
        n: int | None = None,
        stream: bool = True,
        store: bool = False,
        options: dict[str, Any] | None = None,
    ) -> None:
        self.messages = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
        self.model = model
        self.system = system
        self.temperature = temperature
        self.top_p = top_p
        self.max_tokens = max_tokens
        self.stop = stop
        self.seed = seed
        self.n = n
        self.stream = stream
        self.store = store
        self.options = options or {}


def finished(prompt: Prompt, body: dict[str, Any]) -> dict[str, Any]:
    """Return a request body with ``stream`` set, the fields that are None left out, and the prompt's options put over it."""
    body["stream"] = prompt.stream
    body.update(prompt.options)
    # OpenAI rejects stream_options in a request that does not stream.
    if not body["stream"] and "stream_options" not in prompt.options:
        body.pop("stream_options", None)
    return {name: value for name, value in body.items() if value is not None}


def plain_text(content: Any) -> str:
    """Return the text of a message's content, a str or a list of text parts. Raises ValueError for any other part."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    for part in content:
        if part.get("type") != "text":
            raise ValueError(f"the completions API takes text only, not {part.get('type')}; use --api chat")
    return "".join(part["text"] for part in content)
