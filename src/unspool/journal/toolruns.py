"""Runs of an answer's tool calls, kept in the answer's journal after its end.

A call is kept before it is run, and again with its result before the model gets that: whatever dies in between, a call that has a
result is never run a second time, and one that had begun is known.
"""

from __future__ import annotations

from unspool.journal import record
from unspool.journal.blocks import Block
from unspool.journal.writer import Writer
from unspool.jsontext import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType
    from typing import Self

    from unspool.api.deltas import ToolCall
    from unspool.api.parts import ToolResult


class ToolRun(Block):
    """One call of a tool by its id and ``name``. ``result`` is what the model gets, None while there is none; ``failed`` says that it is an error."""

    TYPE = record.TOOL
    call: str = ""
    name: str = ""
    result: str | None = None
    failed: bool = False

    def encode(self) -> str:
        # An empty result is one, and must not be left out.
        return dumps({name: value for name, value in self.described().items() if value is not None})


def begun(calls: Iterable[ToolCall]) -> list[ToolRun]:
    """The record that is written before calls run."""
    return [ToolRun(call.id, call.name) for call in calls]


def done(results: Iterable[ToolResult]) -> list[ToolRun]:
    """The record of calls that have run."""
    return [ToolRun(one.call, one.name, one.content, one.failed) for one in results]


class ToolLog:
    """Keeps runs in the journal of the answer that made the calls; in memory only where ``path`` is None.

    Raises what `Writer.reopen` does.
    """

    def __init__(self, path: str | None, *, sync: str = "interval") -> None:
        self._writer = Writer.reopen(path, sync=sync) if path is not None else Writer(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    def put(self, runs: Iterable[ToolRun]) -> None:
        """Keep these runs. On return they survive the process, and a power cut too unless the configuration says never to sync."""
        for run in runs:
            self._writer.put(run)
        self._writer.sync()

    @property
    def trouble(self) -> str | None:
        """Why runs are not kept, None while they are."""
        return self._writer.trouble
