"""The gateway's routes: who may ask what, and which stream answers."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import math
import posixpath
import time
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import quote

from unspool.client.limits import IDLE_TIMEOUT
from unspool.config.url import is_loopback
from unspool.journal import ulid
from unspool.jsontext import parse
from unspool.outcome import CANCELLED, CUT, INTERRUPTED, RUNNING
from unspool.serve import cursor, renderings
from unspool.serve.channel import Channel, Viewer, sequence_number
from unspool.serve.headers import CREDENTIALS, STREAM_HEADERS, downstream_headers, may_be_sent, upstream_headers
from unspool.serve.http import BodyTooLarge, ClientGone, Headers, Request
from unspool.serve.ingest import Ingest
from unspool.serve.metrics import Metrics
from unspool.serve.owners import Owner, Owners, Refused, Token
from unspool.serve.passing import REFUSED_KEY, Passage, check_json, query_of, without_length
from unspool.serve.store import (
    BODY,
    END,
    EVENT,
    FIRST,
    GONE,
    HEAD,
    Head,
    Idempotency,
    IdempotencyMismatch,
    Store,
    StoreError,
    StreamInfo,
    TooManyStreams,
)
from unspool.serve.upstream import Call, Upstream, read_all
from unspool.serve.watching import ROOT, Page

_log = logging.getLogger("unspool.serve")
_audit = logging.getLogger("unspool.serve.audit")

#: The paths that make streams, with the endpoint of each.
ENDPOINTS = {"/responses": "responses", "/chat/completions": "chat", "/completions": "completions"}
_GONE = "This stream has been removed after its time."

# An answer that has not begun by then gets its head, and heartbeats.
_HEAD_PATIENCE = 15.0
# Seconds between looks whether a gateway that drains is done.
_DRAIN_PAUSE = 0.05
# Seconds that upstream can keep requests of a key and model away with one word.
_LONGEST_BRAKE = 600.0


@dataclass(slots=True)
class Settings:
    """How the gateway behaves. Times are in seconds, sizes in bytes."""

    allowed_hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    is_loopback: bool = True
    abandon_after: float | None = 60.0
    silence: float = IDLE_TIMEOUT
    longest: float | None = None
    """How long an answer may take in all."""
    body_bytes: int = 32 << 20
    retry_ms: int = 1000
    streams: int = 2000
    link_seconds: float = 3600.0
    drain: float = 30.0
    page_token: str | None = None
    """What signs in to the page as whoever runs the gateway."""


@dataclass(slots=True)
class Draining:
    """Whether the gateway takes new streams."""

    on: bool = False
    until: float = 0.0


@dataclass(slots=True)
class _Stream:
    """A stream that this process produces."""

    ingest: Ingest
    owner: Owner
    task: asyncio.Task[None]
    abandon: asyncio.TimerHandle | None = None


@dataclass(slots=True)
class _Asked:
    """What a request to a text endpoint says, as far as it matters here."""

    path: str
    endpoint: str
    raw: bytes
    body: dict[str, object] = field(default_factory=dict)

    @property
    def model(self) -> str:
        model = self.body.get("model")
        return model if isinstance(model, str) else ""

    @property
    def is_streamed(self) -> bool:
        return self.body.get("stream") is True

    @property
    def continues_alone(self) -> bool:
        """Whether upstream answers in the background, and streams the answer again from any event."""
        return self.endpoint == "responses" and self.is_streamed and self.body.get("background") is True

    @property
    def is_listed(self) -> bool:
        return self.body.get("store") is not False


class Gateway:
    """Answers requests: streams that it keeps, and everything else from upstream as it is."""

    def __init__(
        self, store: Store, upstream: Upstream, owners: Owners, settings: Settings, metrics: Metrics | None = None
    ) -> None:
        self.store = store
        self.upstream = upstream
        self.owners = owners
        self.settings = settings
        self.draining = Draining()
        self._metrics = metrics
        self._channels: dict[str, Channel] = {}
        self._streams: dict[str, _Stream] = {}
        # Requests that are about to be streams.
        self._beginning = 0
        self._viewers: dict[Viewer, Owner] = {}
        self._store_trouble = ""
        # Until when upstream wants no more requests, by its key's owner ("" for the gateway's own key) and model.
        self._brakes: dict[tuple[str, str], float] = {}
        self._passage = Passage(store, upstream, owners, settings.body_bytes)
        self._page = Page(owners, store, self._answer_stream, settings.page_token)

    async def open(self) -> None:
        """Begin to use the store and upstream."""
        await self.store.open()
        self.upstream.open()

    async def drain(self) -> None:
        """Take no new streams, let those under way end for as long as the settings say, and interrupt the rest."""
        self.draining.on = True
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.settings.drain
        # A request that was accepted just before may still become a stream.
        while self._streams or self._beginning:
            left = deadline - loop.time()
            if left <= 0:
                for one in self._streams.values():
                    one.ingest.stop("the gateway was restarted", INTERRUPTED)
            tasks = [one.task for one in self._streams.values()]
            if tasks:
                await asyncio.wait(tasks, timeout=max(left, _DRAIN_PAUSE))
            else:
                await asyncio.sleep(_DRAIN_PAUSE)

    async def close(self) -> None:
        """Let go of the store and upstream, after `drain`."""
        for channel in list(self._channels.values()):
            channel.close()
        self.upstream.close()
        await self.store.close()

    def replace_tokens(self, tokens: list[Token]) -> None:
        """Use these tokens from now on. Viewers whose token is gone are ended at once, and streams whose owner has none left."""
        self.owners.replace(tokens)
        for viewer, owner in list(self._viewers.items()):
            if not self.owners.is_current(owner):
                viewer.response.abort()
        for stream in self._streams.values():
            if not self.owners.is_known(stream.owner):
                stream.ingest.stop("the token was removed")

    async def handle(self, request: Request) -> None:
        """Answer one request."""
        began = time.monotonic()
        try:
            await self._handle(request)
        finally:
            if self._metrics is not None:
                self._metrics.request(request.method, request.status)
            _audit.info(
                "request",
                extra={
                    "unspool": {
                        "method": request.method,
                        "path": request.path[:200],
                        "status": request.status or None,
                        "owner": request.owner,
                        "stream": request.stream_id,
                        "seconds": round(time.monotonic() - began, 3),
                    }
                },
            )

    async def _handle(self, request: Request) -> None:
        try:
            await self._route(request)
        except Refused as refused:
            await _error(request, refused.status, refused.message, refused.code)
        except BodyTooLarge:
            await _error(
                request, 413, f"The body is larger than {self.settings.body_bytes} bytes.", "request_too_large"
            )
        except StoreError as error:
            # Once for all requests that meet it.
            if str(error) != self._store_trouble:
                self._store_trouble = str(error)
                _log.error("the store failed: %s", error)
            await _error(request, 503, "The gateway cannot store streams now.", "store_unavailable", retry_after=5)

    async def _route(self, request: Request) -> None:
        path = normalised(request.path)
        if path == "/healthz":
            return await request.respond(200, [(b"content-type", b"text/plain")], b"ok\n")
        if path == "/readyz":
            status = 503 if self.draining.on else 200
            return await request.respond(
                status, [(b"content-type", b"text/plain")], b"draining\n" if self.draining.on else b"ok\n"
            )
        cors = self._check_origin(request)
        if request.method == "OPTIONS" and request.header("access-control-request-method"):
            return await request.respond(204, cors)
        if path == ROOT or path.startswith(ROOT + "/"):
            return await self._page.handle(request, path)
        if request.header("upgrade"):
            raise Refused(501, "This gateway does not upgrade connections.", "not_implemented")
        if not path.startswith("/v1/") and path != "/v1":
            raise Refused(404, f"There is nothing at {path[:200]}; the API is below /v1.", "not_found")
        below = path.removeprefix("/v1") or "/"
        if below == "/streams" or below.startswith("/streams/"):
            return await self._streams_route(request, below, cors)
        owner = self._owner(request)
        if below in ENDPOINTS and request.method == "POST":
            return await self._ask(request, owner, below, cors)
        if below.startswith("/responses/"):
            return await self._response_route(request, owner, below, cors)
        await self._passage.handle(request, owner, below, cors)

    # Who asks

    def _check_origin(self, request: Request) -> list[tuple[bytes, bytes]]:
        """Refuse foreign hosts and origins; returns the CORS headers of an answer."""
        if self.settings.is_loopback:
            host = request.host.rpartition(":")[0] if request.host.rpartition(":")[2].isdigit() else request.host
            if not is_loopback(host) and host not in self.settings.allowed_hosts:
                raise Refused(
                    421, f"This gateway does not answer for the host {host[:100]!r}; see --allowed-hosts.", "host"
                )
        origin = request.header("origin")
        if origin is None:
            return []
        if origin in self.settings.origins or "*" in self.settings.origins:
            asked = (request.header("access-control-request-headers") or "").lower().replace(" ", "").split(",")
            return [
                (b"access-control-allow-origin", origin.encode("latin-1")),
                (b"access-control-allow-headers", ", ".join(filter(may_be_sent, asked)).encode("latin-1")),
                (b"access-control-allow-methods", b"GET, POST, DELETE, OPTIONS"),
                (b"access-control-expose-headers", b"x-unspool-id, x-request-id, retry-after"),
                (b"access-control-max-age", b"600"),
                (b"vary", b"origin, access-control-request-headers"),
            ]
        if origin.partition("://")[2] == request.host:
            return []
        raise Refused(403, f"The origin {origin[:100]!r} may not use this gateway; see --cors.", "origin")

    def _owner(self, request: Request) -> Owner:
        authorization, *others = map(request.header, CREDENTIALS)
        if authorization is None and (key := next(filter(None, others), None)):
            authorization = f"Bearer {key}"
        user = request.header("x-unspool-user")
        owner = self.owners.find(authorization, user if self.owners.uses_tokens else None)
        request.owner = owner.id
        return owner

    # Asking

    async def _ask(self, request: Request, owner: Owner, path: str, cors: Headers) -> None:
        if self._is_draining():
            return await self._refuse_to_begin(request, cors)
        asked = _Asked(path, ENDPOINTS[path], await request.body(self.settings.body_bytes))
        value = parse(asked.raw)
        if not isinstance(value, dict):
            raise Refused(400, "The body is not a JSON object.", "invalid_json")
        if self.owners.uses_tokens:
            check_json(asked.raw)
        asked.body = value
        await self._check_allowed(owner, asked)
        brake = ("" if self.owners.uses_tokens else owner.id, asked.model)
        wait = self._brakes.get(brake, 0.0) - time.monotonic()
        if wait > 0:
            message = "Upstream asked this key to wait before using this model again."
            return await _error(request, 429, message, "rate_limit_exceeded", cors, retry_after=math.ceil(wait))
        key = request.header("idempotency-key")
        idempotency = None
        if key is not None:
            scope = self.owners.digest("idempotency", owner.id, path, key)
            idempotency = Idempotency(scope, hashlib.sha256(asked.raw).hexdigest())
        info = StreamInfo(
            ulid.new(),
            owner.id,
            asked.endpoint,
            asked.model,
            time.time(),
            listed=asked.is_listed,
            abandon_after=self._abandon_after(request),
            request={
                "api": asked.endpoint,
                "url": self.upstream.url(path).partition("?")[0],
                "model": asked.model,
                "body": asked.body,
            },
        )
        if self._is_draining():
            return await self._refuse_to_begin(request, cors)
        self._beginning += 1
        try:
            at_most = owner.token.streams if owner.token is not None else None
            producer, info = await self.store.create(info, idempotency, at_most=at_most)
            self._store_trouble = ""
        except TooManyStreams:
            message = f"This token may run {at_most} streams at once."
            raise Refused(429, message, "too_many_streams") from None
        except IdempotencyMismatch:
            raise Refused(422, "This Idempotency-Key was used with another body.", "idempotency_mismatch") from None
        finally:
            # From here to its entry among the streams nothing is awaited.
            self._beginning -= 1
        if producer is None:
            channel = self._channel(info)
            return await self._answer(request, channel, asked, cors, owner, replayed=True)
        channel = self._channel(info)
        channel.is_local = True
        headers = upstream_headers(request.headers, with_account=not self.owners.uses_tokens)

        def resume(response_id: str, after: int) -> Call:
            there = f"{path}/{quote(response_id, safe='')}"
            url = self.upstream.url(there, f"stream=true&starting_after={after}")
            return self.upstream.call("GET", url, headers, None)

        ingest = Ingest(
            self.store,
            producer,
            channel,
            lambda: self.upstream.call("POST", self.upstream.url(path, query_of(request)), headers, asked.raw),
            silence=self.settings.silence,
            longest=self.settings.longest,
            resume=resume if asked.continues_alone else None,
            kept_headers=self._kept_head,
            refused_key=REFUSED_KEY if self.owners.uses_tokens else None,
        )
        stream = _Stream(ingest, owner, asyncio.get_running_loop().create_task(self._produce(ingest, owner)))
        self._streams[info.id] = stream
        request.stream_id = info.id
        if self._metrics is not None:
            self._metrics.began()
        try:
            await self._answer(request, channel, asked, cors, owner, ingest=ingest)
        except ClientGone:
            pass
        if channel.end is not None:
            return
        if request.is_gone and not asked.is_streamed and key is None:
            ingest.stop("the client left")
        else:
            # It may have left before it became a viewer.
            self._idle(channel)

    def _is_draining(self) -> bool:
        return self.draining.on

    async def _refuse_to_begin(self, request: Request, cors: Headers) -> None:
        return await _error(request, 503, "The gateway is being restarted.", "draining", cors, retry_after=1)

    async def _produce(self, ingest: Ingest, owner: Owner) -> None:
        info = ingest.info
        try:
            await ingest.run()
            if ingest.retry_after is not None:
                self._brake(("" if self.owners.uses_tokens else owner.id, info.model), ingest.retry_after)
            if info.response_id:
                await self.store.own_object(info.response_id, owner.id)
            if self.owners.uses_tokens:
                await self._own_parts(info, ingest.channel.position, owner)
            tokens = (info.input_tokens or 0) + (info.output_tokens or 0)
            if owner.token is not None and tokens:
                await self.store.spend(owner.token.name, tokens)
        except StoreError as error:
            _log.error("stream %s: the store failed: %s", info.id, error)
        except Exception:
            _log.exception("stream %s failed", info.id)
        finally:
            stream = self._streams.pop(info.id, None)
            if self._metrics is not None:
                self._metrics.ended(info)
            if stream is not None and stream.abandon is not None:
                stream.abandon.cancel()
            _audit.info(
                "stream",
                extra={
                    "unspool": {
                        "stream": info.id,
                        "owner": info.owner,
                        "endpoint": info.endpoint,
                        "model": info.model,
                        "outcome": info.state,
                        "input_tokens": info.input_tokens,
                        "output_tokens": info.output_tokens,
                        "seconds": round(time.time() - info.created, 3),
                    }
                },
            )
            self._idle(ingest.channel)

    async def _own_parts(self, info: StreamInfo, position: int, owner: Owner) -> None:
        """Record the parts of an answer that later requests may refer to: of a response, whose last event repeats them, and sound."""
        body = info.request.get("body")
        modalities = body.get("modalities") if isinstance(body, dict) else None
        with_sound = isinstance(modalities, list) and "audio" in modalities
        if info.endpoint != "responses" and not with_sound:
            return
        for entry in await self.store.read(info.id, 0 if with_sound else max(position - 3, 0), 1 << 30):
            value = parse(entry.data) if entry.kind in (EVENT, BODY) else None
            if with_sound and isinstance(value, dict):
                await self._passage.own_sounds(value, owner)
                continue
            response = value.get("response", value) if isinstance(value, dict) else None
            if isinstance(response, dict):
                await self._passage.own_items(response, owner)

    def _brake(self, brake: tuple[str, str], seconds: float) -> None:
        """Send nothing for this key and model for as long as upstream has said."""
        now = time.monotonic()
        for one in [one for one, until in self._brakes.items() if until <= now]:
            del self._brakes[one]
        self._brakes[brake] = max(self._brakes.get(brake, 0.0), now + min(seconds, _LONGEST_BRAKE))

    async def _check_allowed(self, owner: Owner, asked: _Asked) -> None:
        if len(self._streams) >= self.settings.streams:
            raise Refused(429, "The gateway has reached its limit of running streams.", "too_many_streams")
        token = owner.token
        if token is None:
            return
        if not token.allows_model(asked.model):
            raise Refused(403, f"This token may not use the model {asked.model[:100]!r}.", "model_not_allowed")
        if token.tokens_per_day is not None and await self.store.spend(token.name, 0) >= token.tokens_per_day:
            raise Refused(429, "This token has used up its tokens for today.", "insufficient_quota")
        await self._passage.check_body(asked.body, owner)

    def _abandon_after(self, request: Request) -> float | None:
        asked = request.header("x-unspool-abandon")
        if asked is None:
            return self.settings.abandon_after
        if asked == "never":
            return None
        try:
            seconds = float(asked)
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds < 1e7:
            raise Refused(400, "X-Unspool-Abandon takes seconds, or never.", "invalid_header")
        return seconds

    def _kept_head(self, status: int, headers: dict[str, str]) -> Head:
        passed = downstream_headers(headers, replayed=True)
        return Head(status, {name.decode(): value.decode("latin-1") for name, value in passed})

    # Streams of this process

    def _channel(self, info: StreamInfo) -> Channel:
        channel = self._channels.get(info.id)
        if channel is None:
            channel = self._channels[info.id] = Channel(self.store, info, self._idle)
        return channel

    def _idle(self, channel: Channel) -> None:
        """A channel has no viewers: forget it, or begin to wait for one."""
        if channel.viewers:
            return
        stream = self._streams.get(channel.info.id)
        if stream is None:
            channel.close()
            self._channels.pop(channel.info.id, None)
        elif channel.info.abandon_after is not None and stream.abandon is None:
            loop = asyncio.get_running_loop()
            stream.abandon = loop.call_later(
                channel.info.abandon_after, lambda: loop.create_task(self._abandon(channel))
            )

    async def _abandon(self, channel: Channel) -> None:
        stream = self._streams.get(channel.info.id)
        if stream is None:
            return
        stream.abandon = None
        if channel.viewers:
            return
        if await self.store.viewers_elsewhere(channel.info.id):
            return self._idle(channel)
        stream.ingest.stop("nobody was reading it")

    # Answering

    async def _answer(
        self,
        request: Request,
        channel: Channel,
        asked: _Asked,
        cors: Headers,
        owner: Owner,
        *,
        ingest: Ingest | None = None,
        replayed: bool = False,
    ) -> None:
        """Answer the request that asked: upstream's head and body, or its events."""
        info = channel.info
        rendering = self._rendering(request, info)
        identity = [*cors, *STREAM_HEADERS, (b"x-unspool-id", info.id.encode())]
        head = await self._await_head(request, channel, asked)
        if head is None and channel.end is None and info.state == RUNNING:
            # Decided without upstream: a client that waits for longer would give up.
            return await self._view(request, channel, rendering, 0, identity, owner)
        if head is None:
            outcome = channel.end.outcome if channel.end is not None else info.state
            message = channel.end.message if channel.end is not None else "the answer never began"
            if message == REFUSED_KEY:
                return await _error(request, 502, message, "upstream_unauthorized", identity)
            if ingest is not None and ingest.store_failed:
                return await _error(request, 503, message, "store_unavailable", identity, retry_after=5)
            return await _error(request, 504 if "timed out" in message else 502, message, outcome, identity)
        live = ingest.live_headers if ingest is not None else head.headers
        passed = downstream_headers(live, replayed=replayed)
        if head.status == 200 and _is_event_stream(head.headers):
            return await self._view(request, channel, rendering, 0, [*passed, *identity], owner)
        data = await self._await_body(request, channel)
        if data is None:
            message = channel.end.message if channel.end is not None else "the answer never came"
            return await _error(request, 502, message, "upstream_cut", identity)
        await request.respond(head.status, [*without_length(passed), *identity], data)

    async def _await_head(self, request: Request, channel: Channel, asked: _Asked) -> Head | None:
        deadline = time.monotonic() + _HEAD_PATIENCE
        while channel.head is None:
            # Nobody follows another process's stream before it has a viewer: its head, or its end without one, is in the log.
            if not channel.is_local or channel.end is not None:
                for entry in await self.store.read(channel.info.id, 0):
                    if entry.head is not None:
                        return entry.head
                    if entry.kind == END:
                        channel.end = entry.end
            if channel.end is not None:
                break
            if request.is_gone:
                raise ClientGone
            left = deadline - time.monotonic()
            if left <= 0 and asked.is_streamed:
                return None
            pause = 1.0 if channel.is_local else 0.1
            await channel.wait(min(left, pause) if left > 0 else pause)
        return channel.head

    async def _await_body(self, request: Request, channel: Channel) -> bytes | None:
        while True:
            ended = channel.end is not None or channel.info.state != RUNNING
            for entry in await self.store.read(channel.info.id, 0):
                if entry.kind == BODY:
                    return entry.data
            if ended or request.is_gone:
                return None
            await channel.wait(1.0)

    async def _view(
        self,
        request: Request,
        channel: Channel,
        rendering: renderings.Rendering,
        position: int,
        headers: Headers,
        owner: Owner | None,
        *,
        skip_to: int | None = None,
    ) -> None:
        sent = [one for one in headers if one[0] not in (b"content-type", b"content-encoding")]
        response = request.stream(
            200, [*sent, (b"content-type", b"text/event-stream; charset=utf-8"), *rendering.headers]
        )
        if position == 0:
            # A part of the first event: openai's SDK for Python takes a block without data for an event.
            response.write(b"retry: %d\n" % self.settings.retry_ms)
        stream = self._streams.get(channel.info.id)
        if stream is not None and stream.abandon is not None:
            stream.abandon.cancel()
            stream.abandon = None
        viewer = Viewer(channel, rendering, response, position, skip_to=skip_to)
        request.stream_id = channel.info.id
        if self._metrics is not None:
            self._metrics.viewer(1)
        if owner is not None:
            self._viewers[viewer] = owner
        try:
            await viewer.run()
        except (KeyError, StoreError):
            response.abort()
        finally:
            self._viewers.pop(viewer, None)
            if self._metrics is not None:
                self._metrics.viewer(-1)

    def _rendering(self, request: Request, info: StreamInfo, default: str = "upstream") -> renderings.Rendering:
        name = request.query.get("format", default)
        if name not in renderings.NAMES:
            raise Refused(
                400, f"There is no format {name[:60]!r}; use {', '.join(renderings.NAMES)}.", "invalid_format"
            )
        return renderings.rendering(name, info)

    # /v1/streams

    async def _streams_route(self, request: Request, below: str, cors: Headers) -> None:
        headers = [*cors, *STREAM_HEADERS]
        id = below.removeprefix("/streams").strip("/")
        if id and "/" not in id and request.method == "GET" and "link" in request.query:
            return await self._watch_by_link(request, id, headers)
        try:
            owner = self._owner(request)
        except Refused as refused:
            return await _error(request, refused.status, refused.message, refused.code, headers)
        await self._answer_stream(request, owner, below, cors)

    async def _answer_stream(self, request: Request, owner: Owner, below: str, cors: Headers = ()) -> None:
        """Do for an owner what the path and the method say."""
        headers = [*cors, *STREAM_HEADERS]
        _, _, id, *rest = [*below.split("/"), ""]
        action = rest[0] if rest else ""
        if not id:
            if request.method != "GET":
                return await _error(request, 405, "Use GET here.", "method_not_allowed", headers)
            streams = await self.store.streams(None if owner.is_admin else owner.id)
            listed = {"object": "list", "data": [described(one) for one in streams]}
            return await _json(request, 200, listed, headers)
        info = await self._owned(id, owner)
        if info is not None and info.state == GONE and request.method == "GET" and not action:
            return await _error(request, 410, _GONE, "gone", headers)
        if info is None or info.state == GONE or (action and action not in ("cancel", "link")):
            return await _error(request, 404, f"There is no stream {id[:60]!r}.", "not_found", headers)
        if action == "cancel" and request.method == "POST":
            await self.store.cancel(info.id, "cancelled by its owner")
            return await _json(request, 202 if info.state == RUNNING else 200, described(info), headers)
        if action == "link" and request.method == "POST":
            return await self._link(request, info, headers)
        if request.method == "DELETE" and not action:
            await self._delete(info, owner)
            return await _json(request, 200, {"id": info.id, "object": "stream", "deleted": True}, headers)
        if request.method == "GET" and not action:
            return await self._watch(request, info, self._rendering(request, info), headers, owner)
        await _error(request, 405, "This method is not for this path.", "method_not_allowed", headers)

    async def _owned(self, id: str, owner: Owner) -> StreamInfo | None:
        info = await self.store.find(id)
        if info is None or (info.owner != owner.id and not owner.is_admin):
            return None
        return info

    async def _watch(
        self,
        request: Request,
        info: StreamInfo,
        rendering: renderings.Rendering,
        headers: list[tuple[bytes, bytes]],
        owner: Owner | None,
    ) -> None:
        """Send a stream from where the client was."""
        headers = [*headers, (b"x-unspool-id", info.id.encode())]
        if "starting_after" in request.query:
            message = "starting_after is for /v1/responses/{id}; use Last-Event-ID or after here."
            return await _error(request, 400, message, "invalid_cursor", headers)
        after = request.header("last-event-id") or request.query.get("after")
        position = 0
        if after:
            try:
                rendering.sends_from = cursor.place_after(after, info.id, info.epoch)
            except cursor.BadCursor as error:
                return await _error(request, 400, str(error), "invalid_cursor", headers)
            position, sent = rendering.sends_from
            last = position if sent else position - 1
            try:
                rest = await self.store.read(info.id, last, 2)
            except KeyError:
                return await _error(request, 410, _GONE, "gone", headers)
            if rest and rest[0].position > last >= FIRST:
                return await _error(request, 410, "What followed this event is no longer kept.", "gone", headers)
            if not rest or rest[0].position != last or rest[0].kind == HEAD:
                message = f"{after[:60]!r} is not the id of an event of this stream"
                return await _error(request, 400, message, "invalid_cursor", headers)
            silent = isinstance(rendering, renderings.UpstreamRendering)
            if info.state != RUNNING and not any(
                one.kind != END or (one.end and not (silent and one.end.upstream))
                for one in rest
                if one.position >= position
            ):
                return await request.respond(204, headers)
        await self._view(request, self._channel(info), rendering, position, headers, owner)

    async def _watch_by_link(self, request: Request, id: str, headers: list[tuple[bytes, bytes]]) -> None:
        format, _, rest = request.query["link"].partition(".")
        expires, _, signature = rest.partition(".")
        headers = [*headers, (b"referrer-policy", b"no-referrer")]
        info = await self.store.find(id)
        valid = self.owners.verify(f"{id} {format} {expires}", signature)
        owner = Owner(info.owner) if info is not None else None
        ended = owner is None or not self.owners.is_known(owner)
        if info is None or ended or not valid or not expires.isdigit() or int(expires) < time.time():
            return await _error(request, 404, "There is no such link, or it has expired.", "not_found", headers)
        if info.state == GONE:
            return await _error(request, 410, _GONE, "gone", headers)
        await self._watch(request, info, renderings.rendering(format, info), headers, owner)

    async def _link(self, request: Request, info: StreamInfo, headers: Headers) -> None:
        value = parse(await request.body(1 << 16) or b"{}")
        asked = value if isinstance(value, dict) else {}
        format = asked.get("format", "unspool")
        seconds = asked.get("seconds", self.settings.link_seconds)
        if format not in renderings.NAMES or not isinstance(seconds, int | float) or not 0 < seconds <= 7 * 86400:
            return await _error(
                request, 400, "A link takes a format, and seconds up to a week.", "invalid_link", headers
            )
        expires = int(time.time() + seconds)
        signature = self.owners.sign(f"{info.id} {format} {expires}")
        path = f"/v1/streams/{info.id}?link={format}.{expires}.{signature}"
        await _json(
            request, 200, {"object": "stream.link", "path": path, "expires": expires, "format": format}, headers
        )

    async def _delete(self, info: StreamInfo, owner: Owner) -> None:
        stream = self._streams.get(info.id)
        if info.state == RUNNING:
            await self.store.cancel(info.id, "removed by its owner")
            if stream is not None:
                await asyncio.wait([stream.task])
            else:
                await self._until_ended(info.id)
        # Whether a chat was stored there only upstream knows.
        kept_at = {"responses": "/responses/", "chat": "/chat/completions/"}.get(info.endpoint)
        if kept_at and info.response_id:
            await self._tell_upstream("DELETE", kept_at + quote(info.response_id, safe=""), owner)
        await self.store.delete(info.id)

    async def _until_ended(self, id: str) -> None:
        for _ in range(200):
            info = await self.store.find(id)
            if info is None or info.state != RUNNING:
                return
            await asyncio.sleep(0.05)

    async def _tell_upstream(self, method: str, path: str, owner: Owner) -> None:
        headers = {"authorization": owner.key} if owner.key else {}
        call = self.upstream.call(method, self.upstream.url(path), headers, b"" if method == "POST" else None)
        with contextlib.suppress(TimeoutError, ValueError):
            async with asyncio.timeout(10):
                await call.head()
                await read_all(call, 1 << 20)
        call.stop()

    # /v1/responses/{id}

    async def _response_route(self, request: Request, owner: Owner, below: str, cors: Headers) -> None:
        headers = [*cors, *STREAM_HEADERS]
        _, _, id, *rest = below.split("/")
        action = "/".join(rest)
        info = await self.store.find_response(id, owner.id)
        if info is None or info.endpoint != "responses":
            return await self._passage.handle(request, owner, below, cors)
        if self.owners.uses_tokens:
            # Of one whose producer was lost this is recorded nowhere else.
            await self.store.own_object(id, owner.id)
        if action == "cancel" and request.method == "POST" and not await self._continues_upstream(info):
            if info.state == RUNNING:
                await self.store.cancel(info.id, "cancelled by its owner")
                await self._tell_upstream("POST", f"/responses/{quote(id, safe='')}/cancel", owner)
                await self._until_ended(info.id)
            found = await self.store.find(info.id)
            return await _json(request, 200, await self._response_object(found or info), headers)
        if request.method == "DELETE" and not action:
            await self._delete(info, owner)
            return await _json(request, 200, {"id": id, "object": "response", "deleted": True}, headers)
        if request.method != "GET" or action or await self._continues_upstream(info):
            return await self._passage.handle(request, owner, below, cors)
        if request.query.get("stream") != "true":
            return await _json(request, 200, await self._response_object(info), headers)
        after = request.query.get("starting_after")
        skip_to: int | None = None
        if after is not None:
            if not after.isascii() or not after.isdigit() or len(after) > 15:
                return await _error(request, 400, "starting_after takes a sequence number.", "invalid_cursor", headers)
            if not await self._has_sequence_numbers(info):
                return await _error(
                    request,
                    400,
                    "Upstream's events have no sequence numbers; use /v1/streams.",
                    "invalid_cursor",
                    headers,
                )
            skip_to = int(after)
        channel = self._channel(info)
        identity = [*headers, (b"x-unspool-id", info.id.encode())]
        await self._view(request, channel, self._rendering(request, info), 0, identity, owner, skip_to=skip_to)

    async def _continues_upstream(self, info: StreamInfo) -> bool:
        """Whether upstream knows more of a response than the log: it is answered in the background, and had not ended for us."""
        entries = await self.store.read(info.id, 0, 4)
        first = next((one for one in entries if one.kind in (BODY, EVENT)), None)
        value = parse(first.data) if first is not None else None
        if first is None or not isinstance(value, dict):
            return False
        if first.kind == BODY:
            return value.get("status") in ("queued", "in_progress")
        response = value.get("response")
        return isinstance(response, dict) and response.get("background") is True and info.state in (INTERRUPTED, CUT)

    async def _has_sequence_numbers(self, info: StreamInfo) -> bool:
        for entry in await self.store.read(info.id, 0, 4):
            if entry.kind == EVENT:
                return sequence_number(entry.data) is not None
        return info.state == RUNNING

    async def _response_object(self, info: StreamInfo) -> dict[str, object]:
        """The response as it stands, made from the log."""
        found: dict[str, object] = {"id": info.response_id, "object": "response", "model": info.model, "output": []}
        items: dict[int, object] = {}
        for entry in await self.store.read(info.id, 0, 1 << 30):
            value = parse(entry.data) if entry.kind in (EVENT, BODY) else None
            if not isinstance(value, dict):
                continue
            if entry.kind == BODY:
                found = value
            elif isinstance(value.get("response"), dict):
                found = cast("dict[str, object]", value["response"])
            elif value.get("type") == "response.output_item.done" and isinstance(value.get("output_index"), int):
                items[value["output_index"]] = value.get("item")
        if found.get("status") in ("completed", "incomplete", "failed", "cancelled"):
            return found
        if not found.get("output"):
            found["output"] = [items[index] for index in sorted(items)]
        if info.state == CANCELLED:
            found["status"] = "cancelled"
        elif info.state != RUNNING:
            found["status"] = "failed"
            found["error"] = {"code": info.state, "message": f"the answer ended as {info.state}"}
        return found


def normalised(path: str) -> str:
    """A path without dots, doubled slashes and a slash at its end."""
    return posixpath.normpath("/" + path.replace("\\", "/").lstrip("/"))


def described(info: StreamInfo) -> dict[str, object]:
    """A stream as the API lists it."""
    return {
        "id": info.id,
        "object": "stream",
        "owner": info.owner,
        "endpoint": info.endpoint,
        "model": info.model,
        "state": info.state,
        "created": round(info.created, 3),
        "ended": None if info.ended is None else round(info.ended, 3),
        "ttft": None if info.ttft is None else round(info.ttft, 3),
        "input_tokens": info.input_tokens,
        "output_tokens": info.output_tokens,
        "response_id": info.response_id,
    }


def _is_event_stream(headers: dict[str, str]) -> bool:
    return headers.get("content-type", "").partition(";")[0].strip().lower() == "text/event-stream"


async def _json(request: Request, status: int, value: object, headers: Headers) -> None:
    data = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
    await request.respond(status, [(b"content-type", b"application/json"), *headers], data)


async def _error(
    request: Request, status: int, message: str, code: str, headers: Headers = (), *, retry_after: int | None = None
) -> None:
    """Answer with an error in the API's shape."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    more = list(dict.fromkeys([*headers, *STREAM_HEADERS]))
    if retry_after is not None:
        more.append((b"retry-after", b"%d" % retry_after))
    await _json(request, status, {"error": {"message": message, "type": kind, "param": None, "code": code}}, more)
