"""What became of a line, as a JSON object, read from its stream's journal.

A plain line's result is flat. A line in the form of OpenAI's Batch API has a result in that form, ``response`` or else ``error``, and beside it ``outcome``.
"""

from __future__ import annotations

import time
from calendar import timegm

from unspool import outcome
from unspool.api.jsonblock import json_in
from unspool.api.validation import mismatch
from unspool.journal import reader, record, summary
from unspool.journal.folder import path_of
from unspool.journal.summary import Summary
from unspool.journal.unframed import Body
from unspool.jsontext import clean, loads, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from unspool.batch.lines import Line
    from unspool.client.aio import AsyncAnswer
    from unspool.jsontext import JsonObject

#: Outcomes that sending the request again would not change.
ANSWERED = frozenset({outcome.COMPLETE, outcome.LENGTH, outcome.FILTERED})


def result(line: Line, told: Summary) -> JsonObject:
    """Return the result of a line from the story of its stream."""
    return _batch(line, told) if line.is_batch else _plain(line, told)


def unkept(id: str, answer: AsyncAnswer) -> Summary:
    """The story of a stream whose journal could not be written: as much as the stream itself knows."""
    told = Summary("")
    told.id = id
    ending = answer.ending
    told.outcome = ending.outcome if ending is not None else outcome.INTERRUPTED
    told.message = ending.message if ending is not None else ""
    told.finish_reason = ending.finish_reason if ending is not None else None
    told.texts = [answer.text]
    told.usage = answer.usage
    told.response_model = answer.model
    return told


def _plain(line: Line, told: Summary) -> JsonObject:
    usage = told.usage
    made: JsonObject = {
        "custom_id": line.custom_id,
        "line": line.number,
        "id": told.id,
        "outcome": told.outcome,
        "text": told.text,
        "finish_reason": told.finish_reason,
        "model": told.response_model or told.model,
        "usage": usage
        and {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "total_tokens": usage.total_tokens,
            "cached_tokens": usage.cached_tokens,
            "reasoning_tokens": usage.reasoning_tokens,
        },
        "message": told.message or None,
        "ttft": told.ttft,
        "duration": told.duration,
    }
    if len(told.texts) > 1:
        made["texts"] = told.texts
    if line.prompt.schema is not None:
        made["object"] = _object(told.text)
        if told.outcome == outcome.COMPLETE and (wrong := mismatch(line.prompt.schema, made["object"])) is not None:
            made["message"] = f"the answer does not follow the schema: {wrong}"
    if told.reasoning:
        made["reasoning"] = told.reasoning
    if told.tool_calls:
        made["tool_calls"] = [_tool_call(one) for one in told.tool_calls]
    return made


def _object(text: str) -> Any:
    """The JSON that a text is, or has in its one fenced block; None where it is none."""
    try:
        return clean(loads(json_in(text)))
    except ValueError:
        return None


def _batch(line: Line, told: Summary) -> JsonObject:
    made: JsonObject = {"id": told.id, "custom_id": line.custom_id, "response": None, "error": None}
    if told.outcome in ANSWERED:
        body = _response(told) if line.api == "responses" else _completion(line.api, told)
        made["response"] = {"status_code": 200, "request_id": told.request_id, "body": body}
    else:
        code = (told.failure.code if told.failure is not None else None) or told.outcome
        made["error"] = {"code": code, "message": told.message or told.outcome}
    made["outcome"] = told.outcome
    return made


def _completion(api: str, told: Summary) -> JsonObject:
    """The object that an unstreamed request would have been answered with, as far as a stream tells."""
    chat = api == "chat"
    choices: list[JsonObject] = []
    for index, text in enumerate(told.texts or [""]):
        calls = [_tool_call(one) for one in told.tool_calls if one.choice == index]
        choice: JsonObject = {"index": index, "finish_reason": told.finish_reason, "logprobs": None}
        if chat:
            refused = bool(told.refusal)
            message: JsonObject = {
                "role": "assistant",
                "content": None if refused or (calls and not text) else text,
            }
            message["refusal"] = told.refusal if refused else None
            if calls:
                message["tool_calls"] = calls
            choice["message"] = message
        else:
            choice["text"] = text
        choices.append(choice)
    return {
        "id": told.response_id,
        "object": "chat.completion" if chat else "text_completion",
        "created": _seconds(told.time),
        "model": told.response_model or told.model,
        "choices": choices,
        "usage": told.usage.raw if told.usage is not None else None,
    }


def _response(told: Summary) -> Any:
    """The response object of the stream's last event, which has all of it."""
    last: Any = None
    with reader.Reader(told.path) as journal:
        for records in journal.batches():
            for one in records:
                if one.is_own(record.BODY):
                    last = parse(Body.read(one.data).text) or last
                elif one.at is not None and '"response"' in one.data:
                    value = parse(one.data)
                    if isinstance(value, dict) and isinstance(value.get("response"), dict):
                        last = value["response"]
    return clean(last)


def _tool_call(call: Any) -> JsonObject:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _seconds(moment: str) -> int:
    """A journal's time, in seconds since 1970."""
    return timegm(time.strptime(moment[:19], "%Y-%m-%dT%H:%M:%S")) if moment else 0


def kept(folder: str, ids: list[str], *, failed: bool = False) -> Summary | None:
    """Of a line's streams, newest first, return the story of the first whose answer is complete; None when none is.

    With ``failed`` it is the newest one in that case, None where none is kept.
    """
    newest: Summary | None = None
    for id in ids:
        try:
            told = summary.read(path_of(folder, id))
        except (OSError, ValueError):  # removed since, or never written
            continue
        if told.outcome in ANSWERED:
            return told
        newest = newest or told
    return newest if failed else None
