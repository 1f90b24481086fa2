"""The rate limits of a whole simulator, by a clock that is moved by hand."""

import json
import re

import pytest

from unspool.sim.clock import VirtualClock
from unspool.sim.limits import tokens_of, written
from unspool.sim.running import Simulator
from unspool.sim.simulator import SimulatorSettings

HELLO = {"model": "m", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 50}


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def limited(clock, client_of):
    """Starts a simulator with these limits and returns what asks it: the status, the headers of the limits, and the error."""
    running = []

    def start(**limits):
        running.append(Simulator(SimulatorSettings(clock=clock, **limits)))
        running[-1].start()
        client = client_of(running[-1].url)

        def ask(path="/chat/completions", method="POST", **fields):
            given = {name: value for name, value in {**HELLO, **fields}.items() if value is not None}
            body = given if method == "POST" else None
            status, headers, raw = client.request(method, path, body)
            told = {name: value for name, value in headers.items() if name.startswith(("x-ratelimit", "retry-after"))}
            return status, told, json.loads(raw).get("error")

        return ask

    yield start
    for simulator in running:
        simulator.stop()


def test_requests_above_the_limit_are_refused_until_one_has_been_refilled(limited, clock):
    ask = limited(rpm=3)
    assert [ask()[0] for _ in range(4)] == [200, 200, 200, 429]
    clock.advance(19.9)
    assert ask()[0] == 429
    clock.advance(0.1)
    assert [ask()[0] for _ in range(2)] == [200, 429]


def test_the_headers_tell_what_is_left_and_when_it_is_whole_again(limited, clock):
    ask = limited(rpm=3, tpm=6000)
    _, told, _ = ask()
    assert told == {
        "x-ratelimit-limit-requests": "3",
        "x-ratelimit-remaining-requests": "2",
        "x-ratelimit-reset-requests": "20s",
        "x-ratelimit-limit-tokens": "6000",
        "x-ratelimit-remaining-tokens": "5950",
        "x-ratelimit-reset-tokens": "500ms",
    }
    clock.advance(60)
    _, told, _ = ask()
    assert (told["x-ratelimit-remaining-requests"], told["x-ratelimit-remaining-tokens"]) == ("2", "5950")


def test_who_comes_again_when_told_is_not_refused_again(limited, clock):
    ask = limited(rpm=7)
    for _ in range(7):
        ask()
    status, told, error = ask()
    assert status == 429
    assert told["retry-after"] == "9"
    assert told["retry-after-ms"] == "8572"
    assert error["type"] == "requests"
    assert error["code"] == "rate_limit_exceeded"
    assert error["message"].endswith("Limit 7, Used 7, Requested 1. Please try again in 8.572s.")
    clock.advance(int(told["retry-after-ms"]) / 1000)
    assert ask()[0] == 200


def test_tokens_are_limited_too_and_a_refused_request_costs_nothing(limited, clock):
    ask = limited(tpm=100)
    assert ask()[0] == 200
    status, told, error = ask(max_tokens=80)
    assert (status, error["type"], told["retry-after"]) == (429, "tokens", "18")
    assert told["x-ratelimit-remaining-tokens"] == "50"
    assert ask()[0] == 200


def test_a_request_larger_than_the_limit_is_not_told_to_come_again(limited):
    status, told, error = limited(tpm=100)(max_tokens=101)
    assert (status, "retry-after" in told, error["type"]) == (429, False, "tokens")


def test_all_endpoints_and_clients_share_the_limit_and_only_what_computes_counts(limited):
    ask = limited(rpm=2)
    assert [ask("/models", "GET")[0] for _ in range(3)] == [200] * 3
    assert ask("/completions", messages=None, prompt="Hello")[0] == 200
    assert ask()[0] == 200
    assert ask("/responses", messages=None, max_tokens=None, input="Hello")[0] == 429


def test_without_limits_nothing_is_ever_taken_off(limited):
    ask = limited()
    ask()
    assert ask()[1]["x-ratelimit-remaining-requests"] == ask()[1]["x-ratelimit-limit-requests"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.012, "12ms"), (0.0001, "1ms"), (1, "1s"), (1.5, "1.5s"), (360, "6m0s"), (61.2, "1m1.2s")],
)
def test_times_are_written_as_openai_does(seconds, text):
    assert written(seconds) == text
    assert re.fullmatch(r"(\d+m)?\d+(\.\d+)?s|\d+ms", text)


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        ({"prompt": "x" * 400}, 100),
        ({"prompt": "x" * 400, "max_tokens": 300}, 300),
        (
            {
                "input": [{"role": "user", "content": [{"type": "input_text", "text": "x" * 80}]}],
                "max_output_tokens": 7,
            },
            20,
        ),
        ({"prompt": [1, 2, 3]}, 3),
        ({}, 1),
        ([], 1),
    ],
)
def test_a_request_costs_the_larger_of_its_limit_and_an_estimate(body, tokens):
    assert tokens_of(json.dumps(body).encode()) == tokens


def test_a_body_that_is_no_json_costs_one():
    assert tokens_of(b"{") == 1


@pytest.mark.parametrize("wrong", [{"rpm": 0}, {"tpm": -1}, {"burst": 0}, {"total_tps": 0}])
def test_a_limit_below_one_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Simulator(SimulatorSettings(**wrong))
