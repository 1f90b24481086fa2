"""``unspool keys``: API keys in a file that only their owner can read."""

from __future__ import annotations

import os
import sys

from unspool import Error
from unspool.cli.options import CommandError
from unspool.cli.signals import tidy_up_first
from unspool.config import keys, paths
from unspool.terminal.output import Notes, Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.cli.options.setup import NameOptions, NoOptions


def store(options: NameOptions) -> int:
    """Store a key. No key is ever printed, nor taken from the command line."""
    notes = Notes(Output(2))
    key = _ask(options.name) if os.isatty(0) else _read_line()
    if not key.strip():
        raise CommandError("no key was given; nothing was changed")
    try:
        keys.store_key(options.name, key)
    except ValueError as error:
        raise Error(str(error)) from error
    notes.line(f"stored the key for {options.name} in {paths.keys_file()}; only you can read it")
    return 0


def remove(options: NameOptions) -> int:
    """Remove a key."""
    removed = keys.remove_key(options.name)
    Notes(Output(2)).line(f"{'removed the' if removed else 'there is no'} key for {options.name}")
    return 0 if removed else 1


def path(options: NoOptions) -> int:
    """Print the path of the file of the keys."""
    Output(1).write(paths.keys_file() + "\n")
    return 0


def list_names(options: NoOptions) -> int:
    """List the names of the stored keys."""
    notes = Notes(Output(2))
    names = keys.key_names()
    Output(1).write("".join(f"{one}\n" for one in names))
    if not names:
        notes.line("no keys are stored yet; to store one: unspool keys set openai")
    if warning := keys.exposure_warning():
        notes.line(warning)
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
