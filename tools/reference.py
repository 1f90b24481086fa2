"""Write the reference of the commands and of the library, which say what the program itself says: ``python tools/reference.py``."""

from __future__ import annotations

import inspect
import re
import sys
import types
from pathlib import Path
from typing import Any

import unspool
from unspool import sse
from unspool.cli.commands import GROUPS, NAMES, find
from unspool.cli.options import Command, help

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
_MADE = "<!-- Made by tools/reference.py: do not edit. -->"


def commands() -> str:
    """The page of the commands."""
    lines = [
        "# Commands",
        "",
        _MADE,
        "",
        '`unspool COMMAND --help` says the same. `unspool "prompt"` is `unspool ask "prompt"`. Every command ends with an',
        "[exit code](outcomes.md).",
    ]
    for title, names in GROUPS.items():
        lines += ["", f"**{title[0].upper()}{title[1:]}**", "", "| command | |", "|---|---|"]
        lines += (f"| [`{name}`](#unspool-{name}) | {_plain(find(name).summary)} |" for name in names)
    for name in NAMES:
        lines += ["", f"## unspool {name}", "", *_command(find(name))]
    return "\n".join(lines) + "\n"


def _command(command: Command) -> list[str]:
    lines = ["```text", help.usage(command), "```", "", _plain(command.description or help.sentence(command.summary))]
    if command.examples:
        lines += ["", "```sh", *command.examples.split("\n"), "```"]
    rows = [(f"`{' '.join((one.name, *(word.usage for word in one.words)))}`", one.summary) for one in command.actions]
    rows += [(f"`{one.usage}`", one.help) for one in command.words]
    lines += _table("", rows)
    for title, options in help.groups(command):
        named = [
            (", ".join(_code(" ".join((name, *one.metavars))) for name in one.names), command.help_of(one))
            for one in options
        ]
        lines += _table(title, named)
    if command.epilog:
        lines += ["", _plain(command.epilog)]
    return lines


def _table(title: str, rows: list[tuple[str, str]]) -> list[str]:
    if not rows:
        return []
    head = ["", f"**{title[0].upper()}{title[1:]}**"] if title else []
    return [*head, "", "| | |", "|---|---|", *(f"| {left} | {_plain(right)} |" for left, right in rows)]


def _code(text: str) -> str:
    """Text as code for a cell of a table, where a bar would end the cell and its escape would be shown."""
    return f"<code>{text.replace('<', '&lt;').replace('|', '&#124;<wbr>')}</code>" if "|" in text else f"`{text}`"


def _plain(text: str) -> str:
    return text.replace("|", "&#124;").replace("<", "&lt;").replace("*", "\\*")


def library() -> str:
    """The page of the library."""
    objects = {name: getattr(unspool, name) for name in unspool.__all__ if name not in ("__version__", "sse")}
    functions = {name: one for name, one in objects.items() if inspect.isfunction(one)}
    errors = {name: one for name, one in objects.items() if isinstance(one, type) and issubclass(one, Exception)}
    deltas = {name: one for name, one in objects.items() if isinstance(one, type) and issubclass(one, unspool.Delta)}
    classes = {
        name: one
        for name, one in objects.items()
        if isinstance(one, type) and name not in errors and name not in deltas
    }
    others = {name: one for name, one in objects.items() if not isinstance(one, type) and name not in functions}
    lines = [
        "# The library's names",
        "",
        _MADE,
        "",
        "What they are for, with examples: [the library](../how-to/library.md).",
    ]
    for title, group in (
        ("Functions", functions),
        ("Classes", classes),
        ("Deltas", deltas),
        ("Errors", errors),
        (
            "Server-Sent Events",
            {f"sse.{name}": getattr(sse, name) for name in ("Decoder", "Event", "Events", "EventBatch", "encode")},
        ),
    ):
        lines += ["", f"## {title}"]
        for name, one in group.items():
            lines += ["", *_entry(f"unspool.{name}", one)]
    if others:
        lines += ["", "## Types", "", *(f"- `unspool.{name}`: `{one}`" for name, one in others.items())]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"


def _entry(name: str, one: Any) -> list[str]:
    bases = ""
    if isinstance(one, type):
        known = [
            base.__name__
            for base in one.__bases__
            if base not in (object, Exception) and not base.__name__.startswith("_")
        ]
        bases = (
            f" is a {' and a '.join(f'`{base}`' for base in known)}." if known and issubclass(one, Exception) else ""
        )
    lines = [f"### {name}", ""]
    signature = _signature(one) if one.__name__ not in _GIVEN else None
    if signature is not None and not (isinstance(one, type) and issubclass(one, Exception)):
        lines += ["```text", f"{name}{signature}", "```", ""]
    lines += [f"`{one.__name__}`{bases}" if bases else "", "", *_prose(one)]
    if isinstance(one, type):
        if (public := _public_bases(one)) and not issubclass(one, Exception):
            also = " and ".join(f"[{base.__name__}](#unspool{base.__name__.lower()})" for base in public)
            lines += ["", f"It has the members of {also}, and:" if _members(one) else f"It has the members of {also}."]
        for member, value in _members(one):
            form = f"{member}{_signature(value) or ''}"
            # A heading is one line.
            heading = (
                ["", f"#### `{member}`", "", "```text", form, "```", ""] if "\n" in form else ["", f"#### `{form}`", ""]
            )
            lines += [*heading, *_prose(value)]
    return lines


# Made by functions and clients, and not by their constructors.
_GIVEN = {
    "Reading",
    "AsyncReading",
    "Answer",
    "AsyncAnswer",
    "Following",
    "AsyncFollowing",
    "Conversation",
    "AsyncConversation",
}
# By these the command, the gateway and the load test drive answers. They are no promise to programs.
_DRIVING = {"step", "connecting", "give_up"}


def _public_bases(one: type) -> list[type]:
    """The bases that have an entry of their own on the page."""
    return [base for base in one.__mro__[1:] if getattr(unspool, base.__name__, None) is base is not unspool.Delta]


def _members(one: type) -> list[tuple[str, Any]]:
    """The members of a class that none of its public bases has, or describes in the same way."""
    inherited = {base for public in _public_bases(one) for base in public.__mro__} | set(unspool.Delta.__mro__) - {one}
    found: dict[str, Any] = {}
    for base in reversed([base for base in one.__mro__ if base not in inherited]):
        if not base.__module__.startswith("unspool"):
            continue
        for name, value in vars(base).items():
            value = value.__func__ if isinstance(value, classmethod | staticmethod) else value
            if name.startswith("_") or name in _DRIVING or not isinstance(value, types.FunctionType | property):
                continue
            if inspect.getdoc(value):
                found[name] = value
    return list(found.items())


def _signature(one: Any) -> str | None:
    if isinstance(one, property):
        got = one.fget.__annotations__.get("return", "") if one.fget else ""
        return f": {got}" if got else ""
    function = one.__init__ if isinstance(one, type) else one
    if not isinstance(function, types.FunctionType):
        return None
    parts: list[str] = []
    starred = False
    for name, parameter in inspect.signature(function).parameters.items():
        if name in ("self", "cls") or name.startswith("_"):
            continue
        stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            parts.append("*")
        starred = starred or parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL)
        typed = "" if parameter.annotation is parameter.empty else f": {parameter.annotation}"
        value = (
            ""
            if parameter.default is parameter.empty
            else f" = {_default(parameter.default)}"
            if typed
            else f"={parameter.default!r}"
        )
        parts.append(f"{stars}{name}{typed}{value}")
    returned = function.__annotations__.get("return") if not isinstance(one, type) else None
    arrow = f" -> {returned}" if returned else ""
    line = f"({', '.join(parts)}){arrow}"
    return line if len(line) < 90 else _broken(parts, arrow)


def _broken(parts: list[str], arrow: str) -> str:
    return "(\n" + "".join(f"    {part},\n" for part in parts) + f"){arrow}"


def _default(value: Any) -> str:
    text = repr(value)
    return "…" if " at 0x" in text or text.startswith("<") else text


def _prose(one: Any) -> list[str]:
    lines: list[str] = []
    within = False
    for line in (inspect.getdoc(one) or "").splitlines():
        example = line.startswith(">>>") or (within and bool(line.strip()))
        if example != within:
            lines.append("```pycon" if example else "```")
            within = example
        lines.append(line)
    return [*lines, *(["```"] if within else [])]


PAGES = {"commands.md": commands, "api.md": library}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page(), "utf-8")
        sys.stdout.write(f"docs/reference/{name}\n")
