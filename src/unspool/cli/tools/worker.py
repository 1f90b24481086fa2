"""Entry point of the processes in which tools are loaded and run: ``python -m unspool.cli.tools.worker SOURCE``.

A tool's code never runs in the command's own process: it may hang, crash, print, or end the interpreter.

All that is read from standard input, and written to the standard output that the process was started with, are lines of JSON. The first line
written has the tools of the source, as Chat Completions describes them. A line that is read is a call, ``{"id": …, "name": …, "arguments": …}``, its
arguments as text; a line that is written for it has ``{"id": …, "content": …, "failed": …}``. Functions are called once, and the process ends; an MCP
server is called until standard input ends, or it answers with ``"last": true``. What the code itself prints goes to standard error. When standard input ends, the command has
died: so do the process and what it has started.
"""

from __future__ import annotations

import inspect
import os
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue
from typing import Any

from unspool.api.deltas import ToolCall
from unspool.api.parts import ToolResult
from unspool.cli.tools import LONGEST, MCP
from unspool.client.schema import arguments_of
from unspool.client.tools import failure_of, result_of, tool
from unspool.jsontext import dumps, loads


def main(arguments: list[str]) -> int:
    """Load a source, write its tools, and run calls. Returns the exit code."""
    (source,) = arguments
    results, commands = os.dup(1), os.dup(0)
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)

    def say(value: object) -> None:
        data = memoryview(dumps(value).encode("utf-8", "replace") + b"\n")
        while data:
            data = data[os.write(results, data) :]

    if source.startswith(MCP):
        from unspool.cli.tools import mcp

        return mcp.serve(source.removeprefix(MCP), commands, say)
    calls: SimpleQueue[ToolCall] = SimpleQueue()
    threading.Thread(target=_take, args=(commands, calls.put), daemon=True).start()
    functions = load(source)
    say([tool(one) for one in functions.values()])
    call = calls.get()
    say(answer_to(call, _run(functions[call.name], call)))
    return 0


def _take(commands: int, put: Callable[[ToolCall], None]) -> None:
    """Take the calls as they come, and end this process and those that the tool has started once no more can come."""
    with open(commands, "rb") as file:
        for call in calls_in(file):
            put(call)
    os.killpg(0, signal.SIGKILL)


def calls_in(lines: Iterable[bytes]) -> Iterator[ToolCall]:
    """The calls that lines describe."""
    for line in lines:
        asked = loads(line)
        yield ToolCall(0, asked["id"], asked["name"], asked["arguments"])


def answer_to(call: ToolCall, result: ToolResult) -> dict[str, object]:
    """What is written for a call."""
    return {"id": call.id, "content": result.content[:LONGEST], "failed": result.failed}


def _run(function: Callable[..., Any], call: ToolCall) -> ToolResult:
    """Run a call, and return what the model gets."""
    try:
        value = function(**arguments_of(function, call.parsed()))
        if inspect.isawaitable(value):
            import asyncio

            value = asyncio.run(_awaited(value))
        return result_of(call, value)
    except Exception as error:
        return failure_of(call, error)


async def _awaited(value: Any) -> Any:
    return await value


def load(source: str) -> dict[str, Callable[..., Any]]:
    """The functions of a source by their names: ``file:PATH``, ``code:TEXT``, ``entry:NAME``. Raises what the code raises, and ValueError."""
    kind, _, place = source.partition(":")
    if kind == "entry":
        return _named(_entry_point(place))
    if kind == "file":
        with open(place, "rb") as file:
            code = file.read()
        sys.path.insert(0, os.path.dirname(place))
    else:
        code, place = place.encode("utf-8", "surrogateescape"), "--functions"
    module = types.ModuleType("unspool_tools")
    module.__file__ = place
    sys.modules[module.__name__] = module
    exec(compile(code, place, "exec"), module.__dict__)
    found = _named(module)
    if not found:
        raise ValueError("it defines no function with a public name")
    return found


def _entry_point(name: str) -> object:
    from importlib.metadata import entry_points

    for one in entry_points(group="unspool.tools", name=name):
        return one.load()
    raise ValueError(f"no installed package has a tool called {name}")


def _named(found: object) -> dict[str, Callable[..., Any]]:
    """The functions of a module, of a list, or a function alone."""
    candidates: Iterable[object]
    if isinstance(found, types.ModuleType):
        own = [one for name, one in vars(found).items() if name[:1] != "_" and inspect.isfunction(one)]
        candidates = [one for one in own if one.__module__ == found.__name__]
    else:
        candidates = found if isinstance(found, list | tuple) else [found]
    return {one.__name__: one for one in candidates if inspect.isfunction(one)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
