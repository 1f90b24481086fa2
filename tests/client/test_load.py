"""Many streams at once: what is measured of them, and how they end. No test looks at how long anything took on this machine."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from typing import Any

import pytest

from unspool.api.prompt import Prompt
from unspool.client.exchange import Exchange
from unspool.client.http.curl import pycurl
from unspool.client.http.transport import Transfer
from unspool.client.limits import Limits
from unspool.client.load import Load, Measures, Schedule
from unspool.config.target import Target
from unspool.sim.running import Simulator
from unspool.sim.simulator import SimulatorSettings

TOKENS = 12
ASK = f"a story in {TOKENS} tokens"


def asking(url: str, *, api: str = "chat", retries: int = 0) -> Callable[[int], Exchange]:
    target = Target("test", url, api)
    return lambda number: Exchange(target, Prompt(ASK, "m"), journal=None, retries=retries)


def measure(url: str, schedule: Schedule, limits: Limits | None = None, **arguments: Any) -> Measures:
    return Load(asking(url, **arguments), schedule, limits or Limits()).run()


@pytest.mark.parametrize("api", ["chat", "completions", "responses"])
def test_every_answer_is_counted_with_its_tokens(api: str) -> None:
    with Simulator() as simulator:
        measures = measure(simulator.url, Schedule(concurrency=4, requests=20), api=api)
        assert len(simulator.requests) == 20
    assert (measures.started, measures.ended, measures.whole, measures.failed) == (20, 20, 20, 0)
    assert measures.tokens_are_counted
    assert measures.tokens == 20 * TOKENS
    assert measures.ttft.count == measures.total.count == 20
    assert measures.events >= 20 * TOKENS
    assert measures.unfinished == measures.under_way == 0


def test_never_are_more_under_way_than_asked_for() -> None:
    with Simulator(SimulatorSettings(ttft=0.01)) as simulator:
        assert measure(simulator.url, Schedule(concurrency=7, requests=30)).most_under_way == 7


def test_connections_are_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []
    finish = Transfer.finish

    def counted(transfer: Transfer, code: int, message: str) -> None:
        opened.append(transfer.curl.getinfo(pycurl.NUM_CONNECTS))
        finish(transfer, code, message)

    monkeypatch.setattr(Transfer, "finish", counted)
    with Simulator() as simulator:
        measure(simulator.url, Schedule(concurrency=3, requests=30))
    assert (len(opened), sum(opened)) == (30, 3)


def test_each_way_to_fail_is_counted_by_its_outcome_and_what_was_said() -> None:
    with Simulator() as simulator:
        simulator.script(
            "status=500", "cut=5", "rate-limit=1s", "cut=5,clean", "finish=length", "", "finish=content_filter"
        )
        measures = measure(simulator.url, Schedule(concurrency=1, requests=7))
    assert measures.outcomes == {
        "server_error": 1,
        "cut": 2,
        "rate_limited": 1,
        "length": 1,
        "complete": 1,
        "filtered": 1,
    }
    assert (measures.whole, measures.failed) == (2, 5)
    assert sum(measures.messages.values()) == 5
    assert all(message for outcome, message in measures.messages if outcome != "filtered")
    # Only whole answers have a time for the whole answer.
    assert measures.total.count == 2


def test_a_server_that_is_not_there_fails_each_request_and_ends_the_test() -> None:
    measures = measure("http://127.0.0.1:9/v1", Schedule(concurrency=2, requests=6))
    assert measures.outcomes == {"unreachable": 6}


def test_a_stream_that_falls_silent_is_cut_by_its_limit_and_the_others_go_on() -> None:
    with Simulator() as simulator:
        simulator.script("", "stall=4", "")
        measures = measure(simulator.url, Schedule(concurrency=1, requests=3), Limits(idle=0.3))
    assert measures.outcomes == {"complete": 2, "cut": 1}


def test_a_retry_is_made_where_it_was_asked_for_and_counted() -> None:
    with Simulator() as simulator:
        simulator.script("status=503", "")
        measures = measure(simulator.url, Schedule(concurrency=1, requests=1), retries=2)
    assert (measures.outcomes, measures.retries) == ({"complete": 1}, 1)


def test_an_open_loop_sends_all_that_is_due_though_nothing_is_answered() -> None:
    with Simulator(SimulatorSettings(ttft=3600)) as simulator:
        seen: list[int] = []

        def tick(measures: Measures) -> bool:
            seen.append(measures.under_way)
            return measures.started == 20

        load = Load(asking(simulator.url), Schedule(requests=20, rate=500), Limits(), tick=tick)
        measures = load.run()
    assert measures.most_under_way == 20
    assert measures.unfinished == 20
    assert measures.ended == measures.failed == 0


def test_in_an_open_loop_the_wait_for_room_is_part_of_what_is_measured() -> None:
    # One at a time, each due at once: the fifth has waited for four others.
    with Simulator(SimulatorSettings(ttft=0.05)) as simulator:
        measures = measure(simulator.url, Schedule(requests=5, rate=1e6, concurrency=1))
        closed = measure(simulator.url, Schedule(requests=5, concurrency=1))
    assert measures.most_under_way == 1
    assert measures.ttft.most >= 5 * 0.05
    assert measures.late.count == 5
    assert measures.late.most >= 4 * 0.05
    assert closed.late.count == 0


@pytest.mark.parametrize("poisson", [False, True])
def test_a_duration_bounds_when_the_last_request_is_sent_and_not_when_it_ends(poisson: bool) -> None:
    with Simulator(SimulatorSettings(ttft=0.3)) as simulator:
        measures = measure(simulator.url, Schedule(duration=0.1, rate=100, poisson=poisson))
    assert measures.started == measures.whole
    assert measures.elapsed > 0.3


def test_who_ends_the_test_gets_what_was_measured_and_the_rest_is_no_failure() -> None:
    with Simulator() as simulator:
        simulator.script("", "stall=4")
        load = Load(
            asking(simulator.url), Schedule(concurrency=1, requests=5), Limits(), tick=lambda told: told.ended > 0
        )
        measures = load.run()
    assert (measures.whole, measures.failed, measures.unfinished) == (1, 0, 1)


def test_a_descriptor_that_is_watched_wakes_it() -> None:
    reading, writing = os.pipe()
    with Simulator(SimulatorSettings(ttft=3600)) as simulator:
        os.write(writing, b"x")
        ended = Load(
            asking(simulator.url), Schedule(concurrency=1, requests=1), Limits(), tick=lambda _: True, watch=reading
        ).run()
    assert ended.unfinished == 1
    os.close(reading)
    os.close(writing)


def test_no_descriptor_is_left_open() -> None:
    with Simulator() as simulator:
        measure(simulator.url, Schedule(concurrency=3, requests=6))
        before = len(os.listdir("/proc/self/fd"))
        measure(simulator.url, Schedule(concurrency=3, requests=6))
        # The simulator, in this process, may close its ends a moment later.
        assert len(os.listdir("/proc/self/fd")) <= before + 3


def test_five_hundred_streams_are_held_at_once() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 4000:
        pytest.skip(f"this system allows {hard} descriptors only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (4000, hard))
    try:
        with Simulator(SimulatorSettings(ttft=3600)) as simulator:
            load = Load(
                asking(simulator.url),
                Schedule(concurrency=500, requests=500),
                Limits(),
                tick=lambda _: len(simulator.requests) == 500,
            )
            assert load.run().unfinished == 500
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_side_without_time_left_says_that_it_is_the_bottleneck() -> None:
    measures = Measures()
    measures.elapsed, measures.cpu = 10, 9.5
    assert (measures.bottleneck, measures.cpu_share) == ("cpu", 0.95)


def test_a_side_that_is_kept_from_its_work_says_so_by_the_share_of_what_it_measured() -> None:
    measures = Measures()
    measures.elapsed, measures.cpu = 10, 1
    for _ in range(10):
        measures.gaps.add(0.02)
        measures.ttft.add(1)
        measures.lag.add(0.001)
    assert measures.bottleneck == ""
    for _ in range(20):
        measures.lag.add(0.01)
    assert measures.bottleneck == "lag"
    # The same waits, but for what this side was busy with.
    measures.own_lag = measures.lag.total * 0.9
    assert measures.bottleneck == "cpu"
    assert measures.share_of(measures.gaps) == pytest.approx(0.5, rel=0.02)
