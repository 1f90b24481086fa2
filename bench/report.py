"""The table: a line for each measurement, with its budget and whether it is met."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

_BEGIN, _END = "<!-- figures -->", "<!-- end of figures -->"


class Budget(NamedTuple):
    """What a line may cost: ``of`` names the number that is bounded.

    ``"unspool"`` is its own figure, ``"ratio"`` that figure over the rival's, ``"more"`` what it is above the rival's.
    ``at_least`` turns the bound around.
    """

    of: str
    limit: float
    at_least: bool = False


class Row(NamedTuple):
    """One measurement. ``unit`` is one of UNITS; a figure that could not be had is None, and ``note`` says why."""

    line: str
    unspool: float | None
    rival: str = ""
    theirs: float | None = None
    unit: str = "s"
    budget: Budget | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """unspool's figure over the rival's."""
        return self.unspool / self.theirs if self.unspool is not None and self.theirs else None

    @property
    def is_met(self) -> bool | None:
        """Whether the budget is kept, None where there is none or it could not be measured."""
        if self.budget is None or self.unspool is None:
            return None
        bounded = self.unspool if self.budget.of == "unspool" else self.ratio
        if self.budget.of == "more":
            bounded = None if self.theirs is None else self.unspool - self.theirs
        if bounded is None:
            return None
        return bounded >= self.budget.limit if self.budget.at_least else bounded <= self.budget.limit

    def as_json(self) -> dict[str, Any]:
        """The row for ``--json``, in base units: seconds, bytes, instructions, events a second."""
        return {
            **self._asdict(),
            "ratio": self.ratio,
            "budget": self.budget._asdict() if self.budget else None,
            "met": self.is_met,
        }


#: What a figure is divided by to be shown, its decimals, and the unit's sign.
UNITS = {
    "instructions": (1e6, 1, "M"),
    "kI": (1e3, 1, "k"),
    "s": (1.0, 3, "s"),
    "ms": (1e-3, 2, "ms"),
    "us": (1e-6, 2, "µs"),
    "bytes": (1e6, 1, "MB"),
    "events/s": (1e3, 0, "k/s"),
    "bytes each": (1.0, 1, ""),
    "": (1.0, 0, ""),
}


def table(title: str, rows: list[Row]) -> str:
    """Return the rows as text in columns, and below them what there is to say about each."""
    head = ("line", "unspool", "rival", "", "ratio", "budget", "met")
    cells = [head, *(_cells(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    right = (1, 2, 4)
    lines = [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    rule = "-" * max(map(len, lines))
    notes = dict.fromkeys(f"{row.line}: {row.note}" for row in rows if row.note)
    return "\n".join([title, rule, lines[0], rule, *lines[1:], rule, *notes])


def markdown(title: str, rows: list[Row], command: str) -> str:
    """Return the rows as a Markdown table, with how to make it anew above it and the notes below."""
    missed = [row.line for row in rows if row.is_met is False]
    unmeasured = [row.line for row in rows if row.budget is not None and row.is_met is None]
    kept = sum(row.is_met is True for row in rows)
    lines = [
        f"Made by `{command}`: {title}. Figures are this machine's; the ratios are what to compare.",
        "",
        f"Budgets kept: {kept}. Not kept: {', '.join(missed) or 'none'}. Not measured: {', '.join(unmeasured) or 'none'}.",
        "",
        "| line | unspool | beside | | ratio | budget | kept |",
        "|:--|--:|--:|:--|--:|:--|:--|",
    ]
    lines += ["| " + " | ".join(cell.strip().replace("|", "\\|") for cell in _cells(row)) + " |" for row in rows]
    notes = dict.fromkeys(f"- {row.line}: {row.note}" for row in rows if row.note)
    return "\n".join([*lines, "", *notes]) + "\n"


def insert(file: Path, table: str) -> None:
    """Put a table into a file in place of the one that stands between the marks there; a file without marks becomes the table."""
    before, mark, rest = (file.read_text() if file.exists() else "").partition(_BEGIN)
    _, end, after = rest.partition(_END)
    file.write_text(f"{before}{_BEGIN}\n\n{table}\n{_END}{after}" if mark and end else table)


def _cells(row: Row) -> tuple[str, ...]:
    met = {True: "yes", False: "NO", None: "" if row.budget is None else "?"}[row.is_met]
    return (
        row.line,
        figure(row.unspool, row.unit),
        figure(row.theirs, row.unit) if row.rival else "",
        row.rival,
        _ratio(row.ratio),
        _budget(row),
        met,
    )


def figure(value: float | None, unit: str) -> str:
    """Return a figure as text, with its unit."""
    divisor, decimals, sign = UNITS[unit]
    return "not measured" if value is None else f"{value / divisor:,.{decimals}f} {sign}".rstrip()


def _ratio(ratio: float | None) -> str:
    if ratio is None:
        return ""
    return f"{ratio:.2f}" if ratio >= 0.4 else f"1/{1 / ratio:.1f}"


def _budget(row: Row) -> str:
    if row.budget is None:
        return ""
    sign = "≥" if row.budget.at_least else "≤"
    if row.budget.of == "ratio":
        limit = row.budget.limit
        return f"{sign} {limit:g} ×" if limit >= 1 else f"{sign} 1/{1 / limit:.0f}"
    divisor, _, unit = UNITS[row.unit]
    return f"{sign} {'+' if row.budget.of == 'more' else ''}{row.budget.limit / divisor:g} {unit}".rstrip()
