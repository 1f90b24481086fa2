"""Conversations in which the model calls Python functions."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import unspool
from support.effort import rounds
from support.steps import LAST, script_three_steps
from support.waiting import PATIENCE
from unspool.journal import summary
from unspool.sim import call
from unspool.sim.running import Simulator

pytestmark = pytest.mark.usefixtures("home")

APIS = ("responses", "chat")


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as one:
        yield one


def asked(simulator: Simulator, api: str = "chat") -> dict[str, Any]:
    return {"base_url": simulator.url, "model": "sim-1", "key": "k", "api": api}


def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


@pytest.mark.parametrize("api", APIS)
def test_calls_are_run_and_their_results_handed_back_until_an_answer_has_none(simulator: Simulator, api: str) -> None:
    simulator.when(result_of="weather", nth=2).answer("Both are {result}.")
    simulator.when(result_of="weather").answer("Once more.", calls=[call("weather", city="Bergen")])
    simulator.when(user="Oslo").answer(call("weather", city="Oslo"))
    with unspool.converse("Oslo and Bergen?", tools=[weather], **asked(simulator, api)) as conversation:
        deltas = list(conversation.deltas())
    results = [delta for delta in deltas if isinstance(delta, unspool.ToolResult)]
    assert [(one.name, one.content, one.failed) for one in results] == [
        ("weather", "sunny in Oslo", False),
        ("weather", "sunny in Bergen", False),
    ]
    assert (conversation.text, conversation.outcome) == ("Both are sunny in Bergen.", "complete")
    assert len(conversation.answers) == 3
    assert conversation.id == conversation.answers[0].id


def test_calls_of_one_answer_run_at_the_same_time(simulator: Simulator) -> None:
    simulator.answer(calls=[call("meet", who="a"), call("meet", who="b")])
    simulator.answer("They met.")
    both = threading.Barrier(2)

    def meet(who: str) -> str:
        both.wait(PATIENCE)
        return who

    assert unspool.converse("?", tools=[meet], **asked(simulator)).read() == "They met."


async def test_functions_of_asyncio_run_in_the_loop_and_at_the_same_time(simulator: Simulator) -> None:
    simulator.answer(calls=[call("meet", who="a"), call("meet", who="b"), call("weather", city="Oslo")])
    simulator.answer("They met.")
    here, both = asyncio.get_running_loop(), asyncio.Barrier(2)

    async def meet(who: str) -> str:
        assert asyncio.get_running_loop() is here
        await both.wait()
        return who

    async with unspool.aconverse("?", tools=[meet, weather], **asked(simulator)) as conversation:
        assert "".join([piece async for piece in conversation]) == "They met."
    (first, second) = conversation.answers
    assert [message["content"] for message in second._asked()[2:]] == ["a", "b", "sunny in Oslo"]
    assert first.outcome == second.outcome == "complete"


def boom(city: str) -> str:
    raise OSError(f"no road to {city}")


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("boom", {"city": "Oslo"}, "OSError: no road to Oslo"),
        ("boom", {}, "needs the argument 'city'"),
        ("boom", {"city": 1}, "city is 1, and not a string"),
        ("boom", {"city": "Oslo", "day": 2}, "takes no argument 'day'"),
        ("bomb", {"city": "Oslo"}, "there is no tool called bomb; there are boom"),
    ],
)
def test_what_goes_wrong_is_told_to_the_model(
    simulator: Simulator, name: str, arguments: dict[str, Any], told: str
) -> None:
    simulator.answer(call(name, **arguments))
    simulator.answer("I see.")
    conversation = unspool.converse("?", tools=[boom], **asked(simulator))
    (result,) = [delta for delta in conversation.deltas() if isinstance(delta, unspool.ToolResult)]
    assert result.failed
    assert told in result.content
    assert simulator.requests[-1].json["messages"][-1]["content"] == result.content


def test_a_model_that_calls_for_ever_is_stopped(simulator: Simulator) -> None:
    simulator.when(matches=lambda _: True).answer(call("weather", city="Oslo"))
    ran = []

    def count(city: str) -> str:
        ran.append(city)
        return city

    count.__name__ = "weather"
    conversation = unspool.converse("go", tools=[count], chain=3, **asked(simulator))
    with pytest.raises(unspool.TooManyCalls, match="after 3 answers"):
        conversation.read()
    assert len(ran) == 3


def test_tools_may_be_any_iterable(simulator: Simulator) -> None:
    simulator.answer(call("weather", city="Oslo"))
    simulator.answer("It is {result}.")
    tools = (one for one in (weather,))
    assert unspool.converse("?", tools=tools, **asked(simulator)).read() == "It is sunny in Oslo."
    assert simulator.requests[-1].tools == ["weather"]


def test_wrong_arguments_raise_at_the_call() -> None:
    with pytest.raises(TypeError, match="a dict describes a tool"):
        unspool.converse("?", tools=[{"type": "function"}])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="two tools are called weather"):
        unspool.converse("?", tools=[weather, weather])
    with pytest.raises(ValueError, match="tools has no function"):
        unspool.converse("?", tools=[])
    with pytest.raises(TypeError, match="give a prompt"):
        unspool.converse(tools=[weather])
    with pytest.raises(ValueError, match="unfinished is 'maybe'"):
        unspool.converse("?", tools=[weather], unfinished="maybe")


PROGRAM = """
import os, sys, unspool
url, api, log, die = sys.argv[1:]

def step(number: int) -> str:
    "Do a step."
    with open(log, "a") as file:
        file.write(f"begin {number}\\n")
    if die == f"in {number}":
        os.kill(os.getpid(), 9)
    with open(log, "a") as file:
        file.write(f"done {number}\\n")
    return f"step {number} is done"

conversation = unspool.converse("go", tools=[step], base_url=url, model="sim-1", key="k", api=api)
for number, delta in enumerate(conversation.deltas()):
    if die == str(number):
        os.kill(os.getpid(), 9)
print(number)
"""


def killed(simulator: Simulator, api: str, log: Path, die: str) -> int:
    command = [sys.executable, "-c", PROGRAM, simulator.url, api, str(log), die]
    return subprocess.run(command, timeout=PATIENCE, capture_output=True, check=False).returncode


def counting(done: list[str]) -> Callable[[int], str]:
    def step(number: int) -> str:
        done.append(f"done {number}")
        return f"step {number} is done"

    return step


@pytest.mark.parametrize("api", APIS)
def test_a_program_killed_anywhere_is_resumed_and_runs_no_finished_call_again(
    simulator: Simulator, api: str, tmp_path: Path
) -> None:
    script_three_steps(simulator)
    log = tmp_path / "log"
    most = int(subprocess.run(
        [sys.executable, "-c", PROGRAM, simulator.url, api, str(log), "never"], timeout=PATIENCE, capture_output=True, check=True
    ).stdout)  # fmt: skip
    step = max(1, most // rounds(12))
    for die in range(0, most, step):
        log.write_text("")
        before = set(os.listdir(streams()))
        assert killed(simulator, api, log, str(die)) == -9
        first = min(set(os.listdir(streams())) - before).removesuffix(".sse")
        done = [line for line in log.read_text().splitlines() if line.startswith("done")]

        conversation = unspool.converse(resume=first, tools=[counting(done)], **asked(simulator, api))
        assert conversation.read().endswith(LAST)
        assert done == ["done 1", "done 2", "done 3"], die
        assert summary.conversation(streams(), str(conversation.answers[-1].id))[0].id == conversation.id == first


def streams() -> str:
    from unspool.config.paths import streams_dir

    return streams_dir()


@pytest.mark.parametrize("api", APIS)
def test_a_call_that_had_begun_when_the_program_died_is_the_callers_decision(
    simulator: Simulator, api: str, tmp_path: Path
) -> None:
    script_three_steps(simulator)
    assert killed(simulator, api, tmp_path / "log", "in 2") == -9
    first = min(os.listdir(streams())).removesuffix(".sse")
    ran = []

    def step(number: int) -> str:
        ran.append(number)
        return f"step {number} is done"

    with pytest.raises(unspool.UnfinishedCall, match="step had begun"):
        unspool.converse(resume=first, tools=[step], **asked(simulator, api)).read()
    assert ran == []
    again = unspool.converse(resume=first, tools=[step], unfinished="again", **asked(simulator, api))
    assert again.read() == LAST
    assert ran == [2, 3]


def test_a_call_that_had_begun_may_be_told_to_the_model_as_failed(simulator: Simulator, tmp_path: Path) -> None:
    script_three_steps(simulator)
    simulator.when(result_of="step").answer("So it failed.")
    assert killed(simulator, "chat", tmp_path / "log", "in 1") == -9
    first = min(os.listdir(streams())).removesuffix(".sse")

    def step(number: int) -> str:
        raise AssertionError("it runs again")

    told = unspool.converse(resume=first, tools=[step], unfinished="failed", **asked(simulator))
    assert told.read() == "So it failed."
    assert "the program died while this call ran" in simulator.requests[-1].json["messages"][-1]["content"]


async def test_a_conversation_is_resumed_in_asyncio(simulator: Simulator, tmp_path: Path) -> None:
    script_three_steps(simulator)
    assert killed(simulator, "chat", tmp_path / "log", "1") == -9
    first = min(os.listdir(streams())).removesuffix(".sse")

    async def step(number: int) -> str:
        return f"step {number} is done"

    conversation = unspool.aconverse(resume=first, tools=[step], **asked(simulator))
    assert await conversation.read() == LAST


def test_a_client_converses_with_its_own_defaults(simulator: Simulator) -> None:
    simulator.answer(call("weather", city="Oslo"))
    simulator.answer("It is {result}.")
    with unspool.Client(system="Be brief.", **asked(simulator)) as client:
        assert client.converse("?", tools=[weather]).read() == "It is sunny in Oslo."
    assert [message["role"] for message in simulator.requests[-1].json["messages"]][:2] == ["system", "user"]


async def test_an_async_client_converses_with_its_own_defaults(simulator: Simulator) -> None:
    simulator.answer(call("weather", city="Oslo"))
    simulator.answer("It is {result}.")
    async with unspool.AsyncClient(system="Be brief.", **asked(simulator)) as client:
        assert await client.converse("?", tools=[weather]).read() == "It is sunny in Oslo."
    assert [message["role"] for message in simulator.requests[-1].json["messages"]][:2] == ["system", "user"]


def test_a_clients_key_does_not_go_to_the_server_of_a_conversation_that_it_resumes(simulator: Simulator) -> None:
    simulator.script("cut=2")
    conversation = unspool.converse("In 9 tokens", tools=[weather], check=False, **asked(simulator))
    conversation.read()
    with Simulator() as own, unspool.Client(**{**asked(own), "key": "sk-of-my-own-server"}) as client:
        client.converse(resume=conversation.id, tools=[weather]).read()
        assert own.requests == []
    assert [b"sk-of-my-own-server" in str(one.headers).encode() for one in simulator.requests] == [False, False]


def test_without_a_journal_it_converses_all_the_same(simulator: Simulator) -> None:
    simulator.answer(call("weather", city="Oslo"))
    simulator.answer("It is {result}.")
    conversation = unspool.converse("?", tools=[weather], journal=False, **asked(simulator))
    assert conversation.read() == "It is sunny in Oslo."
    assert conversation.id is None
