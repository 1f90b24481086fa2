"""How fast the simulated model computes: the times themselves, drawn and never waited for."""

import math
import statistics
from itertools import pairwise

import pytest

from unspool.sim.pace import Delay, Pace, Throughput


def drawn(delay, count=4000):
    """The steps between the tokens of one long answer."""
    timing = Pace(0, delay, seed=20261122).of("a request")
    times = [timing.due(number) for number in range(1, count + 2)]
    return [later - earlier for earlier, later in pairwise(times)]


@pytest.mark.parametrize(
    ("text", "delay"),
    [
        ("20ms", Delay("fixed", 0.02)),
        ("0", Delay("fixed", 0)),
        ("1.5", Delay("fixed", 1.5)),
        (".5m", Delay("fixed", 30)),
        ("20ms±5", Delay("uniform", 0.015, 0.025)),
        ("20ms+-5ms", Delay("uniform", 0.015, 0.025)),
        ("20ms~5", Delay("uniform", 0.015, 0.025)),
        ("1s ± 250ms", Delay("uniform", 0.75, 1.25)),
        ("1ms±5", Delay("uniform", 0, 0.006)),
        ("20..40ms", Delay("uniform", 0.02, 0.04)),
        ("20ms..1s", Delay("uniform", 0.02, 1)),
        ("normal(20ms, 5)", Delay("normal", 0.02, 0.005)),
        ("lognormal(20ms, 0.5)", Delay("lognormal", 0.02, 0.5)),
        ("exponential(20ms)", Delay("exponential", 0.02)),
    ],
)
def test_a_delay_is_read(text, delay):
    read = Delay.read(text)
    assert (read.shape, read.a, read.b) == (delay.shape, pytest.approx(delay.a), pytest.approx(delay.b))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fast",
        "-5ms",
        "20ms±",
        "±5",
        "40..20ms",
        "20..",
        "normal(20ms)",
        "lognormal(1,2,3)",
        "1e3",
        "nan",
        "5 years",
    ],
)
def test_what_is_no_delay_is_refused_with_what_would_be_one(text):
    with pytest.raises(ValueError, match=r"is not a time such as|start with the shorter"):
        Delay.read(text)


@pytest.mark.parametrize(
    ("text", "least", "most", "spread"),
    [
        ("20ms±5", 0.015, 0.025, 0.005 / math.sqrt(3)),
        ("10..50ms", 0.01, 0.05, 0.02 / math.sqrt(3)),
        ("normal(20ms, 5ms)", 0, 0.04, 0.005),
        ("exponential(20ms)", 0, math.inf, 0.02),
        ("lognormal(20ms, 0.5)", 0, math.inf, 0.02 * math.exp(0.125) * math.sqrt(math.exp(0.25) - 1)),
    ],
)
def test_what_is_drawn_has_the_mean_the_spread_and_the_bounds_that_were_asked_for(text, least, most, spread):
    delay = Delay.read(text)
    steps = drawn(delay)
    assert statistics.fmean(steps) == pytest.approx(delay.mean, rel=0.03)
    assert statistics.stdev(steps) == pytest.approx(spread, rel=0.1)
    assert least - 1e-9 <= min(steps) <= max(steps) <= most + 1e-9


@pytest.mark.parametrize("text", ["20ms±5", "normal(20ms, 5ms)", "exponential(20ms)", "lognormal(20ms, 0.5)"])
def test_what_is_drawn_follows_its_quantiles(text):
    # Kolmogorov and Smirnov: for 4000 of them the distance is above 1.95/√4000 once in a thousand seeds, and this is one seed.
    delay = Delay.read(text)
    shares = [number / 100 for number in range(1, 100)]
    steps = sorted(drawn(delay))
    below = [sum(step <= delay.at(share) for step in steps) / len(steps) for share in shares]
    assert max(abs(got - share) for got, share in zip(below, shares, strict=True)) < 1.95 / math.sqrt(len(steps))


@pytest.mark.parametrize("wide", [0.001, 1, 50])
def test_a_normal_time_that_is_cut_off_keeps_its_mean_and_is_never_below_zero(wide):
    delay = Delay("normal", 1, wide)
    times = [delay.at(number / 1000) for number in range(1, 1000)]
    assert statistics.fmean(times) == pytest.approx(1, abs=1e-6)
    assert all(0 <= time <= 2 for time in times)


def test_the_steps_of_an_answer_are_not_alike():
    # Each is drawn by itself: neighbours have nothing to do with each other.
    steps = drawn("20ms±15")
    assert abs(statistics.correlation(steps[:-1], steps[1:])) < 0.05


def test_the_same_request_gets_the_same_times_and_another_request_or_seed_gets_others():
    def times(request, seed=0):
        timing = Pace("300ms±100", "20ms±5", seed=seed).of(request)
        return [timing.due(number) for number in range(10)]

    assert times("a") == times("a")
    assert times("a") != times("b")
    assert times("a") != times("a", seed=1)


def test_tokens_asked_for_at_once_are_due_when_the_last_of_them_is():
    one, other = (Pace("10ms±5", "20ms±5").of("a") for _ in range(2))
    assert [one.due(number) for number in range(101)][-1] == other.due(100)


def test_a_fixed_pace_is_exact_to_the_last_token():
    assert Pace(0.3, 0.02).of("a").due(50_001) == 0.3 + 0.02 * 50_000


def test_a_burst_brings_its_tokens_at_once_and_keeps_the_pace():
    timing = Pace(1, 0.5, burst=3).of("a")
    assert [timing.due(number) for number in range(8)] == [0, 1, 1, 1, 2.5, 2.5, 2.5, 4]


def test_what_all_streams_share_is_given_in_the_order_in_which_it_is_asked_for():
    shared = Throughput(10)
    assert [shared.finished_at(5, 1), shared.finished_at(5, 2), shared.finished_at(5.1, 1)] == pytest.approx(
        [5.1, 5.3, 5.4]
    )
    # What was not used is lost.
    assert shared.finished_at(100, 1) == pytest.approx(100.1)
