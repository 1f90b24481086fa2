"""Percentiles from buckets, beside those of all the values."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unspool.client.load.percentiles import Distribution

TIMES = st.lists(st.floats(min_value=0, max_value=1e6, allow_nan=False), min_size=1, max_size=200)


@given(TIMES, st.sampled_from([1, 50, 90, 95, 99, 99.9, 100]))
def test_a_percentile_is_right_to_half_a_percent(values, percent):
    exact = sorted(values)[max(math.ceil(len(values) * percent / 100), 1) - 1]
    assert Distribution(values).percentile(percent) == pytest.approx(exact, rel=0.0051, abs=2e-9)


@given(TIMES)
def test_count_least_most_and_mean_are_exact(values):
    told = Distribution(values)
    assert (told.count, told.least, told.most) == (len(values), min(values), max(values))
    assert told.mean == pytest.approx(math.fsum(values) / len(values))


@given(TIMES)
def test_every_value_is_in_one_bucket_that_ends_above_it(values):
    buckets = Distribution(values).as_json()["buckets"]
    assert sum(count for _, count in buckets) == len(values)
    assert [end for end, _ in buckets] == sorted(end for end, _ in buckets)
    assert buckets[-1][0] >= max(values) * 0.999


def test_memory_does_not_grow_with_the_number_of_values():
    random_times = random.Random(1)
    told = Distribution(random_times.lognormvariate(-4, 1) for _ in range(100_000))
    assert len(told.as_json()["buckets"]) < 1000


def test_a_clock_that_went_back_counts_as_no_time():
    assert Distribution([-1.0, 2.0]).least == 0


def test_nothing_counted_is_zero_and_not_an_error():
    told = Distribution().as_json()
    assert (told["count"], told["p50"], told["min"], told["max"], told["mean"]) == (0, 0, 0, 0, 0)
    assert Distribution().above(1) == 0


def test_what_is_above_an_edge_is_counted():
    assert Distribution([0.001, 0.01, 0.1, 1]).above(0.05) == 2
