"""The tools of an MCP server that the configuration names: listed and called by the official ``mcp`` package, in a worker process.

The server lives as long as the worker, since many keep something between two calls: a page of a browser, a transaction. It is in a session of
its own, and ends with the worker: its standard input is closed, and if it takes too long, it is killed with what it has started.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from unspool import Error
from unspool.api.parts import ToolResult
from unspool.cli.tools.worker import answer_to, calls_in
from unspool.client.tools import failure_of
from unspool.config.settings import load
from unspool.jsontext import dumps

if TYPE_CHECKING:
    from mcp import Client, StdioServerParameters
    from mcp.types import ContentBlock, Tool

    from unspool.api.deltas import ToolCall
    from unspool.jsontext import JsonObject

# What OpenAI lets a function be called.
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST_NAME = 64
# The most pages of a list of tools.
_MOST_PAGES = 100


def serve(name: str, commands: int, say: Callable[[object], None]) -> int:
    """Start a server, write its tools, and call them until there are no more commands, or no server."""
    try:
        from mcp import Client
    except ImportError as error:
        raise Error(f"mcp:{name} needs the package mcp: pip install 'unspool[mcp]'") from error
    client = Client(_parameters(name))
    try:
        asyncio.run(_Session(client, say).run(commands))
    except Exception as error:
        raise Error(f"the MCP server {name}: {_first(error)}") from error
    return 0


def _parameters(name: str) -> StdioServerParameters:
    from mcp import StdioServerParameters

    known = load().tools.get(name)
    if known is None or not known.command:
        raise Error(f"the configuration has no command for the MCP server {name}")
    return StdioServerParameters(
        command=os.path.expanduser(known.command[0]),
        args=list(known.command[1:]),
        env={key: re.sub(r"\$\{(\w+)\}", _variable, value) for key, value in known.env.items()},
    )


def _variable(found: re.Match[str]) -> str:
    value = os.environ.get(found[1])
    if not value:
        raise Error(f"the MCP server needs the environment variable {found[1]}, which is not set")
    return value


class _Session:
    """The calls of one server."""

    def __init__(self, client: Client, say: Callable[[object], None]) -> None:
        self._client = client
        self._say = say
        # The server's own names of its tools, by those that a model may call them.
        self._names: dict[str, str] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._is_ready, self._has_died = asyncio.Event(), asyncio.Event()

    async def run(self, commands: int) -> None:
        """Serve until the commands end, wherever that happens, or the server has died."""
        ends = [asyncio.ensure_future(self._serve()), asyncio.ensure_future(self._read(commands))]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if self._has_died.is_set() and self._running:
            # The other calls fail too, each for itself.
            await asyncio.wait(self._running, timeout=1)
        # Cancelling gives the server some time to end, and then ends it.
        for one in (*self._running, *ends):
            one.cancel()
        for result in await asyncio.gather(*ends, return_exceptions=True):
            if isinstance(result, Exception):
                raise result

    async def _read(self, commands: int) -> None:
        lines = asyncio.StreamReader(limit=1 << 30)
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), os.fdopen(commands, "rb"))
        while line := await lines.readline():
            for call in calls_in([line]):
                task = loop.create_task(self._answer(call))
                self._running.add(task)
                task.add_done_callback(self._running.discard)

    async def _serve(self) -> None:
        async with self._client:
            tools = await self._tools()
            for one in tools:
                self._names[self._model_name(one.name)] = one.name
            self._say([_described(name, one) for name, one in zip(self._names, tools, strict=True)])
            self._is_ready.set()
            await self._has_died.wait()

    async def _tools(self) -> list[Tool]:
        found: list[Tool] = []
        cursor = None
        for _ in range(_MOST_PAGES):
            page = await self._client.list_tools(cursor=cursor)
            found += page.tools
            cursor = page.next_cursor
            if not cursor:
                return found
        raise Error(f"its list of tools has more than {_MOST_PAGES} pages")

    def _model_name(self, name: str) -> str:
        """A name that every API takes, and that no other tool of the server has."""
        made = wanted = _NOT_IN_A_NAME.sub("_", name)[:_LONGEST_NAME] or "tool"
        number = 1
        while made in self._names:
            number += 1
            made = f"{wanted[: _LONGEST_NAME - 4]}_{number}"
        return made

    async def _answer(self, call: ToolCall) -> None:
        from mcp import MCPError
        from mcp.types import CONNECTION_CLOSED

        await self._is_ready.wait()
        try:
            result = await self._call(call)
        except MCPError as error:
            if error.code == CONNECTION_CLOSED:
                self._has_died.set()
            result = ToolResult(call.id, call.name, f"the MCP server: {error}", True)
        except Exception as error:
            result = failure_of(call, error)
        self._say({**answer_to(call, result), "last": self._has_died.is_set()})

    async def _call(self, call: ToolCall) -> ToolResult:
        arguments = call.parsed()
        if not isinstance(arguments, dict):
            raise ValueError("the arguments are no JSON object")
        said = await self._client.call_tool(self._names[call.name], arguments)
        content = "\n".join(map(_text, said.content))
        if not said.content and said.structured_content is not None:
            content = dumps(said.structured_content)
        return ToolResult(call.id, call.name, content, bool(said.is_error))


def _described(name: str, tool: Tool) -> JsonObject:
    function = {"name": name, "description": tool.description or tool.title or "", "parameters": tool.input_schema}
    return {"type": "function", "function": function}


def _text(part: ContentBlock) -> str:
    """A part of a result as text: models take nothing else from a tool."""
    if part.type == "text":
        return str(part.text)
    if part.type == "resource":
        text = getattr(part.resource, "text", None)
        return text if isinstance(text, str) else f"[{part.resource.uri}, binary, left out]"
    if part.type == "resource_link":
        return str(part.uri)
    return f"[{part.mime_type}, left out]"


def _first(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__
