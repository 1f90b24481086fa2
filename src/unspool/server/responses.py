"""``POST /v1/responses``: input in, a response object out, or the events that build it up.

Events carry their type twice, in the ``event`` field and in the data, and count from 0 in ``sequence_number`` without a hole.
The stream ends by closing after ``response.completed`` or ``response.incomplete``; there is no end mark.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from unspool.server import answers, messages, tokens
from unspool.server.choices import end
from unspool.server.errors import RequestError
from unspool.server.fields import Fields
from unspool.server.messages import Conversation
from unspool.server.stamp import Stamp
from unspool.server.streaming import Frame

PATH = "/responses"


class Reply:
    """The answer to one request. Raises RequestError for a request that OpenAI would refuse."""

    def __init__(self, fields: Fields, stamp: Stamp) -> None:
        model = fields.required_text("model")
        conversation = _conversation(fields)
        instructions = fields.text("instructions")
        limit = fields.integer("max_output_tokens", minimum=1)
        if fields.flag("background", False):
            raise fields.wrong_value("background", "this simulator does not run responses in the background.")
        self.stream = fields.flag("stream", False)
        self.obfuscate = fields.object("stream_options").flag("include_obfuscation", True)

        self.choice = end(answers.markdown(conversation.prompt), limit=limit)
        self.tokens = len(self.choice.tokens)
        self.prompt_tokens = conversation.tokens + tokens.count(instructions or "")
        self._item_id = stamp.id("msg_")
        self._stamp = stamp
        tier = fields.text("service_tier") or "auto"
        self._tier_used = "default" if tier == "auto" else tier
        temperature = fields.number("temperature", minimum=0, maximum=2)
        top_p = fields.number("top_p", minimum=0, maximum=1)
        # What every snapshot of this response says, most of it the request's own settings with the defaults filled in.
        self._settings = {
            "background": False,
            "error": None,
            "instructions": instructions,
            "max_output_tokens": limit,
            "max_tool_calls": fields.integer("max_tool_calls", minimum=1),
            "model": model,
            "parallel_tool_calls": fields.flag("parallel_tool_calls", True),
            "previous_response_id": fields.text("previous_response_id"),
            "prompt_cache_key": fields.text("prompt_cache_key"),
            "reasoning": {"effort": None, "summary": None} | _raw_object(fields, "reasoning"),
            "safety_identifier": fields.text("safety_identifier"),
            "service_tier": tier,
            "store": fields.flag("store", True),
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

    def whole(self) -> dict[str, Any]:
        """The answer as one object, which is also the snapshot that ends a stream."""
        complete = self.choice.finish_reason == "stop"
        return self._snapshot(
            status="completed" if complete else "incomplete",
            completed_at=self._stamp.now() if complete else None,
            incomplete_details=None if complete else {"reason": "max_output_tokens"},
            output=[self._item("completed" if complete else "incomplete", [_part(self.choice.text)])],
            service_tier=self._tier_used,
            usage={
                "input_tokens": self.prompt_tokens,
                "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                "output_tokens": self.tokens,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": self.prompt_tokens + self.tokens,
            },
        )

    def frames(self) -> Iterator[Frame]:
        """The answer as a stream: the response, its message and the message's text are each opened, filled and closed."""
        for number, (event, computed) in enumerate(self._events()):
            type = event.pop("type")
            yield Frame.of({"type": type, "sequence_number": number, **event}, type=type, tokens=computed)

    def _events(self) -> Iterator[tuple[dict[str, Any], int]]:
        """The events without their numbers, each with the tokens that the model computes before it."""
        text = self.choice.text
        message = {"output_index": 0}
        content = {"item_id": self._item_id, "output_index": 0, "content_index": 0}
        begun = self._snapshot()
        yield {"type": "response.created", "response": begun}, 0
        yield {"type": "response.in_progress", "response": begun}, 0
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

    def _snapshot(
        self,
        *,
        status: str = "in_progress",
        completed_at: int | None = None,
        incomplete_details: dict[str, Any] | None = None,
        output: list[dict[str, Any]] | None = None,
        service_tier: str | None = None,
        usage: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The response object as it stands. Until it has ended, its tier is the one asked for."""
        return {
            "id": self._stamp.id("resp_"),
            "object": "response",
            "created_at": self._stamp.created,
            "status": status,
            "completed_at": completed_at,
            **self._settings,
            "incomplete_details": incomplete_details,
            "output": output or [],
            "service_tier": service_tier or self._settings["service_tier"],
            "usage": usage,
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


def _raw_object(fields: Fields, name: str) -> dict[str, Any]:
    """An object's own value, to be given back as it came; empty when it is absent."""
    fields.object(name)
    return fields.value(name) or {}


def _raw_objects(fields: Fields, name: str) -> list[dict[str, Any]]:
    """An array of objects, likewise."""
    fields.objects(name)
    return fields.value(name) or []
