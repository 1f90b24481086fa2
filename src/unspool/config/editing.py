"""Changing one setting in a configuration file, and leaving the rest of it, comments included, as it is."""

from __future__ import annotations

import tomllib

from unspool.config import ConfigError
from unspool.config.file import parse
from unspool.config.replacing import replace
from unspool.jsontext import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.jsontext import JsonObject


def change(path: str, key: str, value: str | None) -> None:
    """Set a key such as ``model``, ``aliases.fast`` or ``profiles.work.model``, or remove it where ``value`` is None. Raises ConfigError.

    The file is replaced in one step, by one that was read back first.
    """
    parts = key.split(".")
    if not all(part and part.replace("-", "").replace("_", "").isalnum() and part.isascii() for part in parts):
        raise ConfigError(f"{key!r} is not a setting: use a name such as model, aliases.NAME or profiles.NAME.model")
    try:
        with open(path, "rb") as file:
            before = file.read()
    except FileNotFoundError:
        before = b""
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    if before:
        parse(before, path)  # a file that is wrong already is left to its editor
    after = _changed(before.decode("utf-8-sig"), parts, value).encode()
    wanted = _with(tomllib.loads(before.decode("utf-8-sig")), parts, value)
    try:
        same = tomllib.loads(after.decode()) == wanted
    except tomllib.TOMLDecodeError:
        same = False
    if not same:
        raise ConfigError(f"{key} in {path} cannot be changed by this command; edit it with: unspool config edit")
    parse(after, path)
    try:
        replace(path, after)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error


def _changed(text: str, parts: list[str], value: str | None) -> str:
    """The text of the file with the line of a key replaced, added or removed."""
    *table, name = parts
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    start, end = _section(lines, table)
    new = [] if value is None else [f"{name} = {_toml(value)}\n"]
    if start is None:
        header = [f"\n[{'.'.join(table)}]\n"] if new else []
        return "".join([*lines, *header, *new]).lstrip("\n")
    for at in range(start, end):
        if lines[at].partition("=")[0].strip() == name:
            return "".join([*lines[:at], *new, *lines[at + 1 :]])
    # After the last line of the section that says something.
    while end > start and not lines[end - 1].strip():
        end -= 1
    return "".join([*lines[:end], *new, *lines[end:]])


def _section(lines: list[str], table: list[str]) -> tuple[int | None, int]:
    """Where the lines of a table begin and end; None where it has no header."""
    headers = [
        at for at, line in enumerate(lines) if line.lstrip().startswith("[") and line.split("#")[0].rstrip()[-1:] == "]"
    ]
    if not table:
        return 0, headers[0] if headers else len(lines)
    for number, at in enumerate(headers):
        named = lines[at].split("#")[0].strip().strip("[]").split(".")
        if [part.strip().strip("\"'") for part in named] == table:
            return at + 1, headers[number + 1] if number + 1 < len(headers) else len(lines)
    return None, len(lines)


def _with(fields: JsonObject, parts: list[str], value: str | None) -> JsonObject:
    """What the file says, with the key changed."""
    table = fields
    for part in parts[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{'.'.join(parts)}: {part} is not a table")
    if value is None:
        table.pop(parts[-1], None)
    else:
        table[parts[-1]] = tomllib.loads(f"x = {_toml(value)}")["x"]
    return fields


def _toml(value: str) -> str:
    """A value as TOML: true, false, a list or a table as it is, all else as a string."""
    if value in ("true", "false"):
        return value
    if value[:1] in ("[", "{"):
        try:
            tomllib.loads(f"x = {value}")
            return value
        except tomllib.TOMLDecodeError:
            pass
    return dumps(value)
