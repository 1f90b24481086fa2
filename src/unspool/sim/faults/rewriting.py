"""Faults in what a stream says: each makes a rewriter, which is given a stream's frames one by one and returns what takes their place.

A frame is told by its JSON, not by its endpoint: a finish reason is where ``choices`` are, a terminal event where a
``response`` has ended. So these work on streams of any server.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from unspool.sim.faults.stream_plan import CLEAN, Close, Rewriter, Step
from unspool.sim.frames import DONE, Frame

# Where servers put what the model says. A field of such a name that is no text, such as the settings in "text", is gone into.
_TEXTS = frozenset({"content", "text", "delta", "reasoning", "reasoning_content", "refusal"})
_TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})

#: The shapes of an error inside a stream.
ERRORS = ("nested", "flat", "string", "object", "event", "failed", "field")
_MESSAGE = "The server had an error while processing your request. Sorry about that!"


def body_of(frame: Frame) -> dict[str, Any] | None:
    """The JSON object that a frame carries, None for anything else."""
    try:
        body = json.loads(frame.data)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def with_body(frame: Frame, body: dict[str, Any]) -> Frame:
    """The frame with another body."""
    changed = Frame.of(body, type=frame.type, tokens=frame.tokens, id=frame.id)
    if not changed.data.isascii():
        try:
            changed.data.encode()
        except UnicodeEncodeError:
            # Half a surrogate pair: UTF-8 cannot carry it, JSON's escapes can.
            changed.data = json.dumps(body, separators=(",", ":"))
    return changed


def malformed(at: int) -> Rewriter:
    """Cut the JSON of the event after ``at`` others in the middle."""

    def rewrite(frame: Frame, number: int) -> Sequence[Frame | Step]:
        return [Frame(frame.data[: len(frame.data) // 2], type=frame.type, id=frame.id) if number == at else frame]

    return _counted(rewrite)


def error(at: int, shape: str) -> Rewriter:
    """Send an error in place of all that follows ``at`` events, and the end mark where the stream would have one."""
    last: dict[str, Any] = {}

    def rewrite(frame: Frame, number: int) -> Sequence[Frame | Step]:
        body = body_of(frame) or {}
        last.update(body)
        if number < at:
            return [frame]
        is_response = "sequence_number" in last
        out: list[Frame | Step] = [_error(shape, last)] if shape != "field" else [_error_field()]
        return [*out, Close(CLEAN)] if is_response else [*out, DONE, Close(CLEAN)]

    return _counted(rewrite)


def _error(shape: str, last: dict[str, Any]) -> Frame:
    number = {"sequence_number": last["sequence_number"]} if "sequence_number" in last else {}
    whole = {"message": _MESSAGE, "type": "server_error", "param": None, "code": None}
    if shape == "failed":
        response = {**last.get("response", {}), "status": "failed", "output": []}
        response["error"] = {"code": "server_error", "message": _MESSAGE}
        return Frame.of({"type": "response.failed", **number, "response": response}, type="response.failed")
    if shape == "nested":
        if number:
            return Frame.of({"type": "error", **number, "error": whole}, type="error")
        return Frame.of({"error": whole})
    if shape == "flat":
        if number:
            return Frame.of({"type": "error", "code": "server_error", **number, **_flat()}, type="error")
        return Frame.of({**_flat(), "type": "server_error", "code": "server_error"})
    if shape == "string":
        return Frame.of({"error": _MESSAGE})
    if shape == "object":
        return Frame.of({"object": "error", "message": _MESSAGE, "type": "InternalServerError", "code": 500})
    return Frame.of({"code": 500, "details": _MESSAGE}, type="error")


def _error_field() -> bytes:
    """An error as llama.cpp sent it before its rewrite of 2025: in a field that no event stream has."""
    return b"error: %b\n\n" % json.dumps({"code": 500, "message": _MESSAGE, "type": "server_error"}).encode()


def _flat() -> dict[str, Any]:
    return {"message": _MESSAGE, "param": None}


def sequence(how: str) -> Rewriter:
    """Have events of the Responses API ``duplicated``, ``lost`` or ``reordered`` from the fifth on, or ``missing`` their numbers."""
    held: list[Frame] = []

    def rewrite(frame: Frame | None) -> Sequence[Frame | Step]:
        if frame is None:
            rest = held[:]
            held.clear()
            return rest
        body = body_of(frame)
        number = body.get("sequence_number") if body is not None else None
        if body is None or number is None:
            return [frame]
        if how == "missing":
            del body["sequence_number"]
            return [with_body(frame, body)]
        if how == "duplicated":
            return [frame, frame] if number >= 4 and number % 2 == 0 else [frame]
        if how == "lost":
            return [] if number == 6 else [frame]
        if number == 6:
            held.append(frame)
            return []
        out = [frame, *held]
        held.clear()
        return out

    return rewrite


def done(how: str) -> Rewriter:
    """Have the end mark ``on`` where there is none, ``off``, ``twice``, ``spaced`` or followed by ``more``."""
    seen: list[bool] = []
    first: list[Frame] = []

    def rewrite(frame: Frame | None) -> Sequence[Frame | Step]:
        if frame is None:
            if how != "off" and not seen:
                return _marks(how, first)
            return []
        if frame.data == DONE.data:
            seen.append(True)
            return [] if how == "off" else _marks(how, first)
        if not first:
            first.append(frame)
        return [frame]

    return rewrite


def _marks(how: str, first: list[Frame]) -> list[Frame]:
    if how == "twice":
        return [DONE, DONE]
    if how == "spaced":
        return [Frame("[DONE]  ")]
    return [DONE, *first] if how == "more" else [DONE]


def without_finish() -> Rewriter:
    """Leave out why the answer ended: every finish reason is null, and no response reaches its terminal event."""

    def rewrite(frame: Frame) -> Sequence[Frame | Step]:
        body = body_of(frame)
        if body is None:
            return [frame]
        if body.get("type") in _TERMINAL:
            return []
        if not any(choice.get("finish_reason") for choice in _choices(body)):
            return [frame]
        for choice in _choices(body):
            choice["finish_reason"] = None
        return [with_body(frame, body)]

    return each(rewrite)


def finish(reason: str) -> Rewriter:
    """End the answer for another reason; a response that ends for one other than ``stop`` is incomplete."""

    def rewrite(frame: Frame) -> Sequence[Frame | Step]:
        body = body_of(frame)
        if body is None:
            return [frame]
        if body.get("type") in _TERMINAL and reason != "stop":
            body["type"] = "response.incomplete"
            why = "max_output_tokens" if reason == "length" else reason
            body["response"] |= {"status": "incomplete", "incomplete_details": {"reason": why}}
            return [Frame.of(body, type=body["type"], id=frame.id)]
        ended = [choice for choice in _choices(body) if choice.get("finish_reason")]
        for choice in ended:
            choice["finish_reason"] = reason
        return [with_body(frame, body)] if ended else [frame]

    return each(rewrite)


def keepalive(every: int) -> Rewriter:
    """Send a ``keepalive`` event before each of so many. At the Responses API they are numbered with the others."""
    sent: list[int] = [0]

    def rewrite(frame: Frame, number: int) -> Sequence[Frame | Step]:
        out: list[Frame | Step] = []
        body = body_of(frame)
        count = body.get("sequence_number") if body is not None else None
        if number and number % every == 0:
            alive: dict[str, Any] = {"type": "keepalive"}
            if count is not None:
                alive["sequence_number"] = count + sent[0]
                sent[0] += 1
            out.append(Frame.of(alive, type="keepalive"))
        if body is not None and count is not None and sent[0]:
            frame = with_body(frame, {**body, "sequence_number": count + sent[0]})
        return [*out, frame]

    return _counted(rewrite)


def usage(where: str) -> Rewriter:
    """Move the count of tokens: to the ``finish`` chunk, to ``every`` one, into ``x_groq``, or to ``none``."""
    # The chunks from the first finish reason on, until the counts have come.
    held: list[Frame] = []

    def rewrite(frame: Frame | None) -> Sequence[Frame | Step]:
        body = body_of(frame) if frame is not None else None
        if frame is None or body is None:
            out, held[:] = [*held, *([frame] if frame is not None else [])], []
            return out
        if "response" in body and where == "none":
            body["response"]["usage"] = None
            return [with_body(frame, body)]
        if "choices" not in body:
            return [frame]
        counts = body.pop("usage", None)
        if not body["choices"] and counts:
            if where == "none" or not held:
                return []
            *others, last = held
            held.clear()
            ended = body_of(last) or {}
            extra = {"x_groq": {"id": "req_sim", "usage": counts}} if where == "x_groq" else {"usage": counts}
            return [*others, with_body(last, {**ended, **extra})]
        if where == "every":
            body["usage"] = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        frame = with_body(frame, body)
        if where != "none" and (held or any(choice.get("finish_reason") for choice in _choices(body))):
            held.append(frame)
            return []
        return [frame]

    return rewrite


def texts(change: Callable[[str], str]) -> Rewriter:
    """Change what the model says, character by character, so that a whole text is still the sum of its pieces."""

    def rewrite(frame: Frame) -> Sequence[Frame | Step]:
        body = body_of(frame)
        return [frame] if body is None else [with_body(frame, _changed(body, change))]

    return each(rewrite)


def halved_characters(character: str) -> Rewriter:
    """Send each event with this character in two, each with half of it: JSON can write the halves of a surrogate pair."""
    encoded = character.encode("utf-16-be")
    first, second = (chr(int.from_bytes(encoded[at : at + 2], "big")) for at in (0, 2))

    def rewrite(frame: Frame) -> Sequence[Frame | Step]:
        body = body_of(frame)
        if body is None or character not in frame.data:
            return [frame]
        if "choices" not in body and not str(body.get("type")).endswith(".delta"):
            # A whole text, where the character is whole too.
            return [frame]
        ours = _changed(body, lambda text: text.partition(character)[0] + first if character in text else text)
        rest = _changed(body, lambda text: second + text.partition(character)[2] if character in text else text)
        return [with_body(frame, ours), with_body(frame, rest)]

    return each(rewrite)


def renumbered() -> Rewriter:
    """Count the events of the Responses API anew, for rewriters before this one that add some or leave some out."""
    count = [0]

    def rewrite(frame: Frame) -> Sequence[Frame | Step]:
        body = body_of(frame)
        if body is None or "sequence_number" not in body:
            return [frame]
        body["sequence_number"] = count[0]
        count[0] += 1
        return [with_body(frame, body)]

    return each(rewrite)


def each(rewrite: Callable[[Frame], Sequence[Frame | Step]]) -> Rewriter:
    """The rewriter that treats each frame by itself and holds none back."""
    return lambda frame: [] if frame is None else rewrite(frame)


def _counted(rewrite: Callable[[Frame, int], Sequence[Frame | Step]]) -> Rewriter:
    """The same for one that wants to know how many frames came before."""
    count = [-1]

    def counting(frame: Frame) -> Sequence[Frame | Step]:
        count[0] += 1
        return rewrite(frame, count[0])

    return each(counting)


def _choices(body: dict[str, Any]) -> list[dict[str, Any]]:
    choices = body.get("choices")
    return [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {
            key: change(inner) if key in _TEXTS and isinstance(inner, str) else _changed(inner, change)
            for key, inner in value.items()
        }
    return [_changed(inner, change) for inner in value] if isinstance(value, list) else value
