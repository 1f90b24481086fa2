"""Reads standard input: a pipe, a file, or the terminal if there is no other prompt."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.terminal.output import Notes

# Seconds for which a pipe may be silent before it is said that we wait for it.
_PATIENCE = 1.0


def read(notes: Notes, *, wanted: bool) -> str:
    """Return what standard input holds, without its last line ends; nothing where it is closed. Raises OSError for a folder,
    and `unspool.unicode.NotText`.

    A terminal is only read if its text is ``wanted``, which is then said, and so is waiting for a pipe that nobody writes to,
    for that looks like a hang.
    """
    try:
        mode = os.fstat(0).st_mode
        if os.isatty(0):
            if not wanted or not os.isatty(2):
                return ""
            notes.line("type the prompt, then press Ctrl-D; for help: unspool --help")
        elif mode & 0o170000 != 0o100000 and not _is_ready(_PATIENCE):
            notes.line("reading stdin: press Ctrl-D to end it; --no-stdin ignores it")
        data = _read_all()
        if not data:
            return ""
        from unspool import unicode

        return unicode.decode(data, "standard input").rstrip("\n")
    except OSError as error:
        import errno

        if error.errno == errno.EBADF:
            return ""
        raise


def read_bytes(notes: Notes) -> bytes:
    """Return what standard input holds, to the byte, where it is named as a file. Raises OSError where it cannot be read."""
    if os.isatty(0):
        notes.line("reading stdin: type the text, then press Ctrl-D")
    elif not _is_ready(_PATIENCE):
        notes.line("reading stdin: press Ctrl-D to end it")
    return _read_all()


def _read_all() -> bytes:
    chunks: list[bytes] = []
    while True:
        try:
            chunk = os.read(0, 1 << 16)
        except BlockingIOError:
            # Another process that shares the descriptor has set O_NONBLOCK on it.
            _is_ready(None)
            continue
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)


def _is_ready(seconds: float | None) -> bool:
    if sys.platform == "win32":
        return True
    import select

    return bool(select.select([0], [], [], seconds)[0])
