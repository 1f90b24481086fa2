"""Where tools come from: files, code on the command line, the configuration, installed packages."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, replace

from unspool.cli.options import UsageError
from unspool.jsontext import clean, loads
from unspool.terminal.safety import one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from unspool.api.prompt import Prompt
    from unspool.cli.options.ask import AskOptions
    from unspool.config import Settings
    from unspool.jsontext import JsonObject

# Seconds that a source may take to be loaded.
_PATIENCE = 30


@dataclass(slots=True)
class RunnableTool:
    """A tool that the command can run: its ``source`` as the worker takes it, its ``definition`` for the model, and whether it runs unasked."""

    name: str
    source: str
    definition: JsonObject
    allowed: bool = False


def find(options: AskOptions, settings: Settings) -> dict[str, RunnableTool]:
    """The tools that the options name. Raises UsageError."""
    found: dict[str, RunnableTool] = {}
    for given in options.functions:
        _add(found, described(_code_or_file(given), "--functions"))
    for name in options.run_tools:
        _add(found, _named(name, settings))
    return found


def offered(prompt: Prompt, tools: dict[str, RunnableTool]) -> Prompt:
    """The prompt with these tools among those that the model may call."""
    others = [one for one in prompt.tools or () if (one.get("function") or one).get("name") not in tools]
    return prompt.replace(tools=[*others, *(tool.definition for tool in tools.values())])


def of_sources(sources: Iterable[str], settings: Settings) -> dict[str, RunnableTool]:
    """The tools of sources that a journal names. Raises UsageError."""
    found: dict[str, RunnableTool] = {}
    allowed = {_source(one.file) for one in settings.tools.values() if one.allow}
    for source in sources:
        for tool in described(source, source.partition(":")[2]):
            _add(found, [replace(tool, allowed=source in allowed)])
    return found


def command(*arguments: str) -> list[str]:
    """The command line of a worker."""
    if getattr(sys, "frozen", False):  # there is no interpreter but in the program itself
        return [sys.executable, "--tool-worker", *arguments]
    if not os.path.isfile(__file__):  # a module of a zip archive is found by the archive alone
        return [sys.executable, sys.argv[0], "--tool-worker", *arguments]
    return [sys.executable, "-m", "unspool.cli.tools.worker", *arguments]


def described(source: str, place: str) -> list[RunnableTool]:
    """The tools of one source. Raises UsageError, which names the place, for one that cannot be loaded."""
    try:
        done = subprocess.run(
            command("describe", source), stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise UsageError(f"{place}: its tools could not be loaded within {_PATIENCE} s") from error
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["it ended without a word"]
        raise UsageError(f"{place}: {one_line(lines[-1])}")
    definitions = clean(loads(done.stdout.decode()))
    return [RunnableTool(one["function"]["name"], source, one) for one in definitions]


def _add(found: dict[str, RunnableTool], tools: Iterable[RunnableTool]) -> None:
    for tool in tools:
        if tool.name in found:
            raise UsageError(f"two tools are called {tool.name}")
        found[tool.name] = tool


def _code_or_file(given: str) -> str:
    if "\n" in given or "def " in given:
        return f"code:{given}"
    return _source(given)


def _source(file: str) -> str:
    return f"file:{os.path.abspath(os.path.expanduser(file))}"


def _named(given: str, settings: Settings) -> list[RunnableTool]:
    """The tools that ``-T`` names: of the configuration, of a file, or of an installed package."""
    known = settings.tools.get(given)
    if known is not None:
        tools = described(_source(known.file), f"-T {given}")
        if known.functions:
            if missing := set(known.functions) - {tool.name for tool in tools}:
                raise UsageError(f"-T {given}: {known.file} has no function called {', '.join(sorted(missing))}")
            tools = [tool for tool in tools if tool.name in known.functions]
        return [replace(tool, allowed=known.allow) for tool in tools]
    if given.endswith(".py") or os.sep in given:
        return described(_source(given), f"-T {given}")
    try:
        return described(f"entry:{given}", f"-T {given}")
    except UsageError as error:
        names = ", ".join(settings.tools)
        there = f"; the configuration has {names}" if names else "; a file's name ends in .py"
        raise UsageError(f"{error}{there}") from error
