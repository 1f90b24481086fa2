"""``unspool faults``: lists the faults that the simulator can produce."""

from __future__ import annotations

from unspool.terminal.output import Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.cli.options.setup import NoOptions


def run(options: NoOptions) -> int:
    """Print the faults, one a line: how each is written, an example of it, what it does. Then what servers do, which has names alone."""
    from unspool.sim.faults.quirks import QUIRKS
    from unspool.sim.faults.table import TABLE

    wide = max(len(fault.form) for fault in TABLE)
    for fault in TABLE:
        example = "" if fault.example == fault.name else f" ({fault.example})"
        Output(1).write(f"{fault.form:<{wide}}  {fault.does}{example}\n")
    for quirk in QUIRKS.values():
        Output(1).write(f"{quirk.name:<{wide}}  {quirk.does}\n")
    return 0
