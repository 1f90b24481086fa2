"""``unspool bench``: a load test through the command. What it measures is another matter; see tests/client/test_load.py."""

from __future__ import annotations

import json
import signal
import time

import pytest

from support.waiting import PATIENCE
from unspool.sim.running import Simulator
from unspool.sim.simulator import SimulatorSettings

ASK = ("-m", "m", "-p", "a story in 12 tokens")


@pytest.fixture
def simulator():
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def eventually():
    """Asks until the answer is yes, for what another process does at its own time."""

    def wait(happened):
        deadline = time.monotonic() + PATIENCE
        while not happened():
            assert time.monotonic() < deadline, "it never happened"

    return wait


@pytest.fixture
def measured(unspool, simulator):
    """Runs a load test with --json, and returns the exit code and the object."""

    def run(*arguments, url=None):
        done = unspool("bench", url or simulator.url, *ASK, "--json", *arguments)
        assert done.stdout.count(b"\n") == 1
        return done.returncode, json.loads(done.stdout)

    return run


@pytest.mark.parametrize("api", ["responses", "chat", "completions"])
def test_everything_is_in_the_json(measured, api):
    code, told = measured("--requests", "15", "--concurrency", "3", "--api", api)
    assert code == 0
    assert (told["object"], told["version"]) == ("unspool.bench", 1)
    assert (told["target"]["api"], told["target"]["model"], told["target"]["simulator"]) == (api, "m", False)
    assert (told["schedule"]["loop"], told["schedule"]["concurrency"], told["schedule"]["requests"]) == (
        "closed",
        3,
        15,
    )
    assert told["requests"]["whole"] == told["requests"]["started"] == told["requests"]["ended"] == 15
    assert told["requests"]["most_at_once"] == 3
    assert told["outcomes"] == {"complete": 15}
    assert told["tokens"] == {"count": 15 * 12, "counted_by_server": True}
    for name in ("ttft", "per_token", "total"):
        distribution = told[name]
        assert distribution["count"] == 15
        assert sum(count for _, count in distribution["buckets"]) == 15
        percentiles = [distribution[each] for each in ("min", "p50", "p90", "p95", "p99", "max")]
        assert percentiles == sorted(percentiles)
    assert {"unspool", "libcurl", "python", "system"} == set(told["versions"])
    assert 0 <= told["client"]["cpu_share"] <= 1
    assert told["client"]["lag"]["count"] >= 0
    assert told["client"]["bottleneck"] in (None, "cpu", "lag")


def test_no_journal_is_kept_of_a_load_test(unspool, simulator):
    unspool("bench", simulator.url, *ASK, "--requests", "3")
    assert unspool.journals() == []


def test_a_person_is_shown_percentiles_and_a_histogram(unspool, simulator):
    done = unspool("bench", simulator.url, *ASK, "--requests", "20")
    text = done.stdout.decode()
    assert done.returncode == 0
    assert "20 complete, 0 failed" in text
    assert "closed loop" in text
    for row in ("first token", "between tokens", "for each token", "complete answer"):
        assert text.count(f"\n{row}") >= 1
    assert "█" in text
    assert "unspool itself used" in text


def test_where_blocks_cannot_be_written_bars_are_ascii(unspool, simulator):
    unspool.env["LC_ALL"] = "C"
    text = unspool("bench", simulator.url, *ASK, "--requests", "5").stdout.decode()
    assert "#" in text
    assert "█" not in text


def test_a_failure_is_told_by_its_outcome_and_its_exit_code(unspool, simulator):
    simulator.script("", "cut=5", "")
    done = unspool("bench", simulator.url, *ASK, "--requests", "3", "--concurrency", "1")
    assert done.returncode == 7
    assert "2 complete, 1 failed" in done.stdout.decode()
    assert "\ncut " in done.stdout.decode()


def test_failures_of_several_kinds_exit_with_1(measured, simulator):
    simulator.script("cut=5", "status=500", "")
    code, told = measured("--requests", "3", "--concurrency", "1")
    assert (code, told["outcomes"]) == (1, {"cut": 1, "server_error": 1, "complete": 1})
    assert {error["outcome"] for error in told["errors"]} == {"cut", "server_error"}


def test_an_answer_as_long_as_it_was_allowed_to_be_is_no_failure(measured):
    code, told = measured("--requests", "2", "--max-tokens", "5")
    assert (code, told["outcomes"]) == (0, {"length": 2})


def test_a_rate_limit_is_told_as_such(measured):
    with Simulator(SimulatorSettings(rpm=3)) as limited:
        code, told = measured("--requests", "5", "--concurrency", "1", url=limited.url)
    assert (code, told["outcomes"]) == (4, {"complete": 3, "rate_limited": 2})


def test_an_open_loop_says_that_it_is_one(measured):
    code, told = measured("--requests", "10", "--rate", "1000", "--poisson")
    assert (code, told["schedule"]["loop"], told["late"]["count"]) == (0, "open", 10)


def test_what_warms_up_is_asked_and_not_measured(measured, simulator):
    _, told = measured("--requests", "5", "--warm-up", "4")
    assert told["requests"]["started"] == 5
    assert len(simulator.requests) == 9


def test_prompts_of_a_file_are_asked_in_turn(unspool, simulator, tmp_path):
    (tmp_path / "prompts").write_text("one in 3 tokens\n\ntwo in 3 tokens\n")
    done = unspool(
        "bench",
        simulator.url,
        "-m",
        "m",
        "--prompts",
        str(tmp_path / "prompts"),
        "--requests",
        "4",
        "--concurrency",
        "1",
    )
    assert done.returncode == 0
    asked = [request.json["messages"][0]["content"] for request in simulator.requests]
    assert asked == ["one in 3 tokens", "two in 3 tokens"] * 2


def test_the_simulator_of_its_own_is_another_process_whose_cost_is_told(unspool):
    done = unspool("bench", "--sim", "-p", "a story in 3 tokens", "--requests", "4", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["outcomes"], told["target"]["simulator"]) == (0, {"complete": 4}, True)
    assert told["simulator"]["cpu"] > 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_who_interrupts_it_gets_what_was_measured_so_far(unspool, simulator, eventually, number, code):
    simulator.script("", "", *["stall=5"] * 10)
    child = unspool.start("bench", simulator.url, *ASK, "--requests", "50", "--concurrency", "4", "--json")
    eventually(lambda: len(simulator.requests) >= 6)
    child.send_signal(number)
    stdout, _ = child.communicate(timeout=PATIENCE)
    told = json.loads(stdout)
    assert child.returncode == code
    assert (told["requests"]["whole"], told["requests"]["failed"], told["requests"]["unfinished"]) == (2, 0, 4)


def test_progress_is_shown_at_a_terminal_and_taken_back(unspool):
    with Simulator(SimulatorSettings(itl=0.05)) as slow:
        shown = unspool.on_terminal("bench", slow.url, *ASK, "--requests", "2")
    assert shown.code == 0
    assert b"running" in shown.output
    assert not any("running" in line for line in shown.lines)


def test_what_a_server_says_reaches_no_terminal_as_it_is(unspool, serve):
    body = json.dumps({"error": {"message": "\x1b]0;owned\x07"}}).encode()
    head = f"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    shown = unspool.on_terminal("bench", serve(head.encode() + body).url, *ASK, "--requests", "1")
    assert shown.code == 10
    assert b"owned" in shown.output
    assert b"\x1b]0;" not in shown.output


def test_no_key_is_in_what_is_printed(unspool, simulator):
    done = unspool("bench", simulator.url, *ASK, "--requests", "1", "--json", "--key", "sk-secret-0123456789")
    assert b"secret" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("http://127.0.0.1:9/v1",),
        ("http://127.0.0.1:9/v1", "http://127.0.0.1:8/v1", "-m", "m"),
        ("http://127.0.0.1:9/v1", "--sim"),
        ("http://127.0.0.1:9/v1", "-m", "m", "--poisson"),
        ("http://127.0.0.1:9/v1", "-m", "m", "--concurrency", "0"),
        ("http://127.0.0.1:9/v1", "-m", "m", "--concurrency", "99999999"),
        ("http://127.0.0.1:9/v1", "-m", "m", "--rate", "0"),
        ("http://127.0.0.1:9/v1", "-m", "m", "--prompts", "/nowhere"),
    ],
)
def test_what_cannot_be_is_wrong_usage_in_one_line(unspool, arguments):
    done = unspool("bench", *arguments)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)


def test_a_server_that_is_not_there_is_unreachable(unspool):
    done = unspool("bench", "http://127.0.0.1:9/v1", *ASK, "--requests", "2")
    assert done.returncode == 6
    assert b"unreachable" in done.stdout
