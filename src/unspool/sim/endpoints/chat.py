"""``POST /v1/chat/completions``: messages in, a message out, or its chunks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from unspool.sim.endpoints import formats, logprobs, messages, texts, thinking, tools
from unspool.sim.endpoints.answer import REFUSAL, Answer, answer
from unspool.sim.endpoints.fields import Fields, names
from unspool.sim.endpoints.models import Rules
from unspool.sim.endpoints.request_identity import RequestIdentity
from unspool.sim.endpoints.tools import CUSTOM, FUNCTION, Call
from unspool.sim.errors import RequestError
from unspool.sim.frames import DONE, Frame, JSONObject
from unspool.sim.script import Asked, Find

PATH = "/chat/completions"

#: All fields that OpenAI's reference has.
FIELDS = names(
    """
    audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens
    messages metadata modalities model moderation n parallel_tool_calls prediction presence_penalty
    prompt_cache_key prompt_cache_options prompt_cache_retention reasoning_effort response_format
    safety_identifier seed service_tier stop store stream stream_options temperature tool_choice tools
    top_logprobs top_p user verbosity web_search_options
    """
)

# A piece of a choice: the delta, the text in it, and its tokens' likelihood.
_Piece = tuple[JSONObject, str, JSONObject | None]


class ChatCompletion:
    """The answer to one request. Raises RequestError for a request that OpenAI would refuse."""

    def __init__(
        self, fields: Fields, identity: RequestIdentity, rules: Rules | None = None, find: Find = lambda asked: None
    ) -> None:
        rules = rules or Rules()
        self.model = fields.required_text("model")
        model = rules.model(self.model)
        if rules.strict and model.known and not model.chat_only:
            raise RequestError(
                "This is not a chat model and thus not supported in the v1/chat/completions endpoint. Did you mean to use "
                "v1/completions?",
                status=404,
                param="model",
            )
        fields.refuse_unknown(FIELDS, rules, legacy=True)
        conversation = messages.of_chat(fields)
        n = fields.integer("n", minimum=1, maximum=128) or 1
        # The old name of the limit, and the new one, which wins.
        limit = fields.integer("max_tokens", minimum=1)
        _check_longest(limit, model.longest, "max_tokens")
        newer = fields.integer("max_completion_tokens", minimum=1)
        _check_longest(newer, model.longest, "max_completion_tokens")
        limit = newer or limit
        stop = fields.stop()
        fields.sampling()
        self.stream, self.include_usage, self.obfuscate = fields.streaming()
        tier = fields.tier()
        self._logprobs = fields.flag("logprobs", False)
        self._top = fields.integer("top_logprobs", minimum=0, maximum=20) or 0
        if "top_logprobs" in fields and not self._logprobs:
            raise fields.wrong_value("top_logprobs", "only allowed when 'logprobs' is enabled.")
        fields.one_of("verbosity", ("low", "medium", "high"))
        if "audio" in (fields.texts("modalities") or []):
            raise fields.wrong_value("modalities", "the simulator has no audio output; only 'text' is supported.")
        mind = thinking.of_chat(fields, model, strict=rules.strict)
        toolbox = tools.of_chat(fields)
        format = formats.of_chat(fields, conversation)
        if conversation.tokens > model.window:
            raise RequestError(
                f"This model's maximum context length is {model.window} tokens. However, your messages resulted in "
                f"{conversation.tokens} tokens. Please reduce the length of the messages.",
                param="messages",
                code="context_length_exceeded",
            )

        # Called by the old name of tools, it calls by the old name too.
        self._legacy_calls = "functions" in fields and "tools" not in fields
        self.script = find(Asked("chat", self.model, conversation, toolbox.names))
        self._reasoning_field = rules.reasoning_field
        self.choices = [
            answer(
                conversation,
                self.script,
                toolbox=toolbox,
                format=format,
                identity=identity,
                label=label,
                thinking=mind.tokens,
                limit=limit,
                stop=stop,
                refusals=rules.refusals,
            )
            for label in texts.each(n)
        ]
        self.prompt_tokens = conversation.tokens
        self.tokens = max(choice.length for choice in self.choices)
        # The tier that was used: what "auto" chooses is "default".
        self.service_tier = "default" if tier in (None, "auto") else tier
        self._id = identity.id("chatcmpl-")
        self._identity = identity
        self._chunk_head = {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": identity.created,
            "model": self.model,
            "service_tier": self.service_tier,
            "system_fingerprint": identity.system_fingerprint,
        }

    def whole(self) -> JSONObject:
        """The answer as one object."""
        return {
            "id": self._id,
            "object": "chat.completion",
            "created": self._identity.created,
            "model": self.model,
            "choices": [
                {
                    "index": index,
                    "message": self._message(choice),
                    "logprobs": self._likelihoods(choice, choice.tokens) if choice.speaks else None,
                    "finish_reason": self._finish_reason(choice),
                }
                for index, choice in enumerate(self.choices)
            ],
            "usage": self._usage(),
            "service_tier": self.service_tier,
            "system_fingerprint": self._identity.system_fingerprint,
        }

    def frames(self) -> Iterator[Frame]:
        """The answer as a stream: for each choice a chunk with its role, its text or calls, and an empty one that says why it ended.

        The choices take turns, as a model computes them: a piece of each in a round.
        """
        going = [(index, self._pieces(choice)) for index, choice in enumerate(self.choices)]
        # The thoughts of all choices are thought at once, before the first piece.
        unsent = max(choice.thought for choice in self.choices)
        opened = False
        while going:
            left = []
            computed = 1
            for index, pieces in going:
                if not opened:
                    yield self._opening(index)
                piece = next(pieces, None)
                if piece is None:
                    yield self._frame(
                        index, {}, finish_reason=self._finish_reason(self.choices[index]), computed=unsent
                    )
                    unsent = 0
                    continue
                delta, text, likely = piece
                if not text:
                    yield self._frame(index, delta, text, likely)
                else:
                    yield self._frame(index, delta, text, likely, computed=computed + unsent)
                    computed = unsent = 0
                left.append((index, pieces))
            going, opened = left, True
        if self.include_usage:
            yield self._chunk([], "", usage=self._usage())
        yield DONE

    def _opening(self, index: int) -> Frame:
        """The chunk with the role. A single call is announced in it."""
        choice = self.choices[index]
        delta: JSONObject = {"role": "assistant", "content": "", "refusal": None}
        likely: JSONObject | None = {"content": [], "refusal": None} if self._logprobs else None
        if choice.kind == REFUSAL:
            delta |= {"content": None, "refusal": ""}
            likely = {"content": None, "refusal": []} if self._logprobs else None
        elif choice.calls and not choice.tokens:
            likely = None
            delta["content"] = None
            if self._legacy_calls:
                call = choice.calls[0]
                delta = {"role": "assistant", "content": None, "function_call": {"name": call.name, "arguments": ""}}
            elif len(choice.calls) == 1:
                delta = {"role": "assistant", "content": None, **_announced(0, choice.calls[0]), "refusal": None}
            else:
                del delta["refusal"]
        return self._frame(index, delta, "", likely)

    def _pieces(self, choice: Answer) -> Iterator[_Piece]:
        """The pieces of a choice after its opening."""
        for token in choice.reasoning:
            yield {self._reasoning_field: token}, token, None
        name = "refusal" if choice.kind == REFUSAL else "content"
        before = ""
        for number, token in enumerate(choice.tokens):
            likely = self._likelihoods(choice, [token], before, number) if self._logprobs else None
            yield {name: token}, token, likely
            before = token
        if choice.citations:
            yield {"annotations": _annotations(choice)}, "", None
        for position, call in enumerate(choice.calls):
            if len(choice.calls) > 1 or choice.tokens:
                yield _announced(position, call), "", None
            for token in call.tokens:
                if self._legacy_calls:
                    yield {"function_call": {"arguments": token}}, token, None
                else:
                    what = {"input": token} if call.kind == CUSTOM else {"arguments": token}
                    yield {"tool_calls": [{"index": position, call.kind: what}]}, token, None

    def _message(self, choice: Answer) -> JSONObject:
        annotations = _annotations(choice)
        message = {"role": "assistant", "content": choice.text, "refusal": None, "annotations": annotations}
        if choice.reasoning:
            message[self._reasoning_field] = "".join(choice.reasoning)
        if choice.kind == REFUSAL:
            return message | {"content": None, "refusal": choice.text}
        if not choice.calls:
            return message
        message["content"] = choice.text or None
        if self._legacy_calls:
            return message | {"function_call": {"name": choice.calls[0].name, "arguments": choice.calls[0].arguments}}
        return message | {"tool_calls": [_called(call, call.arguments) for call in choice.calls]}

    def _finish_reason(self, choice: Answer) -> str:
        return "function_call" if self._legacy_calls and choice.finish_reason == "tool_calls" else choice.finish_reason

    def _likelihoods(
        self, choice: Answer, tokens: Sequence[str], before: str = "", number: int = 0
    ) -> JSONObject | None:
        if not self._logprobs:
            return None
        entries = logprobs.modern(tokens, self._top, before=before, given=choice.logprobs[number:])
        if choice.kind == REFUSAL:
            return {"content": None, "refusal": entries}
        return {"content": entries, "refusal": None}

    def _frame(
        self,
        index: int,
        delta: JSONObject,
        text: str = "",
        likely: JSONObject | None = None,
        *,
        finish_reason: str | None = None,
        computed: int = 0,
    ) -> Frame:
        choice = {"index": index, "delta": delta, "logprobs": likely, "finish_reason": finish_reason}
        return self._chunk([choice], text, computed=computed)

    def _chunk(
        self, choices: list[JSONObject], text: str, *, usage: JSONObject | None = None, computed: int = 0
    ) -> Frame:
        chunk: JSONObject = {**self._chunk_head, "choices": choices}
        if self.include_usage:
            chunk["usage"] = usage
        if self.obfuscate:
            chunk["obfuscation"] = self._identity.obfuscation(text)
        return Frame.of(chunk, tokens=computed)

    def _usage(self) -> JSONObject:
        told = self.choices[0].usage
        prompt_tokens = self.prompt_tokens if told.input is None else told.input
        completion_tokens = sum(choice.length for choice in self.choices) if told.output is None else told.output
        return {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
            "prompt_tokens_details": {"cached_tokens": told.cached or 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": sum(choice.thought for choice in self.choices),
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }


def _annotations(choice: Answer) -> list[JSONObject]:
    return [
        {
            "type": "url_citation",
            "url_citation": {"start_index": begin, "end_index": end, "url": one.url, "title": one.title},
        }
        for one, begin, end in choice.cited()
    ]


def _called(call: Call, arguments: str) -> JSONObject:
    if call.kind == CUSTOM:
        return {"id": call.id, "type": CUSTOM, CUSTOM: {"name": call.name, "input": arguments}}
    return {"id": call.id, "type": FUNCTION, FUNCTION: {"name": call.name, "arguments": arguments}}


def _announced(position: int, call: Call) -> JSONObject:
    """The delta that begins a call: its id and name, once, and nothing of its arguments."""
    return {"tool_calls": [{"index": position, **_called(call, "")}]}


def _check_longest(limit: int | None, longest: int | None, name: str) -> None:
    if limit is not None and longest is not None and limit > longest:
        raise RequestError(
            f"{name} is too large: {limit}. This model supports at most {longest} completion tokens, whereas you provided "
            f"{limit}.",
            param=name,
            code="invalid_value",
        )
