"""Commands as data: what each is called, the options and words it takes, and the typed object that they become.

The tables are in the modules of this package, one for each kind of command; `unspool.cli.commands` knows which module has which. Two
readers are driven by them. `scan` reads what people type all day and costs nothing. Whatever it does not recognise (help,
abbreviations, mistakes) it leaves to `unspool.cli.options.parser`, which builds an argparse parser from the same table and costs a
third of a short answer. Help, completion, the manual and the reference read the tables too.
"""

from __future__ import annotations

from unspool import Error
from unspool.value import Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any


class CommandError(Error):
    """A command cannot do its work; the message says why, and the command ends with ``exit_code``."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class UsageError(CommandError):
    """The command line asks for something that cannot be; the message says what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(message, 2)


class Options(Fields):
    """Base of the objects that hold what a command line says: a field for each option and word. Read-only; `replace` makes a changed copy."""

    def __init__(self, **given: object) -> None:
        for name in given:
            if name not in self.field_names():
                raise TypeError(f"{type(self).__name__} has no {name}")
        super().__init__(**given)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name} is read-only; replace() makes a changed copy")

    __hash__ = None  # type: ignore[assignment]  # some of the values are lists


class Option(Fields):
    """One option.

    ``spec`` is what stands in the help: its names and what stands for its value. Without one it is a flag. ``--name A|B`` takes one of
    these words, ``--name A...`` may be given again, ``--name A B`` takes two values and may be given again.

    ``sets`` names the attribute that it sets, if not the one of its last name; the default is the one of the command's `Options`, and
    ``{default}`` in ``help`` stands for it. ``const`` is what a flag sets it to; ``type`` reads the text and raises ValueError for a
    wrong one; ``group`` is the heading under which the help lists it.
    """

    spec: str
    help: str
    group: str = ""
    sets: str = ""
    type: Callable[[str], object] | None = None
    const: object = True

    # Written out, unlike those of other records: each start creates sixty.
    def __init__(
        self,
        spec: str,
        help: str,
        group: str = "",
        sets: str = "",
        type: Callable[[str], object] | None = None,
        const: object = True,
    ) -> None:
        self.spec = spec
        self.help = help
        self.group = group
        self.sets = sets
        self.type = type
        self.const = const

    @property
    def names(self) -> list[str]:
        """The names, each with its dashes."""
        return [word.rstrip(",") for word in self.spec.split(" ") if word[0] == "-"]

    @property
    def dest(self) -> str:
        """The attribute that it sets."""
        return self.sets or self.names[-1].lstrip("-").replace("-", "_")

    @property
    def metavars(self) -> list[str]:
        """What stands for each value in help."""
        values = self.spec.removesuffix("...").partition(self.names[-1])[2].strip()
        return [values] if values[:1] == "'" else values.split()

    @property
    def choices(self) -> list[str] | None:
        """The values that there are, None where there are others."""
        return self.metavars[0].split("|") if "|" in self.spec else None

    @property
    def is_repeatable(self) -> bool:
        """Whether its values are collected in a list."""
        return self.spec.endswith("...") or len(self.metavars) == 2


class Words(Fields):
    """The words of a command line that are no options: at least ``least`` of them, and at most ``most`` (None: any number).

    They set the attribute ``dest``: a string where ``most`` is 1, None where it was not given; else a list. ``missing`` is what to say
    where there are too few.
    """

    dest: str
    metavar: str
    help: str
    least: int = 0
    most: int | None = 1
    missing: str = ""

    @property
    def usage(self) -> str:
        """How they are written in a usage line."""
        many = f"{self.metavar}..." if self.most is None else self.metavar
        return many if self.least else f"[{many}]"


class Command(Fields):
    """One command.

    ``name`` is what is typed after ``unspool``. ``summary`` is the line that lists show, ``description`` and ``epilog`` stand in its
    help, ``examples`` are command lines. ``run`` imports and calls its function in `unspool.cli.commands`, which takes one ``values``, an
    `Options`, and returns the exit code. ``excess`` is what to say where there are too many words. ``actions``
    are commands of their own whose names follow this one's; without one of them this command is run.
    """

    name: str
    summary: str
    run: Callable[[Any], int]
    values: type[Options]
    options: tuple[Option, ...] = ()
    words: tuple[Words, ...] = ()
    description: str = ""
    examples: str = ""
    epilog: str = ""
    excess: str = ""
    actions: tuple[Command, ...] = ()

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
    values: dict[str, object] = {}
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
        option = next((one for one in command.options if name in one.spec and name in one.names), None)
        count = len(option.metavars) if option is not None else 0
        if option is None or (equals and (count != 1 or (name[:2] != "--" and attached[0] == "="))):
            return None
        if not count:
            values[option.dest] = option.const
            continue
        given = [attached] if equals else list(argv[at : at + count])
        at += 0 if equals else count
        if len(given) < count or (not equals and any(one[:1] == "-" and one != "-" for one in given)):
            return None
        if not _set(values, option, given):
            return None
    return None if place(command, words, values) else command.values(**values)


def place(command: Command, words: list[str], values: dict[str, object]) -> str:
    """Set the attributes of a command's words. Returns the mistake if there are too few or too many, or ""."""
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


def _set(values: dict[str, object], option: Option, given: list[str]) -> bool:
    """Set the value of an option; False for one that argparse should refuse."""
    if option.choices is not None and given[0] not in option.choices:
        return False
    value: object = tuple(given) if len(given) == 2 else given[0]
    if option.type is not None:
        try:
            value = option.type(given[0])
        except ValueError:
            return False
    if option.is_repeatable:
        before = values.get(option.dest)
        value = [*(before if isinstance(before, list) else ()), value]
    values[option.dest] = value
    return True


# Readers of values: each takes a text and raises ValueError for a wrong one.


def positive(text: str) -> int:
    """An integer above zero."""
    number = _integer(text)
    if number <= 0:
        raise ValueError(f"{text} is not above zero")
    return number


def count(text: str) -> int:
    """An integer that is zero or above."""
    number = _integer(text)
    if number < 0:
        raise ValueError(f"{text} is below zero")
    return number


def port(text: str) -> int:
    """A port, 0 for any that is free."""
    number = count(text)
    if number > 65535:
        raise ValueError(f"{text} is above 65535, the last port")
    return number


def number(text: str) -> float:
    """A number that JSON can write."""
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if number - number != 0.0:
        raise ValueError(f"{text!r} is not a number")
    return number


def header(text: str) -> str:
    """A header of a request: its name, a colon and its value."""
    name, colon, value = text.partition(":")
    # RFC 9110, 5.6.2: what a name is made of; 5.5: what a value is.
    if (
        not colon
        or not name
        or not name.isascii()
        or not all(one.isalnum() or one in "!#$%&'*+-.^_`|~" for one in name)
    ):
        raise ValueError("a header is NAME: VALUE")
    if not (value.isascii() and value.isprintable()):
        raise ValueError(f"the value of {name} is not printable ASCII")
    return text


def rate(text: str) -> float:
    """A number above zero."""
    rate = number(text)
    if rate <= 0:
        raise ValueError(f"{text} is not above zero")
    return rate


def seconds(text: str) -> float:
    """A duration above zero, in seconds: 30, 1.5s, 300ms, 2m."""
    from unspool import durations

    seconds = durations.parse(text)
    if not seconds:
        raise ValueError(f"{text!r} is not a time above zero")
    return seconds


def duration(text: str) -> float:
    """A duration in seconds, which may be 0."""
    from unspool import durations

    return durations.parse(text)


def moment(text: str) -> int:
    """A moment in milliseconds since the epoch: an age, a date, a time."""
    from unspool.cli.options import dates

    return dates.moment(text)


def speed(text: str) -> float:
    """A factor of speed: a number above zero, or ``max``, which is infinity."""
    if text == "max":
        return float("inf")
    try:
        given = number(text.removesuffix("x"))
    except ValueError:
        given = 0.0
    if given <= 0:
        raise ValueError(f"{text!r} is not a speed such as 0.5, 1, 10 or max")
    return given


def value_of(text: str) -> object:
    """The value of ``-o KEY VALUE``: JSON, or else the text itself."""
    import jiter

    try:
        return jiter.from_json(text.encode(), allow_inf_nan=False)
    except ValueError:
        return text


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is not an integer") from None
