"""A journal as a story: what was asked, what was answered, how it ended.

This is the one place where a journal's records and an endpoint's decoder meet to say what a stream was about; listing,
searching, exporting and going on with a conversation all read stories.
"""

from __future__ import annotations

import time

from unspool import api, outcome
from unspool.api.conversation import plain
from unspool.api.deltas import Reasoning, Refusal, Text, ToolCall, ToolCallDelta
from unspool.journal import folder as folders
from unspool.journal import reader, record, ulid
from unspool.jsontext import clean, from_json, rescue
from unspool.sse import Event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from unspool.api.decoder import Decoder
    from unspool.api.deltas import Delta, Usage
    from unspool.journal.record import Record

# What says that the answer has begun: the first of these ends the wait for the first token.
_CONTENT = (Text, Refusal, Reasoning, ToolCallDelta)


#: What the model is asked where the rest of a cut answer is wanted, after that answer as its last message.
GO_ON = (
    "Your last message was cut off by a lost connection. Continue it from exactly where it stops, in the middle of a word if "
    "need be. Repeat nothing of it, and say nothing about it."
)


class NoJournal(ValueError):
    """A file that is not a journal, or not of a version this program reads. The message names the file."""


class Summary:
    """What one journal tells.

    - ``id``, ``path``, ``size`` (bytes read); ``time``, when it was asked, in RFC 3339; ``parent``, the id of the stream whose
      conversation this one goes on with, or None.
    - Asked: ``api``, ``url``, ``profile``, ``model``, and ``body``, the request to the letter; of the body ``system`` and
      ``messages``, in the form of Chat Completions whatever the endpoint was. ``asked`` are those that are not history.
    - Answered: ``texts``, one for each choice, refusals included, as viewers show them; ``reasoning``, ``refusal``,
      ``tool_calls``, ``usage``; the server's own ``response_id``, ``response_model`` and ``request_id``.
    - Ended: ``outcome``, one of the words of `unspool.outcome`; ``message``, ``finish_reason``, ``failure`` (the fields of the
      error that the server reported) and ``signal``. ``is_final`` says that the server itself has ended the answer, well or
      not, so that nothing more of it can come.
    - Took: ``ttft`` and ``duration`` in seconds from the sending of the request, None where nothing came; ``attempts``.
    - ``damage`` is set when a part of the file is not what was written; all that came before it is told.
    """

    def __init__(self, path: str) -> None:
        self.id = folders.id_of(path)
        self.path = path
        self.size = 0
        self.time = ""
        self.parent: str | None = None
        self.api = ""
        self.url = ""
        self.profile = ""
        self.model = ""
        self.body: dict[str, Any] = {}
        self.system: str | None = None
        self.messages: list[dict[str, Any]] = []
        self.texts: list[str] = []
        self.reasoning = ""
        self.refusal = ""
        self.tool_calls: list[ToolCall] = []
        self.usage: Usage | None = None
        self.response_id: str | None = None
        self.response_model: str | None = None
        self.request_id: str | None = None
        self.outcome = outcome.INTERRUPTED
        self.message = ""
        self.finish_reason: str | None = None
        self.failure: dict[str, Any] = {}
        self.signal: int | None = None
        self.is_final = False
        self.ttft: float | None = None
        self.duration: float | None = None
        self.attempts = 1
        self.damage: reader.Damage | None = None

    @property
    def text(self) -> str:
        """The text of the first choice."""
        return self.texts[0] if self.texts else ""

    @property
    def asked(self) -> list[dict[str, Any]]:
        """The messages that this stream adds to its conversation: those after the last answer among them."""
        return _new(self.messages)

    @property
    def question(self) -> str:
        """The text of what a person asked, without the history. Of an answer that goes on with a cut one, that is what the cut one was asked."""
        messages = self.messages
        while len(messages) > 1 and messages[-1].get("content") == GO_ON:
            messages = messages[:-2]
        texts = [plain(message.get("content")) for message in _new(messages)]
        return "\n\n".join(text for text in texts if text)


def read(path: str) -> Summary:
    """Return the story of a journal, also of one that is still being written.

    Raises NoJournal for a file that is none, OSError for one that cannot be read. Needs the memory of what was said once, and
    of nothing else in the journal.
    """
    story = Summary(path)
    teller = _Teller(story)
    with reader.Reader(path) as journal:
        teller.take_all(journal)
        if not journal.ended and journal.damage is None:
            if reader.is_alive(path):
                story.outcome = outcome.RUNNING
            else:
                # Its writer may have come to the end after we had read, and before we asked whether it lives.
                teller.take_all(journal)
        if journal.damage is not None:
            if journal.damage.offset == 0:
                raise NoJournal(f"{path}: {journal.damage.reason}")
            story.damage = journal.damage
            story.outcome = outcome.DAMAGED
            story.message = f"damaged at byte {journal.damage.offset}: {journal.damage.reason}"
        story.size = journal.position
    teller.close()
    if not story.time:
        seconds, milliseconds = divmod(ulid.milliseconds(story.id), 1000)
        story.time = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{milliseconds:03d}Z"
    return story


def conversation(folder: str, id: str) -> list[Summary]:
    """Return a stream and those it goes on from, oldest first.

    A parent that is no longer kept, or cannot be read, ends the way back: what it said is still in the messages of its child.
    """
    stories = [read(folders.path_of(folder, id))]
    seen = {id}
    while (parent := stories[-1].parent) and ulid.is_ulid(parent) and parent not in seen:
        seen.add(parent)
        try:
            stories.append(read(folders.path_of(folder, parent)))
        except (OSError, ValueError):
            break
    stories.reverse()
    return stories


def _new(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages after the last answer among them."""
    for at in range(len(messages) - 1, -1, -1):
        if messages[at].get("role") == "assistant":
            return messages[at + 1 :] or messages
    return messages


class _Teller:
    """Takes the records of a journal, a batch at a time, and fills in its story."""

    def __init__(self, story: Summary) -> None:
        self._story = story
        self._decoder: Decoder | None = None
        self._texts: dict[int, list[str]] = {}
        self._reasoning: list[str] = []
        self._refusal: list[str] = []
        self._last_at: float | None = None

    def take_all(self, journal: reader.Reader) -> None:
        """Take all that the journal holds by now."""
        for records in journal.batches():
            self._take(records)

    def close(self) -> None:
        """Say that there is no more: put together what came in pieces."""
        story = self._story
        if self._decoder is not None:
            self._keep(self._decoder.close())
            story.is_final = self._decoder.ended or self._decoder.failure is not None
            story.usage = self._decoder.usage
            story.response_id = self._decoder.response_id
            story.response_model = self._decoder.model
            if story.finish_reason is None and self._decoder.finish_reasons:
                story.finish_reason = self._decoder.finish_reasons[min(self._decoder.finish_reasons)]
        choices = max(self._texts, default=-1) + 1
        # A server may number its choices as it likes; a million empty ones help nobody.
        numbers = range(choices) if choices <= 2 * len(self._texts) + 16 else sorted(self._texts)
        story.texts = ["".join(self._texts.get(number, ())) for number in numbers]
        story.reasoning = "".join(self._reasoning)
        story.refusal = "".join(self._refusal)
        if story.duration is None:
            story.duration = self._last_at

    def _take(self, records: list[Record]) -> None:
        events: list[Event] = []
        for one in records:
            if one.at is None:
                self._decode(events)
                events = []
                self._own(one)
                continue
            self._last_at = one.at
            if self._story.ttft is None and self._decoder is not None:
                # One by one until the answer begins, so that it is known when it did.
                deltas = self._decoder.decode([Event(one.type, one.data)])
                self._keep(deltas)
                if any(isinstance(delta, _CONTENT) for delta in deltas):
                    self._story.ttft = one.at
            else:
                events.append(Event(one.type, one.data))
        self._decode(events)

    def _decode(self, events: list[Event]) -> None:
        if events and self._decoder is not None:
            self._keep(self._decoder.decode(events))

    def _keep(self, deltas: list[Delta]) -> None:
        for delta in deltas:
            if type(delta) is Text:
                self._texts.setdefault(delta.choice, []).append(delta.text)
            elif type(delta) is Refusal:
                self._texts.setdefault(delta.choice, []).append(delta.text)
                self._refusal.append(delta.text)
            elif type(delta) is Reasoning:
                self._reasoning.append(delta.text)
            elif type(delta) is ToolCall:
                self._story.tool_calls.append(delta)

    def _own(self, one: Record) -> None:
        value = _object(one.data)
        story = self._story
        if one.type == record.REQUEST:
            self._request(value)
        elif one.type == record.ATTEMPT:
            if "redirect" not in value:
                story.attempts += 1
        elif one.type == record.RESPONSE:
            headers = value.get("headers")
            if type(headers) is dict:
                story.request_id = _word(headers.get("x-request-id")) or _word(headers.get("request-id"))
        elif one.type == record.BODY:
            if self._decoder is not None:
                self._keep(self._decoder.decode_body(_value(_word(value.get("text")))))
        elif one.type == record.END:
            story.outcome = _word(value.get("outcome")) or outcome.ERROR
            story.message = _word(value.get("message"))
            story.finish_reason = _word(value.get("finish_reason")) or None
            failure, signal, at = value.get("failure"), value.get("signal"), value.get("at")
            story.failure = failure if type(failure) is dict else {}
            story.signal = signal if type(signal) is int else None
            story.duration = float(at) if isinstance(at, int | float) else None
            story.request_id = _word(story.failure.get("request_id")) or story.request_id

    def _request(self, value: dict[str, Any]) -> None:
        story = self._story
        for name in ("api", "url", "profile", "model", "time"):
            setattr(story, name, _word(value.get(name)))
        story.parent = _word(value.get("parent")) or None
        body = value.get("body")
        story.body = body if type(body) is dict else {}
        n = story.body.get("n")
        # A tape may be of a request that asks for no answer, such as the list of models.
        if story.api in api.NAMES:
            endpoint = api.endpoint(story.api)
            story.system, story.messages = endpoint.messages(story.body)
            self._decoder = endpoint.decoder(n if type(n) is int and n > 0 else 1)
            self._decoder.reads_think_tags = value.get("think_tags") is not False


def _object(text: str) -> dict[str, Any]:
    value = _value(text)
    return value if type(value) is dict else {}


def _value(text: str) -> Any:
    try:
        return from_json(text.encode())
    except ValueError:
        try:
            return clean(rescue(text))
        except ValueError:
            return None


def _word(value: Any) -> str:
    return value if type(value) is str else ""
