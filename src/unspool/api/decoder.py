"""What the three endpoints' decoders share: the facts of a stream, halves of characters, tool calls in pieces.

A decoder is fed events and yields deltas. It does no I/O, never raises on what a server sends, and remembers what is needed to
say how the stream ended; `unspool.outcome` turns those facts into words.

An error inside a stream is a fact (``failure``), not a delta: what follows may overrule it.
"""

from __future__ import annotations

from unspool.api import envelope
from unspool.api.deltas import (
    Delta,
    Failure,
    Finish,
    Reasoning,
    Refusal,
    Started,
    Text,
    ToolCall,
    ToolCallDelta,
    Usage,
    text_of,
)
from unspool.jsontext import clean, from_json, parse, rescue, whole
from unspool.sse import Event, Events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, TypeGuard

    from unspool.api.envelope import Envelope
    from unspool.api.thinking import ThinkTags
    from unspool.api.toolcalls import Call, Calls
    from unspool.jsontext import JsonObject

# Kinds of text, each with its own stream of characters.
TEXT = "text"
REFUSAL = "refusal"
REASONING = "raw"
SUMMARY = "summary"

# Signs of life that some servers send as events. What they carry, if anything, need not be JSON.
SIGNS_OF_LIFE = ("ping", "keepalive", "keep-alive", "heartbeat")


class Decoder:
    """Base of ``responses.Decoder``, ``chat.Decoder`` and ``completions.Decoder``.

    ``choices`` is the number of answers asked for (``n``).

    The facts, valid at any time:

    - ``response_id``, ``model``: the server's own, None until it says.
    - ``usage``: the last one it sent.
    - ``reads_think_tags``: whether ``<think>…</think>`` at the head of the text is reasoning; set it to False before the first event
      to leave the text as it is.
    - ``last_sequence``: the ``sequence_number`` of the last event that had one, which is what a resumed stream is asked to
      start after. Responses has them.
    - ``finish_reasons``: the reason of each choice that has ended, in the server's word; ``native_finish_reasons`` those that
      OpenRouter's providers gave, where it hands them on beside its own.
    - ``failure``: the error it reported inside the stream, or what in the stream could not be understood.
    - ``done``: the protocol's end mark was seen, nothing can follow: the connection may be closed.
    - ``notes``: sentences about what was odd and decided nothing, for a person.
    - ``service_tier``, ``system_fingerprint``: what served the answer, in the server's words, None where it does not say.
    - ``body``, ``headers``: the request body and the answer's headers, set by whoever knows; what was asked and who answers decides
      on ``reached_token_limit`` and ``hides_token_limit``, and on the tools that the model may call.
    - ``ended``: the end that the protocol defines was seen. A stream that stops before that was cut.
    """

    def __init__(self, choices: int = 1) -> None:
        self.choices = choices
        self.response_id: str | None = None
        self.model: str | None = None
        self.finish_reasons: dict[int, str] = {}
        self.native_finish_reasons: dict[int, str] = {}
        self.failure: Failure | None = None
        self.last_sequence: int | None = None
        self.done = False
        self.notes: list[str] = []
        self.service_tier: str | None = None
        self.system_fingerprint: str | None = None
        self.body: JsonObject | None = None
        self.headers: Mapping[str, str] = {}
        # Whether any part of an answer has come: text of any kind, a tool call.
        self._has_content = False
        # Whether a complete answer came as one body, in the form of whichever endpoint.
        self._is_whole = False
        self.reads_think_tags = True
        self._think_tags: ThinkTags | None = None
        self._started = False
        self._closed = False
        # The server's own usage object, read when asked for: some servers send one with every token.
        self._usage: JsonObject | None = None
        # The first half of a character that the last piece of a text ended in. The key is the text's choice and kind, or for
        # a tool call's arguments its choice and index. Nearly always empty, which is what the hot loops test.
        self._halves: dict[tuple[int, str | int], str] = {}
        self._calls: dict[int, Calls] = {}
        # What the chunks of this stream have in common, once one has taught it, and how many were learned since one has fitted.
        self._envelope: Envelope | None = None
        self._misfits = 0

    @property
    def ended(self) -> bool:
        """Whether the stream reached the end its protocol defines."""
        return self._is_whole or self._has_ended()

    def _has_ended(self) -> bool:
        raise NotImplementedError

    def what_is_missing(self) -> str:
        """Return a sentence on why a stream that was closed in good order has not ended."""
        if not self._has_content and self.done:
            return "the server sent [DONE] without an answer before it"
        if self.done:
            return "the server sent [DONE] before the answer's end"
        return "the server closed the stream before its end"

    @property
    def reached_token_limit(self) -> bool:
        """Whether the server counted all the tokens that were asked for at most, and may not say that it stopped there."""
        return False

    @property
    def hides_token_limit(self) -> bool:
        """Whether the server is known to end an answer as complete that it stopped at the token limit."""
        return False

    @property
    def usage(self) -> Usage | None:
        """The tokens counted, as the server last said."""
        return None if self._usage is None else _read_usage(self._usage)

    def decode(self, events: Iterable[Event]) -> list[Delta]:
        """Return the deltas that these events carry, in order. Events after the end mark are ignored.

        Pieces of text that follow each other may come as one: see `unspool.api.deltas.apart`.
        """
        out: list[Delta] = []
        for run in (events if type(events) is Events else Events.of(events)).runs:
            at = 0
            size = alike = len(run.utf8)
            while at < size and not self.done:
                if self._envelope is not None and not self._halves and run.type != "error":
                    chunks = run.utf8[at : at + alike] if at else run.utf8
                    taken = self._take_alike(chunks, b"".join(chunks) if at else run.together, out)
                    at += taken
                    if taken == len(chunks):
                        alike *= 2
                        continue
                    # Not all of the rest at once from now on: it would be looked at again after each that does not fit.
                    alike = 2 * taken + 1
                self._take_one(run.type, run.utf8[at], out)
                at += 1
        return self._without_think_tags(out) if self.reads_think_tags and out else out

    def decode_body(self, body: object) -> list[Delta]:
        """Return the deltas of a complete answer that came as one JSON object, unstreamed.

        The answer may have any endpoint's shape, for servers and proxies mix them up. Anything else yields nothing and leaves
        a ``failure``. `close` is still to be called.
        """
        if type(body) is dict and not body.get("error"):
            if type(body.get("choices")) is list:
                return self._without_think_tags(self._decode_as("chat", body))
            if type(body.get("output")) is list or body.get("object") == "response":
                return self._without_think_tags(self._decode_as("responses", body))
        from unspool.api import failure as failures

        self._fail(
            failures.recognise(body)
            or Failure("the server sent JSON that is not an answer", type=failures.UNRECOGNISED_BODY)
        )
        return []

    def reasoning_fields(self, reasoning: str) -> JsonObject:
        """Return the fields of an assistant's message in which this server wants the reasoning back that led to tool calls.

        ``reasoning`` is its text.
        """
        return {}

    def close(self) -> list[Delta]:
        """End the stream; return what was held back: half characters, complete tool calls, the usage."""
        out: list[Delta] = []
        if self._closed:
            return out
        self._closed = True
        self._complete(out)
        if self._think_tags is not None:
            out = self._think_tags.feed(out) + self._think_tags.close()
        usage = self.usage
        if usage is not None:
            out.append(usage)
        return out

    def _without_think_tags(self, deltas: list[Delta]) -> list[Delta]:
        """Turn reasoning at the head of the text into deltas of its own, until the head is over."""
        if not self.reads_think_tags:
            return deltas
        if self._think_tags is None:
            text = next((delta.text for delta in deltas if type(delta) is Text), None)
            if text is None:
                return deltas
            if self.choices == 1 and text[0] not in "<\n \t\r":
                self.reads_think_tags = False  # nearly every answer
                return deltas
            from unspool.api.thinking import ThinkTags

            self._think_tags = ThinkTags(self.choices)
        deltas = self._think_tags.feed(deltas)
        if self._think_tags.is_over:
            self._think_tags, self.reads_think_tags = None, False
        return deltas

    # What follows is for the endpoints' decoders. An ordinary piece of text goes through the first two methods; everything else
    # through `_take`, which also understands these.

    def _take_alike(self, chunks: list[bytes], together: bytes, out: list[Delta]) -> int:
        """Decode the first of these chunks, as many as the envelope fits, without parsing them. Returns how many those are.

        ``together`` is all of them joined.
        """
        known = self._envelope
        assert known is not None
        choice = known.place
        if len(chunks) == 1:
            text = known.text(together)
            if text is None:
                return 0
            if text:
                self._has_content = True
                out.append(Text(text.decode(), choice))
            self._misfits = 0
            return 1
        texts = known.texts(chunks, together)
        if texts:
            self._misfits = 0
            piece = text_of(texts)
            if piece.text:
                self._has_content = True
                out += [Text(text, choice) for text in piece.pieces] if choice else [piece]
        return len(texts)

    def _take_one(self, type: str, data: bytes, out: list[Delta]) -> None:
        """Decode one chunk, whatever it is."""
        try:
            chunk = from_json(data)
        except ValueError:
            self._take_unparsed(type, data.decode(), out)
            return
        plain = self._plain(chunk) if self._started and not self._halves and type != "error" else None
        if plain is None:
            self._take(type, chunk, out)
            return
        self._take_plain(chunk, plain, out)
        if self._misfits < envelope.PATIENCE:
            learned = self._learn(data, chunk, plain)
            if learned is not None:
                self._misfits += 1
                self._envelope = learned
        else:
            self._envelope = None  # there is nothing to be compared with any more

    def _plain(self, chunk: object) -> tuple[str, Any] | None:
        """Return the text of a chunk that adds a piece of text and says nothing else, and where it belongs; None for any other."""
        raise NotImplementedError

    def _take_plain(self, chunk: JsonObject, plain: tuple[str, Any], out: list[Delta]) -> None:
        """Decode a chunk of which `_plain` returned this."""
        raise NotImplementedError

    def _learn(self, data: bytes, chunk: JsonObject, plain: tuple[str, Any]) -> Envelope | None:
        """Learn such a chunk's envelope."""
        return envelope.learn(data, chunk, plain, self._plain)

    def _take(self, type: str, value: object, out: list[Delta]) -> None:
        """Decode the JSON value of one event of this type."""
        raise NotImplementedError

    def _decode_whole(self, body: JsonObject) -> list[Delta]:
        """Decode a complete answer of this endpoint's shape."""
        raise NotImplementedError

    def _decode_as(self, api: str, body: JsonObject) -> list[Delta]:
        """Decode a complete answer with another endpoint's decoder and copy its state."""
        from unspool.api import endpoint

        other = endpoint(api).decoder(self.choices)
        if type(self) is type(other):
            # Pieces of it may have been streamed before: only the missing part is new.
            return self._decode_whole(body)
        deltas = other._decode_whole(body)
        for fact in Decoder(self.choices).__dict__:
            if "think_tags" not in fact and fact not in ("body", "headers"):
                setattr(self, fact, getattr(other, fact))
        self._is_whole = other.ended
        return deltas

    def _take_unparsed(self, type: str, data: str, out: list[Delta]) -> None:
        """Decode an event whose data the fast parser rejected: the end mark, a sign of life, half a character, or broken."""
        # A gateway that frames a framed stream sends "data: data: {…}".
        data = data.strip().removeprefix("data:").lstrip()
        if type == "error":
            from unspool.api import failure as failures

            try:
                self._fail(failures.read(rescue(data)))
            except ValueError:
                self._fail(failures.read(data))
        elif data == "[DONE]":
            # The data must equal it: the same text inside an answer does not end it. One with blanks around it does.
            self.done = True
        elif data:
            try:
                value = rescue(data)
            except ValueError:
                self._take_lines(type, data, out)
            else:
                self._take(type, value, out)

    def _take_lines(self, type: str, data: str, out: list[Delta]) -> None:
        """Decode data that is no JSON text: several, one on each line, where a server leaves out the blank lines between events."""
        lines = data.split("\n")
        if len(lines) > 1 and all(map(is_event_data, lines)):
            for line in lines:
                if line.strip() and not self.done:
                    self._take_one(type, line.removeprefix("data:").encode(), out)
        elif type not in SIGNS_OF_LIFE and data.lower() not in SIGNS_OF_LIFE:
            from unspool.api import failure as failures

            self._fail(failures.malformed(data))

    def _note(self, sentence: str) -> None:
        """Record what was odd, once."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def _fail(self, failure: Failure) -> None:
        """Record an error. The first one stands, for later ones are its echo, but may add what it left out."""
        from unspool.api import failure as failures

        first = self.failure
        if first is None or (first.type == failures.MALFORMED_EVENT and failure.type != failures.MALFORMED_EVENT):
            self.failure = failure
        elif failure.type != failures.MALFORMED_EVENT:
            if first.message == failures.UNEXPLAINED:
                first.message = failure.message
            first.type = first.type or failure.type
            first.code = first.code or failure.code
            first.param = first.param or failure.param

    def _start(self, out: list[Delta], id: object = None, model: object = None) -> None:
        """Learn the answer's id and model, and tell of its start at the first of them.

        Azure's first chunk has both empty and says nothing yet.
        """
        self.response_id = self.response_id or word(id)
        self.model = self.model or word(model)
        if not self._started and (self.response_id or self.model):
            self._begin(out)

    def _begin(self, out: list[Delta]) -> None:
        if not self._started:
            self._started = True
            out.append(Started(self.response_id, self.model))

    def _add_other(self, out: list[Delta], delta: Delta) -> None:
        """Add a part of the answer that is no text and no tool call."""
        self._begin(out)
        self._has_content = True
        out.append(delta)

    def _piece(self, out: list[Delta], kind: str, text: str, choice: int = 0) -> str:
        """Add a piece of text of some kind, without half characters, and return what was added."""
        text = self._join((choice, kind), text)
        if text:
            self._begin(out)
            self._has_content = True
            out.append(_piece_of(kind, text, choice))
        return text

    def _join(self, key: tuple[int, str | int], text: str) -> str:
        """Return the text up to the end of this piece, and hold back half a character at its end."""
        text = self._halves.pop(key, "") + text
        if text and "\ud800" <= text[-1] <= "\udbff":
            self._halves[key] = text[-1]
            text = text[:-1]
        return whole(text)

    def _fragment(
        self, out: list[Delta], choice: int, index: int | None, id: str | None, name: str | None, arguments: str
    ) -> Call:
        """Add a fragment to the tool call that the server's index, id and name point at, and return the call."""
        calls = self._calls.get(choice)
        if calls is None:
            from unspool.api.toolcalls import Calls

            calls = self._calls[choice] = Calls()
        call = calls.find(index, id, name)
        self._fragment_of(call, out, choice, id, name, arguments)
        return call

    def _fragment_of(
        self, call: Call, out: list[Delta], choice: int, id: str | None, name: str | None, arguments: str
    ) -> None:
        new_id, new_name = call.learn(id, name)
        arguments = self._join((choice, call.index), arguments)
        if arguments:
            call.pieces.append(arguments)
        if new_id or new_name or arguments:
            self._begin(out)
            self._has_content = True
            out.append(ToolCallDelta(call.index, new_id, new_name, arguments, choice))

    def _whole_call(self, out: list[Delta], call: Call, choice: int) -> None:
        """Tell of a tool call whose last fragment has come, once."""
        if not call.emitted:
            call.emitted = True
            self._begin(out)
            if self._halves.pop((choice, call.index), None):
                call.pieces.append("\ufffd")
                out.append(ToolCallDelta(call.index, None, None, "\ufffd", choice))
            arguments = call.arguments
            if arguments and not call.is_text and type(parse(arguments)) is not dict:
                self._note(f"the model calls {call.name} with arguments that are not a JSON object")
            if self.body is not None and call.name:
                from unspool.api import tools

                if not tools.is_offered(call.name, self.body):
                    self._note(f"the model calls {call.name}, a tool that was not offered")
            kind = "custom" if call.is_text else "function"
            id = self._calls[choice].id_of(call)
            out.append(ToolCall(call.index, id, call.name or "", arguments, choice, kind, call.extra))

    def _finish(self, out: list[Delta], reason: str, choice: int = 0) -> None:
        """Tell of the end of a choice, once."""
        if choice not in self.finish_reasons:
            self._complete(out, choice)
            self._begin(out)
            self.finish_reasons[choice] = reason
            out.append(Finish(reason, choice))

    def _complete(self, out: list[Delta], choice: int | None = None) -> None:
        """Give out what is held back of one choice, or of all: half characters for which no other half came, tool calls."""
        for owner, calls in self._calls.items():
            if choice is None or owner == choice:
                for call in calls.all:
                    self._whole_call(out, call, owner)
        for key in [key for key in self._halves if choice is None or key[0] == choice]:
            del self._halves[key]
            if type(key[1]) is str:
                self._begin(out)
                out.append(_piece_of(key[1], "\ufffd", key[0]))


def failure_in(chunk: object) -> Failure | None:
    """Return the failure that a chunk tells of, None for a part of an answer."""
    if type(chunk) is dict and "choices" in chunk and not chunk.get("error") and "base_resp" not in chunk:
        return None  # nearly every chunk, which spares a short answer the import
    from unspool.api import failure as failures

    return failures.recognise(chunk)


def is_event_data(line: str) -> bool:
    """Return whether a line is all the data of an event: a JSON object, an end mark, a sign of life, or nothing."""
    line = line.removeprefix("data:").strip()
    if not line or line == "[DONE]" or line.lower() in SIGNS_OF_LIFE:
        return True
    return line[0] == "{" and line[-1] == "}" and type(parse(line)) is dict


def event_of_line(line: bytes) -> Event | None:
    """Return the event that a line is which is no field of an event stream, None where it is none.

    llama.cpp before its server of late 2025 sends ``error: {…}`` without a ``data:``, and some errors as JSON alone.
    """
    text = line.decode("utf-8", "replace").strip()
    name, _, value = text.partition(":")
    if name == "error":
        return Event("error", value.strip())
    return Event("message", text) if text[:1] == "{" and is_event_data(text) else None


def is_number(value: object) -> TypeGuard[int]:
    """Return whether a value counts or numbers something. Python refuses to print integers of thousands of digits."""
    return type(value) is int and -1 << 63 <= value < 1 << 63


def word(value: object) -> str | None:
    """Return a str that says something, None for anything else a field may hold."""
    return whole(value) if type(value) is str and value else None


def _piece_of(kind: str, text: str, choice: int) -> Delta:
    if kind == TEXT:
        return Text(text, choice)
    if kind == REFUSAL:
        return Refusal(text, choice)
    return Reasoning(text, choice, kind)


def _read_usage(raw: JsonObject) -> Usage:
    """Read a usage object in either naming: Chat and Completions say prompt and completion, Responses input and output."""
    return Usage(
        _count(raw, "input_tokens", "prompt_tokens"),
        _count(raw, "output_tokens", "completion_tokens"),
        _count(raw, "total_tokens"),
        _detail(raw, "cached_tokens", "input_tokens_details", "prompt_tokens_details"),
        _detail(raw, "reasoning_tokens", "output_tokens_details", "completion_tokens_details"),
        clean(raw),
    )


def _count(counts: JsonObject, *names: str) -> int | None:
    for name in names:
        count = counts.get(name)
        if is_number(count):
            return count
    return None


def _detail(raw: JsonObject, name: str, *places: str) -> int | None:
    for place in places:
        details = raw.get(place)
        if type(details) is dict:
            count = _count(details, name)
            if count is not None:
                return count
    return None
