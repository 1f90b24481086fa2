"""What may stand at the end of a command line that is being typed: commands, options, their values."""

from __future__ import annotations

import os

from unspool import outcome
from unspool.api.conversation import plain
from unspool.cli import commands
from unspool.config import ConfigError, keys, paths, settings, templates
from unspool.config.profiles import BUILT_IN
from unspool.journal import folder, reader, ulid
from unspool.journal import names as journal_names
from unspool.journal.blocks import End, Request
from unspool.terminal.safety import one_line
from unspool.value import Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeAlias

    from unspool.cli.options import Command, Option

    _Values: TypeAlias = Callable[[str], list["Candidate"] | None]

# The newest streams that are looked into for a question or a model. Nobody reads a longer list, and each is a file to open.
_MOST = 50
# What a shell takes for a letter and nothing else. A name that a server or a file gave is not offered with any other character, for
# a shell would obey it.
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_./:@%+,=")
# Columns of a description: with the longest option before it a line of 80 holds it.
_WIDTH = 50


class Candidate(Fields):
    """A word that may stand there, and what it means in a few words."""

    value: str
    description: str = ""


def candidates(words: Sequence[str]) -> list[Candidate] | None:
    """What the last of the words after ``unspool`` may become; None for the name of a file."""
    *before, partial = words
    command, rest = commands.of(before)
    line = _Line(command)
    for word in rest:
        line.take(word)
    found = line.values(partial)
    if found is None:
        return None
    if not before:
        named = (commands.find(name) for name in commands.NAMES)
        found = [*(Candidate(one.name, one.summary) for one in named), *found]
    return [
        Candidate(one.value, _clip(one_line(one.description)))
        for one in found
        if one.value.lower().startswith(partial.lower()) and _PLAIN.issuperset(one.value)
    ]


class _Line:
    """The command line of a command up to the word that is being typed."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self._options = {name: option for option in command.options for name in option.names}
        self._pending: list[_Values] = []
        self._seen: set[str] = set()
        self._words = 0
        self._only_words = False

    def take(self, word: str) -> None:
        """Go past a word that stands there already."""
        name, equals, _ = word.partition("=")
        if self._pending:
            self._pending.pop(0)
        elif self._only_words or word[:1] != "-" or word == "-":
            self._words += 1
        elif word == "--":
            self._only_words = True
        elif name in self._options:
            option = self._options[name]
            if not option.is_repeatable:
                self._seen.update(option.names)
            self._pending = [] if equals else self._values_of(option)

    def values(self, partial: str) -> list[Candidate] | None:
        """What may stand next, whatever of it is typed already; None for the name of a file."""
        if self._pending:
            return self._pending[0](partial)
        name, equals, typed = partial.partition("=")
        if equals and name in self._options and not self._only_words:
            wanted = self._values_of(self._options[name])
            found = wanted[0](typed) if len(wanted) == 1 else []
            return found and [Candidate(f"{name}={one.value}", one.description) for one in found]
        if partial[:1] == "-" and not self._only_words:
            help = Candidate("--help", "show this command's help")
            return [
                *(
                    Candidate(name, self._command.help_of(option).partition("; ")[0])
                    for name, option in self._options.items()
                    if name not in self._seen
                ),
                help,
            ]
        actions = [] if self._words else [Candidate(one.name.split()[-1], one.summary) for one in self._command.actions]
        if actions and not (self._command.words and partial):
            return actions
        for at, one in enumerate(self._command.words, 1):
            if one.most is None or self._words < at:
                return self._by_use(one.dest, one.metavar, 1)(partial)
        return []

    def _values_of(self, option: Option) -> list[_Values]:
        """For each value that an option takes, what names the candidates."""
        if option.choices is not None:
            choices = [Candidate(one) for one in option.choices]
            return [lambda typed: choices]
        # The first value of a pair is known by its place, for ID is an answer's alone but a call's before its result.
        return [self._by_use(option.dest, one, len(option.metavars)) for one in option.metavars]

    def _by_use(self, dest: str, metavar: str, count: int) -> _Values:
        named = _BY_USE.get(f"{self._command.name} {dest}") or _BY_USE.get(f"* {dest}")
        return named or _BY_METAVAR.get((metavar, count), _nothing)


def _nothing(typed: str) -> list[Candidate]:
    return []


def _files(typed: str) -> None:
    return None


def _some(*values: str) -> Callable[[str], list[Candidate]]:
    return lambda typed: [Candidate(one) for one in values]


def _profiles(typed: str) -> list[Candidate]:
    try:
        configured = settings.load().profiles
    except ConfigError:
        configured = {}
    return [Candidate(name, one.base_url) for name, one in sorted({**BUILT_IN, **configured}.items())]


def _models(typed: str) -> list[Candidate]:
    """The models of the profiles, and those that were asked lately."""
    try:
        profiles = {**BUILT_IN, **settings.load().profiles}
    except ConfigError:
        profiles = BUILT_IN
    found = {one.model: f"the default of {name}" for name, one in profiles.items() if one.model}
    for id in _newest(""):
        model = _request(id).model
        if model:
            found.setdefault(model, "asked lately")
    return [Candidate(name, words) for name, words in found.items()]


def _templates(typed: str) -> list[Candidate] | None:
    if os.sep in typed:
        return None
    return [Candidate(name) for name in templates.names()]


def _key_names(typed: str) -> list[Candidate]:
    try:
        return [Candidate(name) for name in keys.key_names()]
    except ConfigError:
        return []


def _dialects(typed: str) -> list[Candidate]:
    from unspool.sim.faults.dialects import TABLE

    return [Candidate(dialect.name) for dialect in TABLE]


def _faults(typed: str) -> list[Candidate]:
    from unspool.sim.faults.quirks import QUIRKS
    from unspool.sim.faults.table import TABLE

    quirks = [Candidate(quirk.name, quirk.does) for quirk in QUIRKS.values()]
    return [Candidate(fault.example, fault.does) for fault in TABLE] + quirks


def _ids(typed: str) -> list[Candidate] | None:
    """The newest streams, by the piece of the id that messages show, each with its question."""
    if "/" in typed or typed[:1] == ".":
        return None
    return [*_conversations(typed), *(_of_id(id, typed) for id in _newest(typed))]


def _runs(typed: str) -> list[Candidate] | None:
    """The runs by their names; where none begins so, the file of one is meant."""
    try:
        names = sorted(entry.name for entry in os.scandir(paths.runs_dir()) if entry.is_dir())
    except OSError:
        names = []
    return [Candidate(one) for one in names if one.startswith(typed)] or None


def _conversations(typed: str) -> list[Candidate]:
    return [
        _of_id(id, typed).replace(value=name)
        for name, id in journal_names.heads(paths.streams_dir()).items()
        if name.startswith(typed)
    ]


def _living(typed: str) -> list[Candidate]:
    kept = paths.streams_dir()
    return [_of_id(id, typed) for id in _newest(typed, lambda id: reader.is_alive(folder.path_of(kept, id)))]


def _unfinished(typed: str) -> list[Candidate]:
    return [_of_id(id, typed) for id in _newest(typed, lambda id: not _is_whole(id))]


def _newest(typed: str, wanted: Callable[[str], bool] = lambda id: True) -> Iterator[str]:
    count = 0
    for id in reversed(folder.ids(paths.streams_dir())):
        try:
            if count < _MOST and _shown(id, typed).startswith(typed.upper()) and wanted(id):
                count += 1
                yield id
        except OSError:  # removed since it was listed, or not for us to read
            continue


def _shown(id: str, typed: str) -> str:
    # Who has begun at an id's beginning gets all of it.
    short = ulid.short(id)
    return short if short.startswith(typed.upper()) else id


def _of_id(id: str, typed: str) -> Candidate:
    request = _request(id)
    _, messages = request.conversation()
    asked = [plain(one.get("content")) for one in messages if one.get("role") == "user"]
    return Candidate(_shown(id, typed), asked[-1] if asked else "")


def _request(id: str) -> Request:
    """What was asked: the first block, without reading the answer. Empty where that cannot be had."""
    try:
        return Request.first(folder.path_of(paths.streams_dir(), id))
    except OSError:
        return Request()


def _is_whole(id: str) -> bool:
    # The end is the last block, and a short one.
    with open(folder.path_of(paths.streams_dir(), id), "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
        end = file.read().rpartition(b"\nevent: unspool.end\ndata: ")[2].partition(b"\n")[0]
    return End.read(end.decode("utf-8", "replace")).outcome == outcome.COMPLETE


def _clip(text: str) -> str:
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1].rstrip() + "…"


# By what stands for the value in the help, and of how many values it is one.
_BY_METAVAR: dict[tuple[str, int], _Values] = {
    ("FILE", 1): _files,
    ("FILE", 2): _files,
    ("PATH", 1): _files,
    ("DIR", 1): _files,
    ("SCHEMA", 1): _files,
    ("ID", 1): _ids,
    ("MODEL", 1): _models,
    ("SHELL", 1): _some("bash", "zsh", "fish"),
    ("CHOICE", 1): _some("auto", "none", "required"),
    ("MIME", 2): _some(
        "application/pdf", "audio/mpeg", "audio/wav", "image/jpeg", "image/png", "image/webp", "text/plain"
    ),
    ("NAME[=VALUE]", 1): _faults,
    ("FAULTS", 1): _faults,
}
# By the command (* for any) and the attribute, where what stands for the value says too little.
_BY_USE: dict[str, _Values] = {
    "* profile": _profiles,
    "* template": _templates,
    "* run": _runs,
    "ask name": _conversations,
    "chat name": _conversations,
    "log rename conversation": _ids,
    **{f"templates {verb} name": _templates for verb in ("show", "edit", "rm", "path")},
    "keys set name": _profiles,
    "keys remove name": _key_names,
    "attach id": _living,
    "cancel id": _living,
    "resume id": _unfinished,
    "sim dialect": _dialects,
    "log model": _models,
    "search model": _models,
}
