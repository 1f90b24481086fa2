"""One throttle for all streams of a run: what one of them is told holds for the others."""

from __future__ import annotations

import pytest

from unspool.api.deltas import Failure
from unspool.client.throttle import Throttle
from unspool.outcome import UNREACHABLE, Fault


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def refused(wait: float = 2.0) -> Failure:
    return Failure("Slow down.", 429, retry_after=wait)


def test_streams_begin_until_as_many_are_under_way_as_are_wanted(clock: Clock) -> None:
    throttle = Throttle(2, clock)
    assert [throttle.wait(0), throttle.wait(1), throttle.wait(2)] == [0.0, 0.0, None]


def test_a_refusal_halves_what_is_allowed_and_pauses_what_has_not_begun(clock: Clock) -> None:
    throttle = Throttle(8, clock)
    assert throttle.wait_before(2, refused(), None) == 2.0
    assert (throttle.wait(4), throttle.wait(3)) == (None, 2.0)
    clock.now += 2.0
    assert throttle.wait(3) == 0.0


def test_streams_that_are_refused_together_are_one_refusal_and_come_back_one_after_another(clock: Clock) -> None:
    throttle = Throttle(8, clock)
    waits = [throttle.wait_before(2, refused(), None) for _ in range(4)]
    assert waits == pytest.approx([2.0, 2.1, 2.2, 2.3])
    assert throttle.wait(3) == 2.0


def test_what_is_allowed_grows_again_with_answers_and_never_above_what_is_wanted(clock: Clock) -> None:
    throttle = Throttle(4, clock)
    throttle.wait_before(2, refused(), None)
    clock.now += 10.0
    assert throttle.wait(2) is None
    for _ in range(100):
        throttle.heard(200, {})
    assert (throttle.wait(3), throttle.wait(4)) == (0.0, None)


def test_one_stream_is_always_allowed(clock: Clock) -> None:
    throttle = Throttle(4, clock)
    for _ in range(10):
        throttle.wait_before(2, refused(), None)
        clock.now += 60.0
    assert throttle.wait(0) == 0.0


@pytest.mark.parametrize("kind", ["requests", "tokens"])
def test_nothing_begins_while_the_server_says_that_nothing_is_left(clock: Clock, kind: str) -> None:
    throttle = Throttle(4, clock)
    throttle.heard(200, {f"x-ratelimit-remaining-{kind}": "0", f"x-ratelimit-reset-{kind}": "1m2s"})
    assert throttle.wait(0) == 62.0
    throttle.heard(200, {f"x-ratelimit-remaining-{kind}": "5", f"x-ratelimit-reset-{kind}": "1h"})
    assert throttle.wait(0) == 62.0


def test_other_failures_wait_by_themselves(clock: Clock) -> None:
    throttle = Throttle(4, clock)
    assert throttle.wait_before(2, None, Fault(UNREACHABLE, "", True)) is not None
    assert throttle.wait_before(2, Failure("", 400), None) is None
    assert throttle.wait_before(2, Failure("", 429, code="insufficient_quota"), None) is None
    assert throttle.wait(0) == 0.0


def test_a_wait_that_is_too_long_for_a_person_is_not_too_long_for_a_run(clock: Clock) -> None:
    assert Throttle(4, clock).wait_before(2, refused(300.0), None) == 300.0
    assert Throttle(4, clock).wait_before(2, refused(3600.0), None) is None


@pytest.mark.parametrize("reset", ["", "soon", "-1s", "1s2", "٣s"])
def test_a_reset_time_that_cannot_be_read_is_no_wait(reset: str, clock: Clock) -> None:
    throttle = Throttle(4, clock)
    throttle.heard(200, {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": reset})
    assert throttle.paused_for == 0.0


def test_the_wait_that_a_refusal_asks_for_rules_over_the_limits_in_its_headers(clock: Clock) -> None:
    throttle = Throttle(4, clock)
    headers = {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"}
    throttle.heard(429, {**headers, "retry-after": "1"})
    assert throttle.wait_before(2, refused(1.0), None) == 1.0
    assert throttle.paused_for == 1.0
    throttle.heard(200, headers)
    assert throttle.paused_for == 360.0


def test_a_refusal_inside_an_answer_slows_a_run_down_as_one_with_a_status_does(clock: Clock) -> None:
    throttle = Throttle(8, clock)
    assert throttle.wait_before(2, Failure("Slow down.", code="rate_limit_exceeded"), None) is not None
    assert throttle.allowed == 4.0
