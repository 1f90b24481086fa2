"""The conversation in a request: chat's ``messages`` and the responses endpoint's ``input``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from unspool.sim.endpoints import tokens
from unspool.sim.endpoints.fields import Fields
from unspool.sim.endpoints.tools import Call
from unspool.sim.errors import RequestError
from unspool.sim.frames import JSONObject

_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_INPUT_ROLES = ("system", "developer", "user", "assistant")

# What a part of a message is called, by its type. None is text.
_CHAT_PARTS = {"text": None, "image_url": "image", "input_audio": "recording", "file": "file", "refusal": None}
_INPUT_PARTS = {
    "input_text": None,
    "output_text": None,
    "summary_text": None,
    "refusal": None,
    "input_image": "image",
    "input_audio": "recording",
    "input_file": "file",
    # Not OpenAI's, and let pass since programs move messages from one endpoint to the other.
    "text": None,
}

# How smolagents writes a call and its result, for models that it does not trust to know tools.
_OBSERVATION = "Observation:"
_OBSERVED = re.compile(r"""['"]name['"]: *['"]([\w-]+)['"]""")

# What an image costs: at low detail, and at any other that of four tiles ("Images and vision", the older models' price).
_LOW_IMAGE, _IMAGE = 85, 765
# About four characters of base64 are three bytes, and a token.
_CHARACTERS_OF_FILE = 4


@dataclass(slots=True)
class Result:
    """The result of a call of the tool ``name``."""

    name: str
    output: str


@dataclass(slots=True)
class Conversation:
    """The conversation of a request: ``prompt`` is the user's last message, ``tokens`` the length of everything.

    ``results`` are what tools gave back since then, ``attachments`` what the user's last message came with, in words, and ``calls`` the names of all
    tools called so far, by the id of the call. ``says_json``: whether the word is anywhere in it. ``system`` are the instructions,
    ``before`` the user's message before the last one, and what the model said to it.
    """

    prompt: str
    tokens: int
    results: Sequence[Result] = ()
    attachments: Sequence[str] = ()
    calls: Mapping[str, str] = field(default_factory=dict)
    says_json: bool = False
    system: str = ""
    before: tuple[str, str] | None = None

    def with_calls(self, calls: Iterable[Call]) -> Conversation:
        """The same after the model has called tools."""
        return replace(self, calls={**self.calls, **{call.id: call.name for call in calls}})


class _Reading:
    """A conversation as far as it has been read."""

    def __init__(self, parts: Mapping[str, str | None], calls: Mapping[str, str]) -> None:
        self._parts = parts
        self.prompt: str | None = None
        self.tokens = 0
        self.results: list[Result] = []
        self.attachments: list[str] = []
        self.calls = dict(calls)
        # The calls that have no result yet.
        self.open = list(calls)
        self.says_json = False
        self.system: list[str] = []
        self.before: tuple[str, str] | None = None
        self.answer = ""

    def text(self, message: Fields, name: str, *, optional: bool = False) -> tuple[str, list[str]]:
        """A message's text, and what came with it."""
        content = message.value(name) if optional else message.required(name)
        if content is None:
            return "", []
        if isinstance(content, str):
            self._count(content)
            return content, []
        if not isinstance(content, list):
            raise message.wrong_type(name, "a string or an array of objects")
        said, attached = [], []
        for part in message.objects(name):
            kind = part.one_of("type", tuple(self._parts), required=True) or ""
            what = self._parts[kind]
            if what is not None:
                attached.append(what)
                self.tokens += _weight(part, kind)
            else:
                said.append((part.text("refusal") if kind == "refusal" else part.required_text("text")) or "")
        text = "".join(said)
        self._count(text)
        return text, attached

    def spoken(self, role: str | None, text: str, attached: list[str]) -> None:
        """Take a message of this role."""
        if role == "user":
            self.said(text, attached)
        elif role in ("system", "developer"):
            self.system.append(text)
        elif role == "assistant":
            self.answer = text

    def said(self, text: str, attached: list[str]) -> None:
        """The user has spoken: what came before is answered."""
        observed = _OBSERVED.search(self.answer) if text.startswith(_OBSERVATION) else None
        if observed is not None:
            self.results.append(Result(observed[1], text.removeprefix(_OBSERVATION).strip()))
            return
        self.before = (self.prompt, self.answer) if self.prompt is not None and self.answer else None
        self.answer = ""
        self.prompt = text
        self.attachments = attached
        self.results = []

    def called(self, id: str, name: str, arguments: str) -> None:
        self.calls[id] = name
        self.open.append(id)
        self._count(name + arguments)

    def answered(self, id: str, output: str) -> None:
        self.open = [each for each in self.open if each != id]
        self.results.append(Result(self.calls[id], output))

    def conversation(self) -> Conversation:
        return Conversation(
            self.prompt or "",
            self.tokens,
            results=self.results,
            attachments=self.attachments,
            calls=self.calls,
            says_json=self.says_json,
            system="\n\n".join(self.system),
            before=self.before,
        )

    def _count(self, text: str) -> None:
        self.tokens += tokens.count(text)
        self.says_json = self.says_json or "json" in text.lower()


def of_chat(fields: Fields) -> Conversation:
    """Read the ``messages`` of a chat request. Raises RequestError also where calls and results do not fit together."""
    reading = _Reading(_CHAT_PARTS, {})
    for position, item in enumerate(_items(fields, "messages")):
        role = item.one_of("role", _ROLES, required=True)
        if role not in ("tool", "function") and reading.open:
            raise _unanswered(reading.open)
        if role == "tool":
            id = item.required_text("tool_call_id")
            if id not in reading.open:
                raise RequestError(
                    "Invalid parameter: messages with role 'tool' must be a response to a preceding message with "
                    "'tool_calls'.",
                    param=f"messages.[{position}].role",
                )
            reading.answered(id, reading.text(item, "content")[0])
            continue
        calls = [] if role != "assistant" else item.objects("tool_calls")
        old_call = item.object("function_call") if role == "assistant" and "function_call" in item else None
        # An assistant's message that only called tools, refused or spoke has none.
        optional = role == "assistant" and (bool(calls) or old_call is not None or "refusal" in item or "audio" in item)
        text, attached = reading.text(item, "content", optional=optional)
        reading.spoken(role, text, attached)
        if role == "function":
            reading.results.append(Result(item.required_text("name"), text))
        if old_call is not None:
            old_call.required_text("name")
        for call in calls:
            kind = call.one_of("type", ("function", "custom"), required=True) or ""
            what = call.object(kind)
            words = what.required_text("arguments" if kind == "function" else "input")
            reading.called(call.required_text("id"), what.required_text("name"), words)
    if reading.open:
        raise _unanswered(reading.open)
    return reading.conversation()


def of_input(fields: Fields, before: Conversation | None) -> Conversation:
    """Read the ``input`` of a request for a response, after the conversation ``before`` it, if there was one.

    Its tokens are those of this turn alone. Without a user's message in it the prompt is still the one before.
    """
    reading = _Reading(_INPUT_PARTS, {} if before is None else before.calls)
    if instructions := fields.text("instructions"):
        reading.system.append(instructions)
    template = fields.object("prompt").text("id")
    if template is not None and "input" not in fields:
        # The prompt is OpenAI's to know.
        reading.said(f"The prompt template {template}", [])
        return reading.conversation()
    input = fields.required("input")
    known = set(reading.calls)
    if isinstance(input, str):
        reading.text(fields, "input")
        reading.said(input, [])
        reading.open = []
        return reading.conversation()
    if not isinstance(input, list):
        raise fields.wrong_type("input", "a string or an array of objects")
    # What was called in turns before may be answered here, or have been answered there.
    reading.open = []
    for item in _items(fields, "input"):
        kind = item.text("type") or "message"
        if kind == "message":
            role = item.one_of("role", _INPUT_ROLES, required=True)
            text, attached = reading.text(item, "content")
            reading.spoken(role, text, attached)
        elif kind in ("function_call", "custom_tool_call"):
            words = item.required_text("arguments" if kind == "function_call" else "input")
            reading.called(item.required_text("call_id"), item.required_text("name"), words)
        elif kind in ("function_call_output", "custom_tool_call_output"):
            id = item.required_text("call_id")
            if id not in reading.calls:
                raise RequestError(f"No tool call found for function call output with call_id {id}.", param="input")
            reading.answered(id, reading.text(item, "output")[0])
    if reading.open:
        raise RequestError(f"No tool output found for function call {reading.open[0]}.", param="input")
    if reading.prompt is None and before is not None and known:
        reading.prompt = before.prompt
    return reading.conversation()


def _items(fields: Fields, name: str) -> list[Fields]:
    fields.required(name)
    items = fields.objects(name)
    if not items:
        raise RequestError(
            f"Invalid '{name}': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            param=name,
            code="empty_array",
        )
    return items


def _unanswered(ids: Sequence[str]) -> RequestError:
    return RequestError(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "
        f"The following tool_call_ids did not have response messages: {', '.join(ids)}",
        param="messages",
    )


def _weight(part: Fields, kind: str) -> int:
    """The tokens of an image, a recording or a file. Raises RequestError where there is none in it."""
    if kind in ("image_url", "input_image"):
        image = part.object("image_url") if kind == "image_url" else part
        if kind == "image_url":
            _check_image(image, "url", image.required_text("url"))
        elif (url := image.text("image_url")) is not None:
            _check_image(image, "image_url", url)
        elif image.text("file_id") is None:
            raise RequestError(
                f"Missing required parameter: '{part.where('image_url')}'.",
                param=part.where("image_url"),
                code="missing_required_parameter",
            )
        detail = image.one_of("detail", ("auto", "low", "high", "original"))
        return _LOW_IMAGE if detail == "low" else _IMAGE
    if kind == "input_audio":
        audio = part.object("input_audio")
        audio.one_of("format", ("wav", "mp3"), required=True)
        return len(audio.required_text("data")) // _CHARACTERS_OF_FILE
    file = part.object("file") if kind == "file" else part
    file.text("filename")
    given = [file.text(name) for name in ("file_data", "file_id", "file_url")]
    if not any(given):
        raise RequestError(
            f"Missing required parameter: '{file.where('file_id')}'.",
            param=file.where("file_id"),
            code="missing_required_parameter",
        )
    return len(given[0] or "") // _CHARACTERS_OF_FILE


def _check_image(fields: Fields, name: str, url: str) -> None:
    if not url.startswith(("http://", "https://", "data:image/")):
        raise RequestError(
            f"Invalid '{fields.where(name)}'. Expected a valid URL, but got a value with an invalid format.",
            param=fields.where(name),
            code="invalid_value",
        )


def in_words(things: Sequence[str]) -> str:
    """``2 images and a file``."""
    counted: dict[str, int] = {}
    for thing in things:
        counted[thing] = counted.get(thing, 0) + 1
    words = [
        f"{number} {thing}s" if number > 1 else f"{'an' if thing[0] in 'aeiou' else 'a'} {thing}"
        for thing, number in counted.items()
    ]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def as_items(value: Any) -> list[JSONObject]:
    """The items of an ``input``, which may be a text."""
    return [{"role": "user", "content": value}] if isinstance(value, str) else value or []
