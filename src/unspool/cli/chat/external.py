"""Writing a prompt in one's own editor."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile

from unspool.cli.options import CommandError

# Debian's system-wide choice, then the most common ones.
_EDITORS = ("sensible-editor", "editor", "nano", "vim", "vi")


class NoEditor(Exception):
    """No editor can be run, or it says that it has failed; the message says what to do."""


def compose(text: str) -> str:
    """Return the text as it is when the editor is closed, without the line ends after it. Raises NoEditor.

    The editor is what VISUAL or EDITOR names. The file is its owner's alone, and gone afterwards.
    """
    fd, path = tempfile.mkstemp(prefix="unspool-", suffix=".md")
    try:
        with open(fd, "w", encoding="utf-8", errors="replace", newline="") as file:
            file.write(text + "\n" if text else "")
        edit(path)
        with open(path, encoding="utf-8", errors="replace", newline="") as file:
            return file.read().rstrip("\r\n")
    finally:
        os.unlink(path)


def edit(path: str) -> None:
    """Open a file in the editor that VISUAL or EDITOR names, and wait for it. Raises NoEditor."""
    command = _command()
    try:
        code = subprocess.call([*command, path])
    except OSError as error:
        raise NoEditor(
            f"the editor {command[0]} cannot be run: {error.strerror}; set EDITOR to another editor editor editor"
        ) from error
    if code:
        raise NoEditor(f"the editor {command[0]} exited with status {code}; nothing was changed")


def edit_settings(path: str, blank: str) -> None:
    """Open a file of settings in the editor, with the text ``blank`` where there is none yet. Raises CommandError."""
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path) or ".", mode=0o700, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(blank)
    try:
        edit(path)
    except NoEditor as error:
        raise CommandError(str(error)) from error


def _command() -> list[str]:
    for variable in ("VISUAL", "EDITOR"):
        try:
            if words := shlex.split(os.environ.get(variable, "")):
                return words
        except ValueError as error:
            raise NoEditor(f"{variable} is not a valid command: {error}") from error
    found = next((name for name in _EDITORS if shutil.which(name)), None)
    if found is None:
        raise NoEditor("no editor was found; set EDITOR")
    return [found]
