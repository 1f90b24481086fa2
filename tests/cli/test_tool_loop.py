"""Tools that the command runs: asked for, run in processes of their own, kept, and never run twice."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.effort import rounds
from support.steps import LAST, script_three_steps
from support.waiting import PATIENCE, until
from unspool.sim import call
from unspool.sim.running import Simulator

from .watching import Watched

APIS = ("responses", "chat")
TOOLS = """
import os, sys, time

def step(number: int) -> str:
    "Do a step."
    print("this goes to standard error")
    with open(os.environ["STEPS"], "a") as file:
        file.write(f"{number}\\n")
    return f"step {number} is done"

def weather(city: str, days: int = 1) -> dict:
    "The weather."
    return {"city": city, "days": days}

async def later(text: str) -> str:
    "Wait."
    return text

def boom() -> str:
    "Fail."
    raise OSError("no road")

def crash() -> str:
    "Crash."
    os._exit(3)

def hang() -> str:
    "Hang."
    open(os.environ["STEPS"], "a").write(f"{os.getpid()}\\n")
    time.sleep(3600)

def _private() -> None:
    pass
"""


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as one:
        yield one


@pytest.fixture
def tools(unspool: Any, tmp_path: Path) -> str:
    (tmp_path / "steps").write_text("")
    unspool.env["STEPS"] = str(tmp_path / "steps")
    path = tmp_path / "tools.py"
    path.write_text(TOOLS)
    return str(path)


def ask(simulator: Simulator, api: str = "chat") -> list[str]:
    return ["--base-url", simulator.url, "-m", "sim-1", "--api", api]


@pytest.mark.parametrize("api", APIS)
def test_what_is_allowed_runs_and_the_answer_streams_on(unspool, simulator, tools, api):
    simulator.answer("Let me look.", calls=[call("weather", city="Oslo"), call("later", text="soon")])
    simulator.answer("It is {result}.")
    done = unspool(*ask(simulator, api), "--functions", tools, "--tools-allow", "weather,later", "How is Oslo?")
    assert (done.returncode, done.stdout) == (0, b"Let me look.\nIt is soon.\n")
    stderr = done.stderr.decode()
    assert 'unspool: calling weather({"city":"Oslo"})\n' in stderr
    assert 'unspool: weather returned {"city":"Oslo","days":1}\n' in stderr
    first, second = unspool.journals()
    assert first.read_text().count("event: unspool.tool") == 4
    assert f'"parent":"{first.stem}"' in second.read_text()
    assert unspool("show", first.stem).returncode == 0
    assert unspool("log", "--json").stdout.count(b"\n") == 2


@pytest.mark.parametrize(
    ("called", "told"),
    [
        (call("boom"), "OSError: no road"),
        (call("crash"), "the tool ended: "),
        (call("hang"), "the tool did not end within 0.5 s"),
        (call("weather"), "needs the argument 'city'"),
        (call("_private"), "there is no tool called _private"),
    ],
)
def test_what_fails_is_told_to_the_model(unspool, simulator, tools, called, told):
    simulator.answer(called)
    simulator.answer("I see.")
    limit = ["--tool-timeout", "0.5"] if called.name == "hang" else []
    done = unspool(*ask(simulator), "--functions", tools, "--tools-allow", "all", *limit, "go")
    assert (done.returncode, done.stdout) == (0, b"I see.\n")
    assert told in simulator.requests[-1].json["messages"][-1]["content"]
    assert told.encode() in done.stderr


def test_what_nothing_allows_is_refused_where_nobody_can_be_asked(unspool, simulator, tools):
    simulator.answer(call("step", number=1))
    simulator.answer("I may not.")
    done = unspool(*ask(simulator), "--functions", tools, "go")
    assert (done.returncode, done.stdout) == (0, b"I may not.\n")
    assert b"to allow it: --tools-allow step" in done.stderr
    assert simulator.requests[-1].json["messages"][-1]["content"] == "the user does not allow this call"
    assert Path(unspool.env["STEPS"]).read_text() == ""


def test_a_person_is_asked_for_each_call_and_may_allow_all_of_a_tool(unspool, simulator, tools):
    for number in (1, 2, 3, 4):
        simulator.answer(f"Now {number}.", calls=[call("step", number=number)])
    simulator.answer("The end.")
    person = Watched(unspool, *ask(simulator), "--functions", tools, "go")
    person.until('calls step({"number":1}); run it? [y]es, [a]lways, [n]o: ').type("y\n")
    person.until('calls step({"number":2}); run it?').type("\n")
    person.until('calls step({"number":3}); run it?').type("a\n")
    person.until("The end.")
    assert person.end() == 0
    assert Path(unspool.env["STEPS"]).read_text() == "1\n3\n4\n"


def test_ctrl_c_at_the_question_ends_the_command_and_resume_asks_it_again(unspool, simulator, tools):
    simulator.answer(call("step", number=1))
    simulator.answer("The end.")
    person = Watched(unspool, *ask(simulator), "--functions", tools, "go")
    person.until("run it?").send(signal.SIGINT)
    assert person.end() == 130
    again = Watched(unspool, "resume")
    again.until("run it?").type("y\n")
    again.until("The end.")
    assert again.end() == 0


def test_each_call_is_asked_for_where_that_is_wanted_even_so(unspool, simulator, tools):
    simulator.answer(call("step", number=1))
    simulator.answer("The end.")
    done = unspool(*ask(simulator), "--functions", tools, "--tools-allow", "all", "--ta", "go")
    assert b"there is no terminal to ask on" in done.stderr


def test_ctrl_c_while_a_tool_runs_ends_it_and_the_command(unspool, simulator, tools):
    simulator.answer(call("hang"))
    child = unspool.start(*ask(simulator), "--functions", tools, "--tools-allow", "all", "go")
    until(lambda: Path(unspool.env["STEPS"]).read_text())
    child.send_signal(signal.SIGINT)
    assert child.wait(PATIENCE) == 130
    resumed = unspool("resume", "--tools-allow", "all")
    assert resumed.returncode == 1
    assert b"hang({}) had started when the command died" in resumed.stderr


def test_the_loop_ends_at_the_limit(unspool, simulator, tools):
    simulator.when(matches=lambda _: True).answer(call("step", number=1))
    done = unspool(*ask(simulator), "--functions", tools, "--tools-allow", "all", "--cl", "2", "go")
    assert done.returncode == 1
    assert b"after 2 rounds of calls; --cl N allows more" in done.stderr
    assert Path(unspool.env["STEPS"]).read_text() == "1\n1\n"


def test_json_has_the_calls_the_results_and_one_end(unspool, simulator, tools):
    simulator.answer(call("weather", city="Oslo"))
    simulator.answer("Fine.")
    done = unspool(*ask(simulator), "--functions", tools, "--tools-allow", "all", "--json", "go")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    kinds = [line["type"] for line in lines]
    assert (kinds.count("turn"), kinds.count("end"), kinds[-1]) == (1, 1, "end")
    (result,) = [line for line in lines if line["type"] == "tool_result"]
    assert (result["name"], result["content"], result["failed"]) == ("weather", '{"city":"Oslo","days":1}', False)
    assert kinds.index("turn") < kinds.index("tool_result") < kinds.index("text")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--functions", "/nowhere.py"], "there is no file /nowhere.py"),
        (["--functions", "def broken(:\n"], "SyntaxError"),
        (["--functions", "x = 1\ny = 2"], "defines no function"),
        (["-T", "nothing"], "no installed package has a tool called nothing; the configuration has files, some"),
        (["-T", "some", "--functions", "def step(): pass"], "two tools are called step"),
        (["-T", "files"], "has no function called other"),
    ],
)
def test_tools_that_cannot_be_had_are_an_error_before_anything_is_asked(
    unspool, simulator, tools, tmp_path, arguments, told
):
    config = tmp_path / "config" / "unspool"
    config.mkdir(parents=True)
    (config / "config.toml").write_text(
        f'[tools.files]\nfile = "{tools}"\nfunctions = ["other"]\n[tools.some]\nfile = "{tools}"\nfunctions = ["step"]\n'
    )
    done = unspool(*ask(simulator), *arguments, "go")
    assert done.returncode == 2
    assert told in done.stderr.decode()
    assert not simulator.requests


def test_the_configuration_names_tools_and_allows_them(unspool, simulator, tools, tmp_path):
    config = tmp_path / "config" / "unspool"
    config.mkdir(parents=True)
    (config / "config.toml").write_text('[tools.some]\nfile = "../../tools.py"\nfunctions = ["step"]\nallow = true\n')
    simulator.answer(call("step", number=1))
    simulator.answer("Fine.")
    assert unspool(*ask(simulator), "-T", "some", "go").stdout == b"Fine.\n"
    assert simulator.requests[0].tools == ["step"]


def test_what_the_model_must_call_may_be_a_function_and_has_to_be_called_once_only(unspool, simulator, tools):
    simulator.answer(call("step", number=1))
    simulator.answer("Fine.")
    arguments = [*ask(simulator), "--functions", tools, "--tools-allow", "all", "--tool-choice"]
    assert unspool(*arguments, "step", "go").stdout == b"Fine.\n"
    first, second = simulator.requests
    assert first.json["tool_choice"] == {"type": "function", "function": {"name": "step"}}
    assert "tool_choice" not in second.json
    refused = unspool(*arguments, "leap", "go")
    assert refused.returncode == 2
    assert b"there is no tool called 'leap' to choose; there are step, weather" in refused.stderr


def test_resume_offers_the_tools_of_the_first_request_and_allows_no_others(unspool, simulator, tools, tmp_path):
    config = tmp_path / "config" / "unspool"
    config.mkdir(parents=True)
    (config / "config.toml").write_text(
        f'[tools.safe]\nfile = "{tools}"\nfunctions = ["weather", "hang"]\nallow = true\n'
        f'[tools.unsafe]\nfile = "{tools}"\nfunctions = ["step"]\n'
    )
    simulator.answer(calls=[call("weather", city="Oslo"), call("hang")])
    simulator.answer(calls=[call("weather", city="Bergen"), call("step", number=1), call("boom")])
    simulator.answer("I see.")
    child = unspool.start(*ask(simulator), "-T", "safe", "-T", "unsafe", "go")
    until(lambda: Path(unspool.env["STEPS"]).read_text())
    until(lambda: '"result":"{' in unspool.journals()[0].read_text())
    child.kill()
    child.wait()
    Path(unspool.env["STEPS"]).write_text("")
    person = Watched(unspool, "resume", "--key", "k", columns=200)
    person.until("hang({}) had started").type("n\n")
    person.until('the model calls step({"number":1}); run it?').type("n\n")
    person.until("I see.")
    assert person.end() == 0
    assert [one.tools for one in simulator.requests] == [["weather", "hang", "step"]] * 3
    assert Path(unspool.env["STEPS"]).read_text() == ""
    results = [one["content"] for one in simulator.requests[2].json["messages"] if one["role"] == "tool"]
    assert results[2:] == [
        '{"city":"Bergen","days":1}',
        "the user does not allow this call",
        "there is no tool called boom; there are weather, hang, step",
    ]


def test_code_on_the_command_line_is_enough(unspool, simulator):
    simulator.answer(call("double", number=21))
    simulator.answer("{result}")
    code = "def double(number: int) -> int: return 2 * number"
    assert unspool(*ask(simulator), "--functions", code, "--tools-allow", "all", "go").stdout == b"42\n"


@pytest.mark.parametrize("api", APIS)
def test_killed_anywhere_and_resumed_it_runs_no_finished_call_again(unspool, simulator, tools, api, tmp_path):
    script_three_steps(simulator)
    steps = Path(unspool.env["STEPS"])
    arguments = [*ask(simulator, api), "--functions", tools, "--tools-allow", "all", "--json", "go"]
    lines = unspool(*arguments).stdout.count(b"\n")
    for die in range(1, lines, max(1, lines // rounds(10))):
        steps.write_text("")
        for journal in unspool.journals():
            journal.unlink()
        child = unspool.start(*arguments)
        for _ in range(die):
            child.stdout.readline()
        child.kill()
        child.wait()
        done = steps.read_text().split()
        results = sum(journal.read_text().count('"result":') for journal in unspool.journals())
        resumed = unspool("resume", "--tools-allow", "all", "--key", "k")
        ran = steps.read_text().split()
        if b"had started when the command died" in resumed.stderr:
            # It struck within a call: that is for a person to decide, and nothing else is run.
            assert (resumed.returncode, len(ran) - results <= 1) == (1, True)
            continue
        assert resumed.returncode == 0, resumed.stderr
        assert resumed.stdout.decode().rstrip("\n").endswith(LAST)
        assert ran == ["1", "2", "3"], (die, done)


def is_gone(pid: int) -> bool:
    """Whether a process has ended: nobody may have collected it yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc to look at processes in")
def test_a_tool_does_not_outlive_the_command_that_runs_it(unspool, simulator, tools):
    simulator.answer(call("hang"))
    child = unspool.start(*ask(simulator), "--functions", tools, "--tools-allow", "all", "go")
    tool = int(until(lambda: Path(unspool.env["STEPS"]).read_text().strip()))
    assert not is_gone(tool)
    child.kill()
    child.wait()
    until(lambda: is_gone(tool))


def test_a_call_that_had_begun_is_asked_about_at_a_terminal(unspool, simulator, tools):
    simulator.answer(call("hang"))
    simulator.answer("I see: {result}.")
    child = unspool.start(*ask(simulator), "--functions", tools, "--tools-allow", "all", "go")
    until(lambda: Path(unspool.env["STEPS"]).read_text())
    child.kill()
    child.wait()
    person = Watched(unspool, "resume")
    person.until("hang({}) had started when the command died and may have had an effect; run it again?").type("n\n")
    person.until("I see: the program died while this call ran")
    assert person.end() == 0


def test_the_reader_of_a_hostile_call_sees_no_control_characters(unspool, simulator, tools):
    simulator.answer(call("step\x1b[31m", **{"a\x1b[2J": "\x07"}))
    simulator.answer("Fine.")
    done = unspool(*ask(simulator), "--functions", tools, "go")
    assert done.returncode == 0
    assert not {0x1B, 0x07} & set(done.stderr)
