"""The forms in which an answer goes to stdout: ``--format text|json|stream-json|sse``."""

from __future__ import annotations

from unspool.api.deltas import Finish, Reasoning, Refusal, Started, Text, ToolCall, ToolCallDelta, Usage
from unspool.jsontext import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from unspool.api.deltas import Delta
    from unspool.outcome import Ending
    from unspool.sse import Event
    from unspool.terminal.output import Output

NAMES = ("text", "json", "stream-json", "sse")

#: The version of the shape of ``stream-json`` and ``json``; it changes when a field's meaning does.
VERSION = 1


class TextFormat:
    """The answer's text as it arrives: to the letter into a pipe or file, made safe for a terminal.

    Of several choices the first streams and the others follow it.
    """

    def __init__(self, output: Output) -> None:
        self._output = output
        self._others: dict[int, list[str]] = {}
        self.tool_calls: list[ToolCall] = []

    def show(self, deltas: list[Delta], events: list[Event], at: float) -> None:
        """Write what the deltas add to the text, in one go."""
        texts = []
        for delta in deltas:
            if type(delta) is Text or type(delta) is Refusal:
                if delta.choice == 0:
                    texts.append(delta.text)
                else:
                    self._others.setdefault(delta.choice, []).append(delta.text)
            elif type(delta) is ToolCall:
                self.tool_calls.append(delta)
        if texts:
            self._put("".join(texts))

    def close(self, ending: Ending, id: str | None) -> None:
        """Write what was kept back, and on a terminal the line end that the answer lacks."""
        for choice in sorted(self._others):
            self._put(f"\n\n[choice {choice + 1}]\n" + "".join(self._others[choice]))
        if self._output.is_tty and not self._output.at_line_start:
            self._output.write("\n")

    def _put(self, text: str) -> None:
        self._output.write(self._output.safe(text))


class StreamJsonFormat:
    """One JSON object a line for each delta, the same for all endpoints, and ``{"type":"end",…}`` last."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def show(self, deltas: list[Delta], events: list[Event], at: float) -> None:
        """Write the deltas of one turn."""
        lines = []
        for delta in deltas:
            described = describe(delta)
            # To the millisecond, as in the journal.
            described["at"] = round(at, 3)
            lines.append(dumps(described) + "\n")
        if lines:
            self._output.write(self._output.safe("".join(lines)))

    def close(self, ending: Ending, id: str | None) -> None:
        """Write how it ended."""
        line = dumps({"type": "end", "version": VERSION, "id": id, **describe_ending(ending)})
        self._output.write(self._output.safe(line + "\n"))


class JsonFormat:
    """One JSON object when all has arrived."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._texts: dict[int, list[str]] = {}
        self._reasoning: list[str] = []
        self._refusal: list[str] = []
        self._calls: list[dict[str, Any]] = []
        self._usage: dict[str, Any] | None = None
        self._started = Started(None, None)

    def show(self, deltas: list[Delta], events: list[Event], at: float) -> None:
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
            "choices": list(texts.values()),
            "reasoning": "".join(self._reasoning),
            "refusal": "".join(self._refusal),
            "tool_calls": self._calls,
            "usage": self._usage,
            **describe_ending(ending),
        }
        self._output.write(self._output.safe(dumps(value) + "\n"))


class SseFormat:
    """The server's own events, as an event stream."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._last_id = ""

    def show(self, deltas: list[Delta], events: list[Event], at: float) -> None:
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


FORMATS = {"text": TextFormat, "stream-json": StreamJsonFormat, "json": JsonFormat, "sse": SseFormat}


def describe(delta: Delta) -> dict[str, Any]:
    """A delta as a JSON object."""
    match delta:
        case Text(text, choice):
            return {"type": "text", "text": text, "choice": choice}
        case Started(id, model):
            return {"type": "start", "version": VERSION, "response_id": id, "model": model}
        case Reasoning(text, choice, kind):
            return {"type": "reasoning", "text": text, "kind": kind, "choice": choice}
        case Refusal(text, choice):
            return {"type": "refusal", "text": text, "choice": choice}
        case ToolCallDelta(index, id, name, arguments, choice):
            return {
                "type": "tool_call_delta",
                "index": index,
                "id": id,
                "name": name,
                "arguments": arguments,
                "choice": choice,
            }
        case ToolCall(index, id, name, arguments, choice):
            return {
                "type": "tool_call",
                "index": index,
                "id": id,
                "name": name,
                "arguments": arguments,
                "choice": choice,
            }
        case Usage(input, output, total, cached, reasoning, _):
            return {
                "type": "usage",
                "input_tokens": input,
                "output_tokens": output,
                "total_tokens": total,
                "cached_tokens": cached,
                "reasoning_tokens": reasoning,
            }
        case Finish(reason, choice):
            return {"type": "finish", "reason": reason, "choice": choice}
    return {"type": "failure", "message": getattr(delta, "message", "")}


def describe_ending(ending: Ending) -> dict[str, Any]:
    """An ending as the fields of a JSON object."""
    failure = ending.failure
    return {
        "outcome": ending.outcome,
        "exit_code": ending.exit_code,
        "finish_reason": ending.finish_reason,
        "message": ending.message or None,
        "status": failure.status if failure else None,
        "code": failure.code if failure else None,
        "request_id": failure.request_id if failure else None,
    }
