"""argparse parsers made from the tables, for the words in which mistakes are reported; and the way to the help."""

from __future__ import annotations

import argparse

from unspool.cli.options import place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn

    from unspool.cli.options import Command, Options
    from unspool.jsontext import JsonObject

_WORDS = "(words)"


class Parser(argparse.ArgumentParser):
    """The argparse parser of a command; its complaints are one line, and its help is made from the table."""

    def __init__(self, command: Command) -> None:
        # An abbreviation that works today is ambiguous when an option is added.
        super().__init__(prog=f"unspool {command.name}", allow_abbrev=False)
        self._command = command
        self.add_argument(_WORDS, nargs="*")
        for option in command.options:
            keywords: JsonObject = {"dest": option.dest, "default": argparse.SUPPRESS}
            if not option.metavars:
                keywords.update(action="store_const", const=option.const)
            else:
                keywords["choices"] = option.choices
                if option.type is not None:
                    keywords["type"] = _explained(option.type)
                if option.is_repeatable:
                    keywords["action"] = "append"
                if len(option.metavars) == 2:
                    keywords["nargs"] = 2
            self.add_argument(*option.names, **keywords)

    def print_help(self, file: object = None) -> None:
        """Print the help of the command."""
        from unspool.cli.options import help

        help.show(help.of_command(self._command))

    def error(self, message: str) -> NoReturn:
        """Report the mistake and the way to the help, and exit with 2."""
        from unspool.terminal.output import Notes, Output

        what, _, unknown = message.partition("unrecognized arguments: ")
        if unknown and not what:
            option = next((word for word in unknown.split(" ") if word[:1] == "-"), unknown)
            message = f"unknown option: {option}{self._meant(option)}"
        Notes(Output(2)).line(f"{message.replace('argument ', '', 1)}; see {self.prog} --help")
        raise SystemExit(2)

    def _meant(self, unknown: str) -> str:
        """Ask whether an option was meant that is spelt much like an unknown one; "" where there is none."""
        from unspool.config import close

        typed = unknown.partition("=")[0].lstrip("-")
        longs = [name[2:] for option in self._command.options for name in option.names if name[:2] == "--"]
        match = close(typed.replace("_", "-").lower(), longs)
        return f" (did you mean --{match}?)" if match else ""


def read(command: Command, argv: Sequence[str]) -> Options:
    """Parse what follows the name of a command. A mistake is reported on stderr and ends the process with 2."""
    parser = Parser(command)
    # argparse forgets, between its two passes over intermixed arguments, that what follows "--" is no option.
    end = argv.index("--") if "--" in argv else len(argv)
    values = vars(parser.parse_intermixed_args(list(argv[:end])))
    words = [*values.pop(_WORDS), *argv[end + 1 :]]
    for name, value in values.items():
        if isinstance(value, list):  # argparse makes a list of a pair
            values[name] = [tuple(one) if isinstance(one, list) else one for one in value]
    if wrong := place(command, words, values):
        parser.error(wrong)
    return command.values(**values)


def _explained(type: Callable[[str], object]) -> Callable[[str], object]:
    """Let argparse show what a ValueError says, instead of the name of the function that raised it."""

    def explained(text: str) -> object:
        try:
            return type(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return explained
