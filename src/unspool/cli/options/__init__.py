"""Options as data, and two readers of them that agree.

`scan` reads what people type all day and costs nothing. Whatever it does not take for granted (help, abbreviations, mistakes) it
leaves to `unspool.cli.options.parser`, which builds an argparse parser from the same table, has the last word, and costs a third of a
whole short answer.
"""

from __future__ import annotations

from unspool import Error
from unspool.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any


class UsageError(Error):
    """The command line asks for something that cannot be; the message says what to do."""


class Option(Value):
    """One option. ``kind`` is ``"flag"``, ``"value"``, ``"append"`` (a value, repeatable) or ``"pair"`` (two values, repeatable).

    ``dest`` is the name of its value; ``const`` is what a flag sets it to; ``type`` reads the text and raises ValueError for a
    wrong one; ``group`` is its heading in the help.
    """

    __slots__ = ("names", "dest", "kind", "help", "group", "metavar", "type", "choices", "default", "const")

    def __init__(
        self,
        names: Sequence[str],
        kind: str,
        help: str,
        *,
        group: str = "",
        dest: str = "",
        metavar: str | tuple[str, str] | None = None,
        type: Callable[[str], Any] | None = None,
        choices: Sequence[str] | None = None,
        default: Any = None,
        const: Any = True,
    ) -> None:
        self.names = tuple(names)
        self.dest = dest or names[-1].lstrip("-").replace("-", "_")
        self.kind = kind
        self.help = help
        self.group = group
        self.metavar = metavar
        self.type = type
        self.choices = choices
        self.default = default
        self.const = const


def defaults(options: Sequence[Option]) -> dict[str, Any]:
    """The values when nothing is given."""
    values: dict[str, Any] = {}
    for option in options:
        if option.kind == "flag":
            values.setdefault(option.dest, option.default if option.default is not None else False)
        else:
            values.setdefault(option.dest, option.default)
    return values


def scan(options: Sequence[Option], argv: Sequence[str], rest: str) -> dict[str, Any] | None:
    """Read a command line whose every option is spelled out; None for one that argparse should look at.

    ``rest`` is the name under which the words that are no options are returned, as a list.
    """
    by_name = {name: option for option in options for name in option.names}
    values = defaults(options)
    words: list[str] = []
    values[rest] = words
    at = 0
    while at < len(argv):
        token = argv[at]
        at += 1
        if token == "--":
            words.extend(argv[at:])
            break
        if token[:1] != "-" or token == "-":
            words.append(token)
            continue
        name, equals, attached = token.partition("=") if token[:2] == "--" else (token[:2], token[2:], token[2:])
        option = by_name.get(name)
        if option is None or (
            equals and (option.kind in ("flag", "pair") or (name[:2] != "--" and attached[0] == "="))
        ):
            return None
        if option.kind == "flag":
            values[option.dest] = option.const
            continue
        count = 2 if option.kind == "pair" else 1
        given = [attached] if equals else list(argv[at : at + count])
        at += 0 if equals else count
        if len(given) < count or (not equals and any(one[:1] == "-" and one != "-" for one in given)):
            return None
        if not _set(values, option, given):
            return None
    return values


def _set(values: dict[str, Any], option: Option, given: list[str]) -> bool:
    """Set the value of an option; False for one that argparse should refuse."""
    if option.choices is not None and given[0] not in option.choices:
        return False
    value: Any = tuple(given) if option.kind == "pair" else given[0]
    if option.type is not None:
        try:
            value = option.type(given[0])
        except ValueError:
            return False
    if option.kind == "value":
        values[option.dest] = value
    else:
        values[option.dest] = [*(values[option.dest] or []), value]
    return True
