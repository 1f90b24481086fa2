"""Tools that a chat runs: the loop of `unspool ask --functions`, at the chat's own terminal."""

# The fixtures of other modules are arguments here.
# ruff: noqa: F811

from __future__ import annotations

import json
import signal
from itertools import pairwise
from pathlib import Path

import pytest

from support.waiting import until
from unspool.sim import call

from .test_chat import converse, leave  # noqa: F401
from .test_tool_loop import APIS, simulator, tools  # noqa: F401

WAIT = """
import os, time

def wait() -> str:
    open("{wait}1", "w").close()
    while not os.path.exists("{wait}"):
        time.sleep(0.01)
    return "waited"
"""

pytestmark = pytest.mark.usefixtures("tools")


def steps(unspool) -> str:
    return Path(unspool.env["STEPS"]).read_text()


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("more", [[], ["--store"]])
def test_an_allowed_tool_runs_and_the_conversation_continues(unspool, converse, simulator, tools, api, more):
    if more and api == "chat":
        pytest.skip("only the Responses API stores")
    simulator.answer("Let me look.", calls=[call("step", number=1), call("later", text="soon")])
    simulator.answer("It is done.")
    simulator.answer("You are welcome.")
    person = converse(simulator, "--api", api, "-m", "sim-1", "--functions", tools, "--tools-allow", "all", *more)
    person.answers("go\r", "Let me look.", 'calling step({"number":1})', "step returned step 1 is done", "It is done.")
    person.answers("Thanks\r", "You are welcome.")
    leave(person)
    assert steps(unspool) == "1\n"
    assert [len(one.tools) for one in simulator.requests] == [6, 6, 6]
    assert "step 1 is done" in json.dumps(simulator.requests[1].json)
    journals = unspool.journals()
    assert all(f'"parent":"{one.stem}"' in after.read_text() for one, after in pairwise(journals))


def test_a_person_is_asked_and_what_was_typed_ahead_is_no_answer(unspool, converse, simulator, tools):
    for number in (1, 2, 3, 4):
        simulator.answer(f"Now {number}.", calls=[call("step", number=number)])
    simulator.answer("The end.")
    simulator.answer("More.")
    person = converse(simulator, "-m", "sim-1", "--functions", tools)
    person.asks()
    person.type("go\r")
    at = person.sees('calls step({"number":1}); run it? [y]es, [a]lways, [n]o: ')
    person.type("y\n")
    at = person.sees('calls step({"number":2}); run it?', at)
    person.type("n\n")
    at = person.sees('calls step({"number":3}); run it?', at)
    person.type("a\n")
    person.sees("The end.", at)
    person.answers("more\r", "More.")
    leave(person)
    assert steps(unspool) == "1\n3\n4\n"
    assert "the user does not allow this call" in json.dumps(simulator.requests[2].json)


def test_keys_typed_while_a_tool_runs_are_in_the_next_prompt_and_answer_no_question(
    unspool, converse, simulator, tools
):
    wait = Path(unspool.env["STEPS"]).with_name("go")
    code = WAIT.format(wait=str(wait))
    simulator.answer(call("wait"))
    simulator.answer(call("step", number=7))
    simulator.answer("The end.")
    person = converse(simulator, "-m", "sim-1", "--functions", tools, "--functions", code, "--tools-allow", "wait")
    person.asks()
    person.type("go\r")
    until(lambda: Path(f"{wait}1").exists())
    person.type("yes")
    wait.touch()
    at = person.sees("run it?")
    assert steps(unspool) == ""
    person.type("n\n")
    person.sees("The end.", at)
    person.shows("> yes")
    assert steps(unspool) == ""


def test_ctrl_c_ends_a_tool_and_resume_asks_about_it(unspool, converse, simulator, tools):
    simulator.answer(calls=[call("step", number=1), call("hang")])
    simulator.answer("I see: {result}.")
    simulator.answer("Bye.")
    person = converse(simulator, "-m", "sim-1", "--functions", tools, "--tools-allow", "all")
    person.asks()
    person.type("go\r")
    until(lambda: "1" in (ran := steps(unspool).split()) and len(ran) == 2)
    until(lambda: '"result":"step 1' in unspool.journals()[0].read_text())
    person.type("\x03")
    person.sees("cancelled while tools ran; /resume continues")
    person.answers("And now?\r", "/resume runs it")
    assert len(simulator.requests) == 1
    at = len(person.said)
    person.type("/resume\r")
    at = person.sees("hang({}) had started when the command died", at)
    person.type("n\n")
    person.sees("I see: the program died while this call ran", at)
    person.answers("Thanks\r", "Bye.")
    leave(person)
    assert steps(unspool).split().count("1") == 1
    assert len(steps(unspool).split()) == 2


def test_ctrl_c_at_the_question_returns_to_the_prompt_and_resume_asks_again(unspool, converse, simulator, tools):
    simulator.answer(call("step", number=1))
    simulator.answer("The end.")
    person = converse(simulator, "-m", "sim-1", "--functions", tools)
    person.asks()
    person.type("go\r")
    person.sees("run it?")
    person.type("\x03")
    person.asks()
    assert steps(unspool) == ""
    at = len(person.said)
    person.type("/resume\r")
    at = person.sees("run it?", at)
    person.type("y\n")
    person.sees("The end.", at)
    person.asks()
    leave(person)
    assert steps(unspool) == "1\n"


def test_a_killed_chat_is_continued_by_a_later_one_without_naming_its_tools(unspool, converse, simulator, tools):
    simulator.answer(calls=[call("step", number=1), call("hang")])
    simulator.answer("I see: {result}.")
    person = converse(simulator, "-m", "sim-1", "--functions", tools, "--tools-allow", "all")
    person.asks()
    person.type("go\r")
    until(lambda: '"result":"step 1' in "".join(one.read_text() for one in unspool.journals()))
    person.child.send_signal(signal.SIGKILL)
    person.child.wait()
    later = converse(simulator, "-c")
    later.asks()
    later.type("/resume\r")
    at = later.sees("hang({}) had started when the command died")
    later.type("n\n")
    later.sees("I see: the program died while this call ran", at)
    later.asks()
    leave(later)
    assert steps(unspool).split().count("1") == 1


def test_retry_after_a_tool_asks_for_the_answer_again_and_edit_for_the_question(unspool, converse, simulator, tools):
    simulator.answer(call("step", number=1))
    simulator.answer("One.")
    simulator.answer("Two.")
    simulator.answer("Three.")
    unspool.env["EDITOR"] = 'sh -c \'cat "$0" > seen; echo edited > "$0"\''
    person = converse(simulator, "-m", "sim-1", "--functions", tools, "--tools-allow", "all", cwd=Path(tools).parent)
    person.answers("go\r", "One.")
    person.answers("/retry\r", "Two.")
    person.answers("/edit\r", "> edited", "Three.")
    leave(person)
    assert steps(unspool) == "1\n"
    assert (Path(tools).parent / "seen").read_text().strip() == "go"
    assert [one["role"] for one in simulator.requests[3].json["messages"]] == ["user"]
    assert [one["role"] for one in simulator.requests[2].json["messages"]] == ["user", "assistant", "tool"]


def test_the_chain_limit_holds_for_each_question(unspool, converse, simulator, tools):
    simulator.when(matches=lambda _: True).answer(call("step", number=1))
    person = converse(simulator, "-m", "sim-1", "--functions", tools, "--tools-allow", "all", "--cl", "2")
    person.answers("go\r", "after 2 rounds of calls; --cl N allows more")
    person.answers("go\r", "the model waits for a result of step")
    leave(person)
    assert steps(unspool) == "1\n1\n"


def test_from_a_pipe_what_nothing_allows_is_refused(unspool, simulator, tools):
    for _ in range(2):
        simulator.answer(call("step", number=1))
        simulator.answer("I may not.")
    arguments = ["--base-url", simulator.url, "-m", "sim-1", "--api", "chat", "--functions", tools]
    done = unspool("chat", *arguments, input=b"go\nagain\n")
    assert (done.returncode, done.stdout) == (0, b"I may not.\nI may not.\n")
    assert b"to allow it: --tools-allow step" in done.stderr
    assert steps(unspool) == ""


def test_ctrl_z_while_a_tool_runs_gives_the_terminal_back_and_the_loop_continues(unspool, converse, simulator, tools):
    wait = Path(unspool.env["STEPS"]).with_name("go")
    code = WAIT.format(wait=str(wait))
    simulator.answer(call("wait"))
    simulator.answer("The end.")
    person = converse(simulator, "-m", "sim-1", "--functions", code, "--tools-allow", "all", stoppable=True)
    person.asks()
    person.type("go\r")
    until(lambda: Path(f"{wait}1").exists())
    person.type("\x1a")
    person.stops()
    assert person.is_restored
    person.goes_on()
    person.awaits_quiet()
    wait.touch()
    person.sees("The end.")
    person.asks()
    leave(person)
