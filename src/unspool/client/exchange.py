"""One stream from its prompt to its end, over as many attempts as it takes, without I/O but the journal's.

A driver sends what `request` says, hands over what arrives, and asks how to go on when the transfer is over. Drivers for one
thread and for asyncio are `unspool.client.answer` and `unspool.client.aio`.
"""

from __future__ import annotations

import time

from unspool import __version__, api, sse
from unspool.api import failure as failures
from unspool.api.deltas import Failure
from unspool.client import retry
from unspool.client.http.location import host, origin, resolve, same_origin
from unspool.client.http.transport import Request
from unspool.config.url import is_loopback
from unspool.journal.blocks import Attempt, Body, End, Response
from unspool.journal.blocks import Request as RequestBlock
from unspool.jsontext import dumps, parse
from unspool.masking import Mask, secrets_of, without_secrets
from unspool.outcome import CANCELLED, CUT, UNAUTHORIZED, UNREACHABLE, Ending, Fault, judge, of_failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from unspool.api.decoder import Decoder
    from unspool.api.deltas import Delta
    from unspool.api.prompt import Prompt
    from unspool.client.background import Resumption
    from unspool.client.http.transport import Transfer
    from unspool.client.throttle import Throttle
    from unspool.config.target import Target
    from unspool.journal.blocks import Block
    from unspool.journal.writer import Writer

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
)
# As browsers: enough for any honest chain, few enough for a loop to be noticed.
_MOST_REDIRECTS = 5
# An error body is a sentence or a web page; what is longer is not read.
_LONGEST_ERROR_BODY = 1 << 20


class Exchange:
    """The state of one stream.

    ``body`` replaces what the prompt would make; ``parent`` is the id of the stream whose conversation this one goes on with;
    ``pid`` is the process to be told when somebody wants the stream to stop; ``throttle`` decides, in place of `unspool.client.retry`, on the
    wait before each further attempt.

    ``ending`` is None until the stream has ended. ``started`` says that the server's first event has come, after which
    nothing is sent again. ``retry_reason`` says why the next attempt is made, for a person. ``sent_at`` is when the last
    request was sent, by `time.monotonic`; ``at`` the seconds from then to the newest event, ``first_event_at`` to the first,
    ``ended_at`` to the end.
    ``events`` are the server's events of the present turn; the driver empties it.
    """

    def __init__(
        self,
        target: Target,
        prompt: Prompt,
        *,
        journal: Writer | None,
        api_name: str | None = None,
        body: dict[str, Any] | None = None,
        retries: int = retry.DEFAULT_RETRIES,
        parent: str | None = None,
        pid: int | None = None,
        use_proxy: bool = True,
        throttle: Throttle | None = None,
    ) -> None:
        self.target = target
        self.prompt = prompt
        self.api_name = api_name or target.api
        self.endpoint = api.endpoint(self.api_name)
        self.body: dict[str, Any] = build_body(target, prompt, self.api_name) if body is None else body
        self.url = target.url(self.endpoint.path, prompt.model)
        self.journal = journal
        self.ending: Ending | None = None
        self.started = False
        self.attempt = 1
        self.retry_reason = ""
        self.request_id: str | None = None
        self.sent_at = time.monotonic()
        self.first_event_at: float | None = None
        self.at = 0.0
        self.ended_at = 0.0
        self.events = sse.Events()
        self.decoder: Decoder = self.endpoint.decoder(prompt.n or 1)
        self.decoder.reads_think_tags = target.think_tags
        self._pid = pid
        self._retries = retries
        self._use_proxy = use_proxy
        self._throttle = throttle
        self._mask = Mask([target.key], secrets_of(target.headers, target.query))
        self._sse: sse.Decoder
        self._kind: str | None
        self._head_seen: bool
        self._is_success: bool
        self._body: list[bytes]
        self._redirects = 0
        self._location = self.url
        self._see_other = False
        self._key_withheld_from = ""
        self._resumption: Resumption | None = None
        self._last_event_id = ""
        self._new_answer()
        if journal is not None:
            self.begin(journal, parent=parent)

    def begin(self, journal: Writer, *, parent: str | None = None) -> None:
        """Keep the stream in this journal, from its request on."""
        self.journal = journal
        # Without the key, which people do paste into prompts. Headers stay: an innocent one may be a word of the prompt.
        journal.put(self._described(parent))

    def take_up(self, journal: Writer, decoder: Decoder, seconds: float) -> None:
        """Go on with a background response of which a journal has the beginning, and a decoder has read it.

        ``seconds`` is how long ago it was asked for. Raises ValueError where it cannot be taken up.
        """
        self.journal, self.decoder = journal, decoder
        self.started = True
        self.sent_at = time.monotonic() - seconds
        if not self._can_resume():
            raise ValueError("only a background response that the server keeps can be taken up")
        self._take_up(0.0, "taken up by another process")

    def request(self) -> Request:
        """The request to send next."""
        self._new_answer()
        if self._resumption is not None:
            self._location = self._resumption.location(self.decoder.last_sequence)
        headers = {
            "Content-Type": "application/json",
            "Accept": "text/event-stream" if self.prompt.stream else "application/json",
            "Cache-Control": "no-cache",
            "User-Agent": f"unspool/{__version__}",
        }
        if same_origin(self._location, self.url):
            headers.update(self.target.headers)
            headers.update(self.target.auth_headers())
            self._key_withheld_from = ""
        else:
            self._key_withheld_from = origin(self._location)
        if self._resumption is not None:
            if self._last_event_id:
                headers["Last-Event-ID"] = self._last_event_id
            return Request("GET", self._location, headers, None, self._use_proxy)
        self.sent_at = time.monotonic()
        if self._see_other:
            return Request("GET", self._location, headers, None, self._use_proxy)
        return Request("POST", self._location, headers, dumps(self.body).encode("utf-8", "replace"), self._use_proxy)

    def receive(self, transfer: Transfer) -> list[Delta]:
        """Take what has arrived: into the journal first, then decoded. Call it whenever there is news, and before `finish`.

        Where there was too much to hold, more may be ``held`` after it: call it again.
        """
        if not self._head_seen:
            if not transfer.status:
                return []
            self._head_seen = True
            request_id = transfer.headers.get("x-request-id") or transfer.headers.get("request-id")
            self.request_id = request_id and self._mask.text(request_id)
            self._is_success = transfer.status == 200
            if self._throttle is not None:
                self._throttle.heard(transfer.status, transfer.headers)
            if self._is_success:
                self._keep(Response(200, transfer.http_version, self._mask.texts(_kept(transfer))))
        deltas: list[Delta] = []
        data = transfer.take()
        if data:
            if self._kind == sse.STREAM:
                deltas = self._events(self._sse.take(data))
            else:
                self._receive_body(data, transfer, deltas)
        return deltas

    def _receive_body(self, data: bytes, transfer: Transfer, deltas: list[Delta]) -> None:
        """Take a piece of a body that is no event stream, or is not known to be one."""
        self._body.append(data)
        if not self._is_success:
            self._refused_size += len(data)
        elif self._kind is None:
            head = b"".join(self._body)
            self._kind = sse.kind(head, transfer.headers.get("content-type", ""))
            if self._kind == sse.STREAM:
                self._body.clear()
                deltas += self._events(self._sse.take(head))

    def finish(self, transfer: Transfer) -> tuple[list[Delta], float | None]:
        """Say how the transfer's end is to be taken: the last deltas, and the seconds to wait before the next attempt.

        None for the wait means that there is none: ``ending`` is set.
        """
        deltas = self.receive(transfer)
        fault = transfer.fault
        if self._head_seen and not self._is_success:
            return self._finish_refused(transfer, fault)
        if not self._head_seen:
            # libcurl takes half a head for a clean end.
            fault = fault or Fault(CUT, "the server closed the connection before its answer began", True)
            if self._resumption is not None:
                return self.lose(fault)
            return [], self._again(None, fault)
        if self._kind == sse.STREAM:
            more, wait = self.lose(fault)
            return deltas + more, wait
        if self._resumption is not None:
            return self._finish_poll(fault)
        more, fault = self._finish_body(transfer, fault)
        return deltas + more + self.end(fault), None

    def lose(self, fault: Fault | None) -> tuple[list[Delta], float | None]:
        """Say that a stream's connection is gone (None for a clean close): the last deltas, and the wait before it is taken up again.

        None for the wait means that the stream is over: it had reached its end, or cannot be taken up.
        """
        deltas = self._events(sse.Events.of(self._left_over()))
        if self.decoder.ended or self.decoder.failure is not None or not self._can_resume():
            return deltas + self.end(fault), None
        assert self._resumption is not None
        tries = self._resumption.try_again(closed=fault is None)
        if tries is None:
            # A server that cannot be reached any more cuts what it had begun.
            return deltas + self.end(fault and Fault(CUT, fault.message)), None
        wait = retry.backoff(tries + 1) if tries > 1 else 0.0
        return deltas, self._take_up(wait, fault.message if fault is not None else "the connection was closed")

    def end(self, fault: Fault | None = None) -> list[Delta]:
        """End the stream as its events and its transport say. Returns what the decoder held back."""
        deltas = self._events(sse.Events.of(self._left_over()))
        deltas += self.decoder.close()
        ending = judge(self.decoder, fault)
        if ending.failure is not None:
            ending = self._explained(ending.outcome, ending.failure, ending.finish_reason)
        self._set(ending)
        return deltas

    def stop(self, outcome: str = CANCELLED, message: str = "", signal: int | None = None) -> list[Delta]:
        """End the stream because somebody wants that. Returns what the decoder held back."""
        if self.ending is not None:
            return []
        deltas = self.decoder.close()
        self._set(Ending(outcome, message, signal=signal))
        return deltas

    @property
    def done(self) -> bool:
        """Whether nothing more is wanted: the protocol has ended the stream, or enough of an error's text has come."""
        gap = self._resumption is not None and self._resumption.gap
        return self.decoder.done or gap or self._refused_size > _LONGEST_ERROR_BODY

    def cancel_request(self) -> Request | None:
        """The request that stops a background response at the server; None where closing the connection does that."""
        if not is_resumable(self.body, self.decoder) or self.decoder.ended or self.decoder.failure is not None:
            return None
        from unspool.client.background import Resumption

        url = Resumption(self.url, self.decoder.response_id or "").cancel_location()
        headers = {"Content-Type": "application/json", **self.target.headers, **self.target.auth_headers()}
        return Request("POST", url, headers, b"", self._use_proxy)

    def _new_answer(self) -> None:
        """Forget what the last attempt was answered."""
        self._sse = sse.Decoder()
        self._kind = None
        self._head_seen = False
        self._is_success = False
        self._body = []
        self._refused_size = 0

    def _can_resume(self) -> bool:
        """Whether the stream can be taken up; from then on what arrives continues it."""
        if self._resumption is None and is_resumable(self.body, self.decoder):
            # Imported only now, for nearly no stream has one.
            from unspool.client.background import Resumption

            self._resumption = Resumption(self.url, self.decoder.response_id or "")
        return self._resumption is not None

    def _take_up(self, wait: float, reason: str) -> float:
        """Note that another request will continue the stream; returns the wait."""
        self.attempt += 1
        self.retry_reason = self._mask.text(reason)
        self._keep(
            Attempt(
                self.attempt,
                round(wait, 3),
                self.retry_reason,
                resume=self.decoder.response_id,
                starting_after=self.decoder.last_sequence,
                pid=self._pid,
            )
        )
        return wait

    def _finish_poll(self, fault: Fault | None) -> tuple[list[Delta], float | None]:
        """Take a poll's answer: the response as it stands, of which only what is missing is new.

        Or that of a server which was to stream it again, and sends it whole, or nothing.
        """
        assert self._resumption is not None
        body = b"".join(self._body)
        if not body.strip():
            return self.lose(fault)
        value = parse(body)
        if not isinstance(value, dict):
            return self.lose(fault or Fault(CUT, "the server's answer is no response"))
        from unspool.api.responses import UNFINISHED

        if value.get("status") in UNFINISHED:
            wait = self._resumption.poll_again()
            if wait is None:
                return self.end(Fault(CUT, f"the server still has the response as {value.get('status')}")), None
            return [], wait
        text = body.decode("utf-8", "replace")
        self.at = time.monotonic() - self.sent_at
        self._keep(Body(self._mask.text(text), "application/json", round(self.at, 3)))
        self.events.append(sse.Event("message", text))
        return self.decoder.decode_body(value) + self.end(), None

    def _left_over(self) -> list[sse.Event]:
        """What the connection's end leaves: a last event without its blank line counts when it is whole, not what a cut left of one."""
        self._last_event_id = self._sse.last_event_id or self._last_event_id
        return [one for one in self._sse.close(dispatch_incomplete=True) if is_whole(one.data)]

    def _events(self, events: sse.Events) -> list[Delta]:
        # Hot: once for each network read. Append before deliver.
        if self._resumption is not None:
            events = sse.Events.of(self._resumption.fresh(events, self.decoder.last_sequence))
        if not events:
            return []
        at = self.at = time.monotonic() - self.sent_at
        if not self.started:
            self.started = True
            self.first_event_at = at
        if self.journal is not None:
            self.journal.events(events, at)
        self.events.runs += events.runs
        return self.decoder.decode(events)

    def _finish_body(self, transfer: Transfer, fault: Fault | None) -> tuple[list[Delta], Fault | None]:
        """Take a 200 that was no event stream: a whole answer, an error, a web page, or nothing."""
        body = b"".join(self._body)
        content_type = transfer.headers.get("content-type", "")
        if not body.strip() and "html" not in content_type.lower():
            return [], fault or Fault(CUT, "the server sent an empty answer")
        text = body.decode("utf-8", "replace")
        self.at = time.monotonic() - self.sent_at
        self._keep(Body(self._mask.text(text), self._mask.text(content_type), round(self.at, 3)))
        value = parse(body)
        if isinstance(value, dict | list):
            # Whole, so what happened to the connection after it does not matter.
            self.started = True
            self.first_event_at = self.at
            self.events.append(sse.Event("message", text))
            return self.decoder.decode_body(value), None
        if fault is not None:
            return [], fault
        start = body.lstrip()
        # A first line that is whole JSON begins another protocol's stream, with an object on each line.
        if start[:1] == b"{" and not isinstance(parse(start.partition(b"\n")[0]), dict):
            return [], Fault(CUT, "the server's answer is JSON that ends too early")
        page = failures.from_response(200, transfer.headers, body).message
        words = (
            f"{origin(self._location)} does not speak this API at that URL (most base URLs end in /v1); it says: {page}"
        )
        return [], Fault(UNREACHABLE, words)

    def _finish_refused(self, transfer: Transfer, fault: Fault | None) -> tuple[list[Delta], float | None]:
        """Take an answer with another status than 200: follow it elsewhere, try again, or end."""
        if self._resumption is not None:
            return self._finish_refused_resume(transfer)
        if transfer.status in (301, 302, 303, 307, 308):
            refusal = self._redirect(transfer)
            if refusal is None:
                return [], 0.0
            return self.end(refusal), None
        body = b"".join(self._body)[:_LONGEST_ERROR_BODY]
        failure: Failure = failures.from_response(transfer.status, transfer.headers, body)
        return [], self._again(failure, None)

    def _finish_refused_resume(self, transfer: Transfer) -> tuple[list[Delta], float | None]:
        """Take a refusal to stream the response again, or to have it at all."""
        assert self._resumption is not None
        body = b"".join(self._body)[:_LONGEST_ERROR_BODY]
        failure: Failure = failures.from_response(transfer.status, transfer.headers, body)
        if self._resumption.refused(transfer.status):
            return [], self._take_up(0.0, failure.message)
        if retry.wait_before(2, failure, None) is not None:
            deltas, wait = self.lose(Fault(CUT, failure.message))
            return deltas, wait if wait is None else max(wait, failure.retry_after or 0.0)
        return self.end(Fault(CUT, f"the stream broke and cannot be taken up: {failure.message}")), None

    def _redirect(self, transfer: Transfer) -> Fault | None:
        """Turn to where the server points; the key and the other headers of the profile stay with their own origin.

        301 and 302 are followed with POST, since a GET at these paths answers nothing anybody asked for. 303 says that the
        request was taken and that its answer lies elsewhere (RFC 9110, 15.4.4): it is fetched with GET, for a second POST
        would ask, and pay, again.
        """
        location = transfer.headers.get("location", "")
        self._redirects += 1
        if not location:
            return Fault(UNREACHABLE, f"{origin(self._location)} redirects to nowhere")
        if self._redirects > _MOST_REDIRECTS:
            return Fault(UNREACHABLE, f"{origin(self.url)} redirects in circles")
        target = resolve(self._location, location)
        if not target.startswith(("http://", "https://")):
            return Fault(UNREACHABLE, f"{origin(self._location)} redirects to something that is not an HTTP URL")
        if self._location.startswith("https:") and target.startswith("http:") and not is_loopback(host(target)):
            # The prompt would be there for all on the way to read, which nobody asked for who wrote https.
            return Fault(UNREACHABLE, f"{origin(self._location)} redirects to {origin(target)}, which is not encrypted")
        self._location = target
        self._see_other = self._see_other or transfer.status == 303
        self._keep(Attempt(self.attempt, redirect=origin(self._location)))
        return None

    def _again(self, failure: Failure | None, fault: Fault | None) -> float | None:
        """Return the wait before the next attempt, or end the stream."""
        if self.attempt <= self._retries and not self.started:
            wait = (self._throttle or retry).wait_before(self.attempt + 1, failure, fault)
            if wait is not None:
                self.attempt += 1
                message = failure.message if failure is not None else fault.message if fault is not None else ""
                self.retry_reason = self._mask.text(message)
                self._keep(Attempt(self.attempt, round(wait, 3), self.retry_reason))
                return wait
        if failure is not None:
            self._set(self._explained(of_failure(failure), failure, None))
        elif fault is not None:
            self._set(Ending(fault.outcome, fault.message))
        return None

    def _explained(self, outcome: str, failure: Failure, finish_reason: str | None) -> Ending:
        """An ending whose message adds what this client knows to what the server said."""
        words = {name: getattr(failure, name) for name in ("message", "type", "code", "param")}
        words["request_id"] = failure.request_id or self.request_id
        failure = failure.replace(**{name: word and self._mask.text(word) for name, word in words.items()})
        message = failure.message
        if failure.retry_after is not None and failure.retry_after > retry.LONGEST_WAIT:
            message += f" (the server asks to wait {failure.retry_after:.0f} s, which is left to you)"
        explanation = self.endpoint.explain(failure)
        if explanation:
            message += f" ({explanation})"
        if outcome == UNAUTHORIZED and self._key_withheld_from:
            message += f" (redirected to {self._key_withheld_from}, to which the key was not sent)"
        return Ending(outcome, message, finish_reason, failure)

    def _set(self, ending: Ending) -> None:
        ending.message = self._mask.text(ending.message)
        self.ending = ending
        self.ended_at = round(time.monotonic() - self.sent_at, 3)
        self._keep(End.of_ending(ending, self.decoder.usage, self.ended_at))

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
        )


def build_body(target: Target, prompt: Prompt, api_name: str) -> dict[str, Any]:
    """Return the request body for a prompt at an endpoint."""
    if target.options:
        prompt = prompt.with_defaults(target.options)
    return api.endpoint(api_name).build(prompt, is_openai=is_openai(target.base_url))


def is_resumable(body: dict[str, Any], decoder: Decoder) -> bool:
    """Whether what this request asked for goes on at the server when the connection breaks, and can be found there."""
    return is_background(body) and bool(decoder.response_id)


def is_background(body: dict[str, Any]) -> bool:
    """Whether a request asks for a response that the server goes on with and keeps, whoever listens."""
    return bool(body.get("background")) and body.get("store") is not False


def is_openai(base_url: str) -> bool:
    """Whether this is OpenAI's own API, or Azure's, which know the newer fields."""
    name = host(base_url)
    return name == "api.openai.com" or name.endswith((".api.openai.com", ".openai.azure.com"))


def is_whole(data: str) -> bool:
    """Whether an event's data cannot be a piece of a longer one: an end mark, or JSON that closes."""
    return data.strip() == "[DONE]" or isinstance(parse(data), dict)


def now() -> str:
    """The time, in UTC, as RFC 3339 with milliseconds."""
    seconds = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03d}Z"


def _kept(transfer: Transfer) -> dict[str, str]:
    headers = transfer.headers
    return {name: value for name, value in headers.items() if name in _KEPT_HEADERS or name.startswith("x-ratelimit-")}
