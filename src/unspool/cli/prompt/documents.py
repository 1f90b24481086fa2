"""``-f``: texts that go before the prompt, from files, folders, URLs and standard input."""

from __future__ import annotations

import os

from unspool.cli.prompt import stdin
from unspool.client.library import attachment
from unspool.terminal.cells import byte_count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from unspool.terminal.output import Notes

#: The most that is taken from one folder. More is hardly meant, and costs money.
MOST_FILES = 200
MOST_BYTES = 2 << 20
# Seconds for a URL.
_TIMEOUT = 30.0
_REDIRECTS = 5


def read(source: str, notes: Notes) -> list[str]:
    """Return the documents of a source. Raises ValueError if it is missing, empty, too large or not text."""
    if attachment.is_url(source):
        return [attachment.document(source, _text(_fetched(source), source))]
    if source == "-":
        return [attachment.document("standard input", _text(read_stdin(notes), source))]
    path = os.path.expanduser(source)
    if os.path.isdir(path):
        return _of_folder(path, notes)
    return [attachment.document(os.path.basename(source), _text(attachment.read(path), source))]


def read_stdin(notes: Notes) -> bytes:
    """Return what standard input holds, as much as a request can carry."""
    data = stdin.read_bytes(notes)
    attachment.check_size(len(data), "standard input")
    return data


def left_among_words(words: list[str]) -> list[str]:
    """The words that are names of files: what a shell makes of ``-f *.txt`` gives only the first of them to ``-f``."""
    return [word for word in words if len(word) < 256 and "\n" not in word and os.path.isfile(word)]


def _text(data: bytes, source: str) -> str:
    if not data:
        raise ValueError(f"-f: {source} is empty")
    kind = attachment.sniff(data)
    if kind not in ("", attachment.TEXT):
        raise ValueError(f"-f: {source} is {kind}, and -f takes text: attach it with -a {source}")
    return attachment.text_of(data, source)


def _of_folder(path: str, notes: Notes) -> list[str]:
    """The text files of a folder and those below it, by their paths in it; hidden ones and files that are no text are left out."""
    found: list[str] = []
    skipped = size = 0
    for file in _files(path):
        data = attachment.read(file)
        if not data or attachment.sniff(data) not in ("", attachment.TEXT):
            skipped += 1
            continue
        try:
            text = attachment.text_of(data, file)
        except attachment.Unattachable:
            skipped += 1
            continue
        size += len(data)
        found.append(attachment.document(os.path.relpath(file, path), text))
        if len(found) > MOST_FILES or size > MOST_BYTES:
            raise ValueError(
                f"-f: {path} has more than {MOST_FILES} text files or {MOST_BYTES >> 20} MB of text, which is the limit for a folder:"
                " name a smaller folder, or the files"
            )
    if not found:
        raise ValueError(f"-f: {path} has no text files")
    left_out = f", {skipped} that are not text skipped" if skipped else ""
    notes.line(f"{path}: {len(found)} file{'s' * (len(found) > 1)}, {byte_count(size)}{left_out}")
    return found


def _files(path: str) -> Iterator[str]:
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if name[0] != ".")
        yield from (os.path.join(folder, name) for name in sorted(names) if name[0] != ".")


def _fetched(url: str) -> bytes:
    """Return the content of a URL. No key is sent there."""
    if url[:5].lower() == "data:":
        raise ValueError("-f takes http and https URLs, files and folders; attach a data: URL with -a")
    from unspool.client.http import Request, whole
    from unspool.client.http.redirects import resolve

    at = url
    for _ in range(_REDIRECTS):
        reply = whole.fetch(Request("GET", at, {"Accept": "text/*, */*;q=0.5"}), _TIMEOUT, most=attachment.LARGEST)
        if reply.fault is not None:
            raise ValueError(f"-f: {reply.fault.message}")
        if not 300 <= reply.status < 400 or "location" not in reply.headers:
            break
        at = resolve(at, reply.headers["location"])
        if not at.startswith(("http://", "https://")):
            raise ValueError(f"-f: {url} redirects to something that is not an HTTP URL")
    if reply.status != 200:
        raise ValueError(f"-f: {url} answers with status {reply.status}")
    return reply.body
