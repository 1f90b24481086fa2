"""How a stream ended: a word, an exit code and a sentence.

The end is read from three sources, in this order: what the person did (cancelled, closed the output), what the transport saw
(a `Fault`), and what the protocol said (the decoder's facts). An answer is `COMPLETE` only when the protocol's own end was seen.
"""

from __future__ import annotations

from unspool.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.api.decoder import Decoder
    from unspool.api.deltas import Failure

COMPLETE = "complete"
ERROR = "error"
UNAUTHORIZED = "unauthorized"
RATE_LIMITED = "rate_limited"
SERVER_ERROR = "server_error"
UNREACHABLE = "unreachable"
CUT = "cut"
LENGTH = "length"
FILTERED = "filtered"
BAD_REQUEST = "bad_request"
CANCELLED = "cancelled"
CLOSED = "closed"
INTERRUPTED = "interrupted"
"""Only ever read from a journal: it has no end, and its producer is gone."""
RUNNING = "running"
"""Only ever read from a journal: it has no end, and its producer lives."""
DAMAGED = "damaged"
"""Only ever read from a journal: a part of it is not what was written, so that its end cannot be known."""

#: Exit code of each outcome. 2 is argparse's, for wrong usage; a cancelled run ends with 128 + its signal.
EXIT_CODES = {
    COMPLETE: 0,
    ERROR: 1,
    UNAUTHORIZED: 3,
    RATE_LIMITED: 4,
    SERVER_ERROR: 5,
    UNREACHABLE: 6,
    CUT: 7,
    INTERRUPTED: 7,
    RUNNING: 7,
    DAMAGED: 7,
    LENGTH: 8,
    FILTERED: 9,
    BAD_REQUEST: 10,
    CANCELLED: 130,
    CLOSED: 141,
}
USAGE_EXIT_CODE = 2

# A quota that is used up answers 429 like a rate limit, but no wait will help (OpenAI, "Error codes").
QUOTA_CODES = frozenset(
    {
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
    }
)

# Finish reasons of OpenAI and of compatible servers that mean something else than a whole answer. Reasons not named here are
# taken for whole: "stop", "tool_calls", "function_call", "eos", "end_turn", "stop_sequence", …
_FINISH_OUTCOMES = {
    "length": LENGTH,
    "max_tokens": LENGTH,
    "max_output_tokens": LENGTH,
    "max_completion_tokens": LENGTH,
    "model_length": LENGTH,  # Mistral
    "model_context_window_exceeded": LENGTH,  # Anthropic
    "content_filter": FILTERED,
    "safety": FILTERED,  # Gemini
    "recitation": FILTERED,
    "blocklist": FILTERED,
    "prohibited_content": FILTERED,
    "spii": FILTERED,
    "error": SERVER_ERROR,  # OpenRouter, Mistral
    "failed": SERVER_ERROR,
    "insufficient_system_resource": SERVER_ERROR,  # DeepSeek
    "abort": CUT,  # vLLM: the server dropped the request
    "cancelled": CUT,
    "incomplete": CUT,  # Responses, where the server does not say why
    "repetition": ERROR,  # vLLM: the model was stopped because it repeats itself
    "max_messages": ERROR,
    "steered": ERROR,
}


class Fault(Value):
    """Something below the protocol went wrong: `outcome` is ``unreachable`` or ``cut``, `message` says what, for a person.

    ``retryable`` is whether the request certainly got no answer, so that sending it again is safe.
    """

    __match_args__ = __slots__ = ("outcome", "message", "retryable")

    def __init__(self, outcome: str, message: str, retryable: bool = False) -> None:
        self.outcome = outcome
        self.message = message
        self.retryable = retryable


class Ending(Value):
    """How a stream ended.

    ``outcome`` is one of this module's words; ``message`` a sentence for a person, empty where the outcome says it all.
    ``finish_reason`` is the server's own word, ``failure`` the error it reported, ``signal`` the number of the signal
    that cancelled.
    """

    __match_args__ = __slots__ = ("outcome", "message", "finish_reason", "failure", "signal")

    def __init__(
        self,
        outcome: str,
        message: str = "",
        finish_reason: str | None = None,
        failure: Failure | None = None,
        signal: int | None = None,
    ) -> None:
        self.outcome = outcome
        self.message = message
        self.finish_reason = finish_reason
        self.failure = failure
        self.signal = signal

    @property
    def exit_code(self) -> int:
        """The exit code a command ends with after this."""
        if self.outcome == CANCELLED and self.signal:
            return 128 + self.signal
        return EXIT_CODES.get(self.outcome, 1)


def of_failure(failure: Failure) -> str:
    """Return the outcome that an error reported by the server means."""
    code, type = (failure.code or "").lower(), (failure.type or "").lower()
    status = failure.status
    # Three ASCII digits: int() raises on other characters that isdigit() takes, and other numbers are no HTTP status.
    if status is None and len(code) == 3 and code.isascii() and code.isdigit() and code >= "400":
        status = int(
            code
        )  # vLLM and OpenRouter put the HTTP status in ``code``; that of a success says nothing of an error
    if code in QUOTA_CODES or type in QUOTA_CODES or status in (402, 429):
        return RATE_LIMITED
    if status is None and ("rate_limit" in code or "rate_limit" in type):
        return RATE_LIMITED
    if status in (401, 403) or (status is None and code in ("invalid_api_key", "unauthorized")):
        return UNAUTHORIZED
    if status is None or status >= 500 or status == 408:
        return SERVER_ERROR
    if 400 <= status < 500 and status != 407:  # 407 is a proxy's, which did not let the request through
        return BAD_REQUEST
    return UNREACHABLE


def judge(decoder: Decoder, fault: Fault | None) -> Ending:
    """Say how a stream ended, from what its decoder saw and how its transport ended (None for a clean close).

    An end that the protocol itself declared stands, even if the connection broke right after it.
    """
    reason = _worst(decoder.finish_reasons)
    failure = decoder.failure
    if failure is not None:
        return Ending(of_failure(failure), failure.message, reason, failure)
    if not decoder.ended:
        if fault is not None:
            return Ending(fault.outcome, fault.message, reason)
        return Ending(CUT, "the server closed the stream before its end", reason)
    outcome = _FINISH_OUTCOMES.get(reason.lower(), COMPLETE) if reason else COMPLETE
    if outcome in (COMPLETE, LENGTH, FILTERED):
        return Ending(outcome, "", reason)
    return Ending(outcome, f"the server stopped the answer: {reason}", reason)


def sentence(ending: Ending, id: str | None, advice: str = "") -> str:
    """Say in one line how a stream ended and what to do next; empty when there is nothing to say.

    ``id`` names the journal, None where nothing is kept. ``advice`` says what to do about an error, where the caller
    knows more of the server than the ending does.
    """
    outcome, message = ending.outcome, ending.message.rstrip(". ")
    if outcome in (COMPLETE, CLOSED):
        return ""
    short = id[-6:] if id else ""
    if outcome == LENGTH:
        return f"stopped at the token limit ({ending.finish_reason}); --max-tokens N allows more"
    if outcome == FILTERED:
        return f"stopped by the server's content filter ({ending.finish_reason})"
    if outcome == CANCELLED:
        return _join("cancelled", message, f"unspool show {short} prints what arrived" if id else "")
    if outcome == UNAUTHORIZED:
        return _join("unauthorized", message, advice)
    if outcome == RATE_LIMITED:
        failure = ending.failure
        used_up = failure is not None and (failure.code in QUOTA_CODES or failure.type in QUOTA_CODES)
        advice = "the quota is used up, so waiting does not help" if used_up else "try again later, or with --retries N"
        return _join("rate limited", message, advice)
    if outcome in (CUT, INTERRUPTED):
        return _join(outcome, message, f"unspool resume {short} continues it" if id else "")
    if outcome == SERVER_ERROR:
        return _join("server error", message, f"unspool resume {short} asks again" if id else "try again later")
    return _join(outcome.replace("_", " "), message, advice)


def _join(head: str, message: str, advice: str) -> str:
    return "; ".join(part for part in (f"{head}: {message}" if message else head, advice) if part)


def _worst(reasons: dict[int, str]) -> str | None:
    """Of several choices' finish reasons, return one that does not mean a whole answer, if there is any."""
    for choice in sorted(reasons):
        if reasons[choice].lower() in _FINISH_OUTCOMES:
            return reasons[choice]
    return reasons[min(reasons)] if reasons else None
