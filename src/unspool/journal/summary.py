"""A journal in summary: what was asked, what was answered, how it ended.

Listing, searching, exporting and continuing a conversation read summaries; `unspool.journal.replay` reads the journals for them.
"""

from __future__ import annotations

import time

from unspool import api, outcome
from unspool.api.conversation import answer, note, plain
from unspool.api.deltas import Reasoning, Refusal, Text, ToolCall, ToolCallDelta
from unspool.api.parts import Item
from unspool.journal import folder as folders
from unspool.journal import reader, ulid
from unspool.journal.replay import Replay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.api.deltas import Delta, Failure, Usage
    from unspool.journal.toolruns import ToolRun
    from unspool.jsontext import JsonObject

# What says that the answer has begun: the first of these ends the wait for the first token.
_CONTENT = (Text, Refusal, Reasoning, ToolCallDelta)


#: What the model is asked where the rest of a cut answer is wanted, after that answer as its last message.
GO_ON = (
    "Your last message was cut off by a lost connection. Continue it from exactly where it stops, in the middle of a word if "
    "need be. Repeat nothing of it, and say nothing about it."
)


class NoJournal(ValueError):
    """A file that is not a journal, or its version is not supported. The message names the file."""


class Summary:
    """What one journal says.

    - ``id``, ``path``, ``size`` (bytes read); ``time``, when it was asked, in RFC 3339; ``parent``, the id of the stream whose
      conversation this one continues, or None.
    - Asked: ``api``, ``url``, ``profile``, ``model``, ``choices`` and ``body``, the request to the letter; of the body ``system`` and
      ``messages``, in the form of Chat Completions whatever the endpoint was. ``asked`` are those that are not history.
    - Answered: ``texts``, one for each choice, refusals included, as viewers show them; ``reasoning``, ``refusal``,
      ``tool_calls`` and what became of them (``tool_runs``, by their ids; ``tool_sources`` is where the tools came from), ``usage``;
      ``turn`` is the first choice as the next turn repeats it, empty where nothing came; the server's own ``response_id``, ``response_model`` and ``request_id``; ``stream_id``, under
      which a gateway keeps the stream.
    - Ended: ``outcome``, one of the words of `unspool.outcome`; ``message``, ``finish_reason``, ``failure`` (the
      error that the server reported) and ``signal``. ``is_final`` says that the server itself has ended the answer, well or
      not, so that nothing more of it can come.
    - Took: ``ttft`` and ``duration`` in seconds from the sending of the request, None where nothing came; ``attempts``.
    - ``damage`` is set when a part of the file is not what was written; all that came before it is in the summary.
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
        self.body: JsonObject = {}
        self.choices = 1
        self.system: str | None = None
        self.messages: list[JsonObject] = []
        self.texts: list[str] = []
        self.reasoning = ""
        self.refusal = ""
        self.tool_calls: list[ToolCall] = []
        self.tool_runs: dict[str, ToolRun] = {}
        self.tool_sources: list[str] = []
        self.turn: list[JsonObject] = []
        self.usage: Usage | None = None
        self.response_id: str | None = None
        self.response_model: str | None = None
        self.request_id: str | None = None
        self.stream_id: str | None = None
        self.outcome = outcome.INTERRUPTED
        self.message = ""
        self.finish_reason: str | None = None
        self.failure: Failure | None = None
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
    def history(self) -> list[JsonObject]:
        """What was asked as the next turn repeats it: the messages, and the items that have no such form."""
        return api.endpoint(self.api).history(self.body) if self.api in api.NAMES else self.messages

    @property
    def asked(self) -> list[JsonObject]:
        """The messages that this stream adds to its conversation: those after the last answer among them."""
        return _new(self.messages)

    @property
    def question(self) -> str:
        """The text of what a person asked, without the history. For an answer that continues a cut one it is the cut one's question."""
        messages = self.messages
        while len(messages) > 1 and messages[-1].get("content") == GO_ON:
            messages = messages[:-2]
        texts = [plain(message.get("content")) for message in _new(messages)]
        return "\n\n".join(text for text in texts if text)


def read(path: str) -> Summary:
    """Return the summary of a journal, also of one that is still being written.

    Raises NoJournal for a file that is none, OSError for one that cannot be read. Needs the memory of what was said once, and
    of nothing else in the journal.
    """
    found = Summary(path)
    alive = False
    with reader.Reader(path) as journal:
        builder = _Builder(found, journal)
        builder.read()
        if not journal.ended and journal.damage is None:
            alive = reader.is_alive(path)
            if not alive:
                # Its writer may have come to the end after we had read, and before we asked whether it lives.
                builder.read()
        builder.close()
        damage = journal.damage
        if damage is not None:
            if damage.offset == 0:
                raise NoJournal(f"{path}: {damage.reason}")
            found.damage = damage
            found.outcome = outcome.DAMAGED
            found.message = f"damaged at byte {damage.offset}: {damage.reason}"
        elif alive:
            found.outcome = outcome.RUNNING
        found.size = journal.position
    if not found.time:
        seconds, milliseconds = divmod(ulid.milliseconds(found.id), 1000) if ulid.is_ulid(found.id) else (0, 0)
        found.time = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{milliseconds:03d}Z"
    return found


def conversation(folder: str, id: str) -> list[Summary]:
    """Return a stream and those that it continues, oldest first.

    A parent that is no longer kept, or cannot be read, ends the chain: what it said is still in the messages of its child.
    """
    found = [read(folders.path_of(folder, id))]
    seen = {id}
    while (parent := found[-1].parent) and ulid.is_ulid(parent) and parent not in seen:
        seen.add(parent)
        try:
            found.append(read(folders.path_of(folder, parent)))
        except (OSError, ValueError):
            break
    found.reverse()
    return found


def _new(messages: list[JsonObject]) -> list[JsonObject]:
    """The messages after the last answer among them."""
    for at in range(len(messages) - 1, -1, -1):
        if messages[at].get("role") == "assistant":
            return messages[at + 1 :] or messages
    return messages


class _Builder:
    """Reads a journal's answer, a turn at a time, and fills in its summary."""

    def __init__(self, found: Summary, journal: reader.Reader) -> None:
        self._summary = found
        self._replay = Replay(journal)
        self._texts: dict[int, list[str]] = {}
        self._reasoning: list[str] = []
        self._refusal: list[str] = []
        self._parts: list[tuple[int, ToolCall | Item]] = []

    def read(self) -> None:
        """Read all that the journal holds by now."""
        replay, found = self._replay, self._summary
        for deltas, _, at in replay.turns():
            self._add(deltas)
            if found.ttft is None and replay.body is None and any(isinstance(delta, _CONTENT) for delta in deltas):
                found.ttft = at
                replay.by_time = False

    def close(self) -> None:
        """Put together what came in pieces."""
        replay, found = self._replay, self._summary
        self._add(replay.close())
        request, end, decoder = replay.request, replay.end, replay.decoder
        if request is not None:
            found.api, found.url, found.profile, found.model = request.api, request.url, request.profile, request.model
            found.time, found.parent, found.body = request.time, request.parent, request.body
            found.choices = request.choices
            found.tool_sources = request.tools or []
            found.system, found.messages = request.conversation()
        if end is not None:
            found.outcome, found.message, found.finish_reason = end.outcome, end.message, end.finish_reason
            found.failure, found.signal = end.failure, end.signal
        if decoder is not None:
            found.usage = decoder.usage
            found.response_id = decoder.response_id
            found.response_model = decoder.model
            if found.finish_reason is None and decoder.finish_reasons:
                found.finish_reason = decoder.finish_reasons[min(decoder.finish_reasons)]
        found.is_final = replay.is_final
        found.tool_runs = replay.tool_runs
        found.request_id = replay.request_id
        found.stream_id = replay.stream_id
        found.attempts = replay.attempts
        found.duration = replay.ended_at
        if found.duration is None and replay.at:
            found.duration = replay.at
        choices = max(self._texts, default=-1) + 1
        # A server may number choices freely; do not create a million empty ones.
        numbers = range(choices) if choices <= 2 * len(self._texts) + 16 else sorted(self._texts)
        found.texts = ["".join(self._texts.get(number, ())) for number in numbers]
        found.reasoning = "".join(self._reasoning)
        found.refusal = "".join(self._refusal)
        if decoder is not None and (found.text or self._parts):
            found.turn = answer(found.text, self._parts, decoder.reasoning_fields(found.reasoning))

    def _add(self, deltas: list[Delta]) -> None:
        for delta in deltas:
            if type(delta) is Text:
                self._texts.setdefault(delta.choice, []).append(delta.text)
            elif type(delta) is Refusal:
                self._texts.setdefault(delta.choice, []).append(delta.text)
                self._refusal.append(delta.text)
            elif type(delta) is Reasoning:
                self._reasoning.append(delta.text)
            elif type(delta) is ToolCall:
                self._summary.tool_calls.append(delta)
                self._note(delta)
            elif type(delta) is Item:
                self._note(delta)

    def _note(self, part: ToolCall | Item) -> None:
        if part.choice == 0:
            note(self._parts, self._texts.get(0, []), part)
