"""Tapes that people change: new checksums for one that was edited by hand, and scripted answers made from tapes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from zlib import crc32

from unspool import api, sse
from unspool.api import deltas
from unspool.journal import record
from unspool.journal.reader import Reader
from unspool.sim.frames import JSONObject
from unspool.sim.received import Message, ReceivedRequest
from unspool.sim.tapes.tape import NoTape, RecordedResponse, Tape

_HEADER = record.HEADER.strip()
# The reasons that are said, in each endpoint's word and in a script's; the others follow from what is answered.
_FINISHES = {"length": "length", "max_output_tokens": "length", "content_filter": "content_filter"}


def renew(path: str) -> bool:
    """Number the blocks of a tape again and renew their checksums, and the Content-Length of a body that was changed.

    Returns whether anything changed. Raises NoTape, with the reason, for a file that is not a tape; OSError.
    """
    with open(path, "rb") as file:
        before = file.read()
    blocks = [block.strip(b"\n") for block in before.replace(b"\r\n", b"\n").split(b"\n\n") if block.strip()]
    if not blocks or blocks.pop(0) != _HEADER:
        raise NoTape(f"{path}: this is not a tape: its first line is not {_HEADER.decode()!r}")
    renewed = [record.HEADER]
    for number, block in enumerate(_with_lengths(blocks, path)):
        lines = [line for line in block.split(b"\n") if not line.startswith((b"id: ", b"crc: "))]
        encoded = b"\n".join([b"id: %d" % number, *lines, b""])
        renewed.append(b"%bcrc: %08x\n\n" % (encoded, crc32(encoded)))
    after = b"".join(renewed)
    if after == before:
        return False
    temporary = path + ".new"
    try:
        with open(temporary, "wb") as file:
            os.fchmod(file.fileno(), os.stat(path).st_mode & 0o777)
            file.write(after)
        with Reader(temporary) as journal:
            journal.read()
            if journal.damage is not None:
                raise NoTape(f"{path}: {journal.damage.reason}")
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)
    return True


def _with_lengths(blocks: list[bytes], path: str) -> list[bytes]:
    """The blocks, with the Content-Length that the pieces of the body add up to, where the response has one."""
    decoded = []
    for number, block in enumerate(blocks):
        try:
            decoded.append(record.decode(block, 0))
        except (record.Damaged, ValueError) as error:
            raise NoTape(f"{path}: block {number}: {error}") from None
    try:
        values = [json.loads(one.data) if one.at is None else {} for one in decoded]
    except ValueError as error:
        raise NoTape(f"{path}: a block of the tape's own is not JSON: {error}") from None
    pieces = [value for one, value in zip(decoded, values, strict=True) if one.is_own(record.WIRE)]
    if not pieces or pieces[-1].get("end") != "clean" or any("base64" in piece for piece in pieces):
        return blocks
    length = str(sum(len(piece.get("text", "").encode()) for piece in pieces))
    changed = list(blocks)
    for number, (one, value) in enumerate(zip(decoded, values, strict=True)):
        headers = value.get("headers", {}) if one.is_own(record.RESPONSE) else {}
        if headers.get("content-length", length) != length:
            headers["content-length"] = length
            value["head"] = [
                [name, length if name.lower() == "content-length" else text] for name, text in value["head"]
            ]
            data = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
            changed[number] = b"event: " + one.type.encode() + b"\ndata: " + data
    return changed


def to_answers(tapes: Iterable[Tape]) -> JSONObject:
    """The scripted answers, as `unspool.sim.script` reads them, that say what these tapes say, in the pieces that were recorded.

    A tape of another path than the three text endpoints is left out.
    """
    rules = []
    for tape in tapes:
        if tape.endpoint in api.NAMES and isinstance(tape.body, dict):
            rules.append({"when": _conditions(tape), "sequence": [_answer(tape, tape.answer())]})
    return {"answers": rules}


def _conditions(tape: Tape) -> JSONObject:
    request = ReceivedRequest("POST", "/" + tape.endpoint, {}, json.dumps(tape.body).encode(), "")
    when: JSONObject = {"endpoint": tape.endpoint}
    if request.user:
        # A text between slashes would be taken for a regular expression.
        when["user"] = request.user.strip("/")
    results: list[Message] = []
    for message in request.messages:
        results = [] if message.role == "user" else [*results, message] if message.role == "tool" else results
    if results:
        names = {call.id: call.name for message in request.messages for call in message.calls}
        when["result"] = results[-1].text.strip("/")
        if results[-1].call_id in names:
            when["result_of"] = names[results[-1].call_id]
    return when


def _answer(tape: Tape, recorded: RecordedResponse) -> JSONObject:
    body = b"".join(piece.data for piece in recorded.pieces)
    if recorded.status != 200:
        text = json.dumps(json.loads(body)) if body.lstrip().startswith(b"{") else body.decode("utf-8", "replace")
        return {"fault": f"status={recorded.status},body:{text}" if recorded.status else "hang-up"}
    decoder = api.endpoint(tape.endpoint).decoder(1)
    if sse.is_event_stream(recorded.header("content-type")):
        reader = sse.Decoder()
        events = [*reader.feed(body), *reader.close(dispatch_incomplete=True)]
        found = [*decoder.decode(events), *decoder.close()]
    else:
        found = [*decoder.decode_body(json.loads(body)), *decoder.close()]
    answer: JSONObject = {}
    calls = []
    for delta in deltas.apart(found):
        match delta:
            case deltas.Text(text, 0):
                answer.setdefault("text", []).append(text)
            case deltas.Reasoning(text, 0):
                answer.setdefault("reasoning", []).append(text)
            case deltas.Refusal(text, 0):
                answer["refusal"] = answer.get("refusal", "") + text
            case deltas.ToolCall(_, id, name, arguments, 0):
                calls.append({"name": name, "arguments": arguments, "id": id})
            case deltas.Finish(str(reason), 0) if reason in _FINISHES:
                answer["finish"] = _FINISHES[reason]
    if calls:
        answer["calls"] = calls
    usage = decoder.usage
    if usage is not None:
        names = ("input", "output", "cached", "reasoning")
        told = (usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.reasoning_tokens)
        answer["usage"] = {name: count for name, count in zip(names, told, strict=True) if count is not None}
    if recorded.end in ("cut", "reset"):
        how = "reset" if recorded.end == "reset" else "unclean"
        answer["fault"] = f"cut=end,{how}"
    return answer
