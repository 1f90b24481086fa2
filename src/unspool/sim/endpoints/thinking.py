"""Models that think before they answer: how long, what of it is shown, and what they do not take.

OpenAI's guide "Reasoning models" and the errors that its users report. A model that thinks samples in its own way, so it refuses the
parameters of sampling; a model that does not think refuses to be told how hard to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from unspool.sim.endpoints.fields import Fields
from unspool.sim.endpoints.models import ALWAYS, NEVER, Model
from unspool.sim.errors import RequestError

# In tokens: OpenAI bills thoughts in pieces of 64.
_SPENT = {"none": 0, "minimal": 0, "low": 64, "medium": 128, "high": 256, "xhigh": 512, "max": 1024}
_EFFORTS = tuple(_SPENT)

# The parts of each kind of summary.
_PARTS = {"auto": 1, "concise": 1, "detailed": 2}

# The one value of each that a thinking model takes.
_FIXED: Mapping[str, float] = {"temperature": 1, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0}
_UNSUPPORTED = ("logprobs", "top_logprobs", "logit_bias", "stop")


@dataclass(slots=True)
class Thinking:
    """``on``: whether it thinks at all, for how many ``tokens``, with how many ``parts`` of summary, at what ``effort``."""

    on: bool
    tokens: int
    parts: int
    effort: str | None
    summary: str | None


def of_chat(fields: Fields, model: Model, *, strict: bool) -> Thinking:
    """Read ``reasoning_effort`` of a chat request. Chat never shows thoughts."""
    effort = fields.one_of("reasoning_effort", _EFFORTS)
    if effort is not None and model.thinks == NEVER:
        raise _unsupported("reasoning_effort")
    thinking = _thinking(model, effort, None)
    insists = model.thinks == ALWAYS or (strict and model.known and model.thinks != NEVER)
    if insists and "max_tokens" in fields:
        raise _unsupported("max_tokens", " Use 'max_completion_tokens' instead.")
    if thinking.on and model.known:
        _check_sampling(fields, of_chat=True)
    return thinking


def of_responses(fields: Fields, model: Model) -> Thinking:
    """Read ``reasoning`` of a request for a response."""
    reasoning = fields.object("reasoning")
    effort = reasoning.one_of("effort", _EFFORTS)
    summary = reasoning.one_of("summary", tuple(_PARTS)) or reasoning.one_of("generate_summary", tuple(_PARTS))
    if model.thinks == NEVER:
        for name, value in (("effort", effort), ("summary", summary)):
            if value is not None:
                raise _unsupported(f"reasoning.{name}")
    thinking = _thinking(model, effort, summary)
    if thinking.on and model.known:
        _check_sampling(fields, of_chat=False)
    return thinking


def _thinking(model: Model, effort: str | None, summary: str | None) -> Thinking:
    if effort is None and (model.thinks == ALWAYS or (summary is not None and not model.known)):
        effort = "medium"
    # A summary of no thoughts is none.
    on = effort not in (None, "none")
    return Thinking(on, _SPENT[effort or "none"], _PARTS[summary] if summary and on else 0, effort, summary)


def _check_sampling(fields: Fields, *, of_chat: bool) -> None:
    for name, fixed in _FIXED.items():
        value: Any = fields.value(name)
        if value is not None and value != fixed:
            if not of_chat:
                raise _unsupported(name)
            raise RequestError(
                f"Unsupported value: '{name}' does not support {value} with this model. Only the default ({fixed}) value "
                "is supported.",
                param=name,
                code="unsupported_value",
            )
    for name in _UNSUPPORTED:
        # Off is as good as absent.
        if fields.value(name):
            raise _unsupported(name)


def _unsupported(name: str, instead: str = "") -> RequestError:
    return RequestError(
        f"Unsupported parameter: '{name}' is not supported with this model.{instead}",
        param=name,
        code="unsupported_parameter",
    )
