"""``unspool keys``: API keys in a file that only their owner can read."""

from __future__ import annotations

import os
import sys

from unspool.config import ConfigError, keys, paths
from unspool.terminal.output import Notes, Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def run(name: str, argv: list[str]) -> int:
    """Store, list or remove keys. No key is ever printed, nor taken from the command line."""
    parser = _parser()
    arguments = parser.parse_args(argv)
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
            print(paths.keys_file())
        else:
            for one in keys.key_names():
                print(one)
            warning = keys.exposure_warning()
            if warning:
                notes.line(warning)
    except (ConfigError, ValueError) as error:
        notes.line(str(error), always=True)
        return 1
    return 0


def _set(name: str, notes: Notes) -> int:
    if os.isatty(0):
        from getpass import getpass

        key = getpass(f"key for {name}: ", stream=sys.stderr).strip()
    else:
        key = sys.stdin.readline().strip()
    if not key:
        notes.line("no key was given, nothing is changed", always=True)
        return 1
    keys.store_key(name, key)
    notes.line(f"kept the key for {name} in {paths.keys_file()}, readable by you alone")
    return 0


def _parser() -> argparse.ArgumentParser:
    import argparse

    parser = argparse.ArgumentParser(
        prog="unspool keys",
        description="Keep API keys in a file that only you can read.\n\n"
        "examples:\n  unspool keys set openai              asks for the key\n"
        "  pass show openai | unspool keys set openai\n  unspool keys list",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    for action, words in (
        ("set", "store a key, read from a prompt or from standard input"),
        ("remove", "forget a key"),
    ):
        actions.add_parser(action, help=words).add_argument(
            "name", metavar="NAME", help="a profile (openai, groq, …), or the host[:port] of a server without one"
        )
    actions.add_parser("list", help="list the names of the keys kept (the default)")
    actions.add_parser("path", help="print where they are kept")
    return parser
