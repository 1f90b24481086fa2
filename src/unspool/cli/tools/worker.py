"""Entry point of the processes in which tools are loaded and run: ``python -m unspool.cli.tools.worker``.

A tool's code never runs in the command's own process: it may hang, crash, print, or end the interpreter.

``describe SOURCE`` writes the tools of a source, as Chat Completions describes them. ``call SOURCE NAME`` reads the arguments from
the first line of standard input, the JSON text as a JSON string, and writes ``{"content": …, "failed": …}``. Both write one line of JSON to the standard output that the process
was started with; what the code itself prints goes to standard error. When standard input ends, the command has died: so does a call.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterable
from typing import Any

from unspool.api.deltas import ToolCall
from unspool.client.library.converse import failure_of, result_of
from unspool.client.library.schema import arguments_of
from unspool.client.library.tools import tool


def main(arguments: list[str]) -> int:
    """Do what the arguments say, and return the exit code."""
    result = os.dup(1)
    os.dup2(2, 1)
    action, source = arguments[:2]
    functions = load(source)
    said: object
    if action == "describe":
        said = [tool(one) for one in functions.values()]
    else:
        command = os.dup(0)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        call = ToolCall(0, "", arguments[2], json.loads(_line(command)))
        threading.Thread(target=_die_with, args=(command,), daemon=True).start()
        said = run(functions[call.name], call)
    with open(result, "w", encoding="utf-8", errors="replace") as file:
        file.write(json.dumps(said) + "\n")
    return 0


def _line(fd: int) -> bytes:
    line = b""
    while not line.endswith(b"\n") and (data := os.read(fd, 1 << 16)):
        line += data
    return line


def _die_with(command: int) -> None:
    """Wait for the end of the command, and end this process and those that the tool has started."""
    while os.read(command, 1):
        pass
    os.killpg(0, signal.SIGKILL)


def run(function: Callable[..., Any], call: ToolCall) -> dict[str, object]:
    """Run a call, and return what the model gets."""
    try:
        value = function(**arguments_of(function, call.parsed()))
        if inspect.isawaitable(value):
            value = asyncio.run(_awaited(value))
        done = result_of(call, value)
    except Exception as error:
        done = failure_of(call, error)
    return {"content": done.content, "failed": done.failed}


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
