"""One stream from its prompt to its end, over as many attempts as it takes. Sans-I/O, but for the journal.

A driver sends what `Exchange.request` returns, hands over what arrives, and asks what to do when the transfer is over. It may be any
driver: those for one thread and for asyncio are `unspool.client.answer` and `unspool.client.aio`. The states in between are the
table in `unspool.client.states`.
"""

from __future__ import annotations

import time

from unspool import Error, __version__, api, sse
from unspool.api.decoder import event_of_line, is_event_data
from unspool.api.deltas import Failure, Started
from unspool.client import states
from unspool.client.http import Request, route_to
from unspool.client.limits import DEFAULT_RETRIES, LOADING_PATIENCE
from unspool.config.url import has_version, host, origin, same_origin
from unspool.journal import ulid
from unspool.journal.blocks import Attempt, End, Response
from unspool.journal.blocks import Request as RequestBlock
from unspool.jsontext import dumps, ends_early, parse
from unspool.masking import Mask, secrets_of, without_secrets
from unspool.outcome import CANCELLED, CUT, INTERRUPTED, UNAUTHORIZED, UNREACHABLE, Ending, Fault, judge, of_failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from unspool.api import jsonlines
    from unspool.api.decoder import Decoder
    from unspool.api.deltas import Delta, Failure
    from unspool.api.prompt import Prompt
    from unspool.client.http import Incoming
    from unspool.client.observing import Watch
    from unspool.client.resume.connection import Resumption
    from unspool.client.throttle import Throttle
    from unspool.config.target import Route, Target
    from unspool.journal.blocks import Block
    from unspool.journal.writer import Writer
    from unspool.jsontext import JsonObject

# Headers of an answer that are worth keeping: for support, for pacing, for statistics. None of them is secret.
_KEPT_HEADERS = (
    "content-type",
    "date",
    "server",
    "x-request-id",
    "request-id",
    "retry-after",
    "openai-processing-ms",
    "openai-version",
    "cf-ray",
    "x-unspool-id",
)
# An error body is a sentence or a web page; what is longer is not read.
_LONGEST_PAGE = 1 << 20
# What cannot be an answer is not held without end: a body that is one document (a picture in base64 has megabytes), or bytes of an
# event stream in which no event ends.
_LONGEST_DOCUMENT = 64 << 20

# Bytes that are kept of an event that was cut.
_LONGEST_IGNORED = 1 << 16


class Exchange:
    """The state of one stream.

    ``body`` replaces what the prompt would make; ``parent`` is the id of the stream whose conversation this one continues;
    ``pid`` is the process to be told when somebody wants the stream to stop; ``throttle`` decides, in place of `unspool.client.retry`, on the
    wait before each further attempt; ``route`` says how to get there, None as the profile does;
    ``tool_sources`` is where the tools come from that the command runs.

    ``state`` is one of `unspool.client.states`, and ``ending`` is set once it is ``ended``. ``retry_reason`` says why the next attempt is
    made, for a person. ``headers`` are those of the newest answer. ``sent_at`` is when the last
    request was sent, by `time.monotonic`; the other times are seconds from then: ``at`` to the newest event, ``first_event_at`` to the first,
    ``content_at`` to the first delta that carries a part of the answer, after which nothing is sent again, and ``ended_at`` to the end.
    ``events`` are the server's events of the present turn; the driver empties it.
    """

    def __init__(
        self,
        target: Target,
        prompt: Prompt,
        *,
        journal: Writer | None,
        api_name: str | None = None,
        body: JsonObject | None = None,
        retries: int = DEFAULT_RETRIES,
        parent: str | None = None,
        pid: int | None = None,
        use_proxy: bool = True,
        route: Route | None = None,
        throttle: Throttle | None = None,
        tool_sources: list[str] | None = None,
    ) -> None:
        self.target = target
        self.prompt = prompt
        self.api_name = api_name or target.api
        self.endpoint = api.endpoint(self.api_name)
        self.body: JsonObject = build_body(target, prompt, self.api_name) if body is None else body
        self.url = target.url(self.endpoint.path, prompt.model)
        self.journal = journal
        self.tool_sources = tool_sources
        self.state = states.IDLE
        self.ending: Ending | None = None
        self.attempt = 1
        self.retry_reason = ""
        self.request_id: str | None = None
        self.headers: dict[str, str] = {}
        self.sent_at = time.monotonic()
        self.first_event_at: float | None = None
        self.content_at: float | None = None
        self.at = 0.0
        self.ended_at = 0.0
        self.events = sse.Events()
        self.decoder: Decoder = self._new_decoder()
        self._pid = pid
        self._retries = retries
        self._route = route or route_to(target, use_proxy=use_proxy)
        self._throttle = throttle
        self._mask = Mask([target.key], secrets_of(target.headers, target.query))
        # Where the next request goes, and how, after this many redirects.
        self._location = self.url
        self._method = "POST"
        self._redirects = 0
        self._resumption: Resumption | None = None
        self._give_up_at: float | None = None
        self.watch: Watch | None = None
        # What the present attempt has been answered: see `_new_answer`.
        self._sse: sse.Decoder | jsonlines.Decoder
        self._may_be_lines = False
        self._body: list[bytes]
        self._size: int
        self._last_event_id = ""
        # The gateway's id of this stream, where one stands between.
        self._stream_id = ""
        self._is_viewer = False
        self._idempotency_key = ulid.new()
        self._new_answer()
        if journal is not None:
            self.begin(journal, parent=parent)

    @property
    def _is_at_origin(self) -> bool:
        """Whether the key and the profile's other headers may go along: they belong to the origin that was configured."""
        return same_origin(self._location, self.url)

    @property
    def started(self) -> bool:
        """Whether the server has sent an event of the answer that this stream is to be."""
        return self.first_event_at is not None or self._resumption is not None

    def begin(self, journal: Writer, *, parent: str | None = None) -> None:
        """Keep the stream in this journal, from its request on."""
        self.journal = journal
        # Without the key, which people do paste into prompts. Headers stay: an innocent one may be a word of the prompt.
        journal.put(self._described(parent))
        if parent is not None and journal.path is not None:
            from unspool.journal import names

            names.follow(journal.path, parent)

    def take_up(self, journal: Writer, decoder: Decoder, seconds: float, stream_id: str = "") -> None:
        """Continue a stream that the server keeps, of which a journal has the beginning, and a decoder has read it.

        ``seconds`` is how long ago it was asked for, ``stream_id`` the gateway's id for it, "" for a background response.
        Raises ValueError where it cannot be continued.
        """
        self.journal, self.decoder = journal, decoder
        self.sent_at = time.monotonic() - seconds
        self._stream_id, self._last_event_id = stream_id, journal.upstream_id
        if not self._can_resume():
            raise ValueError("only a stream that the server stores can be resumed")
        self._take_up(0.0, "taken up by another process")

    def view(self, stream_id: str) -> None:
        """Read a gateway's stream from its beginning, for one viewer among others: leaving does not stop it."""
        self._stream_id, self._is_viewer = stream_id, True
        self._can_resume()
        self._step(states.RESUME)

    def request(self) -> Request:
        """The request to send next."""
        self._step(states.REQUEST)
        self._new_answer()
        if self._resumption is not None:
            self._location = self._resumption.location(self.decoder.last_sequence, self._last_event_id)
        location = self._location
        if self.watch is not None:
            self.watch.request(self, "GET" if self._resumption is not None else self._method, location)
        headers = {
            "Content-Type": "application/json",
            "Accept": "text/event-stream" if self.prompt.stream else "application/json",
            "Cache-Control": "no-cache",
            "User-Agent": f"unspool/{__version__}",
        }
        if self._resumption is None and self._method == "POST":
            # A gateway answers a POST that is repeated after a cut with the stream of the first.
            headers["Idempotency-Key"] = self._idempotency_key
        if self._is_at_origin:
            headers.update(self.target.headers)
            headers.update(self.target.auth_headers())
        if self._resumption is not None:
            if self._last_event_id:
                headers["Last-Event-ID"] = self._last_event_id
            return Request("GET", location, headers, None, self._route)
        self.sent_at = time.monotonic()
        if self._give_up_at is None:
            self._give_up_at = self.sent_at + LOADING_PATIENCE
        if self._method == "GET":
            return Request("GET", location, headers, None, self._route)
        return Request("POST", location, headers, dumps(self.body).encode("utf-8", "replace"), self._route)

    def receive(self, transfer: Incoming) -> list[Delta]:
        """Take what has arrived: into the journal first, then decoded. Call this when data has arrived, and before `finish`.

        Where there was too much to hold, more may be ``held`` after it: call it again.
        """
        if self.state == states.SENT and not self._take_head(transfer):
            return []
        data = transfer.take()
        if not data:
            return []
        if self.state == states.STREAMING:
            events = self._take_events(data)
            if events.runs:
                self._size = 0
                return self._events(events)
            self._size += len(data)
            return []
        return self._receive_body(data, transfer)

    def _take_head(self, transfer: Incoming) -> bool:
        """Take the head of the answer, where it has arrived."""
        if not transfer.status:
            return False
        headers = self.headers = transfer.headers
        self.decoder.headers = headers
        request_id = headers.get("x-request-id") or headers.get("request-id")
        self.request_id = request_id and self._mask.text(request_id)
        if self._throttle is not None:
            self._throttle.heard(transfer.status, headers)
        if self._resumption is None:
            self._stream_id = self._gateway_stream(transfer)
        if transfer.status == 200 and (self._resumption is None or self._resumption.is_answered_by(headers)):
            self._step(states.SUCCESS)
            self._keep(Response(200, transfer.http_version, self._mask.texts(_kept(headers))))
        else:
            self._step(states.REFUSAL)
        return True

    def _receive_body(self, data: bytes, transfer: Incoming) -> list[Delta]:
        """Take a piece of a body that is no event stream, or is not known to be one."""
        self._body.append(data)
        self._size += len(data)
        if self.state == states.DOCUMENT and self._may_be_lines and b"\n" in data:
            return self._receive_lines()
        if self.state != states.HEAD:
            return []
        head = b"".join(self._body)
        kind = sse.kind(head, transfer.headers.get("content-type", ""))
        if kind == sse.BODY:
            self._step(states.BODY)
            self._may_be_lines = head.lstrip()[:1] == b"{"
            if self._may_be_lines and b"\n" in head:
                return self._receive_lines()
        elif kind == sse.STREAM:
            self._step(states.EVENTS)
            self._body.clear()
            return self._events(self._take_events(head))
        return []

    def _receive_lines(self) -> list[Delta]:
        """Take a body for an event stream once it turns out to be JSON objects, one on each line."""
        from unspool.api import jsonlines

        head = b"".join(self._body)
        begins = jsonlines.begins(head)
        self._may_be_lines = begins is None
        if not begins:
            return []
        self._step(states.EVENTS)
        self._sse = jsonlines.Decoder()
        self._body.clear()
        return self._events(self._take_events(head))

    def _take_events(self, data: bytes) -> sse.Events:
        """Take a piece of an event stream; lines that are no field of one count where they cannot be misunderstood."""
        events = self._sse.take(data)
        if self._sse.ignored:
            unframed = [event_of_line(line) for line in self._sse.ignored]
            self._sse.ignored = [line for line, one in zip(self._sse.ignored, unframed, strict=True) if one is None]
            # Before the others of this piece: the end mark may be among those.
            events.runs = sse.Events.of([one for one in unframed if one is not None]).runs + events.runs
        return events

    def finish(self, transfer: Incoming) -> tuple[list[Delta], float | None]:
        """Say what the transfer's end means: the last deltas, and the seconds to wait before the next attempt.

        None for the wait means that there is none: ``ending`` is set.
        """
        deltas = self.receive(transfer)
        fault = transfer.fault
        if self.state == states.REFUSED:
            return self._finish_refused(transfer)
        if self.state == states.SENT:
            # libcurl takes half a head for a clean end.
            fault = fault or Fault(CUT, "the server closed the connection before its answer began", True)
            if self._resumption is not None:
                return self.lose(fault)
            wait = self._retry(None, fault)
            if wait is None:
                self._end(Ending(fault.outcome, fault.message))
            return [], wait
        if self._size > self._most_held:
            fault = Fault(CUT, f"the server sent more than {self._most_held >> 20} MB that are not an answer")
        if self.state == states.STREAMING or (self.state == states.HEAD and self._stream_id):
            more, wait = self.lose(fault)
            return deltas + more, wait
        if self._resumption is not None:
            return self._finish_poll(fault)
        more, wait = self._finish_body(transfer, fault)
        return deltas + more, wait

    def lose(self, fault: Fault | None) -> tuple[list[Delta], float | None]:
        """Say that a stream's connection is gone (None for a clean close): the last deltas, and the wait before the next attempt.

        None for the wait means that the stream is over: it had reached its end, or cannot be continued.
        """
        deltas = self._events(sse.Events.of(self._left_over()))
        if self.decoder.failure is not None:
            return self._fail(deltas, fault)
        if self._is_over(fault) or not self._can_resume():
            return deltas + self.end(fault), None
        assert self._resumption is not None
        tries = self._resumption.try_again(closed=fault is None)
        if tries is None:
            # A server that cannot be reached any more cuts what it had begun.
            return deltas + self.end(fault and Fault(CUT, fault.message)), None
        from unspool.client import retry

        wait = retry.backoff(tries + 1) if tries > 1 else 0.0
        return deltas, self._take_up(wait, fault.message if fault is not None else "the connection was closed")

    def end(self, fault: Fault | None = None) -> list[Delta]:
        """End the stream as its events and its transport say. Returns what the decoder held back."""
        deltas = self._events(sse.Events.of(self._left_over()))
        deltas += self.decoder.close()
        ending = judge(self.decoder, fault)
        if ending.failure is not None:
            word = self._gateways_word(ending.failure) or ending.outcome
            ending = self._explained(word, ending.failure, ending.finish_reason)
        self._end(ending)
        return deltas

    def stop(self, outcome: str = CANCELLED, message: str = "", signal: int | None = None) -> list[Delta]:
        """End the stream because somebody wants that. Returns what the decoder held back."""
        if self.ending is not None:
            return []
        deltas = self.decoder.close()
        self._end(Ending(outcome, message, signal=signal))
        return deltas

    def stop_interrupted(self) -> None:
        """End the stream as cancelled after an exception that struck anywhere, also between a write to the journal and its bookkeeping."""
        journal = self.journal
        is_kept = self.ending is not None
        if journal is not None and journal.path is not None:
            # What is in the file is the truth: number the next block by that.
            from unspool.journal.reader import Reader
            from unspool.journal.writer import Writer

            journal.close()
            try:
                with Reader(journal.path) as reader:
                    for _ in reader.batches():
                        pass
                    is_kept = reader.ended
                if not is_kept:
                    self.journal = Writer.reopen(journal.path)
            except (OSError, ValueError, Error):  # damaged, gone, or taken up by another process
                pass
        ending = self.ending or Ending(CANCELLED, "interrupted by an exception")
        if self.ending is None and self.state != states.ENDED:
            try:
                self.decoder.close()
            except Exception:
                pass  # it was struck in the middle: what it held back is lost
        # It may have struck while the end was being written.
        self.state, self.ending = states.ENDED, ending
        if not is_kept:
            self.ended_at = self.ended_at or round(time.monotonic() - self.sent_at, 3)
            self._keep(End.of_ending(ending, self.decoder.usage, self.ended_at))

    @property
    def done(self) -> bool:
        """Whether nothing more is wanted: the protocol has ended the stream, or more has arrived than can be an answer."""
        gap = self._resumption is not None and self._resumption.gap
        return self.decoder.done or gap or self._size > self._most_held

    @property
    def settled(self) -> bool:
        """Whether the answer has ended, as far as can be told: what may follow is its usage, an end mark, or only heartbeats."""
        return self.decoder.ended or self.decoder.failure is not None

    def cancel_request(self) -> Request | None:
        """The request that stops the stream at the server that continues it; None where closing the connection does that."""
        if self._is_viewer or self.settled or not self._can_resume() or not self._is_at_origin:
            return None
        assert self._resumption is not None
        headers = {"Content-Type": "application/json", **self.target.headers, **self.target.auth_headers()}
        return Request("POST", self._resumption.cancel_location(), headers, b"", self._route)

    def _step(self, event: str) -> None:
        self.state = states.after(self.state, event)

    def _new_answer(self) -> None:
        """Forget what the last attempt was answered."""
        self._sse = sse.Decoder()
        self._body = []
        self._size = 0

    def _new_decoder(self) -> Decoder:
        decoder: Decoder = self.endpoint.decoder(self.prompt.n or 1)
        decoder.reads_think_tags = self.target.think_tags
        decoder.body = self.body
        return decoder

    @property
    def _most_held(self) -> int:
        """How many bytes may arrive that are no event before they are taken for nonsense."""
        page = self.state == states.REFUSED or (self._body and self._body[0].lstrip()[:1] == b"<")
        return _LONGEST_PAGE if page else _LONGEST_DOCUMENT

    def _can_resume(self) -> bool:
        """Whether the stream can be continued after its connection; from then on what arrives continues it."""
        self._last_event_id = self._sse.last_event_id or self._last_event_id
        if self._resumption is not None:
            return True
        # Imported only now, for nearly no stream has one.
        if self._stream_id:
            # Without an id nothing says where to continue; before the first event it is the beginning.
            if self._last_event_id or self.first_event_at is None:
                from unspool.client.resume.connection import GatewayResumption

                path, mark, query = self._location.partition("?")
                url = path.removesuffix(self.endpoint.path) + "/streams" + mark + query
                self._resumption = GatewayResumption(url, self._stream_id)
        elif is_resumable(self.body, self.decoder):
            from unspool.client.resume.connection import Resumption

            self._resumption = Resumption(self.url, self.decoder.response_id or "")
        return self._resumption is not None

    def _gateway_stream(self, transfer: Incoming) -> str:
        """The id under which a gateway keeps the event stream that it answers with, "" where there is none."""
        id = transfer.headers.get("x-unspool-id", "")
        if not id or transfer.status != 200 or not ulid.is_ulid(id):
            return ""
        is_stream = sse.is_event_stream(transfer.headers.get("content-type", ""))
        path = self._location.partition("?")[0]
        return id if is_stream and path.endswith(self.endpoint.path) else ""

    def _gateways_word(self, failure: Failure) -> str | None:
        """The outcome that a gateway names in the error event with which it ends a stream whose server did not."""
        code = failure.code
        return code if self._stream_id and code in (CUT, INTERRUPTED, CANCELLED, UNREACHABLE) else None

    def _is_over(self, fault: Fault | None) -> bool:
        """Whether nothing of the answer is missing. A gateway is asked once for what follows a finish reason: the usage."""
        if not self.decoder.ended:
            return False
        tried = self._resumption is not None and self._resumption.tries > 0
        return self.decoder.done or fault is None or not self._stream_id or tried

    def _take_up(self, wait: float, reason: str) -> float:
        """Note that another request will continue the stream; returns the wait."""
        self._step(states.RESUME)
        self.attempt += 1
        self.retry_reason = self._mask.text(reason)
        self._keep(
            Attempt(
                self.attempt,
                round(wait, 3),
                self.retry_reason,
                resume=self._resumption.id if self._resumption is not None else None,
                starting_after=self.decoder.last_sequence,
                pid=self._pid,
            )
        )
        if self.watch is not None:
            self.watch.attempt(self, wait)
        return wait

    def _finish_poll(self, fault: Fault | None) -> tuple[list[Delta], float | None]:
        """Take a poll's answer: the response as it stands, of which only what is missing is new.

        Or that of a server which was to stream it again, and sends it in one piece, or nothing.
        """
        assert self._resumption is not None
        body = b"".join(self._body)
        if not body.strip():
            return self.lose(fault)
        value = parse(body)
        if not isinstance(value, dict):
            return self.lose(fault or Fault(CUT, "the server's answer is not a response"))
        from unspool.api.responses import UNFINISHED

        if value.get("status") in UNFINISHED:
            wait = self._resumption.poll_again()
            if wait is None:
                return self.end(Fault(CUT, f"the server still has the response as {value.get('status')}")), None
            self._step(states.RESUME)
            return [], wait
        return self._decode_body(value, body, "application/json") + self.end(), None

    def _left_over(self) -> list[sse.Event]:
        """What the connection's end leaves: a last event without its blank line counts when it is complete, not what a cut left of one."""
        # A gateway sends the last event again: its id did not count yet.
        events = self._sse.close(dispatch_incomplete=not self._stream_id)
        ignored, self._sse.ignored = self._sse.ignored, []
        ignored += [one.utf8[:_LONGEST_IGNORED] for one in events if not is_whole(one.data)]
        if ignored:
            # What became no event may say what went wrong.
            text = b"\n".join(ignored).decode("utf-8", "replace")
            from unspool.journal.unframed import Ignored

            self._keep(Ignored(self._mask.text(text), round(time.monotonic() - self.sent_at, 3)))
        return [one for one in events if is_whole(one.data)]

    def _events(self, events: sse.Events) -> list[Delta]:
        # Hot: once for each network read. Append before deliver.
        if self._resumption is not None:
            events = sse.Events.of(self._resumption.fresh(events, self.decoder.last_sequence))
        if not events:
            return []
        at = self.at = time.monotonic() - self.sent_at
        if self.first_event_at is None:
            self.first_event_at = at
        if self.journal is not None:
            self.journal.events(events, at)
        self.events.runs += events.runs
        deltas = self.decoder.decode(events)
        if self.content_at is None:
            self._note_content(deltas)
        return deltas

    def _note_content(self, deltas: list[Delta]) -> None:
        if any(type(delta) is not Started for delta in deltas):
            self.content_at = self.at

    def _decode_body(self, value: JsonObject | list[Any], body: bytes, content_type: str) -> list[Delta]:
        """Take an answer that came as one JSON document."""
        self._keep_body(body, content_type)
        self.first_event_at = self.at
        self.events.append(sse.Event("message", body.decode("utf-8", "replace")))
        deltas = self.decoder.decode_body(value)
        self._note_content(deltas)
        return deltas

    def _keep_body(self, body: bytes, content_type: str) -> None:
        self.at = time.monotonic() - self.sent_at
        text = body.decode("utf-8", "replace")
        from unspool.journal.unframed import Body

        self._keep(Body(self._mask.text(text), self._mask.text(content_type), round(self.at, 3)))

    def _finish_body(self, transfer: Incoming, fault: Fault | None) -> tuple[list[Delta], float | None]:
        """Take a 200 that was no event stream: an answer in one piece, an error, a web page, or nothing."""
        body = b"".join(self._body)
        content_type = transfer.headers.get("content-type", "")
        value = parse(body) if self._size <= self._most_held else None
        if value is None and fault is not None and "x-unspool-id" in transfer.headers:
            # A gateway keeps answers in one piece too, and repeats them when the request is repeated.
            wait = self._retry(None, Fault(CUT, fault.message, True))
            if wait is not None:
                return [], wait
        if not body.strip() and "html" not in content_type.lower():
            return self.end(fault or Fault(CUT, "the server sent an empty answer")), None
        if isinstance(value, dict | list):
            # Complete, so what happened to the connection after it does not matter.
            deltas = self._decode_body(value, body, content_type)
            if self.decoder.failure is not None:
                return self._fail(deltas, None)
            return deltas + self.end(), None
        self._keep_body(body[:_LONGEST_PAGE], content_type)
        return self.end(fault or self._unusable(transfer, body)), None

    def _unusable(self, transfer: Incoming, body: bytes) -> Fault:
        """What to say of a document that is no JSON."""
        if ends_early(body):
            return Fault(CUT, "the server's answer is JSON that ends too early")
        from unspool.api import failure as failures

        page = failures.from_response(200, transfer.headers, body).message
        where = origin(self._location)
        return Fault(
            UNREACHABLE, f"{where} does not speak this API at that URL (most base URLs end in /v1); it says: {page}"
        )

    def _finish_refused(self, transfer: Incoming) -> tuple[list[Delta], float | None]:
        """Take an answer with another status than 200: follow it elsewhere, try again, or end."""
        if self._resumption is not None:
            return self._finish_refused_resume(transfer)
        from unspool.client.http import redirects

        if transfer.status in redirects.STATUSES:
            self._redirects += 1
            target = redirects.follow(self.url, self._location, transfer.headers.get("location", ""), self._redirects)
            if isinstance(target, Fault):
                return self.end(target), None
            self._location = target
            # 301 and 302 are followed with POST, since a GET at these paths answers nothing anybody asked for. 303 says that
            # the request was taken and that its answer lies elsewhere (RFC 9110, 15.4.4): a second POST would ask, and pay, again.
            if transfer.status == 303:
                self._method = "GET"
            self._step(states.RETRY)
            self._keep(Attempt(self.attempt, redirect=origin(self._location)))
            return [], 0.0
        failure = self._refusal(transfer)
        wait = self._retry(failure, None)
        if wait is None:
            self._end(self._explained(of_failure(failure), failure, None))
        return [], wait

    def _finish_refused_resume(self, transfer: Incoming) -> tuple[list[Delta], float | None]:
        """Take a refusal to stream the response again, or to have it at all."""
        assert self._resumption is not None
        if transfer.status == 204:  # a gateway's word for nothing more
            return self.end(), None
        failure = self._refusal(transfer)
        if self._resumption.refused(transfer.status):
            return [], self._take_up(0.0, failure.message)
        from unspool.client import retry

        if retry.wait_before(2, failure, None) is not None:
            deltas, wait = self.lose(Fault(CUT, failure.message))
            return deltas, wait if wait is None else max(wait, failure.retry_after or 0.0)
        if self.decoder.ended:
            return self.end(), None
        deltas = self.decoder.close()
        failure = failure.replace(message=f"the stream broke and cannot be resumed: {failure.message}")
        # With its failure, which says to a later resume that the server does not have the stream.
        self._end(self._explained(CUT, failure, None))
        return deltas, None

    def _refusal(self, transfer: Incoming) -> Failure:
        from unspool.api import failure as failures

        return failures.from_response(transfer.status, transfer.headers, b"".join(self._body)[:_LONGEST_PAGE])

    def _fail(self, deltas: list[Delta], fault: Fault | None) -> tuple[list[Delta], float | None]:
        """Take an error that came inside a 200: before the first token it is retried as the same error with a status of its own is."""
        failure = self.decoder.failure
        is_cancelled = failure is not None and self._gateways_word(failure) == CANCELLED
        wait = None if is_cancelled else self._retry(failure, None)
        if wait is None:
            return deltas + self.end(fault), None
        self.decoder = self._new_decoder()
        self.first_event_at = None
        return deltas, wait

    def _retry(self, failure: Failure | None, fault: Fault | None) -> float | None:
        """Return the wait before the next attempt, after noting it; None where there is none to be made."""
        if self.content_at is not None or self._resumption is not None:
            return None
        from unspool.client import retry

        is_loading = self._retries > 0 and retry.is_loading(failure) and time.monotonic() < (self._give_up_at or 0.0)
        if self.attempt > self._retries and not is_loading:
            return None
        wait = (self._throttle or retry).wait_before(self.attempt + 1, failure, fault)
        if wait is None:
            return None
        self._step(states.RETRY)
        self.attempt += 1
        if failure is not None:
            self._idempotency_key = ulid.new()  # or a gateway would repeat the failure
        message = failure.message if failure is not None else fault.message if fault is not None else ""
        self.retry_reason = self._mask.text(message)
        self._keep(Attempt(self.attempt, round(wait, 3), self.retry_reason))
        if self.watch is not None:
            self.watch.attempt(self, wait)
        return wait

    def _explained(self, outcome: str, failure: Failure, finish_reason: str | None) -> Ending:
        """An ending whose message adds what this client knows to what the server said."""
        words = {name: getattr(failure, name) for name in ("message", "type", "code", "param")}
        words["request_id"] = failure.request_id or self.request_id
        failure = failure.replace(**{name: word and self._mask.text(word) for name, word in words.items()})
        message = failure.message
        from unspool.client import retry

        if failure.retry_after is not None and failure.retry_after > retry.LONGEST_WAIT:
            message += f" (the server asks you to wait {failure.retry_after:.0f} s)"
        explanation = self.endpoint.explain(failure)
        if explanation:
            message += f" ({explanation})"
        elif failure.status in (404, 405) and failure.code is None and not has_version(self.target.base_url):
            message += f" (most base URLs end in /v1: is it {origin(self.url)}/v1?)"
        if outcome == UNAUTHORIZED and not self._is_at_origin:
            message += f" (redirected to {origin(self._location)}, to which the key was not sent)"
        return Ending(outcome, message, finish_reason, failure)

    # The journal's own blocks: what stands in each is said here and nowhere else in this package.

    def _end(self, ending: Ending) -> None:
        ending.message = self._mask.text(ending.message)
        self._step(states.END)
        self.ending = ending
        self.ended_at = round(time.monotonic() - self.sent_at, 3)
        self._keep(End.of_ending(ending, self.decoder.usage, self.ended_at))
        if self.watch is not None:
            self.watch.end(self)

    def _keep(self, block: Block) -> None:
        if self.journal is not None:
            self.journal.put(block)

    def _described(self, parent: str | None) -> RequestBlock:
        return RequestBlock(
            self.api_name,
            self.url.partition("?")[0],
            self.target.name,
            self.prompt.model,
            without_secrets(self.body).body,
            parent,
            self._pid,
            now(),
            think_tags=self.target.think_tags,
            tools=self.tool_sources,
        )


def build_body(target: Target, prompt: Prompt, api_name: str) -> JsonObject:
    """Return the request body for a prompt at an endpoint."""
    if target.options:
        prompt = prompt.with_defaults(target.options)
    return api.endpoint(api_name).build(prompt, is_openai=is_openai(target.base_url))


def is_resumable(body: JsonObject, decoder: Decoder) -> bool:
    """Whether what this request asked for continues at the server when the connection breaks, and can be found there."""
    return is_background(body) and bool(decoder.response_id)


def is_background(body: JsonObject) -> bool:
    """Whether a request asks for a response that the server continues and keeps, whoever listens."""
    return bool(body.get("background")) and body.get("store") is not False


def is_openai(base_url: str) -> bool:
    """Whether this is OpenAI's own API, or Azure's, which know the newer fields."""
    name = host(base_url)
    return name == "api.openai.com" or name.endswith((".api.openai.com", ".openai.azure.com"))


def is_whole(data: str) -> bool:
    """Whether an event's data cannot be a piece of a longer one: an end mark, or JSON that closes, or several on a line each."""
    return isinstance(parse(data), dict) or (data.strip() != "" and all(map(is_event_data, data.split("\n"))))


def now() -> str:
    """The time, in UTC, as RFC 3339 with milliseconds."""
    seconds = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03d}Z"


def _kept(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name in _KEPT_HEADERS or name.startswith("x-ratelimit-")}
