"""Making tapes of the answers that pass through a proxy: each piece goes to the disk, and then to the client.

A tape is the journal that unspool itself would have written of that answer, with two things more: each piece of the body to the byte, and how
the connection ended.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
import zlib
from collections.abc import Callable
from typing import Any

import h11

from unspool import api, sse
from unspool.api import failure as failures
from unspool.api.conversation import plain
from unspool.api.responses import UNFINISHED
from unspool.journal.blocks import End, Request, Response
from unspool.journal.unframed import Body, Wire
from unspool.journal.writer import Writer
from unspool.jsontext import parse
from unspool.masking import without_secrets as without_secret_fields
from unspool.outcome import CLOSED, COMPLETE, UNREACHABLE, Ending, Fault, judge, of_failure
from unspool.outcome import CUT as CUT_OUTCOME
from unspool.sim.http import ResponseReader
from unspool.sim.tapes.masking import Mask, secrets_of, without_secrets
from unspool.sim.tapes.tape import CLEAN, CUT, LEFT, RESET, endpoint_of

# Characters of a question in the name of a file.
_LONGEST_WORDS = 40
# Headers of a connection, or of the client that asked, and not of the answer.
_LEFT_OUT = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-connection",
        "set-cookie",
        "set-cookie2",
        "openai-organization",
        "openai-project",
    }
)
_NUMBER = re.compile(r"(\d+)-.*\.sse")
# What zlib undoes, with what it has to be told.
_ENCODINGS = {"gzip": 31, "x-gzip": 31, "deflate": 47}


class Recorder:
    """Makes tapes in a folder. ``tell`` is called with a sentence about each.

    File names are numbered in the order of the requests, after those that are there, and say what was asked: 0001-chat-gpt-5-hello.sse.
    """

    def __init__(
        self,
        into: str | os.PathLike[str],
        *,
        tell: Callable[[str], object] = lambda text: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.into = os.fspath(into)
        self._tell = tell
        self._clock = clock
        self._last = 0

    def prepare(self) -> None:
        """Create the folder if it is missing, and list it. Raises OSError."""
        os.makedirs(self.into, exist_ok=True)
        numbers = [int(found[1]) for name in os.listdir(self.into) if (found := _NUMBER.fullmatch(name))]
        self._last = max(numbers, default=0)

    def begin(self, method: str, target: str, url: str, headers: dict[str, str], body: bytes) -> Recording:
        """Begin a tape when a request is sent. ``target`` is what follows the base URL. Raises OSError when it cannot be written."""
        # A key that is a part of the model's name is a word that local servers ask for, and no secret.
        named = parse(body)
        model = named.get("model") if isinstance(named, dict) else None
        mask = Mask(one for one in secrets_of(headers, target.partition("?")[2]) if one not in str(model))
        target = mask.text(without_secrets(target))
        body = mask.all(body)
        value = parse(body) if body else None
        if value is None and body:
            value = body.decode("utf-8", "replace")
        endpoint = endpoint_of(method, target)
        asked = value if isinstance(value, dict) else {}
        model = asked.get("model")
        request = Request(
            # What its answer is read as: a stored response that is asked for again is one too.
            endpoint if endpoint in api.NAMES else "responses" if target.startswith("/responses/") else "",
            url.partition("?")[0],
            model=model if isinstance(model, str) else "",
            body=without_secret_fields(asked).body,
            time=_now(),
            method=method,
            path=target,
            # Readers of journals take the body for an object.
            text=None if isinstance(value, dict) else value,
        )
        writer = self._create(_words(method, endpoint, request))
        writer.put(request)
        return Recording(writer, method, request, mask, self._tell, self._clock)

    def _create(self, words: str) -> Writer:
        while True:
            self._last += 1
            path = os.path.join(self.into, f"{self._last:04d}-{words}.sse")
            try:
                return Writer.create(path)
            except FileExistsError:
                continue  # another recorder has this folder too


class Recording:
    """One tape while it is made. `feed` it what the server sends, before anybody else gets it, and `close` it in the end."""

    def __init__(
        self,
        writer: Writer,
        method: str,
        request: Request,
        mask: Mask,
        tell: Callable[[str], object],
        clock: Callable[[], float],
    ) -> None:
        self._writer = writer
        self._mask = mask
        self._tell = tell
        self._clock = clock
        self._sent_at = clock()
        self._reader = ResponseReader(method)
        self._is_chunked = False
        self._unzip: Any = None
        self._pending: list[tuple[float, bytes, bool]] = []
        self._witness = _Witness(request, writer)
        self._is_over = False

    @property
    def is_complete(self) -> bool:
        """Whether the end of the answer has come."""
        return self._reader.is_complete

    def feed(self, data: bytes) -> None:
        """Take what has arrived, and keep it."""
        if self._is_over:
            return
        at = self._clock() - self._sent_at
        try:
            for event in self._reader.feed(data):
                self._take(event, at)
        except (h11.RemoteProtocolError, sse.EventTooLarge, zlib.error, _Unkeepable) as error:
            self._give_up(str(error))

    def close(self, how: str) -> None:
        """End the tape: the connection has ended with an end of file (`CUT`) or a RST (`RESET`), or the client hung up (`LEFT`).

        An answer that is complete has ended well, whatever happens to its connection afterwards.
        """
        if self._is_over:
            return
        at = self._clock() - self._sent_at
        try:
            if how == CUT:
                # The end of the connection is the end of some responses; others are cut short by it.
                with contextlib.suppress(h11.RemoteProtocolError):
                    for event in self._reader.feed(b""):
                        self._take(event, at)
            self._keep(self._mask.close())
        except (sse.EventTooLarge, zlib.error, _Unkeepable) as error:
            return self._give_up(str(error))
        self._is_over = True
        end = CLEAN if self._reader.is_complete else how
        self._witness.close()
        self._writer.put(Wire(at, end=end))
        ending = self._witness.ending(end)
        self._writer.put(self._witness.described(ending, at))
        trouble = self._writer.trouble
        self._writer.close()
        self._tell(trouble or f"recorded {self._writer.path}: {ending.outcome}")

    def _take(self, event: h11.Response | h11.Data, at: float) -> None:
        if isinstance(event, h11.Response):
            return self._head(event, at)
        data = bytes(event.data)
        self._pending.append((at, data, self._is_chunked and not event.chunk_end))
        masked = self._mask.feed(data if self._unzip is None else self._unzip.decompress(data))
        if masked is not None:
            self._keep(masked)

    def _head(self, response: h11.Response, at: float) -> None:
        text = self._mask.text
        head = [
            (name.decode("latin-1"), text(value.decode("latin-1")))
            for name, value in response.headers.raw_items()
            if name.lower().decode("latin-1") not in _LEFT_OUT
        ]
        headers = {name.lower(): value for name, value in reversed(head)}
        self._is_chunked = "transfer-encoding" in headers
        encoding = headers.get("content-encoding", "identity").strip().lower()
        if encoding in _ENCODINGS:
            self._unzip = zlib.decompressobj(wbits=_ENCODINGS[encoding])
        elif encoding not in ("", "identity"):
            raise _Unkeepable(f"the answer is compressed with {encoding}, so it cannot be searched for keys")
        reason = text(bytes(response.reason).decode("latin-1"))
        self._writer.put(
            Response(response.status_code, response.http_version.decode(), headers, reason, head, round(at, 3))
        )
        self._witness.head(response.status_code, headers)

    def _keep(self, masked: bytes) -> None:
        """Keep what was held back, and then what it says."""
        if self._unzip is not None and self._mask.has_masked:
            raise _Unkeepable("the compressed answer contains a key that cannot be removed")
        pending, self._pending = self._pending, []
        place = 0
        at = 0.0
        for at, data, more in pending:
            kept = data if self._unzip is not None else masked[place : place + len(data)]
            place += len(data)
            self._writer.put(Wire(at, kept, more))
        if masked:
            self._witness.take(masked, at)

    def _give_up(self, reason: str) -> None:
        """Keep no tape that is not as the answer was."""
        self._is_over = True
        path = self._writer.path or ""
        self._writer.close()
        os.unlink(path)
        self._tell(f"not recorded: {reason}")


class _Unkeepable(ValueError):
    """Something of which there can be no tape."""


class _Witness:
    """Says of an answer what unspool would: its events into the journal, and how it ended."""

    def __init__(self, request: Request, writer: Writer) -> None:
        self._decoder = api.endpoint(request.api).decoder(request.choices) if request.api else None
        self._writer = writer
        self._sse = sse.Decoder()
        self._kind: str | None = None
        self._status = 0
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._at = 0.0

    def head(self, status: int, headers: dict[str, str]) -> None:
        """Take the head of the answer."""
        self._status, self._headers = status, headers

    def take(self, data: bytes, at: float) -> None:
        """Take a piece of the body, uncompressed and without keys."""
        self._at = at
        if self._kind == sse.STREAM:
            return self._events(self._sse.take(data))
        self._body.append(data)
        if self._kind is None and self._status == 200 and self._decoder is not None:
            head = b"".join(self._body)
            self._kind = sse.kind(head, self._headers.get("content-type", ""))
            if self._kind == sse.STREAM:
                self._body.clear()
                self._events(self._sse.take(head))

    def close(self) -> None:
        """Call this at the end: an answer in one piece is parsed now, and an event without its blank line counts if it is complete."""
        rest = self._sse.close(dispatch_incomplete=True)
        whole = [one for one in rest if one.data.strip() == "[DONE]" or isinstance(parse(one.data), dict)]
        self._events(sse.Events.of(whole))
        if self._kind == sse.BODY:
            text = b"".join(self._body).decode("utf-8", "replace")
            self._writer.put(Body(text, self._headers.get("content-type", ""), round(self._at, 3)))

    def ending(self, end: str) -> Ending:
        """How the answer ended, given how its connection did."""
        broken = {CUT: "the server closed the connection", RESET: "the connection was reset"}
        fault = Fault(CUT_OUTCOME, f"{broken[end]} before the end of the answer") if end in broken else None
        if end == LEFT:
            return Ending(CLOSED)
        if not self._status:
            return Ending(CUT_OUTCOME, "the server closed the connection before its answer began")
        body = b"".join(self._body)
        if self._status >= 400 or (self._status != 200 and self._decoder is not None):
            failure = failures.from_response(self._status, self._headers, body)
            return Ending(of_failure(failure), failure.message, None, failure)
        if self._decoder is None:
            return Ending(COMPLETE) if fault is None else Ending(fault.outcome, fault.message)
        if self._kind != sse.BODY:
            self._decoder.close()
            return judge(self._decoder, fault)
        value = parse(body)
        if isinstance(value, dict) and value.get("status") in UNFINISHED:
            return Ending(COMPLETE)  # a background response as it stands
        if isinstance(value, dict | list):
            self._decoder.decode_body(value)
            self._decoder.close()
            return judge(self._decoder, fault)
        if fault is not None:
            return Ending(fault.outcome, fault.message)
        page = failures.from_response(200, self._headers, body).message
        return Ending(UNREACHABLE, f"the server does not speak this API at that URL; it says: {page}")

    def described(self, ending: Ending, at: float) -> End:
        """The block of the journal that says so."""
        return End.of_ending(ending, self._decoder.usage if self._decoder is not None else None, at)

    def _events(self, events: sse.Events) -> None:
        if events and self._decoder is not None:
            self._writer.events(events, self._at)
            self._decoder.decode(events)


def _words(method: str, endpoint: str, request: Request) -> str:
    """The prompt, for the name of a file."""
    if endpoint not in api.NAMES:
        return _slug(f"{method} {endpoint}")
    _, messages = request.conversation()
    users = [plain(one.get("content")) for one in messages if one.get("role") == "user"]
    return "-".join(filter(None, [endpoint, _slug(request.model), _slug(users[-1] if users else "")]))


def _slug(text: str) -> str:
    words = "-".join(re.findall(r"[a-z0-9_]+(?:\.[a-z0-9_]+)*", text[:1000].lower()))
    if len(words) <= _LONGEST_WORDS:
        return words
    return words[:_LONGEST_WORDS].rpartition("-")[0] or words[:_LONGEST_WORDS]


def _now() -> str:
    seconds = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03d}Z"
