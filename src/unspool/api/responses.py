"""The Responses API, OpenAI's current endpoint: ``POST /v1/responses``.

Events are those of OpenAI's published OpenAPI document (2.3.0, ``ResponseStreamEvent``), of the Open Responses specification,
and of the servers named beside what only they send. OpenAI counts new event types and fields as compatible, so what is not
known here is passed over.
"""

from __future__ import annotations

from zlib import crc32

from unspool.api import Endpoint, decoder
from unspool.api import failure as failures
from unspool.api.decoder import REASONING, REFUSAL, SUMMARY, TEXT, is_number, word
from unspool.api.deltas import Failure, Text, text_of
from unspool.api.envelope import Envelope, all_unescaped, cut
from unspool.api.parts import Annotation, Audio, Image, Item, Logprobs
from unspool.api.prompt import finished, reasons, without_items
from unspool.jsontext import clean, from_json, whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from unspool.api.deltas import Delta
    from unspool.api.prompt import Prompt
    from unspool.api.toolcalls import Call
    from unspool.jsontext import JsonObject

#: What a response's ``status`` is while the server still works on it.
UNFINISHED = frozenset({"queued", "in_progress"})

# What a piece of each kind comes in.
_PIECES = {
    "response.output_text.delta": TEXT,
    "response.refusal.delta": REFUSAL,
    "response.reasoning_summary_text.delta": SUMMARY,
    "response.reasoning_text.delta": REASONING,
    "response.reasoning.delta": REASONING,  # Open Responses
}
# Events that repeat a complete part, and the field that has its text.
_WHOLE_PARTS = {
    "response.output_text.done": (TEXT, "text"),
    "response.refusal.done": (REFUSAL, "refusal"),
    "response.reasoning_summary_text.done": (SUMMARY, "text"),
    "response.reasoning_text.done": (REASONING, "text"),
    "response.reasoning.done": (REASONING, "text"),
}
# The kind of each part of an item's content or summary.
_PART_KINDS = {
    "output_text": (TEXT, "text"),
    "text": (TEXT, "text"),
    "refusal": (REFUSAL, "refusal"),
    "summary_text": (SUMMARY, "text"),
    "reasoning_text": (REASONING, "text"),
}
# How each kind of call names what the model passes to it. Calls of other types (web search, MCP, …) the server makes itself.
_CALL_ITEMS = {"function_call": "arguments", "custom_tool_call": "input"}
_CALL_PIECES = ("response.function_call_arguments.delta", "response.custom_tool_call_input.delta")
_CALL_DONE = {
    "response.function_call_arguments.done": "arguments",
    "response.custom_tool_call_input.done": "input",
}
_CONTRADICTION = "the server's final text differs from the text that it streamed"
_TERMINAL = {
    "response.completed": "completed",
    "response.incomplete": "incomplete",
    "response.failed": "failed",
    "response.cancelled": "cancelled",  # documented as a status only
}


class Responses(Endpoint):
    """``POST /v1/responses``."""

    name = "responses"
    path = "/responses"
    stores_responses = True

    def build(self, prompt: Prompt, *, is_openai: bool = False) -> JsonObject:
        """Return the request body that asks this prompt.

        Raises ValueError for ``stop``, ``seed`` and ``n``, which this endpoint does not have, unless ``options`` has a field
        of that name, and for an invalid tool or schema.
        """
        # One answer is what it gives anyway.
        asked = {"stop": prompt.stop, "seed": prompt.seed, "n": None if prompt.n == 1 else prompt.n}
        for name, value in asked.items():
            if value is not None and name not in prompt.options:
                raise ValueError(f"the Responses API does not support {name}; use --api chat")
        body: JsonObject = {
            "model": prompt.model,
            "input": _input(prompt.messages),
            "instructions": prompt.system,
            "max_output_tokens": prompt.max_tokens,
            "temperature": prompt.temperature,
            "top_p": prompt.top_p,
            # Always sent: the server's default is to keep every answer for 30 days.
            "store": prompt.store,
        }
        if not prompt.store and reasons(prompt.model) and "-chat" not in prompt.model:
            # The only form in which reasoning that nobody stores can be handed back in the next turn. Models without any refuse it.
            body["include"] = ["reasoning.encrypted_content"]
        # Imported only where they are used: most prompts are plain text.
        if prompt.tools or prompt.tool_choice is not None:
            from unspool.api import tools

            body.update(tools.for_responses(prompt))
        if prompt.schema is not None:
            from unspool.api import schema

            text = schema.for_responses(prompt)
            body.update(text)
            if "text" in prompt.options:
                prompt = prompt.replace(options={**prompt.options, **text})
        return finished(prompt, body)

    def with_usage(self, body: JsonObject) -> JsonObject:
        """Return the body as it is: the last event always has the usage, and there is no ``stream_options`` for it."""
        return body

    def continued(self, body: JsonObject, partial: str, request: str) -> JsonObject:
        """Return the body with the partial answer, and the request for its rest, as two more items."""
        given = body.get("input")
        items = [_message("user", given)] if isinstance(given, str) else given or ()
        return {**body, "input": [*items, _message("assistant", partial), _message("user", request)]}

    def messages(self, body: JsonObject) -> tuple[str | None, list[JsonObject]]:
        """Return the instructions and the input as messages. Items without such a form, such as reasoning, are left out."""
        from unspool.api.conversation import with_system

        system, history = with_system(body.get("instructions"), _messages_of(body.get("input")))
        return system, without_items(history)

    def history(self, body: JsonObject) -> list[JsonObject]:
        """Return the input as messages, and as the items that they are where they have no such form."""
        from unspool.api.conversation import with_system

        return with_system(None, _messages_of(body.get("input")))[1]

    def decoder(self, choices: int = 1) -> Decoder:
        """Return a decoder for one answer."""
        return Decoder(choices)


def _input(messages: list[JsonObject]) -> str | list[JsonObject]:
    if len(messages) == 1 and messages[0].get("role") == "user" and isinstance(messages[0].get("content"), str):
        return str(messages[0]["content"])
    calls = [call for message in messages for call in message.get("tool_calls") or ()]
    custom = {call["id"] for call in calls if "custom" in call}
    items = [item for message in messages for item in _items(message)]
    for item in items:
        if item.get("type") == "function_call_output" and item.get("call_id") in custom:
            item["type"] = "custom_tool_call_output"
    return items


def _items(message: JsonObject) -> list[JsonObject]:
    """Return the input items that a message of Chat Completions becomes: a message, tool calls, a tool's output.

    What has no role is an item of this endpoint already.
    """
    if "role" not in message and "type" in message:
        return [message]
    role, content = message.get("role", "user"), message.get("content")
    if isinstance(content, list):
        content = [_part(part, role) for part in content]
    if role == "tool":
        return [{"type": "function_call_output", "call_id": message.get("tool_call_id"), "output": content or ""}]
    calls = message.get("tool_calls") or ()
    items = []
    # A message that only called tools may have "" for its text, which here would be a message of its own.
    if content or (content is not None and not calls):
        phase = message.get("phase")
        items.append({**_message(role, content), "phase": phase} if phase else _message(role, content))
    for call in calls:
        if "custom" in call:
            items.append({"type": "custom_tool_call", "call_id": call["id"], **call["custom"]})
        else:
            function = {name: call["function"].get(name) or "" for name in ("name", "arguments")}
            items.append({"type": "function_call", "call_id": call["id"], **function})
    return items


def _message(role: str, content: object) -> JsonObject:
    # OpenAI takes an item without a type for a message (EasyInputMessage); llama.cpp refuses an assistant's.
    return {"type": "message", "role": role, "content": content}


def _part(part: JsonObject, role: str) -> JsonObject:
    """Return a part of a message's content as this endpoint names it; what it is already, or is not known, stays as it is.

    Raises ValueError for sound, which this endpoint takes in no form.
    """
    type = part.get("type")
    if type == "text":
        return {"type": "output_text" if role == "assistant" else "input_text", "text": part["text"]}
    if type == "image_url":
        image = part["image_url"]
        if isinstance(image, str):
            image = {"url": image}
        return {"type": "input_image", "image_url": image["url"], "detail": image.get("detail", "auto")}
    if type == "file":
        return {"type": "input_file", **part["file"]}
    if type == "input_audio":
        # OpenAI's document (2.3.0) describes such a part, but no message that could hold it.
        raise ValueError("the Responses API does not take audio; use --api chat, with a model that listens")
    return part


def _messages_of(given: object) -> list[JsonObject]:
    """Return the input of the Responses API as messages of Chat Completions."""
    if type(given) is str:
        return [{"role": "user", "content": given}]
    messages: list[JsonObject] = []
    for item in given if type(given) is list else ():
        if type(item) is not dict:
            continue
        kind = item.get("type")
        if kind in ("function_call", "custom_tool_call"):
            of_chat, given = ("function", "arguments") if kind == "function_call" else ("custom", "input")
            call = {
                "id": item.get("call_id"),
                "type": of_chat,
                of_chat: {"name": item.get("name"), given: item.get(given)},
            }
            if not messages or messages[-1].get("role") != "assistant":
                messages.append({"role": "assistant", "content": None})
            messages[-1].setdefault("tool_calls", []).append(call)
        elif kind in ("function_call_output", "custom_tool_call_output"):
            messages.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": item.get("output")})
        elif type(item.get("role")) is str:
            content = item.get("content")
            parts = [_chat_part(part) for part in content] if type(content) is list else content
            message = {"role": item["role"], "content": parts}
            messages.append({**message, "phase": item["phase"]} if item.get("phase") else message)
        elif type(kind) is str and kind != "item_reference":
            messages.append(item)
    return messages


def _chat_part(part: Any) -> Any:
    """Return a part of a message's content as Chat Completions names it; one it does not know stays as it is."""
    kind = part.get("type") if type(part) is dict else None
    if kind in ("input_text", "output_text"):
        return {"type": "text", "text": part.get("text")}
    if kind == "input_image" and type(part.get("image_url")) is str:
        image = {"url": part["image_url"]}
        if part.get("detail"):
            image["detail"] = part["detail"]
        return {"type": "image_url", "image_url": image}
    if kind == "input_file":
        return {"type": "file", "file": {name: value for name, value in part.items() if name != "type"}}
    return part


class _Part:
    """What has been streamed of one part: its length and checksum, for memory must not grow with the stream."""

    __slots__ = ("length", "checksum")

    def __init__(self) -> None:
        self.length = 0
        self.checksum = 0

    def add(self, text: str) -> None:
        self.length += len(text)
        self.checksum = crc32(text.encode(), self.checksum)

    def begins(self, text: str) -> bool:
        """Return whether this text starts with exactly what was streamed."""
        return len(text) >= self.length and crc32(text[: self.length].encode()) == self.checksum

    def is_all_of(self, text: str) -> bool:
        """Return whether this text is exactly what was streamed."""
        return len(text) == self.length and self.begins(text)


class _Numbered(Envelope):
    """An envelope in whose chunks the event's number differs too. It stands before ``between``, which stands before the text."""

    __slots__ = ("between",)

    def __init__(self, before: bytes, between: bytes, around: Envelope) -> None:
        super().__init__(before, around.after, around.middle, around.last, around.place)
        self.between = between

    def numbered(self, chunk: bytes) -> tuple[bytes, int] | None:
        """Like `text`, and the chunk's number."""
        number, found, rest = chunk[len(self.before) :].partition(self.between)
        # No JSON number but 0 begins with 0.
        if not found or not number.isdigit() or len(number) > 15 or (number[0] == 0x30 and len(number) > 1):
            return None
        text = self.text(self.before + rest) if chunk.startswith(self.before) else None
        return None if text is None else (text, int(number))

    def all_numbered(self, chunks: list[bytes], together: bytes, first: int) -> tuple[list[bytes], Sequence[int]]:
        """Like `texts`, and the chunks' numbers: a range where they count from ``first``, as they should."""
        # Hot: once for every token. As in `texts`, what is cut out is shown to be what was cut out.
        before, between, middle = self.before, self.between, self.middle
        last = self.last if middle else self.after
        width, end = len(before) + len(between), -len(last)
        numbers = range(first, first + len(chunks))
        written = list(map(b"%d".__mod__, numbers))
        texts = whole = [chunk[width + len(one) : end] for chunk, one in zip(chunks, written, strict=True)]
        fits = True
        if middle:
            texts, paddings = cut(whole, middle)
            whole = list(map(middle.join, zip(texts, paddings, strict=True)))
            fits = b"".join(paddings).isalnum()
        joined = (last + before).join(map(between.join, zip(written, whole, strict=True)))
        if fits and b"%b%b%b" % (before, joined, last) == together:
            texts = all_unescaped(texts)
            return texts, numbers[: len(texts)]
        texts, counted = [], []
        for chunk in chunks:
            found = self.numbered(chunk)
            if found is None:
                break
            texts.append(found[0])
            counted.append(found[1])
        return texts, counted


class Decoder(decoder.Decoder):
    """Decodes a stream of Responses events, or a complete ``response`` object.

    Events are distinguished by the ``type`` in their JSON, since some servers send no ``event:`` line.
    """

    def __init__(self, choices: int = 1) -> None:
        super().__init__(choices)
        # Parts of answers by kind, output index and index in the item, in the order in which they began.
        self._parts: dict[tuple[str, int, int], _Part] = {}
        # Parts whose complete text has not arrived. If a server numbers the pieces of a part and its complete text differently,
        # the part stays here, and a complete text that seems new may repeat it.
        self._open: set[tuple[str, int, int]] = set()
        self._last_summary: tuple[str, int, int] | None = None
        # Events count from 0 without a hole. Otherwise the final response decides whether anything was lost: some servers
        # count differently.
        self._next_sequence: int | None = None
        self._disordered = False
        self._terminated = False
        self._cited: set[str] = set()
        self._items: set[str] = set()
        self._sent_chunks = False

    def _has_ended(self) -> bool:
        """Whether one of the terminal events has come (OpenAI's document has no other end); ``[DONE]`` proves nothing."""
        return self._terminated

    def what_is_missing(self) -> str:
        """Return a sentence on why a stream that was closed in good order has not ended."""
        if self._sent_chunks and not self._has_content:
            return "the server answered with events of Chat Completions, not of the Responses API: use --api chat"
        return super().what_is_missing()

    @property
    def reached_token_limit(self) -> bool:
        """Whether as many tokens were counted as were asked for, or more, for LiteLLM raises low limits.

        OpenAI says ``incomplete`` then, others ``completed``.
        """
        limit, usage = (self.body or {}).get("max_output_tokens"), self.usage
        return is_number(limit) and usage is not None and (usage.output_tokens or 0) >= limit > 0

    @property
    def hides_token_limit(self) -> bool:
        """Whether this is llama.cpp or transformers, whose Responses endpoints have no other end than ``completed``.

        transformers (cli/serving/server.py and response.py) makes its id of the request's, which it names in a header.
        """
        request_id = self.headers.get("x-request-id")
        is_transformers = request_id is not None and self.response_id == f"resp_{request_id}"
        return is_transformers or self.headers.get("server", "").lower().startswith("llama.cpp")

    def _take_alike(self, chunks: list[bytes], together: bytes, out: list[Delta]) -> int:
        known = self._envelope
        assert type(known) is _Numbered
        numbers: Sequence[int]
        if len(chunks) == 1:
            found = known.numbered(together)
            if found is None:
                return 0
            texts, numbers = [found[0]], [found[1]]
        else:
            texts, numbers = known.all_numbered(chunks, together, self._next_sequence or 0)
        if not texts:
            return 0
        self._misfits = 0
        if type(numbers) is range:
            self._next_sequence = numbers[-1]
            numbers = numbers[-1:]
        for number in numbers:
            self._count(number)
        piece = text_of(texts)
        if piece.text:
            self._has_content = True
            known.place.add(piece.text)
            out.append(piece)
        return len(texts)

    def _plain(self, chunk: object) -> tuple[str, _Part] | None:
        """Return the text and the part of an event that adds text to a part that has begun; None for any other."""
        if type(chunk) is not dict or chunk.get("type") != "response.output_text.delta":
            return None
        text = chunk.get("delta")
        output_index = chunk.get("output_index")
        content_index = chunk.get("content_index")
        if type(text) is str and text and type(output_index) is int and type(content_index) is int:
            if chunk.get("logprobs"):
                return None
            part = self._parts.get((TEXT, output_index, content_index))
            if part is not None:
                return text, part
        return None

    def _take_plain(self, chunk: JsonObject, plain: tuple[str, _Part], out: list[Delta]) -> None:
        text, part = plain
        part.add(text)
        self._has_content = True
        out.append(Text(text))
        self._number(chunk)

    def _learn(self, data: bytes, chunk: JsonObject, plain: tuple[str, _Part]) -> Envelope | None:
        # The event's number may differ too; it must come before the text.
        learned = super()._learn(data, chunk, plain)
        number = chunk.get("sequence_number")
        if learned is None or type(number) is not int:
            return None
        before, counted, between = learned.before.partition(b"%d," % number)
        if not counted or counted in between:
            return None
        try:
            tried = from_json(b"%b1%b%b%b" % (before, counted, between, b"other" + learned.after))
        except ValueError:
            return None
        if self._plain(tried) != ("other", plain[1]) or tried.get("sequence_number") != int(f"1{number}"):
            return None
        return _Numbered(before, b"," + between, learned)

    def _take(self, type_: str, chunk: object, out: list[Delta]) -> None:
        if type_ == "error":
            self._number(chunk)
            self._fail(failures.read(chunk))
            return
        if type(chunk) is not dict:
            self._recognise(chunk)
            return
        self._number(chunk)
        kind = chunk.get("type")
        if type(kind) is not str or kind == "error" or chunk.get("object") == "error":
            self._sent_chunks = self._sent_chunks or type(chunk.get("choices")) is list
            self._recognise(chunk)
        elif kind in _PIECES:
            self._add(_PIECES[kind], chunk, chunk.get("delta"), out)
            logprobs = chunk.get("logprobs")
            if logprobs and type(logprobs) is list:
                self._add_other(out, Logprobs(clean(logprobs)))
        elif kind in _WHOLE_PARTS:
            piece_kind, field = _WHOLE_PARTS[kind]
            self._catch_up_part(piece_kind, chunk, chunk.get(field), out)
        elif kind in ("response.content_part.done", "response.reasoning_part.done"):  # the second is vLLM's
            part_kind, text = _text_of(chunk.get("part"))
            if part_kind:
                self._catch_up_part(part_kind, chunk, text, out)
        elif kind in _CALL_PIECES:
            piece = chunk.get("delta")
            self._fragment(out, 0, self._call_index(chunk), None, None, piece if type(piece) is str else "")
        elif kind in _CALL_DONE:
            self._call_done(chunk, chunk.get(_CALL_DONE[kind]), None, word(chunk.get("name")), out)
        elif kind in ("response.output_item.added", "response.output_item.done"):
            self._item(chunk, kind == "response.output_item.done", out)
        elif kind in _TERMINAL:
            response = chunk.get("response")
            self._terminal(_TERMINAL[kind], response if type(response) is dict else {}, out)
        elif kind == "response.output_text.annotation.added":
            self._cite([chunk.get("annotation")], out)
        elif kind in ("response.audio.delta", "response.audio.transcript.delta"):
            said = word(chunk.get("delta")) or ""
            if said:
                is_data = kind == "response.audio.delta"
                self._add_other(out, Audio(said if is_data else "", "" if is_data else said))
        elif kind == "response.image_generation_call.partial_image":
            self._image(chunk.get("partial_image_b64"), chunk.get("output_format"), True, out)
        else:
            self._snapshot(chunk.get("response"), out)

    # What is neither text nor a call of a function

    def _cite(self, annotations: object, out: list[Delta]) -> None:
        """Take annotations, each once: they come as events, and again in the item that is done and in the final response."""
        for one in annotations if type(annotations) is list else ():
            if type(one) is dict:
                key = str([one.get(name) for name in ("type", "url", "file_id", "start_index", "index")])
                if key not in self._cited:
                    self._cited.add(key)
                    self._add_other(out, Annotation(clean(one)))

    def _image(self, data: object, format: object, partial: bool, out: list[Delta]) -> None:
        if type(data) is str and data:
            self._add_other(out, Image(f"data:image/{word(format) or 'png'};base64,{data}", partial))

    def _other_item(self, item: JsonObject, out: list[Delta]) -> None:
        """Take an item that is done, once, for what no other delta says of it."""
        type_ = item.get("type")
        contents = item.get("content")
        for part in contents if type(contents) is list else ():
            if type(part) is dict:
                self._cite(part.get("annotations"), out)
        if type(type_) is not str or type_ in _CALL_ITEMS:
            return
        # Their text has deltas of its own.
        if (type_ == "message" and not item.get("phase")) or (
            type_ == "reasoning" and not item.get("encrypted_content")
        ):
            return
        # Some servers number their items in ways of their own, and some give them no id.
        key = word(item.get("id")) or str(item)
        if key not in self._items:
            self._items.add(key)
            if type_ == "image_generation_call":
                self._image(item.get("result"), item.get("output_format"), False, out)
            self._add_other(out, Item(clean(item)))

    def _decode_whole(self, body: JsonObject) -> list[Delta]:
        out: list[Delta] = []
        status = body.get("status")
        # Without a status it is complete, since all of it arrived; a background response may be in progress.
        if status in _TERMINAL.values() or type(status) is not str:
            self._terminal(status if type(status) is str else "completed", body, out)
        else:
            self._snapshot(body, out)
            self._catch_up(body.get("output"), out)
        return out

    def _number(self, chunk: object) -> None:
        sequence = chunk.get("sequence_number") if type(chunk) is dict else None
        if is_number(sequence):
            self._count(sequence)

    def _count(self, sequence: int) -> None:
        if sequence != self._next_sequence and self._next_sequence is not None:
            self._disordered = True
        self.last_sequence = sequence
        self._next_sequence = sequence + 1

    def _recognise(self, value: object) -> None:
        failure = failures.recognise(value)
        if failure is not None:
            self._fail(failure)

    def _snapshot(self, response: object, out: list[Delta]) -> None:
        """Take what a snapshot of the response says beside its output."""
        if type(response) is dict:
            self._start(out, response.get("id"), response.get("model"))
            self.service_tier = word(response.get("service_tier")) or self.service_tier
            usage = response.get("usage")
            if usage and type(usage) is dict:
                self._usage = usage

    # Text of all kinds

    def _add(self, kind: str, chunk: JsonObject, text: object, out: list[Delta]) -> None:
        if type(text) is str and text:
            key = _key(kind, chunk)
            self._open.add(key)
            self._add_to(key, text, out)

    def _add_to(self, key: tuple[str, int, int], text: str, out: list[Delta]) -> None:
        kind = key[0]
        if kind == SUMMARY:
            # Each part of a summary is a paragraph of its own, and nothing in their texts keeps them apart.
            if self._last_summary is not None and self._last_summary != key:
                self._piece(out, SUMMARY, "\n\n")
            self._last_summary = key
        self._parts.setdefault(key, _Part()).add(self._piece(out, kind, text))

    def _catch_up_part(self, kind: str, chunk: JsonObject, text: object, out: list[Delta]) -> None:
        """Emit what the complete part adds to its pieces, if it begins with them: some servers skip pieces."""
        if type(text) is not str:
            return
        text = whole(text)
        key = _key(kind, chunk)
        self._open.discard(key)
        part = self._parts.get(key)
        if part is None:
            # Some servers number complete parts and pieces differently.
            if any(other[0] == kind for other in self._open):
                return
            if any(one.is_all_of(text) for other, one in self._parts.items() if other[0] == kind):
                return
            part = self._parts[key] = _Part()
        if not part.begins(text):
            if text and kind == TEXT:
                self._note(_CONTRADICTION)
        elif len(text) > part.length:
            self._halves.pop((0, kind), None)
            self._add_to(key, text[part.length :], out)

    def _catch_up(self, output: object, out: list[Delta]) -> bool:
        """Emit what the complete output adds to the pieces, and return whether it begins with them."""
        items = [item for item in output if type(item) is dict] if type(output) is list else []
        wholes = [_parts_of(item, number) for number, item in enumerate(items)]
        flat = [part for parts in wholes for part in parts]
        streamed = {kind: self._streamed(kind, flat) for kind in (TEXT, REFUSAL, SUMMARY, REASONING)}
        for item, parts in zip(items, wholes, strict=True):
            for key, text in parts:
                skip = streamed[key[0]]
                if skip is None:
                    continue
                streamed[key[0]] = max(0, skip - len(text))
                if len(text) > skip:
                    self._halves.pop((0, key[0]), None)
                    self._add_to(key, text[skip:], out)
            self._call_item({}, item, True, out)
            self._other_item(item, out)
        return bool(items) and streamed[TEXT] is not None

    def _streamed(self, kind: str, wholes: list[tuple[tuple[str, int, int], str]]) -> int | None:
        """Return how many characters of this kind's complete text were streamed, None if the streamed text differs.

        All parts of a kind are compared as one text: a server may number them differently here and in the stream.
        """
        text = "".join(text for key, text in wholes if key[0] == kind)
        position = 0
        for key, part in self._parts.items():
            if key[0] == kind:
                if not part.begins(text[position : position + part.length]):
                    return None
                position += part.length
        return position

    # Tool calls

    def _call_index(self, chunk: JsonObject) -> int | None:
        # Not by item_id: some gateways make up a new one for each event.
        index = chunk.get("output_index")
        return index if type(index) is int else None

    def _item(self, chunk: JsonObject, done: bool, out: list[Delta]) -> None:
        item = chunk.get("item")
        if type(item) is dict:
            self._call_item(chunk, item, done, out)
            if done:
                for (kind, _, index), text in _parts_of(item, 0):
                    place = {**chunk, "summary_index" if kind == SUMMARY else "content_index": index}
                    self._catch_up_part(kind, place, text, out)
                self._other_item(item, out)

    def _call_item(self, chunk: JsonObject, item: JsonObject, done: bool, out: list[Delta]) -> None:
        """Take an item if it is a tool call: its id and name when it begins, its arguments when it is done."""
        type_ = item.get("type")
        if type(type_) is not str or type_ not in _CALL_ITEMS:
            return
        id, name = word(item.get("call_id")) or word(item.get("id")), word(item.get("name"))
        # Begun before its last fragment comes, so that its kind is known by then.
        call = self._known_call(id) or self._fragment(out, 0, self._call_index(chunk), id, name, "")
        call.is_text = type_ == "custom_tool_call"
        if done:
            self._call_done(chunk, item.get(_CALL_ITEMS[type_]), id, name, out)

    def _call_done(
        self, chunk: JsonObject, arguments: object, id: str | None, name: str | None, out: list[Delta]
    ) -> None:
        """Take a call's complete arguments; emit the call as soon as its id and name are known too."""
        call = self._known_call(id)
        if call is None:
            call = self._fragment(out, 0, self._call_index(chunk), id, name, "")
        if call.emitted:
            return
        if type(arguments) is str:
            self._complete_arguments(call, whole(arguments), out)
        if call.id and call.name:
            self._whole_call(out, call, 0)

    def _known_call(self, id: str | None) -> Call | None:
        calls = self._calls.get(0)
        if calls is None or id is None:
            return None
        return next((call for call in calls.all if call.id == id), None)

    def _complete_arguments(self, call: Call, arguments: str, out: list[Delta]) -> None:
        """Make these the call's arguments, and stream what its pieces lack of them."""
        streamed = call.arguments
        if arguments.startswith(streamed):
            self._halves.pop((0, call.index), None)
            self._fragment_of(call, out, 0, None, None, arguments[len(streamed) :])
        elif arguments:
            self._halves.pop((0, call.index), None)
            call.pieces = [arguments]

    # Ends

    def _terminal(self, status: str, response: JsonObject, out: list[Delta]) -> None:
        said = response.get("status")
        if type(said) is str and said in ("incomplete", "failed", "cancelled"):
            status = said
        self._snapshot(response, out)
        consistent = self._catch_up(response.get("output"), out)
        self.done = self._terminated = True
        if status == "completed":
            self._overrule_failure(consistent)
            # A server that numbers all its events 0 does not count.
            if self._disordered and self.last_sequence and response.get("output") and not consistent:
                self._fail(Failure("events were lost or duplicated: the server's complete text differs"))
            elif _has_text(response.get("output")) and not consistent:
                self._note(_CONTRADICTION)
            elif self._disordered and self.last_sequence and self._open and not response.get("output"):
                self._note("events may be missing: their sequence numbers jump, and the last one has no text")
            self._finish(out, "stop")
        elif status == "incomplete":
            details = response.get("incomplete_details")
            reason = word(details.get("reason")) if type(details) is dict else None
            self._finish(out, reason or "incomplete")
        elif status == "cancelled":
            self._finish(out, "cancelled")
        else:
            self._complete(out)
            self._fail(failures.read(response.get("error")))

    def _overrule_failure(self, consistent: bool) -> None:
        """Forget an error from which the server recovered: it says that the response is complete.

        An event that could not be read is forgotten only if the complete response shows that nothing of its text is missing.
        """
        if self.failure is not None and (consistent or self.failure.type != failures.MALFORMED_EVENT):
            self.failure = None


def _has_text(output: object) -> bool:
    return any(_parts_of(item, 0) for item in output if type(item) is dict) if type(output) is list else False


def _key(kind: str, chunk: JsonObject) -> tuple[str, int, int]:
    output_index = chunk.get("output_index")
    index = chunk.get("summary_index" if kind == SUMMARY else "content_index")
    return (kind, output_index if type(output_index) is int else 0, index if type(index) is int else 0)


def _parts_of(item: JsonObject, output_index: int) -> list[tuple[tuple[str, int, int], str]]:
    """Return the parts of a complete item that hold text, each with its key."""
    parts = []
    for field in ("summary", "content"):
        contents = item.get(field)
        for index, part in enumerate(contents if type(contents) is list else ()):
            kind, text = _text_of(part)
            if kind:
                parts.append(((kind, output_index, index), whole(text)))
    return parts


def _text_of(part: Any) -> tuple[str, str]:
    """Return the kind and the text of a part that holds text, "" twice for any other."""
    type_ = part.get("type") if type(part) is dict else None
    if type(type_) is not str or type_ not in _PART_KINDS:
        return "", ""
    kind, name = _PART_KINDS[type_]
    text = part.get(name)
    return (kind, text) if type(text) is str else ("", "")
