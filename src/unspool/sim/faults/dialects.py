"""How servers that speak the OpenAI API differ from OpenAI's own: which endpoints they have, and what their streams and errors look like.

A dialect is data and a few rewriters of frames. What is told of each server is what its documentation, its source or recorded
traffic shows; where two of its versions differ, the newer one counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from unspool.sim.faults import rewriting
from unspool.sim.faults.rewriting import body_of, each, with_body
from unspool.sim.faults.stream_plan import FaultPlan, Refusal, Rewriter, Step
from unspool.sim.faults.table import read
from unspool.sim.frames import DONE, Frame

COMPLETIONS, CHAT, RESPONSES = "completions", "chat", "responses"
_ALL = (COMPLETIONS, CHAT, RESPONSES)

# What a model that thinks aloud says before it answers.
_THOUGHTS = ("The simulator", " does not think.", " This stands where", " thoughts would.")

_Body = dict[str, Any]


@dataclass(slots=True)
class Dialect:
    """One server's way. ``endpoints`` are those it has; ``stateful`` says that it keeps responses.

    ``add`` puts what its streams are like into a plan, given the endpoint. ``error`` words an error: OpenAI's error object and
    the status in, the body out. ``faults`` are what all its answers have.
    """

    name: str
    says: str
    add: Callable[[FaultPlan, str], None]
    endpoints: Sequence[str] = _ALL
    stateful: bool = False
    error: Callable[[_Body, int], Any] = lambda error, status: {"error": error}
    faults: str = ""

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
        self.add(plan, api)
        return read(self.faults, plan)

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


# What several of them have in common


def _chunks(change: Callable[[_Body], Iterator[_Body]]) -> Callable[[], Rewriter]:
    """The rewriter of chunks, which leaves frames of other kinds alone."""

    def rewrite(frame: Frame) -> Sequence[Frame | Step]:
        body = body_of(frame)
        if body is None or "choices" not in body:
            return [frame]
        return [with_body(frame, changed) for changed in change(body)]

    return lambda: each(rewrite)


def _plain(*fields: str) -> Callable[[], Rewriter]:
    """Without what only OpenAI sends: padding, tier, fingerprint, refusals and probabilities that are null."""
    extra = ("obfuscation", "service_tier", "system_fingerprint", *fields)

    def rewrite(frame: Frame) -> Sequence[Frame | Step]:
        body = body_of(frame)
        if body is None:
            return [frame]
        for name in extra:
            body.pop(name, None)
        for choice in body.get("choices", ()):
            choice.pop("logprobs", None)
            if isinstance(choice.get("delta"), dict):
                choice["delta"].pop("refusal", None)
        return [with_body(frame, body)]

    return lambda: each(rewrite)


def _thinking(delta: Callable[[str], _Body]) -> Callable[[], Rewriter]:
    """Thoughts after the chunk that announces the role; ``delta`` makes the delta of one."""

    def change(body: _Body) -> Iterator[_Body]:
        yield body
        for choice in body["choices"]:
            if choice.get("delta", {}).get("role") and not choice["delta"].get("content"):
                for thought in _THOUGHTS:
                    yield {**body, "choices": [{**choice, "delta": delta(thought)}]}

    return _chunks(change)


def _thinking_in_responses(kind: str) -> Callable[[], Rewriter]:
    """An item of reasoning before the message: its pieces are events of this ``kind``, its part is not announced."""

    def make() -> Rewriter:
        begun = [False]
        item: _Body = {"id": "rs_sim", "type": "reasoning", "summary": []}
        whole = {"type": "summary_text" if "summary" in kind else "reasoning_text", "text": "".join(_THOUGHTS)}

        def rewrite(frame: Frame) -> Sequence[Frame | Step]:
            body = body_of(frame)
            if body is None:
                return [frame]
            out: list[Frame | Step] = []
            if body.get("type") == "response.output_item.added" and not begun[0]:
                begun[0] = True
                out = [_event("response.output_item.added", output_index=0, item=item)]
                where = {"item_id": item["id"], "output_index": 0}
                index = {"summary_index": 0} if "summary" in kind else {"content_index": 0}
                out += (_event(f"{kind}.delta", **where, **index, delta=thought) for thought in _THOUGHTS)
                out.append(_event(f"{kind}.done", **where, **index, text=whole["text"]))
                item["summary" if "summary" in kind else "content"] = [whole]
                out.append(_event("response.output_item.done", output_index=0, item=item))
            if "output_index" in body:
                body["output_index"] += 1
            if body.get("response", {}).get("output"):
                body["response"]["output"].insert(0, item)
            return [*out, with_body(frame, body)]

        return each(rewrite)

    return make


def _event(type: str, **fields: Any) -> Frame:
    return Frame.of({"type": type, "sequence_number": 0, **fields}, type=type)


def _marked(**fields: Any) -> Callable[[], Rewriter]:
    """Further fields in every chunk."""
    return _chunks(lambda body: iter([{**body, **fields}]))


def _added(
    *chat: Callable[[], Rewriter],
    always: Sequence[Callable[[], Rewriter]] = (),
    completions: Sequence[Callable[[], Rewriter]] = (),
    responses: Sequence[Callable[[], Rewriter]] = (),
    usage: str = "",
    prefix: bytes = b"",
    between: bytes = b"",
    headers: dict[str, str] | None = None,
) -> Callable[[FaultPlan, str], None]:
    """What puts these rewriters into a plan: those for ``always``, then those of the endpoint."""
    of = {CHAT: chat, COMPLETIONS: completions, RESPONSES: responses}

    def add(plan: FaultPlan, api: str) -> None:
        plan.rewriters += [*always, *of[api]]
        if api == RESPONSES:
            plan.rewriters.append(rewriting.renumbered) if responses else None
        elif usage:
            plan.usage = True
            plan.rewriters.append(lambda: rewriting.usage(usage))
        plan.prefix += prefix
        plan.between += between
        plan.headers.update(headers or {})

    return add


# What one of them has


def _role_in_every_chunk(body: _Body) -> Iterator[_Body]:
    for choice in body["choices"]:
        if "delta" in choice:
            choice["delta"] = {"role": "assistant", "content": "", **choice["delta"]}
    yield body


def _null_content_first(body: _Body) -> Iterator[_Body]:
    for choice in body["choices"]:
        if choice.get("delta", {}).get("role"):
            choice["delta"]["content"] = None
    yield body


def _timings(body: _Body) -> Iterator[_Body]:
    if any(choice.get("finish_reason") for choice in body["choices"]):
        body["timings"] = {"prompt_n": 1, "prompt_ms": 1.5, "predicted_n": 1, "predicted_ms": 9.5}
    yield body


def _native_finish(body: _Body) -> Iterator[_Body]:
    for choice in body["choices"]:
        choice["native_finish_reason"] = choice.get("finish_reason")
    yield {**body, "provider": "Simulator"}


def _filtered() -> Rewriter:
    """Azure's prompt filter before the first chunk, and its asynchronous filter's results, which have no delta, before the last."""
    begun = [False]
    passed = {"hate": {"filtered": False, "severity": "safe"}}

    def rewrite(frame: Frame) -> Sequence[Frame | Step]:
        body = body_of(frame)
        if body is None or "choices" not in body:
            return [frame]
        out: list[Frame | Step] = []
        if not begun[0]:
            begun[0] = True
            results = [{"prompt_index": 0, "content_filter_results": passed}]
            empty = {"choices": [], "created": 0, "id": "", "model": "", "object": "", "prompt_filter_results": results}
            out.append(Frame.of(empty))
        if any(choice.get("finish_reason") for choice in body["choices"]):
            offsets = {"check_offset": 0, "start_offset": 0, "end_offset": 1}
            result = {"content_filter_results": passed, "content_filter_offsets": offsets}
            choice = {"index": 0, "finish_reason": None, **result}
            out.append(Frame.of({"id": "", "object": "", "created": 0, "model": "", "choices": [choice]}))
        return [*out, frame]

    return each(rewrite)


def _bare() -> Rewriter:
    """``data:`` alone, without the event's name, the fields that are null, and the end mark."""

    def rewrite(frame: Frame) -> Sequence[Frame | Step]:
        body = body_of(frame)
        if frame.data == DONE.data:
            return []
        return [frame if body is None else Frame.of(_without_null(body), tokens=frame.tokens, id=frame.id)]

    return each(rewrite)


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_null(inner) for key, inner in value.items() if inner is not None}
    return [_without_null(inner) for inner in value] if isinstance(value, list) else value


def _finish_with_text() -> Rewriter:
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


# Errors


def _with_status(error: _Body, status: int) -> Any:
    return {"error": {**error, "code": status}}


def _vllm_error(error: _Body, status: int) -> Any:
    return {"error": "Unauthorized"} if status == 401 else _with_status(error, status)


def _flat_error(error: _Body, status: int) -> Any:
    return {"object": "error", **error, "code": status}


def _text_error(error: _Body, status: int) -> Any:
    return {"error": error["message"]}


def _openrouter_error(error: _Body, status: int) -> Any:
    return {"error": {"code": status, "message": error["message"]}}


def _gemini_error(error: _Body, status: int) -> Any:
    return [{"error": {"code": status, "message": error["message"], "status": "INVALID_ARGUMENT"}}]


def _llamacpp_error(error: _Body, status: int) -> Any:
    return {"error": {"code": status, "message": error["message"], "type": error["type"]}}


_PLAIN = _plain()
_REASONING = _thinking(lambda text: {"reasoning": text, "content": ""})
_REASONING_CONTENT = _thinking(lambda text: {"reasoning_content": text, "content": None})

TABLE = (
    Dialect(
        "openai",
        "OpenAI's own",
        add=lambda plan, api: None,
        stateful=True,
    ),
    Dialect(
        "openresponses",
        "Open Responses, which has `[DONE]` after responses too",
        add=_added(responses=(lambda: rewriting.done("on"),)),
        stateful=True,
    ),
    Dialect(
        "ollama",
        "`delta.reasoning`, a role in every chunk, `fp_ollama`, zero usage in each chunk, reasoning summaries without their part",
        add=_added(
            _REASONING,
            _chunks(_role_in_every_chunk),
            _marked(system_fingerprint="fp_ollama"),
            always=(_PLAIN,),
            completions=(_marked(system_fingerprint="fp_ollama"), lambda: rewriting.usage("every")),
            responses=(_thinking_in_responses("response.reasoning_summary_text"),),
        ),
    ),
    Dialect(
        "llamacpp",
        "null content first, `reasoning_content`, `timings`, empty comments as pings, int error codes, `completed` at the token limit, typed items only",
        add=_added(
            _chunks(_null_content_first),
            _REASONING_CONTENT,
            _chunks(_timings),
            always=(_PLAIN,),
            responses=(_thinking_in_responses("response.reasoning_text"),),
            between=b":\n\n",
        ),
        error=_llamacpp_error,
        faults="needs=input,role=assistant,type,Cannot determine type of 'item'; header=server:llama.cpp",
    ),
    Dialect(
        "vllm",
        '`delta.reasoning`, int error codes, 401 as `{"error": "Unauthorized"}`',
        add=_added(_REASONING, always=(_PLAIN,), responses=(_thinking_in_responses("response.reasoning_text"),)),
        error=_vllm_error,
    ),
    Dialect(
        "sglang",
        "`reasoning_content`, flat errors",
        add=_added(_REASONING_CONTENT, always=(_PLAIN,)),
        error=_flat_error,
    ),
    Dialect(
        "lmstudio",
        "none of OpenAI's extra fields, errors as a text, keeps responses",
        add=_added(always=(_PLAIN,)),
        stateful=True,
        error=_text_error,
    ),
    Dialect(
        "transformers",
        "`data:` alone even in responses, no `[DONE]`, no null fields, usage in the finish chunk, errors as a text",
        add=_added(always=(_PLAIN, _bare), usage="finish"),
        error=_text_error,
    ),
    Dialect(
        "openrouter",
        "`: OPENROUTER PROCESSING`, `delta.reasoning`, `native_finish_reason`, numeric error codes",
        add=_added(
            _REASONING,
            _chunks(_native_finish),
            always=(_PLAIN,),
            prefix=b": OPENROUTER PROCESSING\n\n" * 2,
            headers={"x-generation-id": "gen-sim"},
        ),
        error=_openrouter_error,
    ),
    Dialect(
        "groq",
        "no completions, `delta.reasoning`, usage in `x_groq`",
        endpoints=(CHAT, RESPONSES),
        add=_added(_REASONING, always=(_PLAIN,), usage="x_groq"),
    ),
    Dialect(
        "mistral",
        "chat alone, thoughts in an array of content, usage in the finish chunk, flat errors",
        endpoints=(CHAT,),
        add=_added(
            _thinking(lambda text: {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}]}),
            always=(_PLAIN,),
            usage="finish",
        ),
        error=_flat_error,
    ),
    Dialect(
        "deepseek",
        "chat alone, `reasoning_content`, `: keep-alive`, usage in the finish chunk",
        endpoints=(CHAT,),
        add=_added(_REASONING_CONTENT, always=(_PLAIN,), usage="finish", prefix=b": keep-alive\n\n" * 2),
    ),
    Dialect("together", "no responses", endpoints=(COMPLETIONS, CHAT), add=_added(always=(_PLAIN,))),
    Dialect(
        "fireworks",
        "usage in the finish chunk, keeps responses",
        add=_added(always=(_PLAIN,), usage="finish"),
        stateful=True,
    ),
    Dialect(
        "xai",
        "no completions, `reasoning_content`, keeps responses",
        endpoints=(CHAT, RESPONSES),
        add=_added(_REASONING_CONTENT, always=(_PLAIN,)),
        stateful=True,
    ),
    Dialect(
        "gemini",
        "chat alone, the finish reason with the last text, errors in an array",
        endpoints=(CHAT,),
        add=_added(_chunks(_role_in_every_chunk), always=(_PLAIN, _finish_with_text)),
        error=_gemini_error,
    ),
    Dialect("anthropic", "chat alone, none of OpenAI's extra fields", endpoints=(CHAT,), add=_added(always=(_PLAIN,))),
    Dialect(
        "azure",
        "a first chunk with the prompt's filter results and no choices, filter results without a delta",
        add=_added(_filtered, completions=(_filtered,)),
        stateful=True,
    ),
)

BY_NAME = {dialect.name: dialect for dialect in TABLE}
