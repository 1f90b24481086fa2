"""``python -m unspool``: the command."""

from unspool.cli import program

program()
