"""``unspool faults``: what the simulator can be told to do wrong."""

from __future__ import annotations

from unspool.cli.options import scan
from unspool.terminal.output import Output


def run(name: str, argv: list[str]) -> int:
    """Print the faults, one a line: how each is written, an example of it, what it does."""
    arguments = scan((), argv, "words")
    if arguments is None or arguments["words"]:
        from unspool.cli.options.parser import build, read

        parser = build(
            "unspool faults",
            (),
            rest="words",
            metavar="",
            rest_help="(none)",
            examples="  unspool faults\n  unspool sim --fault cut=7",
            description="List what the simulator can do wrong on purpose, one a line.",
        )
        arguments = read(parser, argv)
        if arguments["words"]:
            parser.error("it takes no words")
    from unspool.sim.faults.table import TABLE

    wide = max(len(fault.form) for fault in TABLE)
    for fault in TABLE:
        example = "" if fault.example == fault.name else f" ({fault.example})"
        Output(1).write(f"{fault.form:<{wide}}  {fault.does}{example}\n")
    return 0
