"""What comes of each habit of real servers that the simulator knows (`unspool.sim.faults.quirks`), at every endpoint that has it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import unspool
from support.waiting import PATIENCE
from unspool.sim.faults.quirks import QUIRKS
from unspool.sim.running import Simulator

#: The outcome of each, and a part of its message or of one of its notes. Those that are not here are complete, without a note.
OUTCOMES = {
    "sse-error": ("server_error", "had an error"),
    "error-line": ("server_error", "had an error"),
    "done-instead": ("cut", "before the answer's end"),
    "done-alone": ("cut", "without an answer"),
    "other-api": ("cut", "without an answer"),
    "choice-cut": ("cut", "before the end of choice 1"),
    "comments-for-ever": ("cut", "nothing but keep-alives"),
    "completed-at-limit": ("complete", "all the tokens that --max-tokens allows"),
    "llamacpp-limit": ("length", ""),
    "native-finish": ("length", ""),
    "sensitive": ("filtered", ""),
    "safety": ("filtered", ""),
    "network-error": ("server_error", "network_error"),
    "out-of-resources": ("server_error", "insufficient_system_resource"),
    "window-full": ("length", ""),
    "unknown-finish": ("complete", "for an unknown reason: qwertz"),
    "final-text": ("complete", "differs from the text"),
    "done-text": ("complete", "differs from the text"),
    "hole": ("server_error", "events were lost"),
    "limited-first": ("rate_limited", "Rate limit reached"),
    "overloaded-first": ("server_error", "overloaded"),
    "too-long-first": ("bad_request", "maximum context length"),
    "wrong-key-later": ("unauthorized", "Incorrect API key"),
    "minimax-error": ("unauthorized", "Please carry the API secret key"),
    "minimax-limit": ("rate_limited", "rate limit exceeded"),
    "code-msg": ("bad_request", "Model does not exist"),
    "code-msg-200": ("server_error", "Internal error"),
    "detail": ("bad_request", "body.model: Field required"),
    "errors": ("bad_request", "unsupported parameter"),
    "text-error": ("bad_request", "model 'm' not found"),
    "gemini-key": ("unauthorized", "API key not valid"),
    "gemini-limit": ("rate_limited", "retry in 34s"),
    "payment-required": ("rate_limited", "Insufficient Balance"),
    "no-credits": ("rate_limited", "Insufficient credits"),
    "azure-filter": ("filtered", "content management policy"),
    "moderated": ("filtered", "Your input was flagged"),
    "zhipu-filter": ("filtered", "unsafe or sensitive"),
    "dashscope-filter": ("filtered", "inappropriate content"),
    "unverified": ("bad_request", "must be verified"),
    "no-stream-options": ("bad_request", "stream_options"),
}
#: Those that say something only of answers that a limit stopped.
LIMITED = {"completed-at-limit", "llamacpp-limit"}


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


def _ask(simulator: Simulator, api: str, quirk: str) -> unspool.Answer:
    simulator.script(quirk)
    answer = unspool.stream(
        "Hello",
        base_url=simulator.url,
        api=api,
        model="m",
        max_tokens=5 if quirk in LIMITED else 400,
        n=2 if quirk == "choice-cut" else None,
        idle_timeout=0.3 if quirk == "comments-for-ever" else PATIENCE,
        retries=0,
        journal=False,
        check=False,
    )
    answer.read()
    return answer


@pytest.mark.parametrize(("quirk", "api"), [(quirk.name, api) for quirk in QUIRKS.values() for api in quirk.where])
def test_what_real_servers_send_has_the_outcome_that_it_means(simulator: Simulator, quirk: str, api: str) -> None:
    outcome, words = OUTCOMES.get(quirk, ("complete", ""))
    answer = _ask(simulator, api, quirk)
    ending = answer.ending
    assert ending is not None
    assert ending.outcome == outcome, ending
    assert words in "; ".join([ending.message, *ending.notes])
    assert bool(ending.notes) == (outcome == "complete" and words != "")
    if outcome in ("complete", "length", "filtered") and answer.finish_reason is not None and quirk != "nothing-said":
        assert answer.text.rstrip()


@pytest.mark.parametrize("quirk", ["no-deltas", "items-alone", "snapshot-alone", "final-text", "done-text"])
def test_the_text_is_the_same_wherever_the_protocol_carries_it(simulator: Simulator, quirk: str) -> None:
    plain = _ask(simulator, "responses", "")
    assert _ask(simulator, "responses", quirk).text == plain.text
