"""argparse parsers made from the tables of `unspool.cli.options`: for help, for mistakes and for completion."""

from __future__ import annotations

import argparse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, NoReturn

    from unspool.cli.options import Option


class Parser(argparse.ArgumentParser):
    """An argparse parser whose help begins with examples, and whose complaints are one line.

    ``rest`` is the name of the words that are no options. ``on_help`` is given the parser in place of printing its help.
    """

    rest = ""
    on_help: Callable[[Parser], None] | None = None

    def __init__(self, prog: str, examples: str, description: str, epilog: str = "") -> None:
        super().__init__(
            prog=prog,
            usage=argparse.SUPPRESS,
            description=f"examples:\n{examples}\n\n{description}" if examples else description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            # An abbreviation that works today is ambiguous when an option is added.
            allow_abbrev=False,
        )

    def print_help(self, file: Any = None) -> None:
        """Print the help, or give the parser to whoever wants to know what it knows."""
        if Parser.on_help is not None:
            Parser.on_help(self)
        else:
            super().print_help(file)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is, and end the process with 2."""
        from unspool.terminal.output import Notes, Output

        Notes(Output(2)).line(f"{message.replace('argument ', '', 1)}; see {self.prog} --help")
        raise SystemExit(2)


def of(name: str) -> Parser:
    """Return the parser of a command: the very one whose help it prints, so that what is told of a command is never another story."""
    from unspool.cli import main

    found: list[Parser] = []
    Parser.on_help = found.append
    try:
        main([name, "--help"])
    except SystemExit:
        pass
    finally:
        Parser.on_help = None
    return found[0]


def build(
    prog: str,
    options: Sequence[Option],
    *,
    rest: str,
    metavar: str,
    rest_help: str,
    description: str,
    examples: str = "",
    epilog: str = "",
) -> Parser:
    """Return a parser of these options and of any number of words, kept under the name ``rest``."""
    parser = Parser(prog, examples, description, epilog)
    parser.rest = rest
    parser.add_argument(
        rest, nargs="*", metavar=metavar, help=argparse.SUPPRESS if rest_help == "(none)" else rest_help
    )
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
                keywords["type"] = _told(option.type)
            if option.kind in ("append", "pair"):
                keywords["action"] = "append"
            if option.kind == "pair":
                keywords["nargs"] = 2
        groups[option.group].add_argument(*option.names, **keywords)
    return parser


def read(parser: Parser, argv: Sequence[str]) -> dict[str, Any]:
    """Parse a command line; wrong usage is told on stderr and ends the process with 2."""
    # argparse forgets, between its two passes over intermixed arguments, that what follows "--" is no option.
    end = argv.index("--") if "--" in argv else len(argv)
    values = vars(parser.parse_intermixed_args(list(argv[:end])))
    values[parser.rest] = [*values[parser.rest], *argv[end + 1 :]]
    return {
        name: [tuple(one) if isinstance(one, list) else one for one in value] if isinstance(value, list) else value
        for name, value in values.items()
    }


def _told(type: Callable[[str], Any]) -> Callable[[str], Any]:
    """Let argparse show what a ValueError says, instead of the name of the function that raised it."""

    def told(text: str) -> Any:
        try:
            return type(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return told
