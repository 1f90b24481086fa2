"""What an answer has besides text: citations and calls are listed, pictures and sound are saved. Imported only where there is any."""

from __future__ import annotations

import binascii
import os

from unspool.api.parts import Annotation, Audio, Image
from unspool.journal import ulid
from unspool.terminal.cells import byte_count
from unspool.terminal.safety import one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from unspool.api.deltas import Delta, ToolCall
    from unspool.cli.display import Display
    from unspool.client.answer import Answer
    from unspool.outcome import Ending

_MOST_CITATIONS = 50
# How files begin, with the endings of their names.
_KINDS = (
    (b"\x89PNG", "png"),
    (b"\xff\xd8\xff", "jpg"),
    (b"GIF8", "gif"),
    (b"OggS", "ogg"),
    (b"fLaC", "flac"),
    (b"ID3", "mp3"),
    (b"\xff\xfb", "mp3"),
    (b"\xff\xf3", "mp3"),
)


def tell(extras: Sequence[Delta], display: Display, id: str | None) -> None:
    """List the citations on stderr, save pictures and sound in the current folder, and name the files."""
    for number, line in enumerate(citations(extras)[:_MOST_CITATIONS], start=1):
        display.note(f"[{number}] {line}")
    images = [one for one in extras if type(one) is Image and not one.partial]
    for image in images:
        if image.url.startswith("data:"):
            _save(_decoded([image.url.partition(",")[2]]), "img", display, id)
        else:
            display.note(f"a picture: {image.url}")
    for choice in sorted({one.choice for one in extras if type(one) is Audio and one.data}):
        pieces = [one.data for one in extras if type(one) is Audio and one.choice == choice]
        # OpenAI streams sound without a header: 16 bits, 24 kHz, one channel.
        _save(_decoded(pieces), "pcm", display, id)


def citations(extras: Sequence[Delta]) -> list[str]:
    """Return each source once: its title and its URL, or the name of its file."""
    found: dict[str, str] = {}
    for one in extras:
        if type(one) is not Annotation:
            continue
        inner = one.annotation.get(str(one.annotation.get("type")))
        fields = inner if isinstance(inner, dict) else one.annotation
        where = next((fields[name] for name in ("url", "filename", "file_id") if isinstance(fields.get(name), str)), "")
        title = fields.get("title")
        if where:
            known = found.get(where) or (one_line(title) if isinstance(title, str) and title != where else "")
            found[where] = known
    return [f"{title}: {where}" if title else where for where, title in found.items()]


def tell_calls(calls: Sequence[ToolCall], display: Display, id: str | None, hint: str) -> None:
    """Name the tool calls on stderr, and how to continue with their results: by ``hint`` if there is one."""
    for call in calls:
        display.note(f"the model calls the tool {call.name} with {call.arguments}")
    if id:
        results = " ".join(f"--tool-result {_typed(call.id)} RESULT" for call in calls if call.choice == 0)
        display.note(hint or f"to continue with their results: unspool -c {results}")


def _typed(id: str) -> str:
    """A server's id as part of a command that people copy into a shell, without what a shell would obey."""
    return id if id.replace("_", "").replace("-", "").isalnum() and id[0] != "-" else "ID"


def details(answer: Answer, ending: Ending) -> str:
    """What ``--verbose`` says of an answer that has ended."""
    exchange = answer.exchange
    parts = [ending.outcome]
    if ending.finish_reason:
        parts.append(f"finish reason {ending.finish_reason}")
    if answer.model:
        parts.append(f"model {answer.model}")
    if exchange.first_event_at is not None:
        parts.append(f"first event after {exchange.first_event_at:.3f} s, last after {exchange.at:.3f} s")
    if answer.usage is not None:
        parts.append(f"{answer.usage.input_tokens} tokens in, {answer.usage.output_tokens} out")
    if exchange.request_id:
        parts.append(f"request {exchange.request_id}")
    if exchange.attempt > 1:
        parts.append(f"attempt {exchange.attempt}")
    return ", ".join(parts)


def _decoded(pieces: list[str]) -> bytes:
    """Decode base64: each piece separately, or all together where a piece is not base64."""
    try:
        return b"".join(map(binascii.a2b_base64, pieces))
    except (ValueError, binascii.Error):
        try:
            return binascii.a2b_base64("".join(pieces))
        except (ValueError, binascii.Error):
            return b""


def _save(data: bytes, ending: str, display: Display, id: str | None) -> None:
    if not data:
        display.note("the answer has a picture or sound that cannot be decoded", always=True)
        return
    ending = next((kind for start, kind in _KINDS if data.startswith(start)), ending)
    if data[:4] == b"RIFF":
        ending = "webp" if data[8:12] == b"WEBP" else "wav"
    stem = f"unspool-{ulid.short(id)}" if id else "unspool-answer"
    for number in range(1, 1000):
        path = f"{stem}-{number}.{ending}"
        try:
            with open(path, "xb") as file:
                file.write(data)
        except FileExistsError:
            continue
        except OSError as error:
            display.note(f"{path} cannot be saved: {error.strerror}", always=True)
            return
        display.note(f"saved {os.path.join('.', path)}, {byte_count(len(data))}", always=True)
        return
