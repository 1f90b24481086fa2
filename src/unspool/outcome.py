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

# What finish reasons mean, in the words of OpenAI and of the servers named beside them. One that is not here is taken for complete, and
# noted. Sources: OpenAI's OpenAPI document; litellm, core_helpers.py (_FINISH_REASON_MAP: Anthropic, Cohere, Gemini, Zhipu, Hugging Face,
# Together); vllm/v1/engine (FINISH_REASON_STRINGS); sglang, entrypoints/openai/protocol.py; ollama, llm/server.go; LM Studio's SDK
# (LLMPredictionStopReason); AWS, MessageStopEvent; Google, vertexai FinishReason; Cohere's OpenAPI document (FinishReason); IBM's
# watsonx SDK (TextChatResultChoice); Mistral's ChatCompletionChoice; DeepSeek's and Zhipu's API documentation.
_FINISH_REASONS = {
    COMPLETE: (
        "stop tool_calls function_call "  # OpenAI, and with its words Groq, Fireworks, MiniMax, Moonshot, llama.cpp, LiteLLM
        "end_turn stop_sequence tool_use pause_turn compaction "  # Anthropic, Bedrock
        "eos eos_token complete tool_call "  # Together, TGI, Cohere
        "completed end_of_text end_of_sequence done finish finished normal "  # xAI behind OpenRouter, and others
        "eosfound stopstringfound toolcalls load unload"  # LM Studio, Ollama
    ),
    LENGTH: (
        "length max_output_tokens max_tokens model_context_window_exceeded "  # OpenAI, Anthropic, Bedrock, Gemini, Zhipu
        "model_length error_limit token_limit "  # Mistral, Cohere, watsonx
        "maxpredictedtokensreached contextlengthreached "  # LM Studio
        "max_completion_tokens max_new_tokens max_length context_length_exceeded limit reason_max_len reason_max_context"
    ),
    FILTERED: (
        "content_filter refusal content_filtered guardrail_intervened error_toxic sensitive "  # OpenAI, Anthropic, Bedrock, Cohere, Zhipu
        "safety recitation language blocklist prohibited_content spii model_armor jailbreak "  # Gemini
        "image_safety image_prohibited_content image_recitation image_other content_policy_violation"
    ),
    SERVER_ERROR: (
        "error failed engine_error timeout time_limit "  # OpenRouter, vLLM, Cohere, watsonx
        "insufficient_system_resource network_error "  # DeepSeek, Zhipu
        "malformed_model_output malformed_tool_use "  # Bedrock
        "malformed_function_call malformed_tool_call malformed_response unexpected_tool_call too_many_tool_calls no_image "  # Gemini
        "missing_thought_signature function_call_filter escalation other modelunloaded"  # Gemini, LM Studio
    ),
    # The server dropped the request (vLLM, SGLang, Cohere, LM Studio), or does not say why it stopped (Responses).
    CUT: "abort aborted cancelled cancel user_cancel userstopped incomplete not_finished",
    # The model was stopped because it repeats itself (vLLM), or for a limit that is none of tokens (Responses).
    ERROR: "repetition max_messages steered",
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
    that cancelled. ``notes`` are sentences about what in the stream was odd, and did not decide how it ended.
    """

    __match_args__ = __slots__ = ("outcome", "message", "finish_reason", "failure", "signal", "notes")

    def __init__(
        self,
        outcome: str,
        message: str = "",
        finish_reason: str | None = None,
        failure: Failure | None = None,
        signal: int | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        self.outcome = outcome
        self.message = message
        self.finish_reason = finish_reason
        self.failure = failure
        self.signal = signal
        self.notes = notes

    @property
    def exit_code(self) -> int:
        """The exit code a command ends with after this."""
        if self.outcome == CANCELLED and self.signal:
            return 128 + self.signal
        return EXIT_CODES.get(self.outcome, 1)


def of_failure(failure: Failure) -> str:
    """Return the outcome that an error reported by the server means, by whichever way it came."""
    from unspool.api import codes  # only a failed answer needs its tables

    meaning = codes.meaning(failure)
    if meaning is not None:
        return RATE_LIMITED if meaning == codes.QUOTA else meaning
    status = codes.status_of(failure)
    if status == 429:
        return RATE_LIMITED
    if status in (401, 403):
        return UNAUTHORIZED
    if status is None or status >= 500 or status == 408:
        return SERVER_ERROR
    if 400 <= status < 500 and status != 407:  # 407 is a proxy's, which did not let the request through
        return BAD_REQUEST
    return UNREACHABLE


def is_used_up(failure: Failure) -> bool:
    """Return whether a failure means that a quota or the credit is used up, which no wait helps."""
    from unspool.api import codes

    return codes.meaning(failure) == codes.QUOTA


def of_finish_reason(reason: str) -> str | None:
    """Return the outcome of a finish reason, None if it is unknown."""
    # Gemini's endpoint for OpenAI's clients adds its own word: "content_filter: PROHIBITED_CONTENT".
    word = reason.partition(":")[0].strip().lower()
    return next((outcome for outcome, words in _FINISH_REASONS.items() if word in words.split()), None)


def judge(decoder: Decoder, fault: Fault | None) -> Ending:
    """Say how a stream ended, from what its decoder saw and how its transport ended (None for a clean close).

    An end that the protocol itself declared stands, even if the connection broke right after it.
    """
    reason = _worst(decoder)
    failure = decoder.failure
    notes = tuple(decoder.notes)
    if failure is not None:
        return Ending(of_failure(failure), failure.message, reason, failure, notes=notes)
    if not decoder.ended:
        if fault is not None:
            return Ending(fault.outcome, fault.message, reason, notes=notes)
        return Ending(CUT, decoder.what_is_missing(), reason, notes=notes)
    outcome = of_finish_reason(reason) if reason else COMPLETE
    if outcome is None:
        notes += (f"the server ended the answer for an unknown reason: {reason}",)
        outcome = COMPLETE
    if outcome == COMPLETE and decoder.reached_token_limit:
        if decoder.hides_token_limit:
            return Ending(LENGTH, "", reason, notes=notes)
        notes += ("the answer has all the tokens that --max-tokens allows, so it may have been cut there",)
    if outcome in (COMPLETE, LENGTH, FILTERED):
        return Ending(outcome, "", reason, notes=notes)
    return Ending(outcome, f"the server stopped the answer: {reason}", reason, notes=notes)


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
        is_said = of_finish_reason(ending.finish_reason or "") == LENGTH
        reason = ending.finish_reason if is_said else "by the server's count, though it calls the answer complete"
        return f"stopped at the token limit ({reason}); --max-tokens N allows more"
    if outcome == FILTERED:
        return f"stopped by the server's content filter ({ending.finish_reason or message})"
    if outcome == CANCELLED:
        return _join("cancelled", message, f"unspool show {short} prints what arrived" if id else "")
    if outcome == UNAUTHORIZED:
        return _join("unauthorized", message, advice)
    if outcome == RATE_LIMITED:
        used_up = ending.failure is not None and is_used_up(ending.failure)
        advice = (
            "the quota or the credit is used up, so waiting does not help"
            if used_up
            else "try again later, or with --retries N"
        )
        return _join("rate limited", message, advice)
    if outcome in (CUT, INTERRUPTED):
        return _join(outcome, message, f"unspool resume {short} continues it" if id else "")
    if outcome == SERVER_ERROR:
        return _join("server error", message, f"unspool resume {short} asks again" if id else "try again later")
    return _join(outcome.replace("_", " "), message, advice)


def _join(head: str, message: str, advice: str) -> str:
    return "; ".join(part for part in (f"{head}: {message}" if message else head, advice) if part)


def _worst(decoder: Decoder) -> str | None:
    """Of several choices' finish reasons, return one that does not mean a complete answer, if there is any.

    OpenRouter translates what its providers say; their own word counts where it says more than that the answer is complete.
    """
    reasons, native = decoder.finish_reasons, decoder.native_finish_reasons
    for said in (reasons, native):
        for choice in sorted(said):
            if of_finish_reason(said[choice]) not in (COMPLETE, None):
                return said[choice]
    return reasons[min(reasons)] if reasons else None
