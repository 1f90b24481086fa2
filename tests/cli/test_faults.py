"""``unspool faults``, and the simulator and the proxy with faults as commands of their own."""

from __future__ import annotations

import json
import signal

import pytest

from support.waiting import PATIENCE
from unspool.sim.faults.quirks import QUIRKS
from unspool.sim.faults.table import TABLE


@pytest.fixture
def sim(unspool):
    """Starts the simulator, or the proxy, and gives its URL."""
    children = []

    def start(*arguments):
        child = unspool.start("sim", *arguments)
        children.append(child)
        return child.stdout.readline().decode().strip()

    yield start
    for child in children:
        child.send_signal(signal.SIGINT)
        assert (child.wait(PATIENCE), child.stderr.read().count(b"\n")) == (0, 1)


def ask(unspool, url, *arguments):
    return unspool("--base-url", url, "--api", "chat", "-m", "m", "--retries", "0", *arguments, "Hello")


FAST = ("--ttft", "0", "--itl", "0")


def test_every_fault_has_a_line(unspool):
    lines = unspool("faults").stdout.decode().splitlines()
    assert [line.split()[0].partition("=")[0].partition("[")[0] for line in lines] == [
        *(fault.name for fault in TABLE),
        *QUIRKS,
    ]


def test_a_server_fails_in_the_order_of_its_script_and_then_as_always(unspool, sim):
    url = sim(*FAST, "--script", "status=503", "--script", "cut=5,reset", "--script", "", "--fault", "finish=length")
    assert [ask(unspool, url).returncode for _ in range(4)] == [5, 7, 0, 8]


def test_the_command_s_retries_get_through_a_script(unspool, sim):
    url = sim(*FAST, "--script", "rate-limit=10ms", "--script", "hang-up")
    done = ask(unspool, url, "--retries", "2")
    assert (done.returncode, done.stdout.count(b"unspool simulator")) == (0, 1)


def test_a_proxy_breaks_what_another_server_answers(unspool, sim):
    url = sim("--upstream", sim(*FAST), "--script", "cut=4", "--script", "")
    assert ask(unspool, url).returncode == 7
    assert ask(unspool, url).returncode == 0


def test_a_server_that_is_not_there_is_told_by_the_proxy(unspool, sim):
    done = ask(unspool, sim("--upstream", "http://127.0.0.1:9/v1"))
    assert (done.returncode, b"cannot reach 127.0.0.1 port 9" in done.stderr) == (5, True)


def test_the_pace_can_be_told_in_tokens_a_second_and_with_a_jitter(unspool, sim):
    url = sim("--ttft", "1ms±1", "--tps", "5000", "--seed", "3", "--event-ids", "--resumable-for", "0")
    done = ask(unspool, url, "--format", "json")
    assert json.loads(done.stdout)["outcome"] == "complete"
    assert ask(unspool, sim("--itl", "1ms+-1ms", "--drop-after", "4")).returncode == 7


def test_times_may_be_distributions_and_come_in_bursts(unspool, sim):
    url = sim("--ttft", "lognormal(1ms, 0.5)", "--itl", "0..1ms", "--burst", "4", "--total-tps", "100000")
    assert ask(unspool, url).returncode == 0


def test_who_asks_more_often_than_the_limit_is_refused(unspool, sim):
    url = sim(*FAST, "--rpm", "2", "--tpm", "100000")
    assert [ask(unspool, url).returncode for _ in range(3)] == [0, 0, 4]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--fault", "nonsense"),
        ("--fault", "cut=x"),
        ("--script", "bom=1"),
        ("--itl", "20ms±x"),
        ("--itl", "1ms", "--tps", "3"),
        ("--tps", "0"),
        ("--itl", "normal(20ms)"),
        ("--ttft", "40..20ms"),
        ("--burst", "0"),
        ("--rpm", "0"),
        ("--total-tps", "0"),
        ("--upstream", "http://127.0.0.1:9/v1", "--rpm", "3"),
        ("--upstream", "nowhere"),
        ("--upstream", "http://127.0.0.1:9/v1", "--itl", "3ms"),
    ],
)
def test_what_cannot_be_is_wrong_usage_in_one_line(unspool, arguments):
    done = unspool("sim", *arguments)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)
