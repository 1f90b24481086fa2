"""The most memory that the command holds while a very long answer streams through it."""

from __future__ import annotations

from collections.abc import Iterator

from bench.process import peak_memory
from bench.report import Budget, Row
from bench.setting import Setting

_FEW, _MANY = 10_000, 1_000_000
_LIMIT = 40e6


def measure(setting: Setting) -> Iterator[Row]:
    """Yield the peak for a long answer, and what it is to that for a short one."""
    many = setting.count(_MANY)
    short = peak_memory(setting.command(events=_FEW))
    long = peak_memory(setting.command(events=many))
    yield Row(f"{many:,} events", long, unit="bytes", budget=Budget("unspool", _LIMIT))
    yield Row(f"{many:,} events", long, f"{_FEW:,} events", short, "bytes", Budget("ratio", 1.05))
