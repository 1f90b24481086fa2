"""The texts of ``--help``, made from the tables."""

from __future__ import annotations

import textwrap

from unspool.cli import commands

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from unspool.cli.options import Command, Option

# Where the second column begins, and the widest line that is easy to read.
_COLUMN = 26
_WIDEST = 100


_PROGRAM = """\
usage: unspool [OPTION]... PROMPT...
       unspool COMMAND [OPTION]... [WORD]...

examples:
  unspool "What is Python?"
  git diff | unspool "Write a commit message for this"
  unspool -c "And in one sentence?"             continues the conversation
  unspool -P ollama -m llama3.2 "Hello"         another server
  unspool --sim "Hello"                         no key, no network
"""
_MORE = """
  unspool COMMAND --help    the options; those of a prompt: unspool ask --help
"""


def of_program() -> str:
    """The help of the program: usage, examples, and the commands in their groups."""
    lines = [_PROGRAM]
    width = max(map(len, commands.NAMES))
    for title, names in commands.GROUPS.items():
        lines.append(f"{title}:")
        lines += (f"  {name:<{width}}  {commands.find(name).summary}" for name in names)
    return "\n".join(lines) + "\n" + _MORE


def version() -> str:
    """The version of the program."""
    from unspool import __version__

    return f"unspool {__version__}\n"


def of_command(command: Command) -> str:
    """The help of one command."""
    lines = [f"usage: {usage(command)}", "", *_paragraphs(command.description or sentence(command.summary))]
    if command.actions:
        lines += ["", "actions:"]
        for action in command.actions:
            left = " ".join((action.name.split()[-1], *(one.usage for one in action.words)))
            lines += _entry(left, action.summary)
    if command.examples:
        lines += ["", "examples:", *(f"  {line}".rstrip() for line in command.examples.strip("\n").split("\n"))]
    if command.words:
        lines.append("")
    for one in command.words:
        lines += _entry(one.metavar, one.help)
    for title, options in groups(command):
        lines += ["", f"{title or 'options'}:"]
        for option in options:
            lines += _entry(left_of(option), command.help_of(option))
    lines += [""] * bool(command.epilog) + list(_paragraphs(command.epilog))
    return "\n".join(lines) + "\n"


def usage(command: Command) -> str:
    """The usage of a command, in one line."""
    words = [one.usage for one in command.words]
    action = ["[ACTION]"] * bool(command.actions)
    return " ".join(["unspool", command.name, *["[OPTION]..."] * bool(command.options), *action, *words])


def groups(command: Command) -> list[tuple[str, list[Option]]]:
    """The options of a command under their headings, in the order in which these appear first."""
    found: dict[str, list[Option]] = {}
    for option in command.options:
        found.setdefault(option.group, []).append(option)
    return list(found.items())


def left_of(option: Option) -> str:
    """The names of an option, and what stands for its value."""
    return option.spec.removesuffix("...")


def sentence(words: str) -> str:
    """A summary as a sentence."""
    return f"{words[:1].upper()}{words[1:]}."


def show(text: str) -> None:
    """Print a help text."""
    from unspool.terminal.output import Output

    Output(1).write(text)


def _width() -> int:
    import shutil

    return min(_WIDEST, max(40, shutil.get_terminal_size((80, 24)).columns)) - 1


def _paragraphs(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(text.strip().split("\n\n") if text.strip() else ()):
        if number:
            yield ""
        yield from textwrap.wrap(" ".join(paragraph.split()), _width(), break_on_hyphens=False)


def _entry(left: str, right: str) -> Iterable[str]:
    """A name and what it means, in two columns."""
    lines = textwrap.wrap(right, max(20, _width() - _COLUMN), break_on_hyphens=False) or [""]
    margin = " " * _COLUMN
    if len(left) > _COLUMN - 4:
        # A list of values may be broken after each bar.
        names = textwrap.wrap(left.replace("|", "| "), _width() - 6, break_on_hyphens=False)
        first, *more = [name.replace("| ", "|") for name in names]
        return [f"  {first}", *(f"      {name}" for name in more), *(margin + line for line in lines)]
    return [f"  {left}".ljust(_COLUMN) + lines[0], *(margin + line for line in lines[1:])]
