"""argparse parsers made from the tables of `unspool.cli.options`: for help, for mistakes and for completion."""

from __future__ import annotations

import argparse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from unspool.cli.options import Option


def build(
    prog: str,
    options: Sequence[Option],
    *,
    rest: str,
    metavar: str,
    rest_help: str,
    description: str,
    epilog: str = "",
) -> argparse.ArgumentParser:
    """Return a parser of these options and of any number of words, kept under the name ``rest``."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        # An abbreviation that works today is ambiguous when an option is added.
        allow_abbrev=False,
    )
    parser.add_argument(rest, nargs="*", metavar=metavar, help=rest_help)
    groups: dict[str, Any] = {}
    for option in options:
        if option.group not in groups:
            groups[option.group] = parser.add_argument_group(option.group) if option.group else parser
        keywords: dict[str, Any] = {"dest": option.dest, "help": option.help.replace("%", "%%")}
        if option.kind == "flag":
            keywords.update(action="store_const", const=option.const, default=option.default or False)
        else:
            if option.choices is None:
                keywords["metavar"] = option.metavar
            keywords.update(choices=option.choices, default=option.default)
            if option.type is not None:
                keywords["type"] = option.type
            if option.kind in ("append", "pair"):
                keywords["action"] = "append"
            if option.kind == "pair":
                keywords["nargs"] = 2
        groups[option.group].add_argument(*option.names, **keywords)
    return parser


def read(parser: argparse.ArgumentParser, argv: Sequence[str]) -> dict[str, Any]:
    """Parse a command line; wrong usage is told on stderr and ends the process with 2."""
    values = vars(parser.parse_intermixed_args(list(argv)))
    return {
        name: [tuple(one) if isinstance(one, list) else one for one in value] if isinstance(value, list) else value
        for name, value in values.items()
    }
