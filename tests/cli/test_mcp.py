"""The tools of MCP servers: real servers over standard input and output, written with the official package."""

# The fixtures of other modules are arguments here.
# ruff: noqa: F811

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from support.waiting import PATIENCE, until
from unspool.sim import call

from .test_tool_loop import ask, is_gone, simulator  # noqa: F401
from .watching import Watched

pytest.importorskip("mcp.server.mcpserver", reason="the package mcp is not installed")

SERVER = '''
import os, sys, time
from mcp.server.mcpserver import Image, MCPServer

server = MCPServer("test")
counts = {"calls": 0}

@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b

@server.tool(name="odd.name/with: blanks")
def count() -> str:
    """Count."""
    counts["calls"] += 1
    with open(sys.argv[1], "a") as file:
        file.write(f"count {os.getpid()}\\n")
    return f"{counts['calls']} calls"

@server.tool(name="odd.name/with. blanks")
def other() -> str:
    return "other"

@server.tool()
def environment() -> str:
    """Read the environment."""
    return os.environ.get("TOKEN", "none") + " " + os.environ.get("HIDDEN", "none")

@server.tool()
def picture() -> Image:
    """A picture."""
    return Image(data=b"123", format="png")

@server.tool()
def boom() -> str:
    """Fail."""
    raise ValueError("no road")

@server.tool()
def hang() -> str:
    """Hang."""
    with open(sys.argv[1], "a") as file:
        file.write(f"hang {os.getpid()}\\n")
    time.sleep(3600)
    return ""

@server.tool()
def die() -> str:
    """Die."""
    os._exit(3)

print("noise on standard error", file=sys.stderr)
server.run("stdio")
'''


@pytest.fixture
def calls(unspool: Any, tmp_path: Path) -> Path:
    """What the servers note of their calls."""
    (tmp_path / "server.py").write_text(SERVER)
    config = tmp_path / "config" / "unspool"
    config.mkdir(parents=True)
    noted = tmp_path / "calls"
    noted.write_text("")
    command = json.dumps([sys.executable, str(tmp_path / "server.py"), str(noted)])
    (config / "config.toml").write_text(
        f'[tools.test]\ncommand = {command}\nenv = {{ TOKEN = "${{MY_TOKEN}}!" }}\n'
        f'[tools.few]\ncommand = {command}\nfunctions = ["add", "hang"]\nallow = true\n'
        '[tools.gone]\ncommand = "/nowhere/server"\n'
        f"[tools.talks]\ncommand = {json.dumps([sys.executable, '-c', 'print(1); raise SystemExit(chr(27) + str(7))'])}\n"
        f'[tools.poor]\ncommand = {command}\nenv = {{ TOKEN = "${{NOT_SET}}" }}\n'
        f'[tools.local]\nfile = "tools.py"\n'
    )
    unspool.env.update(MY_TOKEN="t0p", HIDDEN="must not be seen")
    return noted


def test_a_model_calls_the_tools_of_a_server(unspool, simulator, calls):
    names = ("add", "environment", "boom", "picture", "odd_name_with__blanks", "odd_name_with__blanks_2")
    simulator.answer(calls=[call(names[0], a=20, b=22), *(call(one) for one in names[1:])])
    simulator.answer("Once more.", calls=[call("odd_name_with__blanks"), call("add", a="x")])
    simulator.answer("I see.")
    done = unspool(*ask(simulator), "-T", "mcp:test", "--tools-allow", "all", "--json", "go")
    assert done.returncode == 0, done.stderr
    lines = [one for one in map(json.loads, done.stdout.splitlines()) if one["type"] == "tool_result"]
    results = {one["name"]: (one["content"], one["failed"]) for one in lines[:6]}
    assert results["add"] == ("42", False)
    assert results["environment"] == ("t0p! none", False)
    assert results["picture"] == ("[image/png, left out]", False)
    assert results["odd_name_with__blanks_2"] == ("other", False)
    assert results["boom"][1] is True
    assert "boom" in results["boom"][0]
    # One server answers all calls of the command, and remembers.
    assert [one["content"] for one in lines if one["name"] == "odd_name_with__blanks"] == ["1 calls", "2 calls"]
    assert len(set(calls.read_text().splitlines())) == 1
    assert lines[-1]["failed"] is True
    described = simulator.requests[0].json["tools"][0]["function"]
    assert (described["name"], described["description"]) == ("add", "Add two numbers.")
    assert described["parameters"]["required"] == ["a", "b"]
    assert b"t0p" not in unspool.journals()[0].read_bytes().partition(b"unspool.tool")[0]


def test_of_a_server_only_the_tools_that_are_named_are_offered_also_after_a_kill(unspool, simulator, calls):
    simulator.answer(calls=[call("add", a=1, b=2), call("hang"), call("boom")])
    simulator.answer("{result}")
    child = unspool.start(*ask(simulator), "-T", "few", "go")
    server = int(until(lambda: calls.read_text()[5:].strip()))
    until(lambda: '"result":"3"' in unspool.journals()[0].read_text())
    assert simulator.requests[0].tools == ["add", "hang"]
    child.kill()
    child.wait()
    until(lambda: is_gone(server))
    stopped = unspool("resume", "--key", "k")
    assert stopped.returncode == 1
    assert b"hang({}) had started when the command died" in stopped.stderr
    person = Watched(unspool, "resume", "--key", "k", columns=200)
    person.until("run it again?").type("n\n")
    person.until("there is no tool called boom")
    assert person.end() == 0
    assert simulator.requests[1].tools == ["add", "hang"]
    contents = [one["content"] for one in simulator.requests[1].json["messages"] if one["role"] == "tool"]
    assert contents[0] == "3"
    assert contents[2] == "there is no tool called boom; there are add, hang"


def test_two_servers_may_call_tools_alike(unspool, simulator, calls):
    simulator.answer(calls=[call("add", a=1, b=2), call("test_add", a=3, b=4)])
    simulator.answer("I see.")
    done = unspool(*ask(simulator), "-T", "few", "-T", "mcp:test", "--tools-allow", "all", "go")
    assert done.returncode == 0, done.stderr
    results = [one["content"] for one in simulator.requests[1].json["messages"] if one["role"] == "tool"]
    assert results == ["3", "7"]


def test_a_server_that_dies_fails_its_call_and_the_next_one_gets_another(unspool, simulator, calls):
    simulator.answer(call("odd_name_with__blanks"))
    simulator.answer(call("die"))
    simulator.answer(call("odd_name_with__blanks"))
    simulator.answer("I see.")
    done = unspool(*ask(simulator), "-T", "test", "--tools-allow", "all", "go")
    assert (done.returncode, done.stdout) == (0, b"I see.\n"), done.stderr
    results = [one["content"] for one in simulator.requests[-1].json["messages"] if one["role"] == "tool"]
    assert results == ["1 calls", "the MCP server: Connection closed", "1 calls"]


def test_a_call_that_takes_too_long_is_told_to_the_model_and_its_server_replaced(unspool, simulator, calls):
    simulator.answer(call("hang"))
    simulator.answer(call("add", a=1, b=2))
    simulator.answer("{result}")
    arguments = [*ask(simulator), "-T", "test", "--tools-allow", "all", "--tool-timeout", "20", "go"]
    child = unspool.start(*arguments)
    server = int(until(lambda: calls.read_text()[5:].strip()))
    assert (child.wait(PATIENCE), child.stdout.read()) == (0, b"3\n")
    assert "the tool did not end within 20 s" in json.dumps(simulator.requests[1].json)
    until(lambda: is_gone(server))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("mcp:gone", "the MCP server gone: "),
        ("mcp:none", "no MCP server of that name is in the configuration; there are test, few, gone, talks, poor"),
        ("mcp:local", "no MCP server of that name"),
        ("mcp:talks", "the MCP server talks: "),
        ("mcp:poor", "needs the environment variable NOT_SET, which is not set"),
    ],
)
def test_a_server_that_cannot_be_had_is_an_error_before_anything_is_asked(unspool, simulator, calls, name, told):
    done = unspool(*ask(simulator), "-T", name, "go")
    assert done.returncode == 2, done.stderr
    assert told in done.stderr.decode()
    assert b"\x1b" not in done.stderr
    assert not simulator.requests


def test_without_the_package_the_command_says_what_to_install(unspool, simulator, calls, tmp_path):
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "mcp.py").write_text("raise ImportError('not here')")
    unspool.env["PYTHONPATH"] = str(tmp_path / "without")
    done = unspool(*ask(simulator), "-T", "mcp:test", "go")
    assert done.returncode == 2
    assert b"mcp:test needs the package mcp: pip install 'unspool[mcp]'" in done.stderr


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc to look at processes in")
def test_ctrl_c_ends_the_server_of_a_call(unspool, simulator, calls):
    simulator.answer(call("hang"))
    person = Watched(unspool, *ask(simulator), "-T", "few", "go")
    server = int(until(lambda: calls.read_text()[5:].strip()))
    person.type("\x03")
    assert person.end() == 130
    until(lambda: is_gone(server))
