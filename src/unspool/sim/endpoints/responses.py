"""``POST /v1/responses``: input in, a response object out, or the events that build it up.

Events carry their type twice, in the ``event`` field and in the data, and count from 0 in ``sequence_number`` without a hole.
The stream ends by closing after ``response.completed`` or ``response.incomplete``; there is no end mark.

What can be done with a response afterwards, or while it is made in the background, is in ``lifecycle``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence

from unspool.sim.endpoints import formats, logprobs, messages, texts, thinking, tokens, tools
from unspool.sim.endpoints.answer import REFUSAL, Answer, answer
from unspool.sim.endpoints.fields import Fields, names
from unspool.sim.endpoints.messages import Conversation
from unspool.sim.endpoints.models import Rules
from unspool.sim.endpoints.request_identity import RequestIdentity
from unspool.sim.endpoints.tools import FUNCTION, Call
from unspool.sim.errors import RequestError
from unspool.sim.frames import Frame, JSONObject
from unspool.sim.script import Asked, Find

PATH = "/responses"


#: All fields that OpenAI's reference has.
FIELDS = names(
    """
    access_programs background background_options context_management conversation image include input
    instructions max_output_tokens max_tool_calls metadata model moderation parallel_tool_calls
    previous_response_id prompt prompt_cache_key prompt_cache_options prompt_cache_retention reasoning
    safety_identifier service_tier store stream stream_options temperature text tool_choice tools top_logprobs
    top_p truncation user
    """
)

#: What Open Responses has besides.
OPEN_FIELDS = frozenset({"frequency_penalty", "presence_penalty"})

_ENCRYPTED, _LOGPROBS = "reasoning.encrypted_content", "message.output_text.logprobs"
#: What "include" may ask for.
INCLUDABLE = (
    _ENCRYPTED,
    _LOGPROBS,
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
)

# An event without its number, and how many tokens the model computes before it.
_Event = tuple[JSONObject, int]


class ModelResponse:
    """The answer to one request: a response, from queued or in progress to its end.

    Raises RequestError for a request that OpenAI would refuse. ``find_previous`` gives the response to an earlier request by its id, and
    raises RequestError when there is none.
    """

    def __init__(
        self,
        fields: Fields,
        identity: RequestIdentity,
        find_previous: Callable[[str], ModelResponse],
        rules: Rules | None = None,
        find: Find = lambda asked: None,
    ) -> None:
        rules = rules or Rules()
        model_name = fields.required_text("model")
        model = rules.model(model_name)
        if rules.strict and model.known and not model.chat_only:
            raise RequestError(
                f"The requested model '{model_name}' cannot be used with the Responses API.",
                param="model",
                code="model_not_found",
            )
        fields.refuse_unknown(FIELDS | OPEN_FIELDS, rules)
        _check_conversation(fields)
        previous_id = fields.text("previous_response_id")
        previous = None if previous_id is None else find_previous(previous_id)
        conversation = messages.of_input(fields, None if previous is None else previous.conversation)
        instructions = fields.text("instructions")
        limit = fields.integer("max_output_tokens", minimum=1)
        self.stream, _, self.obfuscate = fields.streaming()
        self.store = fields.flag("store", True)
        self.background = fields.flag("background", False)
        if self.background and not self.store:
            raise fields.wrong_value("background", "it can only be used when 'store' is true.")
        included = _included(fields)
        self._top = fields.integer("top_logprobs", minimum=0, maximum=20) or 0
        self._logprobs = _LOGPROBS in included
        self._bytes = rules.bytes_in_deltas
        mind = thinking.of_responses(fields, model)
        if mind.on and model.known and self._logprobs:
            raise RequestError(
                "Unsupported parameter: 'message.output_text.logprobs' is not supported with this model.",
                param="include",
                code="unsupported_parameter",
            )
        toolbox = tools.of_responses(fields)
        format = formats.of_responses(fields, conversation)
        fields.sampling()
        truncation = fields.one_of("truncation", ("auto", "disabled")) or "disabled"

        self.id = identity.id("resp_")
        self.status = "queued" if self.background else "in_progress"
        self.turn: int = 1 if previous is None else previous.turn + 1
        self.input_items = _input_items(fields, identity)
        # Shows a client, and its tests, that the turns before have arrived.
        label = f"Turn {self.turn}" if self.turn > 1 else ""
        context = conversation.tokens + (0 if previous is None else previous.context)
        # Instructions do not carry over to the next turn ("instructions" in the API reference); all else that was said does.
        self.prompt_tokens = context + tokens.count(instructions or "")
        if self.prompt_tokens > model.window and truncation == "disabled":
            raise RequestError(
                "Your input exceeds the context window of this model. Please adjust your input and try again.",
                param="input",
                code="context_length_exceeded",
            )
        self.script = find(Asked("responses", model_name, conversation, toolbox.names))
        self.choice = answer(
            conversation,
            self.script,
            toolbox=toolbox,
            format=format,
            identity=identity,
            label=label,
            thinking=mind.tokens,
            limit=limit,
            refusals=rules.refusals,
        )
        self.conversation: Conversation = conversation.with_calls(self.choice.calls)
        self.tokens = self.choice.length
        self.context: int = context + self.tokens
        self._thoughts: Sequence[Sequence[str]] = [
            tokens.split(text) for text in texts.thoughts(conversation.prompt, mind.parts)
        ]
        self._thinks = mind.on
        if self.script is not None:
            self._thoughts = [self.choice.reasoning] if self.choice.reasoning else []
            self._thinks = mind.on or bool(self.choice.reasoning)
        self._encrypts = _ENCRYPTED in included or (mind.on and not self.store)
        self._completed_at: int | None = None
        self._item_id = identity.id("msg_")
        self._identity = identity
        tier = fields.tier() or "auto"
        self._tier_used = "default" if tier == "auto" else tier
        temperature = fields.value("temperature")
        top_p = fields.value("top_p")
        # What every snapshot of this response says, most of it the request's own settings with the defaults filled in.
        self._completing = ("stop", "tool_calls", *(("length",) if rules.completes_at_limit else ()))
        self._settings = {
            "background": self.background,
            "error": None,
            "instructions": instructions,
            "max_output_tokens": limit,
            "max_tool_calls": fields.integer("max_tool_calls", minimum=1),
            "model": model_name,
            "parallel_tool_calls": fields.flag("parallel_tool_calls", True),
            "presence_penalty": fields.value("presence_penalty") or 0.0,
            "frequency_penalty": fields.value("frequency_penalty") or 0.0,
            "previous_response_id": previous_id,
            "prompt_cache_key": fields.text("prompt_cache_key"),
            "reasoning": {"effort": mind.effort, "summary": mind.summary} | _raw_object(fields, "reasoning"),
            "safety_identifier": fields.text("safety_identifier"),
            "service_tier": tier,
            "store": self.store,
            "temperature": 1.0 if temperature is None else temperature,
            "text": {"format": {"type": "text"}, "verbosity": "medium"} | _given(_raw_object(fields, "text")),
            "tool_choice": fields.value("tool_choice") or "auto",
            "tools": [_tool(tool) for tool in _raw_objects(fields, "tools")],
            "top_logprobs": self._top,
            "top_p": 1.0 if top_p is None else top_p,
            "truncation": truncation,
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

    def whole(self) -> JSONObject:
        """End it, and give the answer as one object, which is also the snapshot that ends a stream."""
        if self.choice.finish_reason in self._completing:
            self.status = "completed"
            self._completed_at = self._identity.now()
        else:
            self.status = "incomplete"
        return self.snapshot()

    def frames(self) -> Iterator[Frame]:
        """The answer as a stream: the response, its items and their parts are each opened, filled and closed.

        The status advances with the frames; iterate over them once.
        """
        for number, (event, computed) in enumerate(self._events()):
            type = event.pop("type")
            body = {"type": type, "sequence_number": number, **event}
            yield Frame.of(body, type=type, tokens=computed, id=str(number))

    def snapshot(self) -> JSONObject:
        """The response object as it stands. Until it has ended, its tier is the one asked for.

        It has an output only once that is complete, or cut by the limit; a cancelled response never gets one.
        """
        answered = self.status in ("completed", "incomplete")
        incomplete = self.status == "incomplete"
        filtered = self.choice.finish_reason == "content_filter"
        why = "content_filter" if filtered else "max_output_tokens"
        return {
            "id": self.id,
            "object": "response",
            "created_at": self._identity.created,
            "status": self.status,
            "completed_at": self._completed_at,
            **self._settings,
            "incomplete_details": {"reason": why} if incomplete else None,
            "output": self._output() if answered else [],
            "service_tier": self._settings["service_tier"] if self.running else self._tier_used,
            "usage": self._usage() if answered else None,
        }

    def _events(self) -> Iterator[_Event]:
        """The events without their numbers, each with the tokens that the model computes before it."""
        yield {"type": "response.created", "response": self.snapshot()}, 0
        if self.background:
            yield {"type": "response.queued", "response": self.snapshot()}, 0
            self.status = "in_progress"
        yield {"type": "response.in_progress", "response": self.snapshot()}, 0
        items = 0
        if self._thinks:
            yield from self._thinking()
            items = 1
        if self.choice.speaks:
            yield from self._speaking(items)
            items += 1
        for position, call in enumerate(self.choice.calls):
            yield from self._calling(call, items + position)
        ended = self.whole()
        yield {"type": f"response.{ended['status']}", "response": ended}, 0

    def _thinking(self) -> Iterator[_Event]:
        place = {"output_index": 0}
        item = {"item_id": self._reasoning(True)["id"], **place}
        yield {"type": "response.output_item.added", **place, "item": self._reasoning(False)}, 0
        unspent = self.choice.thought
        for number, pieces in enumerate(self._thoughts if not self._cut_while_thinking else []):
            text = "".join(pieces)
            part = {**item, "summary_index": number}
            yield {"type": "response.reasoning_summary_part.added", **part, "part": _summary("")}, 0
            for token in pieces:
                delta = {"type": "response.reasoning_summary_text.delta", **part, "delta": token}
                yield self._padded(delta, token), min(unspent, 1)
                unspent -= min(unspent, 1)
            yield {"type": "response.reasoning_summary_text.done", **part, "text": text}, 0
            yield {"type": "response.reasoning_summary_part.done", **part, "part": _summary(text)}, 0
        yield {"type": "response.output_item.done", **place, "item": self._reasoning(True)}, unspent

    def _calling(self, call: Call, index: int) -> Iterator[_Event]:
        place = {"output_index": index}
        item = self._call(call, "", "in_progress")
        yield {"type": "response.output_item.added", **place, "item": item}, 0
        place["item_id"] = item["id"]
        kind, name = (
            ("function_call_arguments", "arguments") if call.kind == FUNCTION else ("custom_tool_call_input", "input")
        )
        for token in call.tokens:
            delta = {"type": f"response.{kind}.delta", **place, "delta": token}
            yield self._padded(delta, token), 1
        # The reference requires the name with arguments, and the SDK does not know it.
        more = {"name": call.name} if call.kind == FUNCTION else {}
        yield {"type": f"response.{kind}.done", **place, **more, name: call.arguments}, 0
        done = self._call(call, call.arguments, self._item_status(call is self.choice.calls[-1]))
        yield {"type": "response.output_item.done", "output_index": index, "item": done}, 0

    def _speaking(self, index: int) -> Iterator[_Event]:
        choice = self.choice
        text = choice.text
        place = {"output_index": index}
        content = {"item_id": self._item_id, **place, "content_index": 0}
        yield {"type": "response.output_item.added", **place, "item": self._message("in_progress", [])}, 0
        yield {"type": "response.content_part.added", **content, "part": self._part("")}, 0
        refused = choice.kind == REFUSAL
        before = ""
        for number, token in enumerate(choice.tokens):
            if refused:
                delta = {"type": "response.refusal.delta", **content, "delta": token}
            else:
                likely = self._likelihoods([token], before, with_bytes=self._bytes, number=number)
                delta = {"type": "response.output_text.delta", **content, "delta": token, "logprobs": likely}
                before = token
            yield self._padded(delta, token), 1
        if refused:
            yield {"type": "response.refusal.done", **content, "refusal": text}, 0
        else:
            for number, annotation in enumerate(_annotations(choice)):
                where = {**content, "annotation_index": number}
                yield {"type": "response.output_text.annotation.added", **where, "annotation": annotation}, 0
            likely = self._likelihoods(choice.tokens, with_bytes=self._bytes)
            yield {"type": "response.output_text.done", **content, "text": text, "logprobs": likely}, 0
        part = self._part(text, choice.tokens)
        yield {"type": "response.content_part.done", **content, "part": part}, 0
        item = self._message(self._item_status(not choice.calls), [part])
        yield {"type": "response.output_item.done", **place, "item": item}, 0

    def _padded(self, delta: JSONObject, text: str) -> JSONObject:
        if self.obfuscate:
            delta["obfuscation"] = self._identity.obfuscation(text)
        return delta

    @property
    def _cut_while_thinking(self) -> bool:
        return self.choice.finish_reason == "length" and not self.choice.tokens and not self.choice.calls

    def _output(self) -> list[JSONObject]:
        """The items, as they are when the response has ended."""
        choice = self.choice
        items = [self._reasoning(True)] if self._thinks else []
        if choice.speaks:
            part = self._part(choice.text, choice.tokens)
            items.append(self._message(self._item_status(not choice.calls), [part]))
        items += [
            self._call(call, call.arguments, self._item_status(call is choice.calls[-1])) for call in choice.calls
        ]
        return items

    def _item_status(self, last: bool) -> str:
        return "incomplete" if last and self.choice.finish_reason not in ("stop", "tool_calls") else "completed"

    def _reasoning(self, done: bool) -> JSONObject:
        shown = self._thoughts if done and not self._cut_while_thinking else []
        item = {
            "id": self._identity.id("rs_"),
            "type": "reasoning",
            "summary": [_summary("".join(pieces)) for pieces in shown],
        }
        if self._encrypts:
            # What comes when the item is done is another than what came when it was added, and the one to keep.
            item["encrypted_content"] = "gAAAAAB" + self._identity.id("", f"encrypted {done}") * (4 if done else 1)
        return item

    def _call(self, call: Call, arguments: str, status: str) -> JSONObject:
        if call.kind == FUNCTION:
            head = {"id": call.id.replace("call_", "fc_", 1), "type": "function_call", "status": status}
            return {**head, "arguments": arguments, "call_id": call.id, "name": call.name}
        head = {"id": call.id.replace("call_", "ctc_", 1), "type": "custom_tool_call", "status": status}
        return {**head, "call_id": call.id, "input": arguments, "name": call.name}

    def _message(self, status: str, content: list[JSONObject]) -> JSONObject:
        return {"id": self._item_id, "type": "message", "status": status, "content": content, "role": "assistant"}

    def _part(self, text: str, pieces: Sequence[str] = ()) -> JSONObject:
        if self.choice.kind == REFUSAL:
            return {"type": "refusal", "refusal": text}
        annotations = _annotations(self.choice) if text else []
        return _text_part(text) | {"logprobs": self._likelihoods(pieces), "annotations": annotations}

    def _likelihoods(
        self, pieces: Sequence[str], before: str = "", *, with_bytes: bool = True, number: int = 0
    ) -> list[JSONObject]:
        if not self._logprobs:
            return []
        given = self.choice.logprobs[number:]
        return logprobs.modern(pieces, self._top, before=before, with_bytes=with_bytes, given=given)

    def _usage(self) -> JSONObject:
        told = self.choice.usage
        input_tokens = self.prompt_tokens if told.input is None else told.input
        output_tokens = self.tokens if told.output is None else told.output
        return {
            "input_tokens": input_tokens,
            "input_tokens_details": {"cached_tokens": told.cached or 0, "cache_write_tokens": 0},
            "output_tokens": output_tokens,
            "output_tokens_details": {"reasoning_tokens": self.choice.thought},
            "total_tokens": input_tokens + output_tokens,
        }


def _annotations(choice: Answer) -> list[JSONObject]:
    return [
        {"type": "url_citation", "start_index": begin, "end_index": end, "url": one.url, "title": one.title}
        for one, begin, end in choice.cited()
    ]


def count_input(fields: Fields, find_previous: Callable[[str], ModelResponse]) -> int:
    """The tokens of a request's input, with the turns before it, its instructions and its tools. Raises RequestError."""
    previous_id = fields.text("previous_response_id")
    previous = None if previous_id is None else find_previous(previous_id)
    conversation = messages.of_input(fields, None if previous is None else previous.conversation)
    written = json.dumps(_raw_objects(fields, "tools")) if "tools" in fields else ""
    context = 0 if previous is None else previous.context
    return context + conversation.tokens + tokens.count(fields.text("instructions") or "") + tokens.count(written)


def compacted(fields: Fields, identity: RequestIdentity, find_previous: Callable[[str], ModelResponse]) -> JSONObject:
    """The answer of ``POST /v1/responses/compact``: the user's messages, and one item that stands for the rest."""
    fields.required_text("model")
    used = count_input(fields, find_previous)
    kept = [item for item in _input_items(fields, identity) if item.get("type") == "message" and item["role"] == "user"]
    encrypted = "gAAAAAB" + identity.id("", "compaction") * 4
    item = {"id": identity.id("cmp_"), "type": "compaction", "encrypted_content": encrypted}
    written = tokens.count(encrypted)
    return {
        "id": identity.id("resp_"),
        "object": "response.compaction",
        "created_at": identity.created,
        "output": [*kept, item],
        "usage": {
            "input_tokens": used,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": written,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": used + written,
        },
    }


def _text_part(text: str) -> JSONObject:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _summary(text: str) -> JSONObject:
    return {"type": "summary_text", "text": text}


def _tool(tool: JSONObject) -> JSONObject:
    """A tool as a response tells of it: a function with all its fields."""
    return {"description": None, "parameters": None, "strict": True} | tool if tool.get("type") == FUNCTION else tool


def _given(text: JSONObject) -> JSONObject:
    """The text settings that were given, a schema's format with all its fields."""
    given = {name: value for name, value in text.items() if value is not None}
    if given.get("format", {}).get("type") == "json_schema":
        given["format"] = {"description": None, "strict": False} | given["format"]
    return given


def _included(fields: Fields) -> list[str]:
    included = fields.texts("include") or []
    for position, name in enumerate(included):
        if name not in INCLUDABLE:
            known = ", ".join(f"'{each}'" for each in INCLUDABLE[:-1])
            raise RequestError(
                f"Invalid value: '{name}'. Supported values are: {known} and '{INCLUDABLE[-1]}'.",
                param=f"include[{position}]",
                code="invalid_value",
            )
    return included


def _check_conversation(fields: Fields) -> None:
    if "conversation" not in fields:
        return
    if "previous_response_id" in fields:
        raise RequestError(
            "Mutually exclusive parameters: give 'conversation' or 'previous_response_id', not both.",
            param="previous_response_id",
            code="mutually_exclusive_parameters",
        )
    given = fields.value("conversation")
    id = given if isinstance(given, str) else fields.object("conversation").required_text("id")
    # There is no way to make one here.
    raise RequestError(f"Conversation with id '{id}' not found.", status=404, param="conversation")


def _input_items(fields: Fields, identity: RequestIdentity) -> list[JSONObject]:
    """The input as ``GET …/input_items`` lists it: each item with an id, and each message's text in a part."""
    items = messages.as_items(fields.value("input"))
    return [_input_item(item, identity, f"input {position}") for position, item in enumerate(items)]


def _input_item(item: JSONObject, identity: RequestIdentity, position: str) -> JSONObject:
    if (item.get("type") or "message") != "message":
        return {"id": identity.id("item_", position), "status": "completed", **item}
    said = item.get("content") or []
    if item["role"] == "assistant":
        parts = [{"type": "output_text", "text": said}] if isinstance(said, str) else said
        content = [_text_part("") | part if part.get("type") == "output_text" else part for part in parts]
    else:
        content = [{"type": "input_text", "text": said}] if isinstance(said, str) else said
    head = {"id": identity.id("msg_", position), "type": "message", "status": "completed"}
    return {**head, **item, "content": content}


def _raw_object(fields: Fields, name: str) -> JSONObject:
    """An object's own value, to be given back as it came; empty when it is absent."""
    fields.object(name)
    return fields.value(name) or {}


def _raw_objects(fields: Fields, name: str) -> list[JSONObject]:
    """An array of objects, likewise."""
    fields.objects(name)
    return fields.value(name) or []
