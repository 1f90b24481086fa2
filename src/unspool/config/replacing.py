"""Replacing a file in one step: a reader, or a crash at any moment, finds the old content or the new one, never a part."""

from __future__ import annotations

import os
import tempfile


def replace(path: str, content: bytes, mode: int | None = None) -> None:
    """Put ``content`` in the place of a file, or make the file with its folders. Raises OSError, and then leaves what was there.

    A symbolic link stays, and the file that it leads to is replaced. ``mode`` is the new file's, or None for the old file's, which is
    0600 where there was none. Returns after content and name have reached the disk.
    """
    path = os.path.realpath(path)
    folder = os.path.dirname(path)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    if mode is None:
        mode = os.stat(path).st_mode & 0o777 if os.path.exists(path) else 0o600
    descriptor, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(path)}-", dir=folder)  # 0600 and O_EXCL
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    if os.name == "posix":
        directory = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
