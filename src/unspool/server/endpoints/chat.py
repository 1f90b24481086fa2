"""``POST /v1/chat/completions``: messages in, a message out, or its chunks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from unspool.server.endpoints import answers, messages
from unspool.server.endpoints.choices import end, rounds
from unspool.server.endpoints.fields import Fields
from unspool.server.endpoints.stamp import Stamp
from unspool.server.frames import DONE, Frame

PATH = "/chat/completions"


class Reply:
    """The answer to one request. Raises RequestError for a request that OpenAI would refuse."""

    def __init__(self, fields: Fields, stamp: Stamp) -> None:
        self.model = fields.required_text("model")
        conversation = messages.read(fields, "messages")
        n = fields.integer("n", minimum=1, maximum=128) or 1
        # The old name of the limit, and the new one, which wins.
        limit = fields.integer("max_tokens", minimum=1)
        limit = fields.integer("max_completion_tokens", minimum=1) or limit
        stop = fields.stop()
        fields.number("temperature", minimum=0, maximum=2)
        fields.number("top_p", minimum=0, maximum=1)
        options = fields.object("stream_options")
        self.stream = fields.flag("stream", False)
        if "stream_options" in fields and not self.stream:
            raise fields.wrong_value("stream_options", "only allowed when 'stream' is enabled.")
        self.include_usage = options.flag("include_usage", False)
        self.obfuscate = options.flag("include_obfuscation", True)
        tier = fields.text("service_tier")

        self.choices = [
            end(answers.markdown(conversation.prompt, label), limit=limit, stop=stop) for label in answers.each(n)
        ]
        self.prompt_tokens = conversation.tokens
        self.tokens = max(len(choice.tokens) for choice in self.choices)
        # The tier that was used: what "auto" chooses is "default".
        self.service_tier = "default" if tier in (None, "auto") else tier
        self._id = stamp.id("chatcmpl-")
        self._stamp = stamp
        self._chunk_head = {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": stamp.created,
            "model": self.model,
            "service_tier": self.service_tier,
            "system_fingerprint": stamp.system_fingerprint,
        }

    def whole(self) -> dict[str, Any]:
        """The answer as one object."""
        return {
            "id": self._id,
            "object": "chat.completion",
            "created": self._stamp.created,
            "model": self.model,
            "choices": [
                {
                    "index": index,
                    "message": {"role": "assistant", "content": choice.text, "refusal": None, "annotations": []},
                    "logprobs": None,
                    "finish_reason": choice.finish_reason,
                }
                for index, choice in enumerate(self.choices)
            ],
            "usage": self._usage(),
            "service_tier": self.service_tier,
            "system_fingerprint": self._stamp.system_fingerprint,
        }

    def frames(self) -> Iterator[Frame]:
        """The answer as a stream: for each choice a chunk with its role, its text, and an empty one that says why it ended."""
        announced = 0
        for entries in rounds(self.choices):
            computed = 1
            for index, token in entries:
                if announced == index:
                    announced += 1
                    yield self._frame(index, {"role": "assistant", "content": "", "refusal": None})
                if token is None:
                    yield self._frame(index, {}, finish_reason=self.choices[index].finish_reason)
                else:
                    yield self._frame(index, {"content": token}, token, computed=computed)
                    computed = 0
        if self.include_usage:
            yield self._chunk([], "", usage=self._usage())
        yield DONE

    def _frame(
        self, index: int, delta: dict[str, Any], text: str = "", *, finish_reason: str | None = None, computed: int = 0
    ) -> Frame:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return self._chunk([choice], text, computed=computed)

    def _chunk(
        self, choices: list[dict[str, Any]], text: str, *, usage: dict[str, Any] | None = None, computed: int = 0
    ) -> Frame:
        chunk: dict[str, Any] = {**self._chunk_head, "choices": choices}
        if self.include_usage:
            chunk["usage"] = usage
        if self.obfuscate:
            chunk["obfuscation"] = self._stamp.obfuscation(text)
        return Frame.of(chunk, tokens=computed)

    def _usage(self) -> dict[str, Any]:
        completion_tokens = sum(len(choice.tokens) for choice in self.choices)
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": self.prompt_tokens + completion_tokens,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }
