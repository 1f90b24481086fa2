"""Files as parts of a message: an image, a PDF, a sound or a text becomes what Chat Completions calls a content part.

That form stands for all endpoints: `unspool.api` renames it for the others, or says that they cannot take it. What a file is
is read from its first bytes, for names lie and pipes have none.
"""

from __future__ import annotations

import os
from binascii import b2a_base64

from unspool import unicode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# OpenAI takes 50 MB of files in one request; others take less. A body is held in memory a few times over, and kept in the journal.
LARGEST = 50 << 20

TEXT = "text/plain"
_PDF = "application/pdf"

# What the first bytes say.
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", _PDF),
    (b"ID3\x02", "audio/mpeg"),
    (b"ID3\x03", "audio/mpeg"),
    (b"ID3\x04", "audio/mpeg"),
    (b"fLaC\x00", "audio/flac"),
    (b"OggS\x00", "audio/ogg"),
)
# What "RIFF", a length and these four bytes say.
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav"}
# What the brand of an ISO base media file says (ISO/IEC 14496-12, 4.3).
_BRANDS = {
    b"M4A ": "audio/mp4",
    b"M4B ": "audio/mp4",
    b"avif": "image/avif",
    b"heic": "image/heic",
    b"mif1": "image/heic",
}
# What only the name says: of a ZIP archive, and of something on the web, which nobody wants to fetch twice.
_OFFICE = "application/vnd.openxmlformats-officedocument."
_ARCHIVES = {
    ".docx": _OFFICE + "wordprocessingml.document",
    ".pptx": _OFFICE + "presentationml.presentation",
    ".xlsx": _OFFICE + "spreadsheetml.sheet",
}
_ENDINGS = {
    ".pdf": _PDF,
    **dict.fromkeys((".mp3", ".wav", ".flac", ".ogg", ".m4a"), "audio/*"),
    **dict.fromkeys((".txt", ".md", ".csv", ".json", ".html"), TEXT),
    **_ARCHIVES,
}
# How the API calls the formats of sound whose names differ from the end of their type.
_SOUNDS = {"mpeg": "mp3", "x-wav": "wav", "vnd.wave": "wav", "mp4": "m4a", "x-m4a": "m4a", "x-flac": "flac"}
# Types outside of text/ that are text all the same.
_TEXTS = ("json", "xml", "yaml", "toml", "javascript", "x-ndjson", "x-sh")


class Unattachable(ValueError):
    """Something cannot be attached. The message names it, and says why and what to do."""


def part(source: str | bytes | os.PathLike[str], *, type: str | None = None, name: str | None = None) -> dict[str, Any]:
    """Return the content part for a path, an ``http(s)`` or ``data:`` URL, or the bytes of a file.

    ``type`` is its MIME type, read from its bytes if not given; ``name`` what the model and error messages call it. A URL is
    passed on as it is, for the server to fetch. Raises Unattachable for what is missing, empty, larger than `LARGEST` or of
    no known type.
    """
    if isinstance(source, str) and is_url(source):
        return _of_url(source, type)
    if isinstance(source, bytes):
        data, name = source, name or "attachment"
    else:
        path = os.fspath(source)
        data, name = read(path), name or os.path.basename(path)
    if not data:
        raise Unattachable(f"{name} is empty")
    check_size(len(data), name)
    type = (type or sniff(data, name)).partition(";")[0].strip().lower()
    if not type:
        raise Unattachable(
            f"{name} has an unknown type: images, PDF, audio and UTF-8 text are supported; --at {name} TYPE sets it"
        )
    if is_text(type):
        return {"type": "text", "text": document(name, text_of(data, name))}
    if type.startswith("audio/"):
        return {"type": "input_audio", "input_audio": {"data": _base64(data), "format": _sound(type)}}
    url = f"data:{type};base64,{_base64(data)}"
    if type.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": url}}
    if type.startswith("video/"):
        raise Unattachable(f"{name} is a video, which no endpoint accepts")
    return {"type": "file", "file": {"filename": name, "file_data": url}}


def is_url(source: str) -> bool:
    """Whether this is a URL rather than a path."""
    return source[:8].lower().startswith(("http://", "https://", "data:"))


def read(path: str) -> bytes:
    """Return the bytes of a file. Raises Unattachable, also for one that is larger than `LARGEST`, before it is read."""
    try:
        with open(path, "rb", buffering=0) as file:
            check_size(os.fstat(file.fileno()).st_size, path)
            return read_all(file.fileno(), path)
    except OSError as error:
        raise Unattachable(f"{path} cannot be read: {error.strerror}") from error


def read_all(descriptor: int, name: str) -> bytes:
    """Return what can be read there until its end. Raises Unattachable once it is more than `LARGEST`, and OSError."""
    chunks: list[bytes] = []
    size = 0
    while chunk := os.read(descriptor, 1 << 20):
        chunks.append(chunk)
        size += len(chunk)
        check_size(size, name)
    return b"".join(chunks)


def check_size(size: int, name: str) -> None:
    """Raise Unattachable for more bytes than a request can carry."""
    if size > LARGEST:
        raise Unattachable(f"{name} is too large to be sent: at most {LARGEST >> 20} MB are taken")


def sniff(data: bytes, name: str = "") -> str:
    """Return the MIME type of a file by its first bytes, or by its name where they say only that it is an archive; "" for no known one."""
    for magic, type in _MAGIC:
        if data.startswith(magic):
            return type
    if data[:4] == b"RIFF" and data[8:12] in _RIFF:
        return _RIFF[data[8:12]]
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12], "video/mp4")
    # An MPEG frame: eleven bits set, then a version and layer III (ISO/IEC 11172-3, 2.4.1.3), which is what MP3 is.
    if data[:1] == b"\xff" and len(data) > 1 and data[1] & 0xE6 == 0xE2:
        return "audio/mpeg"
    if data[:4] == b"PK\x03\x04":
        return _ARCHIVES.get(os.path.splitext(name)[1].lower(), "")
    try:
        unicode.decode(data, name)
    except unicode.NotText:
        return ""
    return TEXT


def is_text(type: str) -> bool:
    """Whether what is of this MIME type is put into the words of the prompt."""
    main, _, sub = type.partition("/")
    return main == "text" or (main == "application" and (sub in _TEXTS or sub.endswith(("+json", "+xml", "+yaml"))))


def text_of(data: bytes, name: str) -> str:
    """Return a text file's text, as `unspool.unicode.decode` does. Raises Unattachable for what is no text."""
    try:
        return unicode.decode(data, name).replace("\r\n", "\n")
    except unicode.NotText as error:
        raise Unattachable(str(error)) from error


def document(name: str, text: str) -> str:
    """Return a file's text as it is put into a prompt: its name, and the text between fences longer than any in it."""
    longest = run = 0
    for letter in text if "```" in text else "":
        run = run + 1 if letter == "`" else 0
        longest = max(longest, run)
    fence = "`" * max(3, longest + 1)
    shown = "".join(letter if letter.isprintable() else "?" for letter in name)
    return f"File {shown}:\n{fence}\n{text}{'' if text.endswith(chr(10)) else chr(10)}{fence}\n"


def _of_url(url: str, type: str | None) -> dict[str, Any]:
    if url[:5].lower() == "data:":
        kind = type or url[5:].partition(",")[0].partition(";")[0]
    else:
        kind = type or _ENDINGS.get(_ending(url), "image/*")
    if kind.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": url}}
    if is_text(kind) or kind.startswith(("audio/", "video/")):
        raise Unattachable(f"only images and documents can be attached by their URL: download {url[:200]} first")
    return {"type": "file", "file": {"file_url": url}}


def _ending(url: str) -> str:
    path = url.partition("#")[0].partition("?")[0]
    return os.path.splitext(path.partition("://")[2].partition("/")[2])[1].lower()


def _sound(type: str) -> str:
    name = type.partition("/")[2]
    return _SOUNDS.get(name, name)


def _base64(data: bytes) -> str:
    return b2a_base64(data, newline=False).decode()
