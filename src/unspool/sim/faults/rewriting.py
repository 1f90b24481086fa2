"""Faults in what a stream says: each makes a rewriter, which is given a stream's frames one by one and returns what takes their place.

A frame is recognized by its JSON, not by its endpoint: a finish reason is where ``choices`` are, a terminal event where a
``response`` has ended. So these work on streams of any server.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from unspool.sim.faults.stream_plan import CLEAN, Close, Rewriter, Step
from unspool.sim.frames import DONE, Frame, JSONObject

# Where servers put what the model says. A field of such a name that is no text, such as the settings in "text", is gone into.
_TEXTS = frozenset({"content", "text", "delta", "reasoning", "reasoning_content", "refusal"})
_TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})

#: The shapes of an error inside a stream.
ERRORS = ("nested", "flat", "string", "object", "event", "failed", "field", "line")

# Marks a number in a patch, which stands in the event as it was written: JSON's reader would change 1e400 and 1.10.
_NUMBER = "\ue000"
_PATCH = json.JSONDecoder(
    parse_int=lambda digits: _NUMBER + digits + _NUMBER,
    parse_float=lambda digits: _NUMBER + digits + _NUMBER,
    parse_constant=lambda name: _NUMBER + name + _NUMBER,
)
# A patch is gone into by functions that call themselves.
_DEEPEST = 100
_WRITTEN = re.compile(f'"{_NUMBER}([^"]*){_NUMBER}"')


def body_of(frame: Frame) -> JSONObject | None:
    """The JSON object that a frame carries, None for anything else."""
    try:
        body = json.loads(frame.data)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def with_body(frame: Frame, body: JSONObject) -> Frame:
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


def error(at: int, shape: str | JSONObject, said: JSONObject, status: int) -> Rewriter:
    """Replace all that follows ``at`` events by an error, and the end mark where the stream would have one.

    ``said`` is OpenAI's error object; a ``shape`` that is an object is sent as it is.
    """
    last: JSONObject = {}

    def rewrite(frame: Frame, number: int) -> Sequence[Frame | Step]:
        last.update(body_of(frame) or {})
        if number < at:
            return [frame]
        sent = _event_of(shape, last) if isinstance(shape, dict) else _error(shape, said, status, last)
        return [sent, Close(CLEAN)] if "sequence_number" in last else [sent, DONE, Close(CLEAN)]

    return _counted(rewrite)


def _error(shape: str, said: JSONObject, status: int, last: JSONObject) -> Frame | bytes:
    number = {"sequence_number": last["sequence_number"]} if "sequence_number" in last else {}
    coded = {"code": status, "message": said["message"], "type": said["type"]}
    if shape in ("field", "line"):
        # A field that no event stream has, as llama.cpp before its rewrite of 2025; or a line without any.
        return (b"error: %b\n\n" if shape == "field" else b'{"error":%b}\n') % json.dumps(coded).encode()
    if shape == "failed":
        response = {**last.get("response", {}), "status": "failed", "output": []}
        response["error"] = {"code": said["code"] or said["type"], "message": said["message"]}
        return Frame.of({"type": "response.failed", **number, "response": response}, type="response.failed")
    if shape == "event":
        return Frame.of({"code": status, "details": said["message"]}, type="error")
    if shape in ("nested", "flat") and number:
        flat = {"code": said["code"] or said["type"], "message": said["message"], "param": said["param"]}
        return Frame.of(
            {"type": "error", **number, **({"error": said} if shape == "nested" else flat)},
            type="error",
        )
    if shape == "flat":
        return Frame.of({**said, "code": said["code"] or said["type"]})
    if shape == "object":
        return Frame.of({"object": "error", "message": said["message"], "type": "InternalServerError", "code": status})
    return Frame.of({"error": said["message"] if shape == "string" else said})


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
            alive: JSONObject = {"type": "keepalive"}
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


class Selector:
    """Selects events by terms joined by ``&``, all of which must hold.

    A term is ``each``; a number, the event after so many others; ``>N``, those after N; ``role``, ``text``, ``tool``, ``finish``,
    ``usage`` or ``done``, by what an event carries; ``FIELD=VALUE``, a field at any depth given by its path, such as ``choices.index=1``; or the
    ``type`` of an event.
    """

    def __init__(self, text: str) -> None:
        self._terms = [term.strip() for term in text.split("&")]
        if not all(self._terms):
            raise ValueError(f"{text!r} names no events")

    def __call__(self, frame: Frame, number: int) -> bool:
        body = body_of(frame) or ({"done": True} if frame.data == DONE.data else {})
        return self.holds(body, number)

    def holds(self, body: JSONObject, number: int = 0) -> bool:
        """Whether it selects an event with this body, after ``number`` others."""
        return all(_holds(term, body, number) for term in self._terms)


def _holds(term: str, body: JSONObject, number: int) -> bool:
    path, equals, value = term.partition("=")
    if equals:
        return value in (json.dumps(found).strip('"') for found in values(body, path))
    if term.isdigit():
        return number == int(term)
    if term[0] == ">" and term[1:].isdigit():
        return number > int(term[1:])
    return _CARRIES[term](body) if term in _CARRIES else term in ("each", body.get("type"))


def _has(*paths: str) -> Callable[[JSONObject], bool]:
    return lambda body: any(any(values(body, path)) for path in paths)


_CARRIES: dict[str, Callable[[JSONObject], bool]] = {
    "role": _has("choices.delta.role"),
    "text": lambda body: (
        str(body.get("type", "")) == "response.output_text.delta" or _has("choices.delta.content", "choices.text")(body)
    ),
    "finish": lambda body: body.get("type") in _TERMINAL or _has("choices.finish_reason")(body),
    "tool": _has("choices.delta.tool_calls.id"),
    "usage": _has("usage"),
    "done": _has("done"),
}


def values(value: object, path: str) -> list[Any]:
    """All that stands at a path of names joined by full stops; an array stands for each of its elements."""
    if isinstance(value, list):
        return [found for inner in value for found in values(inner, path)]
    if not path:
        return [value]
    name, _, rest = path.partition(".")
    return values(value[name], rest) if isinstance(value, dict) and name in value else []


def patch_of(text: str) -> JSONObject:
    """Read a patch, or an event: a JSON object, whose numbers may be such as JSON has none. Raises ValueError."""
    (patch,) = patches_of(f"[{text}]")
    return patch


def patches_of(text: str) -> list[JSONObject]:
    """The same for one or an array of them."""
    try:
        patches = _PATCH.decode(text)
        height = _height(patches)
    except (ValueError, RecursionError):
        raise ValueError(f"{text.removeprefix('[').removesuffix(']')!r:.80} is not JSON") from None
    patches = patches if isinstance(patches, list) else [patches]
    if height > _DEEPEST:
        raise ValueError("it is nested too deeply")
    if not patches or not all(isinstance(patch, dict) for patch in patches):
        raise ValueError(f"{text!r:.80} is not a JSON object")
    return patches


def _height(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_height, inner), default=0)


def patched(value: object, patch: object) -> Any:
    """A JSON merge patch (RFC 7396) with two differences: an object patches each element of an array, and null is a value."""
    if not isinstance(patch, dict):
        return patch
    if isinstance(value, list):
        return [patched(inner, patch) for inner in value]
    kept = dict(value) if isinstance(value, dict) else {}
    return {**kept, **{key: patched(kept.get(key), inner) for key, inner in patch.items()}}


def change(where: Selector, patch: JSONObject) -> Rewriter:
    """Change the events at ``where`` by a patch."""

    def rewrite(frame: Frame, number: int) -> Sequence[Frame | Step]:
        body = body_of(frame)
        return [frame] if body is None or not where(frame, number) else [_written(frame, patched(body, patch))]

    return _counted(rewrite)


def drop(where: Selector) -> Rewriter:
    """Leave out the events at ``where``."""
    return _counted(lambda frame, number: [] if where(frame, number) else [frame])


def insert(where: Selector | None, what: Sequence[JSONObject | bytes], *, after: bool = False) -> Rewriter:
    """Send events, or bytes that are none, before each event at ``where``, or after it; None is the end of the stream."""
    last: JSONObject = {}
    count = [-1]

    def rewrite(frame: Frame | None) -> Sequence[Frame | Step]:
        count[0] += 1
        kept = [] if frame is None else [frame]
        last.update(body_of(frame) or {} if frame is not None else {})
        if where is None if frame is None else where is not None and where(frame, count[0]):
            added = [one if isinstance(one, bytes) else _event_of(one, last) for one in what]
            return [*kept, *added] if after else [*added, *kept]
        return kept

    return rewrite


def unset(paths: Sequence[str]) -> Rewriter:
    """Leave out the fields at these paths; ``null`` leaves out all that are null."""

    def rewrite(frame: Frame) -> Sequence[Frame | Step]:
        body = body_of(frame)
        if body is None:
            return [frame]
        for path in paths:
            body = _without_null(body) if path == "null" else _without(body, path)
        return [with_body(frame, body)]

    return each(rewrite)


def _without(value: object, path: str) -> Any:
    if isinstance(value, list):
        return [_without(inner, path) for inner in value]
    name, _, rest = path.partition(".")
    if not isinstance(value, dict) or name not in value:
        return value
    kept = {key: inner for key, inner in value.items() if key != name}
    return {**value, name: _without(value[name], rest)} if rest else kept


def _without_null(value: object) -> Any:
    if isinstance(value, dict):
        return {key: _without_null(inner) for key, inner in value.items() if inner is not None}
    return [_without_null(inner) for inner in value] if isinstance(value, list) else value


def finish_with_text() -> Rewriter:
    """The finish reason in the chunk of the last text: there is no chunk of its own, and every delta says the role."""
    held: list[Frame] = []

    def rewrite(frame: Frame | None) -> Sequence[Frame | Step]:
        body = body_of(frame) if frame is not None else None
        if frame is None or body is None or not body.get("choices"):
            out, held[:] = [*held, *([frame] if frame is not None else [])], []
            return out
        (choice, *_) = body["choices"]
        if held and choice.get("finish_reason") and choice["index"] == (body_of(held[0]) or {})["choices"][0]["index"]:
            last = body_of(held.pop()) or {}
            last["choices"][0]["finish_reason"] = choice["finish_reason"]
            held.append(with_body(frame, last))
            return []
        out, held[:] = held[:], [frame]
        return out

    return rewrite


def _event_of(body: JSONObject, last: JSONObject) -> Frame:
    """An event of a stream in which ``last`` came: a chunk says what others say of their stream, an event of Responses has a number."""
    if isinstance(body.get("choices"), list):
        index = {"index": next(iter(values(last, "choices.index")), 0)}
        choices = [index | one if isinstance(one, dict) else one for one in body["choices"]]
        body = {name: last[name] for name in ("id", "object", "created", "model") if name in last} | body
        body["choices"] = choices
    elif "sequence_number" in last and "type" in body:
        body = {"sequence_number": last["sequence_number"]} | body
    type = body.get("type")
    return _written(Frame("", type=type if "sequence_number" in body and isinstance(type, str) else None), body)


def _written(frame: Frame, body: JSONObject) -> Frame:
    """The frame with a body that was patched: numbers as they were written, the event's type as the body has it."""
    written = with_body(frame, body)
    written.data = _WRITTEN.sub(r"\1", written.data)
    if frame.type is not None and isinstance(body.get("type"), str):
        written.type = body["type"]
    return written


def item(added: JSONObject) -> Rewriter:
    """An item of a response's output before the others, with the events of its parts; it stands in the last snapshot too."""
    begun = [False]

    def rewrite(frame: Frame) -> Sequence[Frame | Step]:
        body = body_of(frame)
        if body is None:
            return [frame]
        out: list[Frame | Step] = []
        if body.get("type") == "response.output_item.added" and not begun[0]:
            begun[0] = True
            out += [_written(Frame("", type=event["type"]), event) for event in _events_of(added)]
        if isinstance(body.get("output_index"), int):
            body["output_index"] += 1
        if body.get("response", {}).get("output"):
            body["response"]["output"].insert(0, added)
        return [*out, _written(frame, body)]

    return each(rewrite)


def _events_of(item: JSONObject) -> Iterator[JSONObject]:
    lists = {"content": "content_index", "summary": "summary_index"}
    parts = {name: item[name] for name in lists if isinstance(item.get(name), list)}
    place = {"sequence_number": 0, "output_index": 0}
    empty = {**item, **{name: [] for name in parts}}
    yield {"type": "response.output_item.added", **place, "item": empty}
    for name, each in parts.items():
        for number, part in enumerate(each):
            if not isinstance(part, dict):
                continue
            stem = _STEMS.get(str(part.get("type")))
            at = {**place, "item_id": item.get("id"), lists[name]: number}
            if stem and isinstance(part.get("text"), str):
                for piece in _WORDS.findall(part["text"]):
                    yield {"type": f"response.{stem}.delta", **at, "delta": piece}
                yield {"type": f"response.{stem}.done", **at, "text": part["text"]}
    yield {"type": "response.output_item.done", **place, "item": item}


# The parts of items by their type, and what their events are called.
_STEMS = {"output_text": "output_text", "reasoning_text": "reasoning_text", "summary_text": "reasoning_summary_text"}
_WORDS = re.compile(r" ?[^ ]+(?: [^ ]+)?")


def texts(change: Callable[[str], str]) -> Rewriter:
    """Change what the model says, character by character, so that a complete text is still the sum of its pieces."""

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
            # A complete text, which has complete characters.
            return [frame]
        ours = _changed(body, lambda text: text.partition(character)[0] + first if character in text else text)
        rest = _changed(body, lambda text: second + text.partition(character)[2] if character in text else text)
        return [with_body(frame, ours), with_body(frame, rest)]

    return each(rewrite)


def renumbered() -> Rewriter:
    """Number the events of the Responses API again, after rewriters that add or drop some."""
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
    """A rewriter that treats each frame separately and holds none back."""
    return lambda frame: [] if frame is None else rewrite(frame)


def _counted(rewrite: Callable[[Frame, int], Sequence[Frame | Step]]) -> Rewriter:
    """The same for one that wants to know how many frames came before."""
    count = [-1]

    def counting(frame: Frame) -> Sequence[Frame | Step]:
        count[0] += 1
        return rewrite(frame, count[0])

    return each(counting)


def _choices(body: JSONObject) -> list[JSONObject]:
    choices = body.get("choices")
    return [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []


def _changed(value: object, change: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {
            key: change(inner) if key in _TEXTS and isinstance(inner, str) else _changed(inner, change)
            for key, inner in value.items()
        }
    return [_changed(inner, change) for inner in value] if isinstance(value, list) else value
