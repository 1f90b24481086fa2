"""One tape: what was asked, and what was answered, to the byte and the millisecond. No sockets."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from unspool import sse
from unspool.journal import blocks, reader, record
from unspool.journal.blocks import Attempt, End, Request, Response
from unspool.journal.record import Record
from unspool.journal.unframed import Body, Wire
from unspool.outcome import COMPLETE, FILTERED, LENGTH, RATE_LIMITED, SERVER_ERROR

#: How an answer's connection ended: after all of it, before (with an end of file, or with a RST), or because its client hung up.
CLEAN, CUT, RESET, LEFT = "clean", "cut", "reset", "left"

_ENDPOINTS = (("/chat/completions", "chat"), ("/completions", "completions"), ("/responses", "responses"))
# The outcomes of an answer that the server itself brought to its end.
_ENDED = (COMPLETE, LENGTH, FILTERED, SERVER_ERROR, RATE_LIMITED)


class NoTape(ValueError):
    """A file that cannot be played. The message names it and says why."""


@dataclass(slots=True)
class Piece:
    """Bytes of an answer's body, out of the HTTP framing, ``at`` seconds after the request. ``more``: its chunk continues in the next."""

    at: float
    data: bytes
    more: bool = False


@dataclass(slots=True)
class RecordedResponse:
    """The recorded answer. ``status`` is 0 if there was none; ``head`` are the headers, in order and as they were spelled.

    ``end`` is how the connection ended, ``ended_at`` seconds after the request.
    """

    http: str = "1.1"
    status: int = 0
    reason: str = ""
    head: list[tuple[str, str]] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
    end: str = CUT
    ended_at: float = 0.0
    answered_at: float = 0.0

    def header(self, name: str) -> str:
        """The first header of this lower-case name, empty when there is none."""
        return next((value for key, value in self.head if key.lower() == name), "")


class Tape:
    """A journal to be played. ``endpoint`` is the API's name, or for other requests their path and query; ``body`` what was asked.

    Raises NoTape for a file that is no journal, is damaged, or is still being written; OSError for one that cannot be read.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.name = os.path.basename(path)
        with reader.Reader(path) as journal:
            first = next(iter(next(iter(journal.batches()), [])), None)
            for _ in journal.batches():
                pass
            if journal.damage is not None:
                raise NoTape(str(journal.damage))
        if first is None or not first.is_own(record.REQUEST):
            raise NoTape(f"{path}: this journal has no request")
        if not journal.ended and reader.is_alive(path):
            raise NoTape(f"{path}: still being written; play it when it has ended")
        if not blocks.fields(first.data):
            raise NoTape(f"{path}: its request cannot be read")
        request = Request.read(first.data)
        self.method = request.method or "POST"
        self.endpoint = request.api or urlsplit(request.url).path
        if request.path:
            self.endpoint = endpoint_of(self.method, request.path)
        self.body: Any = request.body if request.text is None else request.text

    def answer(self) -> RecordedResponse:
        """Read what was answered."""
        with reader.Reader(self.path) as journal:
            records = journal.read()
            if journal.damage is not None:
                raise NoTape(str(journal.damage))
        if any(one.is_own(record.WIRE) for one in records):
            return _recorded(records)
        return _remade(records)


def endpoint_of(method: str, target: str) -> str:
    """The API that a request asks, or for another one its path and query."""
    path = target.partition("?")[0]
    if method == "POST":
        for ending, api in _ENDPOINTS:
            if path.endswith(ending):
                return api
    return target


def _recorded(records: list[Record]) -> RecordedResponse:
    answer = RecordedResponse()
    for one in records:
        block = blocks.read(one)
        if isinstance(block, Response):
            answer.http, answer.status, answer.reason = block.http, block.status, block.reason
            answer.head = block.head if block.head is not None else list(block.headers.items())
            answer.answered_at = answer.ended_at = block.at or 0.0
        elif isinstance(block, Wire):
            answer.ended_at = block.at
            if block.end is not None:
                answer.end = block.end
            else:
                answer.pieces.append(Piece(block.at, block.data, block.more))
    return answer


def _remade(records: list[Record]) -> RecordedResponse:
    """The answer of a journal that has the events alone, in the framing that OpenAI uses: an event a chunk."""
    answer = RecordedResponse()
    headers: dict[str, str] = {}
    reconnected = False
    lost = 0.0
    last = 0.0
    end = End("")
    body: Body | None = None
    for one in records:
        if one.at is not None:
            gap = one.at - last
            if reconnected and gap > record.RECONNECTING:
                lost += gap - record.RECONNECTING
            reconnected, last = False, one.at
            encoded = sse.encode(one.data, type=one.type, id=one.upstream_id)
            answer.pieces.append(Piece(round(one.at - lost, 3), encoded))
            continue
        block = blocks.read(one)
        if isinstance(block, Response) and not answer.pieces:
            headers = block.headers
        elif isinstance(block, Attempt):
            reconnected = bool(answer.pieces)
        elif isinstance(block, Body):
            body = block
        elif isinstance(block, End):
            end = block
    answer.ended_at = max((last if end.at is None else end.at) - lost, last - lost)
    if answer.pieces:
        answer.status = 200
        answer.end = CLEAN if end.outcome in _ENDED else CUT
        _set_head(answer, {"content-type": "text/event-stream", **headers, "transfer-encoding": "chunked"})
    elif body is not None:
        answer.status, answer.end = 200, CLEAN
        _set_body(answer, {**headers, "content-type": body.content_type or "application/json"}, body.text)
    elif end.failure is not None and end.failure.status:
        failure = end.failure
        answer.status, answer.end = end.failure.status, CLEAN
        error = {"message": end.message, "type": failure.type, "param": failure.param, "code": failure.code}
        headers = {"content-type": "application/json"}
        if failure.request_id:
            headers["x-request-id"] = failure.request_id
        if failure.retry_after is not None:
            headers["retry-after"] = f"{failure.retry_after:g}"
        _set_body(answer, headers, json.dumps({"error": error}, ensure_ascii=False))
    return answer


def _set_head(answer: RecordedResponse, headers: dict[str, str]) -> None:
    answer.head = list(headers.items())
    try:
        answer.reason = HTTPStatus(answer.status).phrase
    except ValueError:
        answer.reason = "Unknown"


def _set_body(answer: RecordedResponse, headers: dict[str, str], text: str) -> None:
    data = text.encode("utf-8", "replace")
    _set_head(answer, {**headers, "content-length": str(len(data))})
    answer.pieces = [Piece(answer.ended_at, data)]
