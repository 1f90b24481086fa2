"""Servers that speak the OpenAI API, and how they differ from OpenAI's own: which endpoints they have, and what their streams and errors look like.

A dialect is data: the faults that its answers have, and how it words an error. Each follows the server's documentation,
its source or recorded traffic; where two of its versions differ, the newer one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from unspool.sim.faults.stream_plan import FaultPlan, Refusal
from unspool.sim.faults.table import read
from unspool.sim.frames import JSONObject

COMPLETIONS, CHAT, RESPONSES = "completions", "chat", "responses"
_ALL = (COMPLETIONS, CHAT, RESPONSES)

# What a model that thinks aloud says before it answers.
_THOUGHTS = ("The simulator", " does not think.", " This stands where", " thoughts would.")


@dataclass(slots=True)
class Dialect:
    """One kind of server. ``endpoints`` are those it has; ``stateful`` says that it keeps responses.

    All its answers have the ``faults``; those of one endpoint also the ones in ``chat``, ``completions`` or ``responses``.
    ``error`` words an error: OpenAI's error object and the status in, the body out.
    """

    name: str
    says: str
    faults: str = ""
    chat: str = ""
    completions: str = ""
    responses: str = ""
    endpoints: Sequence[str] = _ALL
    stateful: bool = False
    error: Callable[[JSONObject, int], Any] = lambda error, status: {"error": error}

    def plan(self, path: str) -> FaultPlan:
        """The plan for a request at this path, which faults may add to."""
        plan = FaultPlan()
        api = endpoint(path)
        if api is None:
            return plan
        if api not in self.endpoints or (not self.stateful and path.partition("/responses")[2]):
            words = {"message": f"Not Found: {path}", "type": "not_found_error", "param": None, "code": None}
            plan.refusal = Refusal(404, {"content-type": "application/json"}, json.dumps({"error": words}).encode())
            return plan
        own = {CHAT: self.chat, COMPLETIONS: self.completions, RESPONSES: self.responses}
        return read(own[api], read(self.faults, plan))

    def worded(self, refusal: Refusal) -> Refusal:
        """A refusal with OpenAI's body, in this dialect's words; any other as it is."""
        if refusal.verbatim:
            return refusal
        try:
            body = json.loads(refusal.body)
        except ValueError:
            return refusal
        if not isinstance(body, dict) or not isinstance(body.get("error"), dict):
            return refusal
        # An error that comes with status 200 does not call itself a success.
        status = refusal.status if refusal.status >= 400 else 500
        return Refusal(refusal.status, refusal.headers, json.dumps(self.error(body["error"], status)).encode())


def endpoint(path: str) -> str | None:
    """The endpoint at or below which a path is."""
    for api, place in ((CHAT, "/chat/completions"), (COMPLETIONS, "/completions"), (RESPONSES, "/responses")):
        if place in path:
            return api
    return None


def _thoughts(delta: str) -> str:
    """Thoughts after the chunk that announces the role; ``delta`` is that of one, with %s for its text."""
    chunks = (f'{{"choices":[{{"delta":{delta % json.dumps(text)},"finish_reason":null}}]}}' for text in _THOUGHTS)
    return f"append=role,[{','.join(chunks)}]"


def _thought_item(kind: str) -> str:
    """The same as an item of a response, whose part is of this kind."""
    parts = [{"type": kind, "text": "".join(_THOUGHTS)}]
    summary, content = (parts, None) if kind == "summary_text" else ([], parts)
    item = {"id": "rs_sim", "type": "reasoning", "summary": summary} | ({"content": content} if content else {})
    return f"item={json.dumps(item)}"


_REASONING = _thoughts('{"reasoning":%s,"content":""}')
_REASONING_CONTENT = _thoughts('{"reasoning_content":%s,"content":null}')
_THINKING = _thoughts('{"content":[{"type":"thinking","thinking":[{"type":"text","text":%s}]}]}')
# Without what only OpenAI sends: padding, tier, fingerprint, refusals and probabilities that are null.
_PLAIN = "unset=obfuscation,service_tier,system_fingerprint,choices.logprobs,choices.delta.refusal; "
_ROLES = 'set=each,{"choices":{"delta":{"role":"assistant"}}}; set=finish,{"choices":{"delta":{"content":""}}}'
_PASSED = '{"hate":{"filtered":false,"severity":"safe"}}'
# Azure's prompt filter before the first chunk, and its asynchronous filter's results, which have no delta, before the last.
_AZURE = (
    'insert=0,{"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":'
    f'[{{"prompt_index":0,"content_filter_results":{_PASSED}}}]}}; '
    'insert=finish,{"id":"","object":"","created":0,"model":"","choices":[{"finish_reason":null,'
    f'"content_filter_results":{_PASSED},"content_filter_offsets":{{"check_offset":0,"start_offset":0,"end_offset":1}}}}]}}'
)
_NATIVE = "".join(
    f'; set=choices.finish_reason={reason},{{"choices":{{"native_finish_reason":{json.dumps(reason)}}}}}'
    for reason in (None, "stop", "length", "tool_calls", "content_filter")
)


# Errors


def _with_status(error: JSONObject, status: int) -> Any:
    return {"error": {**error, "code": status}}


def _vllm_error(error: JSONObject, status: int) -> Any:
    return {"error": "Unauthorized"} if status == 401 else _with_status(error, status)


def _flat_error(error: JSONObject, status: int) -> Any:
    return {"object": "error", **error, "code": status}


def _text_error(error: JSONObject, status: int) -> Any:
    return {"error": error["message"]}


def _openrouter_error(error: JSONObject, status: int) -> Any:
    return {"error": {"code": status, "message": error["message"]}}


def _gemini_error(error: JSONObject, status: int) -> Any:
    return [{"error": {"code": status, "message": error["message"], "status": "INVALID_ARGUMENT"}}]


def _llamacpp_error(error: JSONObject, status: int) -> Any:
    return {"error": {"code": status, "message": error["message"], "type": error["type"]}}


TABLE = (
    Dialect("openai", "OpenAI's own", stateful=True),
    Dialect(
        "openresponses", "Open Responses, which has `[DONE]` after responses too", responses="done=on", stateful=True
    ),
    Dialect(
        "ollama",
        "`delta.reasoning`, a role in every chunk, `fp_ollama`, zero usage in each chunk, reasoning summaries without their part",
        faults=_PLAIN,
        chat=f'{_REASONING}; {_ROLES}; set=each,{{"system_fingerprint":"fp_ollama"}}',
        completions='set=each,{"system_fingerprint":"fp_ollama"}; usage=every',
        responses=_thought_item("summary_text"),
    ),
    Dialect(
        "llamacpp",
        "null content first, `reasoning_content`, `timings`, empty comments as pings, int error codes, `completed` at the token limit, typed items only",
        faults=_PLAIN
        + "header=server:llama.cpp; needs=input,role=assistant,type,Cannot determine type of 'item'; "
        + r'insert=each,":\n\n"',
        chat=f'set=role,{{"choices":{{"delta":{{"content":null}}}}}}; {_REASONING_CONTENT}; '
        'set=finish,{"timings":{"prompt_n":1,"prompt_ms":1.5,"predicted_n":1,"predicted_ms":9.5}}',
        responses=_thought_item("reasoning_text"),
        error=_llamacpp_error,
    ),
    Dialect(
        "vllm",
        '`delta.reasoning`, int error codes, 401 as `{"error": "Unauthorized"}`',
        faults=_PLAIN,
        chat=_REASONING,
        responses=_thought_item("reasoning_text"),
        error=_vllm_error,
    ),
    Dialect("sglang", "`reasoning_content`, flat errors", faults=_PLAIN, chat=_REASONING_CONTENT, error=_flat_error),
    Dialect(
        "lmstudio",
        "none of OpenAI's extra fields, errors as a text, keeps responses",
        faults=_PLAIN,
        stateful=True,
        error=_text_error,
    ),
    Dialect(
        "transformers",
        "`data:` alone even in responses, no `[DONE]`, no null fields, usage in the finish chunk, errors as a text",
        faults=_PLAIN + "usage=finish; unset=null; done=off; framing=untyped",
        error=_text_error,
    ),
    Dialect(
        "openrouter",
        "`: OPENROUTER PROCESSING`, `delta.reasoning`, `native_finish_reason`, numeric error codes",
        faults=_PLAIN
        + r'header=x-generation-id:gen-sim; insert=0,": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\n"',
        chat=f'{_REASONING}; set=choices.index=0,{{"provider":"Simulator"}}{_NATIVE}',
        error=_openrouter_error,
    ),
    Dialect(
        "groq",
        "no completions, `delta.reasoning`, usage in `x_groq`",
        faults=_PLAIN,
        endpoints=(CHAT, RESPONSES),
        chat=f"{_REASONING}; usage=x_groq",
    ),
    Dialect(
        "mistral",
        "chat alone, thoughts in an array of content, usage in the finish chunk, flat errors",
        faults=_PLAIN,
        endpoints=(CHAT,),
        chat=f"{_THINKING}; usage=finish",
        error=_flat_error,
    ),
    Dialect(
        "deepseek",
        "chat alone, `reasoning_content`, `: keep-alive`, usage in the finish chunk",
        faults=_PLAIN + r'insert=0,": keep-alive\n\n: keep-alive\n\n"',
        endpoints=(CHAT,),
        chat=f"{_REASONING_CONTENT}; usage=finish",
    ),
    Dialect("together", "no responses", faults=_PLAIN, endpoints=(COMPLETIONS, CHAT)),
    Dialect("fireworks", "usage in the finish chunk, keeps responses", faults=_PLAIN + "usage=finish", stateful=True),
    Dialect(
        "xai",
        "no completions, `reasoning_content`, keeps responses",
        faults=_PLAIN,
        endpoints=(CHAT, RESPONSES),
        chat=_REASONING_CONTENT,
        stateful=True,
    ),
    Dialect(
        "gemini",
        "chat alone, the finish reason with the last text, errors in an array",
        faults=_PLAIN,
        endpoints=(CHAT,),
        chat=f"{_ROLES}; finish-with-text",
        error=_gemini_error,
    ),
    Dialect("anthropic", "chat alone, none of OpenAI's extra fields", faults=_PLAIN, endpoints=(CHAT,)),
    Dialect(
        "azure",
        "a first chunk with the prompt's filter results and no choices, filter results without a delta",
        chat=_AZURE,
        completions=_AZURE,
        stateful=True,
    ),
)

BY_NAME = {dialect.name: dialect for dialect in TABLE}
