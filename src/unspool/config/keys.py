"""The key file: keys that ``unspool keys set`` stored, by the name of a profile or the host they are for.

It is text, a key to a line, so that reading it costs nothing::

    # work account
    openai = sk-...
    api.example.com:8443 = ...

A name has no white space, ``=`` or ``#`` in it. Empty lines and lines that begin with ``#`` are kept as they are. Mode 0600, from
the moment it is created; a change writes a new file beside it and renames, so that a reader sees the old keys or the new
ones and a crash leaves one or the other. Writers take turns by a lock on ``keys.lock``; Windows has no such lock, and the last
of two writers at the same moment wins there. If the file is a symbolic link, the file it leads to is changed and the link stays.
"""

from __future__ import annotations

import os

from unspool.config import ConfigError
from unspool.config.paths import keys_file
from unspool.config.target import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def read_key(name: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the key stored under a name, or None. ConfigError when the file is damaged, with the line and without its content."""
    path = keys_file(environ)
    return _parse(_read(path), path).get(name)


def key_names(environ: Mapping[str, str] = os.environ) -> list[str]:
    """The names that have a key, in the file's order. Raises as `read_key` does."""
    path = keys_file(environ)
    return list(_parse(_read(path), path))


def store_key(name: str, key: str, environ: Mapping[str, str] = os.environ) -> None:
    """Store a key under a name, in place of the one that is there.

    When this returns the key is on the disk. ConfigError when the name or the key cannot be stored, or the file not be written.
    """
    if not _is_name(name):
        raise ConfigError(f"a key cannot be stored under {name!r}: a name has no white space, '=' or '#' in it")
    cleaned = clean(key, f"the key for {name}")
    if not cleaned:
        raise ConfigError(f"the key for {name} is empty")

    def store(lines: list[str]) -> list[str]:
        return [*_without(name, lines), f"{name} = {cleaned}"]

    _change(store, environ)


def remove_key(name: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Remove the key stored under a name; return whether there was one. Raises as `store_key` does."""
    if name not in key_names(environ):
        return False
    _change(lambda lines: _without(name, lines), environ)
    return True


def exposure_warning(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return a sentence when others on this machine can read the key file."""
    path = keys_file(environ)
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return None
    if os.name != "posix" or not mode & 0o077:
        return None
    return f"other users can read your keys in {path}; run: chmod 600 {path}"


def _read(path: str) -> list[str]:
    try:
        with open(path, "rb") as file:
            content = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    # Bytes that are not UTF-8 become surrogates, which no name or key may contain: their line is reported as damaged.
    # Not splitlines, to which U+2028 in a remark ends a line.
    return content.decode("utf-8", "surrogateescape").removesuffix("\n").split("\n")


def _parse(lines: list[str], path: str) -> dict[str, str]:
    keys: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if _is_remark(line):
            continue
        name, separator, key = line.partition("=")
        name, key = name.strip(), key.strip()
        if not (separator and _is_name(name) and key and key.isascii() and key.isprintable()):
            raise ConfigError(f"{path}, line {number}: not a line of the form 'name = key'")
        if name in keys:
            raise ConfigError(f"{path}, line {number}: an earlier line has a key for the same name")
        keys[name] = key
    return keys


def _is_remark(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _is_name(name: str) -> bool:
    return bool(name) and name.isprintable() and not any(character in "=# " for character in name)


def _without(name: str, lines: list[str]) -> list[str]:
    return [line for line in lines if _is_remark(line) or line.partition("=")[0].strip() != name]


def _change(edit: Callable[[list[str]], list[str]], environ: Mapping[str, str]) -> None:
    from unspool.config.replacing import replace  # only here: every request reads keys

    path = os.path.realpath(keys_file(environ))
    folder = os.path.dirname(path)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        # The lock is a file of its own since the key file is another one after each change, and it is never removed: a waiting
        # writer would get the lock of a file that nobody else sees.
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if fcntl is not None:
                fcntl.flock(lock, fcntl.LOCK_EX)
            lines = _read(path)
            _parse(lines, path)
            replace(path, "".join(f"{line}\n" for line in edit(lines)).encode("utf-8", "surrogateescape"), 0o600)
        finally:
            os.close(lock)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error
