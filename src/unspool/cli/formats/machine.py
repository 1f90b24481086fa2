"""The forms of output that programs read: ``--format json|stream-json|sse``."""

from __future__ import annotations

from unspool.api.deltas import Reasoning, Refusal, Started, Text, ToolCall, Usage, apart
from unspool.cli.formats import Format
from unspool.jsontext import dumps
from unspool.shape import VERSION, describe, describe_ending

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from unspool.api.deltas import Delta
    from unspool.jsontext import JsonObject
    from unspool.outcome import Ending
    from unspool.sse import Event
    from unspool.terminal.output import Output


class StreamJsonFormat(Format):
    """One JSON object a line for each delta, the same for all endpoints, and ``{"type":"end",…}`` last."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._stats: JsonObject | None = None

    def show(self, deltas: list[Delta], events: Iterable[Event], at: float) -> None:
        """Write the deltas of one turn."""
        lines = []
        for delta in apart(deltas):
            described = describe(delta)
            # To the millisecond, as in the journal.
            described["at"] = round(at, 3)
            lines.append(dumps(described) + "\n")
        if lines:
            self._output.write(self._output.safe("".join(lines)))

    def close(self, ending: Ending, id: str | None) -> None:
        """Write how it ended."""
        lines = [] if self._stats is None else [dumps(self._stats)]
        lines.append(dumps({"type": "end", "version": VERSION, "id": id, **describe_ending(ending)}))
        self._output.write(self._output.safe("\n".join(lines) + "\n"))

    def take_stats(self, facts: JsonObject) -> bool:
        """Write the facts before the end."""
        self._stats = facts
        return True


class JsonFormat(Format):
    """One JSON object when all has arrived, with the value of the text where that has to follow a schema."""

    awaits = "waiting for the complete answer"

    def __init__(self, output: Output) -> None:
        self._output = output
        self._stats: JsonObject | None = None
        self._texts: dict[int, list[str]] = {}
        self._reasoning: list[str] = []
        self._refusal: list[str] = []
        self._calls: list[JsonObject] = []
        self._usage: JsonObject | None = None
        self._started = Started(None, None)
        self._object: object = None

    def show(self, deltas: list[Delta], events: Iterable[Event], at: float) -> None:
        """Keep what arrived."""
        for delta in deltas:
            match delta:
                case Text(text, choice):
                    self._texts.setdefault(choice, []).append(text)
                case Reasoning(text, _, _):
                    self._reasoning.append(text)
                case Refusal(text, _):
                    self._refusal.append(text)
                case ToolCall():
                    self._calls.append(describe(delta))
                case Usage():
                    self._usage = describe(delta)
                case Started():
                    self._started = delta

    def close(self, ending: Ending, id: str | None) -> None:
        """Write the object."""
        for one in [*self._calls, self._usage or {}]:
            one.pop("type", None)
        texts = {choice: "".join(parts) for choice, parts in sorted(self._texts.items())}
        value = {
            "version": VERSION,
            "id": id,
            "response_id": self._started.id,
            "model": self._started.model,
            "text": texts.get(0, ""),
            "object": self._object,
            "choices": list(texts.values()),
            "reasoning": "".join(self._reasoning),
            "refusal": "".join(self._refusal),
            "tool_calls": self._calls,
            "usage": self._usage,
            **describe_ending(ending),
        }
        if self._stats is not None:
            value["stats"] = {name: fact for name, fact in self._stats.items() if name not in ("type", "version")}
        self._output.write(self._output.safe(dumps(value) + "\n"))

    def take_object(self, value: object) -> None:
        """Make the value the object's ``object``."""
        self._object = value

    def take_stats(self, facts: JsonObject) -> bool:
        """Make the facts the object's ``stats``."""
        self._stats = facts
        return True


class SseFormat(Format):
    """The server's own events, as an event stream."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._last_id = ""

    def show(self, deltas: list[Delta], events: Iterable[Event], at: float) -> None:
        """Write the events of one turn."""
        from unspool.sse import encode

        blocks = []
        for event in events:
            id = None if event.id == self._last_id else event.id
            self._last_id = event.id
            blocks.append(encode(event.data, type=event.type, id=id))
        if blocks:
            self._output.write(self._output.safe(b"".join(blocks).decode()))

    def close(self, ending: Ending, id: str | None) -> None:
        """Write nothing: how it ended is not the server's to say, and not ours to add to its events."""


FORMATS = {"stream-json": StreamJsonFormat, "json": JsonFormat, "sse": SseFormat}
