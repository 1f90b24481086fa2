"""Commands as data: what each is called, the options and words it takes, and the typed object that they become.

The tables are in the modules of this package, one for each kind of command; `unspool.cli.commands` knows which module has which. Two
readers are driven by them. `scan` reads what people type all day and costs nothing. Whatever it does not recognise (help,
abbreviations, mistakes) it leaves to `unspool.cli.options.parser`, which builds an argparse parser from the same table and costs a
third of a whole short answer. Help, completion, the manual and the reference read the tables too.
"""

from __future__ import annotations

from unspool import Error
from unspool.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, Self


class UsageError(Error):
    """The command line asks for something that cannot be; the message says what to do."""


class Options:
    """Base of the objects that hold what a command line says.

    A subclass annotates one attribute for each option and word, and gives it its default as a class attribute. Instances are read-only;
    `replace` makes a changed copy. There are no ``__slots__``, since classes with slots cannot be combined.
    """

    def __init__(self, **given: Any) -> None:
        for name in given:
            if not hasattr(type(self), name):
                raise TypeError(f"{type(self).__name__} has no {name}")
        self.__dict__.update(given)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name} is read-only; replace() makes a changed copy")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and all(getattr(self, n) == getattr(other, n) for n in self.names())

    __hash__ = None  # type: ignore[assignment]  # some of the values are lists

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.__dict__.items())})"

    def replace(self, **changes: Any) -> Self:
        """Return a copy in which the named values are changed."""
        return type(self)(**{**self.__dict__, **changes})

    def given(self, names: Iterable[str]) -> list[str]:
        """Return those of the names that the command line sets."""
        return [name for name in names if name in self.__dict__]

    @classmethod
    def names(cls) -> list[str]:
        """The names of all attributes."""
        return [name for one in reversed(cls.__mro__) for name in one.__dict__.get("__annotations__", ())]  # noqa: RUF063


class Option(Value):
    """One option. ``kind`` is ``"flag"``, ``"value"``, ``"append"`` (a value, repeatable) or ``"pair"`` (two values, repeatable).

    ``dest`` names the attribute that it sets, whose default is the one of the command's `Options`; ``{default}`` in ``help`` stands for
    it. ``const`` is what a flag sets it to; ``type`` reads the text and raises ValueError for a wrong one; ``group`` is the heading
    under which the help lists it.
    """

    __slots__ = ("names", "dest", "kind", "help", "group", "metavar", "type", "choices", "const")

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
        self.const = const

    @property
    def metavars(self) -> tuple[str, ...]:
        """What stands for each value in help."""
        if self.kind == "flag":
            return ()
        if self.choices is not None:
            return ("|".join(self.choices),)
        return self.metavar if isinstance(self.metavar, tuple) else (self.metavar or self.dest.upper(),)


class Words(Value):
    """The words of a command line that are no options: at least ``least`` of them, and at most ``most`` (None: any number).

    They set the attribute ``dest``: a string where ``most`` is 1, None where it was not given; else a list. ``missing`` is what to say
    where there are too few.
    """

    __slots__ = ("dest", "metavar", "help", "least", "most", "missing")

    def __init__(
        self, dest: str, metavar: str, help: str, *, least: int = 0, most: int | None = 1, missing: str = ""
    ) -> None:
        self.dest = dest
        self.metavar = metavar
        self.help = help
        self.least = least
        self.most = most
        self.missing = missing

    @property
    def usage(self) -> str:
        """How they are written in a usage line."""
        many = f"{self.metavar}..." if self.most is None else self.metavar
        return many if self.least else f"[{many}]"


class Command(Value):
    """One command.

    ``name`` is what is typed after ``unspool``. ``summary`` is the line that lists show, ``description`` and ``epilog`` stand in its
    help, ``examples`` are command lines. ``run`` names its function, as ``"module:function"`` in `unspool.cli.commands`; the function
    takes one ``values``, an `Options`, and returns the exit code. ``excess`` is what to say where there are too many words. ``actions``
    are commands of their own whose names follow this one's; without one of them this command is run.
    """

    __slots__ = (
        *("name", "summary", "run", "values", "options", "words", "description", "examples", "epilog", "excess"),
        "actions",
    )

    def __init__(
        self,
        name: str,
        summary: str,
        run: str,
        values: type[Options],
        options: tuple[Option, ...] = (),
        words: tuple[Words, ...] = (),
        *,
        description: str = "",
        examples: str = "",
        epilog: str = "",
        excess: str = "",
        actions: tuple[Command, ...] = (),
    ) -> None:
        self.name = name
        self.summary = summary
        self.run = run
        self.values = values
        self.options = options
        self.words = words
        self.description = description
        self.examples = examples
        self.epilog = epilog
        self.excess = excess
        self.actions = actions

    def help_of(self, option: Option) -> str:
        """Return the help of one of the options, with its default."""
        if "{default}" not in option.help:
            return option.help
        default = getattr(self.values, option.dest)
        return option.help.replace("{default}", f"{default:g}" if isinstance(default, float) else str(default))


def read(command: Command, argv: Sequence[str]) -> Options:
    """Read what follows the name of a command. A mistake is reported on stderr and ends the process with 2."""
    values = scan(command, argv)
    if values is not None:
        return values
    from unspool.cli.options import parser

    return parser.read(command, argv)


def scan(command: Command, argv: Sequence[str]) -> Options | None:
    """Read a command line whose every option is spelled out; None for one that argparse should look at."""
    by_name = {name: option for option in command.options for name in option.names}
    values: dict[str, Any] = {}
    words: list[str] = []
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
    return None if place(command, words, values) else command.values(**values)


def place(command: Command, words: list[str], values: dict[str, Any]) -> str:
    """Set the attributes of a command's words. Returns what is wrong with their number, "" for nothing."""
    rest = words
    for one in command.words:
        taken = rest if one.most is None else rest[: one.most]
        rest = rest[len(taken) :]
        if len(taken) < one.least:
            return one.missing or f"{one.metavar} is missing"
        if one.most is None:
            values[one.dest] = taken
        elif taken:
            values[one.dest] = taken[0]
    return (command.excess or "it takes no words") if rest else ""


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
        values[option.dest] = [*values.get(option.dest, ()), value]
    return True
