"""``unspool keys``: API keys in a file that only their owner can read."""

from __future__ import annotations

import os
import sys

from unspool.cli.signals import tidy_up_first
from unspool.config import ConfigError, keys, paths
from unspool.terminal.output import Notes, Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def run(name: str, argv: list[str]) -> int:
    """Store, list or remove keys. No key is ever printed, nor taken from the command line."""
    arguments = _parser().parse_args(argv)
    notes = Notes(Output(2))
    try:
        if arguments.action == "set":
            return _set(arguments.name, notes)
        if arguments.action == "remove":
            if not keys.remove_key(arguments.name):
                notes.line(f"there is no key for {arguments.name}")
                return 1
            notes.line(f"removed the key for {arguments.name}")
        elif arguments.action == "path":
            Output(1).write(paths.keys_file() + "\n")
        else:
            names = keys.key_names()
            Output(1).write("".join(f"{one}\n" for one in names))
            if not names:
                notes.line("no keys are kept yet; to keep one: unspool keys set openai")
            warning = keys.exposure_warning()
            if warning:
                notes.line(warning)
    except (ConfigError, ValueError) as error:
        notes.line(str(error), always=True)
        return 1
    return 0


def _set(name: str, notes: Notes) -> int:
    key = _ask(name) if os.isatty(0) else _read_line()
    if not key.strip():
        notes.line("no key was given, nothing is changed", always=True)
        return 1
    keys.store_key(name, key)
    notes.line(f"kept the key for {name} in {paths.keys_file()}, readable by you alone")
    return 0


def _ask(name: str) -> str:
    from getpass import getpass

    tidy_up_first()
    try:
        return getpass(f"key for {name}: ", stream=sys.stderr)
    except EOFError:
        sys.stderr.write("\n")
        return ""


def _read_line() -> str:
    with open(0, "rb", closefd=False) as stdin:
        return stdin.readline().decode("utf-8", "replace")


def _parser() -> argparse.ArgumentParser:
    from unspool.cli.options.parser import Parser

    parser = Parser(
        "unspool keys",
        "  unspool keys set openai              asks for the key\n"
        "  pass show openai | unspool keys set openai\n"
        "  unspool keys list",
        "Keep API keys in a file that only you can read.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION")

    def action(name: str, words: str) -> argparse.ArgumentParser:
        return actions.add_parser(
            name, help=words, prog=f"unspool keys {name}", examples=f"  unspool keys {name}", description=words
        )

    for name, words in (("set", "store a key, read from a prompt or from standard input"), ("remove", "forget a key")):
        action(name, words).add_argument(
            "name", metavar="NAME", help="a profile (openai, groq, …), or the host[:port] of a server without one"
        )
    action("list", "list the names of the keys kept (the default)")
    action("path", "print where they are kept")
    return parser
