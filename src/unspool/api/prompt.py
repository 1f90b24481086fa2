"""What to ask, in one form for all three endpoints."""

from __future__ import annotations

from unspool.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from unspool.jsontext import JsonObject

# What the parts of a message are to a person.
_KINDS = {"image_url": "image", "input_audio": "audio"}
# Fields of a prompt that each endpoint gives its own name.
_SETTINGS = ("temperature", "top_p", "max_tokens", "stop", "seed")


class Prompt(Value):
    """One question to a model, independent of the endpoint that carries it.

    ``messages`` are dicts with ``role`` and ``content`` as in Chat Completions; a str stands for one user message.
    ``system`` is the instruction that precedes them. ``max_tokens`` bounds the output whatever the endpoint calls that.
    ``store`` asks the server to keep the answer, where it can. ``options`` are sent as they are, and win over all else:
    a value of None removes the field.

    ``tools`` are what the model may call, each in the form of either endpoint; ``tool_choice`` is ``"auto"``, ``"none"``,
    ``"required"``, a tool's name, or the field as an endpoint has it. ``schema`` is the JSON Schema that the answer has to
    follow, under the name ``schema_name``; ``schema_strict`` asks the server to guarantee that, None for where it can.
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
        "tools",
        "tool_choice",
        "schema",
        "schema_name",
        "schema_strict",
    )

    def __init__(
        self,
        messages: str | list[JsonObject],
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
        options: JsonObject | None = None,
        tools: list[JsonObject] | None = None,
        tool_choice: str | JsonObject | None = None,
        schema: JsonObject | None = None,
        schema_name: str | None = None,
        schema_strict: bool | None = None,
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
        self.tools = tools
        self.tool_choice = tool_choice
        self.schema = schema
        self.schema_name = schema_name
        self.schema_strict = schema_strict

    def with_defaults(self, options: JsonObject) -> Prompt:
        """Return the prompt with these options wherever it says nothing itself."""
        fields = {name: options[name] for name in _SETTINGS if name in options and getattr(self, name) is None}
        others = {name: value for name, value in options.items() if name not in _SETTINGS}
        return self.replace(**fields, options={**others, **self.options})


def finished(prompt: Prompt, body: JsonObject) -> JsonObject:
    """Return a request body with ``stream`` set, the fields that are None left out, and the prompt's options put over it."""
    body["stream"] = prompt.stream
    body.update(prompt.options)
    # OpenAI rejects stream_options in a request that does not stream.
    if not body["stream"] and "stream_options" not in prompt.options:
        body.pop("stream_options", None)
    return {name: value for name, value in body.items() if value is not None}


def without_items(messages: list[JsonObject]) -> list[JsonObject]:
    """Return the messages without what only the Responses API takes: items, such as encrypted reasoning, and the phase of a message.

    Messages of one answer that are apart there become one: others refuse calls without their results right after them.
    """
    if all("role" in message and "phase" not in message for message in messages):
        return list(messages)
    from unspool.api.conversation import in_messages

    return in_messages(messages)


def reasons(model: str) -> bool:
    """Whether this is the name of one of OpenAI's reasoning models, which gateways put their names for providers before."""
    name = model.rpartition("/")[2]
    return name.startswith("gpt-5") or name.partition("-")[0] in ("o1", "o3", "o4")


def plain_text(content: Any) -> str:
    """Return the text of a message's content, a str or a list of text parts. Raises ValueError for any other part."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    for part in content:
        if part.get("type") != "text":
            kind = _KINDS.get(part.get("type"), part.get("type"))
            raise ValueError(f"the completions API takes only text, not {kind}; use --api chat or --api responses")
    return "".join(part["text"] for part in content)
