"""``POST /v1/responses``: input in, a response object out, or the events that build it up.

Events carry their type twice, in the ``event`` field and in the data, and count from 0 in ``sequence_number`` without a hole.
The stream ends by closing after ``response.completed`` or ``response.incomplete``; there is no end mark.

What can be done with a response afterwards, or while it is made in the background, is in ``lifecycle``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from unspool.server.endpoints import answers, messages, tokens
from unspool.server.endpoints.choices import end
from unspool.server.endpoints.fields import Fields
from unspool.server.endpoints.messages import Conversation
from unspool.server.endpoints.stamp import Stamp
from unspool.server.errors import RequestError
from unspool.server.frames import Frame

PATH = "/responses"


class Reply:
    """The answer to one request: a response, from queued or in progress to its end.

    Raises RequestError for a request that OpenAI would refuse. ``find`` gives the reply to an earlier request by its id, and
    raises RequestError when there is none.
    """

    def __init__(self, fields: Fields, stamp: Stamp, find: Callable[[str], Reply]) -> None:
        model = fields.required_text("model")
        conversation = _conversation(fields)
        instructions = fields.text("instructions")
        limit = fields.integer("max_output_tokens", minimum=1)
        self.stream = fields.flag("stream", False)
        self.store = fields.flag("store", True)
        self.background = fields.flag("background", False)
        if self.background and not self.store:
            raise fields.wrong_value("background", "it can only be used when 'store' is true.")
        self.obfuscate = fields.object("stream_options").flag("include_obfuscation", True)
        previous_id = fields.text("previous_response_id")
        previous = None if previous_id is None else find(previous_id)

        self.id = stamp.id("resp_")
        self.status = "queued" if self.background else "in_progress"
        self.turn: int = 1 if previous is None else previous.turn + 1
        self.input_items = _input_items(fields, stamp)
        # Shows a client, and its tests, that the turns before have arrived.
        label = f"Turn {self.turn}" if self.turn > 1 else ""
        self.choice = end(answers.markdown(conversation.prompt, label), limit=limit)
        self.tokens = len(self.choice.tokens)
        context = conversation.tokens + (0 if previous is None else previous.context)
        # Instructions do not carry over to the next turn ("instructions" in the API reference); all else that was said does.
        self.prompt_tokens = context + tokens.count(instructions or "")
        self.context: int = context + self.tokens
        self._completed_at: int | None = None
        self._item_id = stamp.id("msg_")
        self._stamp = stamp
        tier = fields.text("service_tier") or "auto"
        self._tier_used = "default" if tier == "auto" else tier
        temperature = fields.number("temperature", minimum=0, maximum=2)
        top_p = fields.number("top_p", minimum=0, maximum=1)
        # What every snapshot of this response says, most of it the request's own settings with the defaults filled in.
        self._settings = {
            "background": self.background,
            "error": None,
            "instructions": instructions,
            "max_output_tokens": limit,
            "max_tool_calls": fields.integer("max_tool_calls", minimum=1),
            "model": model,
            "parallel_tool_calls": fields.flag("parallel_tool_calls", True),
            "previous_response_id": previous_id,
            "prompt_cache_key": fields.text("prompt_cache_key"),
            "reasoning": {"effort": None, "summary": None} | _raw_object(fields, "reasoning"),
            "safety_identifier": fields.text("safety_identifier"),
            "service_tier": tier,
            "store": self.store,
            "temperature": 1.0 if temperature is None else temperature,
            "text": {"format": {"type": "text"}, "verbosity": "medium"} | _raw_object(fields, "text"),
            "tool_choice": fields.value("tool_choice") or "auto",
            "tools": _raw_objects(fields, "tools"),
            "top_logprobs": fields.integer("top_logprobs", minimum=0, maximum=20) or 0,
            "top_p": 1.0 if top_p is None else top_p,
            "truncation": fields.text("truncation") or "disabled",
            "user": fields.text("user"),
            "metadata": _raw_object(fields, "metadata"),
        }

    @property
    def running(self) -> bool:
        return self.status in ("queued", "in_progress")

    def cancel(self) -> None:
        """Leave it unanswered. Does nothing to one that has ended."""
        if self.running:
            self.status = "cancelled"

    def whole(self) -> dict[str, Any]:
        """End it, and give the answer as one object, which is also the snapshot that ends a stream."""
        if self.choice.finish_reason == "stop":
            self.status = "completed"
            self._completed_at = self._stamp.now()
        else:
            self.status = "incomplete"
        return self.snapshot()

    def frames(self) -> Iterator[Frame]:
        """The answer as a stream: the response, its message and the message's text are each opened, filled and closed.

        The status advances with the frames, which can be had once.
        """
        for number, (event, computed) in enumerate(self._events()):
            type = event.pop("type")
            body = {"type": type, "sequence_number": number, **event}
            yield Frame.of(body, type=type, tokens=computed, id=str(number))

    def snapshot(self) -> dict[str, Any]:
        """The response object as it stands. Until it has ended, its tier is the one asked for.

        It has an output only once that is complete, or cut by the limit; a cancelled response never gets one.
        """
        answered = self.status in ("completed", "incomplete")
        incomplete = self.status == "incomplete"
        return {
            "id": self.id,
            "object": "response",
            "created_at": self._stamp.created,
            "status": self.status,
            "completed_at": self._completed_at,
            **self._settings,
            "incomplete_details": {"reason": "max_output_tokens"} if incomplete else None,
            "output": [self._item(self.status, [_part(self.choice.text)])] if answered else [],
            "service_tier": self._settings["service_tier"] if self.running else self._tier_used,
            "usage": self._usage() if answered else None,
        }

    def _events(self) -> Iterator[tuple[dict[str, Any], int]]:
        """The events without their numbers, each with the tokens that the model computes before it."""
        text = self.choice.text
        message = {"output_index": 0}
        content = {"item_id": self._item_id, "output_index": 0, "content_index": 0}
        yield {"type": "response.created", "response": self.snapshot()}, 0
        if self.background:
            yield {"type": "response.queued", "response": self.snapshot()}, 0
            self.status = "in_progress"
        yield {"type": "response.in_progress", "response": self.snapshot()}, 0
        yield {"type": "response.output_item.added", **message, "item": self._item("in_progress", [])}, 0
        yield {"type": "response.content_part.added", **content, "part": _part("")}, 0
        for token in self.choice.tokens:
            delta = {"type": "response.output_text.delta", **content, "delta": token, "logprobs": []}
            if self.obfuscate:
                delta["obfuscation"] = self._stamp.obfuscation(token)
            yield delta, 1
        ended = self.whole()
        yield {"type": "response.output_text.done", **content, "text": text, "logprobs": []}, 0
        yield {"type": "response.content_part.done", **content, "part": _part(text)}, 0
        yield {"type": "response.output_item.done", **message, "item": ended["output"][0]}, 0
        yield {"type": f"response.{ended['status']}", "response": ended}, 0

    def _usage(self) -> dict[str, Any]:
        return {
            "input_tokens": self.prompt_tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": self.tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": self.prompt_tokens + self.tokens,
        }

    def _item(self, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": self._item_id, "type": "message", "status": status, "content": content, "role": "assistant"}


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _conversation(fields: Fields) -> Conversation:
    if "conversation" in fields and "previous_response_id" in fields:
        raise RequestError(
            "Mutually exclusive parameters: give 'conversation' or 'previous_response_id', not both.",
            param="previous_response_id",
            code="mutually_exclusive_parameters",
        )
    input = fields.required("input")
    if isinstance(input, str):
        return Conversation(input, tokens.count(input))
    if not isinstance(input, list):
        raise fields.wrong_type("input", "a string or an array of objects")
    return messages.read(fields, "input")


def _input_items(fields: Fields, stamp: Stamp) -> list[dict[str, Any]]:
    """The input as ``GET …/input_items`` lists it: each item with an id, and each message's text in a part."""
    input = fields.value("input")
    items = [{"role": "user", "content": input}] if isinstance(input, str) else input
    return [_input_item(item, stamp, f"input {position}") for position, item in enumerate(items)]


def _input_item(item: dict[str, Any], stamp: Stamp, position: str) -> dict[str, Any]:
    if (item.get("type") or "message") != "message":
        return {"id": stamp.id("item_", position), "status": "completed", **item}
    said = item.get("content") or []
    if item["role"] == "assistant":
        parts = [{"type": "output_text", "text": said}] if isinstance(said, str) else said
        content = [_part("") | part if part.get("type") == "output_text" else part for part in parts]
    else:
        content = [{"type": "input_text", "text": said}] if isinstance(said, str) else said
    head = {"id": stamp.id("msg_", position), "type": "message", "status": "completed"}
    return {**head, **item, "content": content}


def _raw_object(fields: Fields, name: str) -> dict[str, Any]:
    """An object's own value, to be given back as it came; empty when it is absent."""
    fields.object(name)
    return fields.value(name) or {}


def _raw_objects(fields: Fields, name: str) -> list[dict[str, Any]]:
    """An array of objects, likewise."""
    fields.objects(name)
    return fields.value(name) or []
