"""Where tools come from: files, code on the command line, the configuration, installed packages."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from unspool.cli.options import UsageError
from unspool.cli.tools import MCP
from unspool.cli.tools.processes import Worker
from unspool.client.exchange import build_body

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from unspool.api.prompt import Prompt
    from unspool.cli.options.ask import AskOptions
    from unspool.config import Settings
    from unspool.config.file import ToolSettings
    from unspool.config.target import Target
    from unspool.jsontext import JsonObject

# How the name of a source begins of which only some tools are offered: their names follow, and a colon.
_ONLY = "only:"


@dataclass(slots=True)
class Source:
    """Where tools come from, by the ``name`` that a journal has; and the ``worker`` that takes the next call, if one waits."""

    name: str
    worker: Worker | None = None

    @property
    def only(self) -> list[str]:
        """The tools that are offered, none where all are."""
        return self.name.split(":")[1].split(",") if self.name.startswith(_ONLY) else []

    @property
    def plain(self) -> str:
        """The source as a worker takes it."""
        return self.name.split(":", 2)[2] if self.name.startswith(_ONLY) else self.name

    def take(self) -> Worker:
        """A worker for a call. An MCP server's takes all; any other takes one, and nothing that a call does is left for the next."""
        worker = self.worker if self.worker is not None and self.worker.is_alive else Worker(self.plain)
        self.worker = worker if self.plain.startswith(MCP) else None
        return worker

    def drop(self, worker: Worker) -> None:
        """Give this worker no more calls."""
        if self.worker is worker:
            self.worker = None


@dataclass(slots=True)
class RunnableTool:
    """A tool that the command can run: its ``definition`` for the model, what its ``source`` calls it, and whether it runs unasked."""

    name: str
    source: Source
    definition: JsonObject
    called: str
    allowed: bool = False


def find(options: AskOptions, settings: Settings) -> dict[str, RunnableTool]:
    """The tools that the options name. Raises UsageError."""
    found: dict[str, RunnableTool] = {}
    for given in options.functions:
        _add(found, described(_code_or_file(given), "--functions"))
    for name in options.run_tools:
        _add(found, _named(name, settings))
    return found


def offered(prompt: Prompt, tools: dict[str, RunnableTool], target: Target) -> Prompt:
    """The prompt with these tools among those that the model may call. Raises UsageError for what the endpoint cannot take."""
    others = [one for one in prompt.tools or () if (one.get("function") or one).get("name") not in tools]
    prompt = prompt.replace(tools=[*others, *(tool.definition for tool in tools.values())])
    try:
        build_body(target, prompt, target.api)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return prompt


def of_sources(sources: Iterable[str], settings: Settings) -> dict[str, RunnableTool]:
    """The tools of sources that a journal names. Raises UsageError."""
    found: dict[str, RunnableTool] = {}
    allowed = {_configured(name, one) for name, one in settings.tools.items() if one.allow}
    for source in sources:
        place = Source(source).plain
        _add(found, described(source, place if place.startswith(MCP) else place.partition(":")[2], source in allowed))
    return found


def described(name: str, place: str, allowed: bool = False) -> list[RunnableTool]:
    """The tools of one source. Raises UsageError, which names the place, for one that cannot be loaded."""
    source = Source(name)
    kind, _, path = source.plain.partition(":")
    if kind == "file" and not os.path.isfile(path):
        raise UsageError(f"{place}: there is no file {path}")
    worker = source.worker = Worker(source.plain)
    tools = {one["function"]["name"]: one for one in worker.load(place)}
    if missing := set(source.only) - set(tools):
        raise UsageError(f"{place}: it has no function called {', '.join(sorted(missing))}")
    return [RunnableTool(one, source, tools[one], one, allowed) for one in source.only or tools]


def _add(found: dict[str, RunnableTool], tools: Iterable[RunnableTool]) -> None:
    for tool in tools:
        server = tool.source.plain.removeprefix(MCP)
        if tool.name in found and server != tool.source.plain:
            # Nobody can choose what two servers call their tools.
            name = f"{server}_{tool.name}"[:64]
            tool = replace(
                tool,
                name=name,
                definition={**tool.definition, "function": {**tool.definition["function"], "name": name}},
            )
        if tool.name in found:
            raise UsageError(f"two tools are called {tool.name}")
        found[tool.name] = tool


def _code_or_file(given: str) -> str:
    if "\n" in given or "def " in given:
        return f"code:{given}"
    return _source(given)


def _source(file: str) -> str:
    return f"file:{os.path.abspath(os.path.expanduser(file))}"


def _configured(name: str, known: ToolSettings) -> str:
    """The source that the configuration describes under a name."""
    only = f"{_ONLY}{','.join(known.functions)}:" if known.functions else ""
    return only + (f"{MCP}{name}" if known.command else _source(known.file))


def _named(given: str, settings: Settings) -> list[RunnableTool]:
    """The tools that ``-T`` names: of the configuration, of a file, or of an installed package."""
    name = given.removeprefix(MCP)
    known = settings.tools.get(name)
    if name != given and (known is None or not known.command):
        names = ", ".join(name for name, one in settings.tools.items() if one.command) or "none"
        raise UsageError(f"-T {given}: no MCP server of that name is in the configuration; there are {names}")
    if known is not None:
        return described(_configured(name, known), f"-T {given}", known.allow)
    if given.endswith(".py") or os.sep in given:
        return described(_source(given), f"-T {given}")
    try:
        return described(f"entry:{given}", f"-T {given}")
    except UsageError as error:
        names = ", ".join(settings.tools)
        there = f"; the configuration has {names}" if names else "; a file's name ends in .py"
        raise UsageError(f"{error}{there}") from error
