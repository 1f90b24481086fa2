"""Deltas and endings as JSON objects, the same for all endpoints: what programs read, of a command or of a server."""

from __future__ import annotations

from unspool.api.deltas import Finish, Reasoning, Refusal, Started, Text, ToolCall, ToolCallDelta, Usage
from unspool.api.parts import Annotation, Audio, Image, Item, Logprobs, ToolResult

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from unspool.api.deltas import Delta
    from unspool.outcome import Ending

#: The version of the shape; it changes when a field's meaning does.
VERSION = 1


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
        case ToolCall(index, id, name, arguments, choice, kind):
            return {
                "type": "tool_call",
                "index": index,
                "id": id,
                "name": name,
                "arguments": arguments,
                "choice": choice,
                "kind": kind,
            }
        case ToolResult(call, name, content, failed):
            return {"type": "tool_result", "id": call, "name": name, "content": content, "failed": failed}
        case Usage(input, output, total, cached, reasoning, _):
            return {
                "type": "usage",
                "input_tokens": input,
                "output_tokens": output,
                "total_tokens": total,
                "cached_tokens": cached,
                "reasoning_tokens": reasoning,
            }
        case Annotation(annotation, choice):
            return {"type": "annotation", "annotation": annotation, "choice": choice}
        case Audio(data, transcript, id, choice):
            return {"type": "audio", "data": data, "transcript": transcript, "id": id, "choice": choice}
        case Image(url, partial, choice):
            return {"type": "image", "url": url, "partial": partial, "choice": choice}
        case Logprobs(tokens, choice):
            return {"type": "logprobs", "tokens": tokens, "choice": choice}
        case Item(item, choice):
            return {"type": "item", "item": item, "choice": choice}
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
        "notes": list(ending.notes),
    }
