"""The gateway's page, at ``/page/``: an owner's streams in a browser, as they run.

Signing in exchanges a credential for a cookie. The credential is a token of the gateway; a caller's own key, where callers bring theirs, of
which only the owner's id is used; or the token that the gateway prints at its start, which shows every owner's streams. It comes in the
body of a request, never in a URL. The cookie is signed, HttpOnly and SameSite=Strict, is valid below ``/page/`` only, and is worth nothing
once its token is removed.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import importlib.resources
import json
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from unspool.jsontext import parse
from unspool.serve.http import Headers, Request
from unspool.serve.owners import Owner, Owners, Refused, Token
from unspool.serve.store import EVENT, FIRST, Store, StreamInfo

#: The path below which everything of the page is.
ROOT = "/page"
#: Answers a request for one of an owner's streams: the request, the owner, and the path below ``/v1``.
Answer = Callable[[Request, Owner, str], Awaitable[None]]

_COOKIE = "unspool_page"
_SESSION_SECONDS = 12 * 3600
_LONGEST_BODY = 8192
_FILES = {
    "": ("index.html", b"text/html; charset=utf-8"),
    "page.js": ("page.js", b"text/javascript; charset=utf-8"),
    "page.css": ("page.css", b"text/css; charset=utf-8"),
}
_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none';"
        b" form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
# Entries that are read for one list, in pieces of so many, and streams of which it is remembered how far they have been read: a list
# must cost other clients of the gateway little. The next one, a second later, reads on.
_MOST_PIECES = 40
_PIECE = 1024
_MOST_REMEMBERED = 500


@dataclass(slots=True)
class _Progress:
    """How far a stream's log has been read, and what of upstream's events is known by then."""

    position: int = FIRST
    events: int = 0
    first_at: float = 0.0
    last_at: float = 0.0
    is_over: bool = False

    @property
    def rate(self) -> float | None:
        """Events each second."""
        seconds = self.last_at - self.first_at
        return (self.events - 1) / seconds if self.events > 1 and seconds > 0 else None


class Page:
    """Answers what is below `ROOT`. ``answer`` does what the API does for an owner's stream; ``printed`` is the token printed at the start."""

    def __init__(self, owners: Owners, store: Store, answer: Answer, printed: str | None) -> None:
        self._owners = owners
        self._store = store
        self._answer = answer
        self._printed = hashlib.sha256(printed.encode()).digest() if printed is not None else None
        self._progress: dict[str, _Progress] = {}

    async def handle(self, request: Request, path: str) -> None:
        """Answer one request for a path that begins with `ROOT`. Raises Refused."""
        below = path.removeprefix(ROOT).lstrip("/")
        if request.method in ("GET", "HEAD") and below in _FILES:
            if not below and not request.target.partition("?")[0].endswith("/"):
                return await request.respond(308, [(b"location", b"page/"), *_HEADERS])
            name, content_type = _FILES[below]
            return await request.respond(200, [(b"content-type", content_type), *_HEADERS], _file(name))
        self._check_same_origin(request)
        if below == "session":
            return await self._session(request)
        owner = self._owner(request)
        if owner is None:
            raise Refused(401, "Sign in first.", "signed_out")
        request.owner = owner.id
        if below == "streams" and request.method == "GET":
            return await self._list(request, owner)
        parts = below.split("/")
        is_watch = len(parts) == 2 and request.method == "GET"
        is_cancel = len(parts) == 3 and parts[2] == "cancel" and request.method == "POST"
        if parts[0] == "streams" and (is_watch or is_cancel):
            return await self._answer(request, owner, f"/{below}")
        raise Refused(404, "The page has nothing there.", "not_found")

    @staticmethod
    def _check_same_origin(request: Request) -> None:
        """Refuse what another site's page makes a browser send; a site on another port of this host has the cookie too."""
        origin = request.header("origin")
        is_foreign = origin is not None and origin.partition("://")[2] != request.host
        if is_foreign or request.header("sec-fetch-site") not in (None, "same-origin", "none"):
            raise Refused(403, "Only the gateway's own page may ask this.", "origin")

    # Signing in

    async def _session(self, request: Request) -> None:
        if request.method == "GET":
            owner = self._owner(request)
            found: dict[str, object] = {"owner": None, "uses_tokens": self._owners.uses_tokens}
            if owner is not None:
                found |= {"owner": owner.id, "is_admin": owner.is_admin}
            return await _json(request, found)
        if request.method == "DELETE":
            return await request.respond(204, [*_HEADERS, (b"set-cookie", _set_cookie(request, "", 0))])
        if request.method != "POST":
            raise Refused(405, "Use GET, POST or DELETE here.", "method_not_allowed")
        value = parse(await request.body(_LONGEST_BODY))
        key = value.get("key") if isinstance(value, dict) else None
        if not isinstance(key, str):
            raise Refused(400, "The body must be a JSON object with a key.", "invalid_json")
        if not key.isascii() or not key.isprintable():
            raise Refused(400, "A key or token is of printable ASCII characters.", "invalid_key")
        session = self._session_of(key.strip())
        await request.respond(204, [*_HEADERS, (b"set-cookie", _set_cookie(request, session, _SESSION_SECONDS))])

    def _session_of(self, key: str) -> str:
        """What the cookie holds for whoever knows this credential. Raises Refused."""
        digest = hashlib.sha256(key.encode()).digest()
        if self._printed is not None and hmac.compare_digest(digest, self._printed):
            return self._signed("printed", self._printed.hex())
        owner = self._owners.find(f"Bearer {key}" if key else None)
        return self._signed(owner.id, owner.token.digest.hex() if owner.token is not None else "")

    def _signed(self, owner: str, digest: str) -> str:
        text = json.dumps([owner, digest, int(time.time()) + _SESSION_SECONDS])
        return urlsafe_b64encode(text.encode()).decode().rstrip("=") + "." + self._owners.digest("page", text)

    def _owner(self, request: Request) -> Owner | None:
        """Who is signed in, None for nobody any more."""
        text, signature = _cookie(request)
        if not text or not hmac.compare_digest(self._owners.digest("page", text).encode(), signature.encode()):
            return None
        id, digest, expires = json.loads(text)
        if expires < time.time():
            return None
        if self._printed is not None and digest == self._printed.hex():
            return Owner(id, Token(id, self._printed, admin=True))
        if not digest:
            return None if self._owners.uses_tokens or id == "printed" else Owner(id)
        token = self._owners.token(bytes.fromhex(digest))
        owner = Owner(id, token) if token is not None else None
        return owner if owner is not None and self._owners.is_current(owner) else None

    # Streams

    async def _list(self, request: Request, owner: Owner) -> None:
        infos = await self._store.streams(None if owner.is_admin else owner.id)
        left = _MOST_PIECES
        described = []
        for info in infos:
            progress = self._progress.get(info.id)
            if left > 0 and (progress is None or not progress.is_over):
                progress, taken = await self._measured(info, left)
                left -= taken
            described.append(_described(info, progress))
        await _json(request, {"streams": described})

    async def _measured(self, info: StreamInfo, most: int) -> tuple[_Progress, int]:
        """Read on in a stream's log, at most so many pieces. Nearly every event of a stream is a token."""
        progress = self._progress.pop(info.id, None) or _Progress()
        self._progress[info.id] = progress  # the newest is last
        while len(self._progress) > _MOST_REMEMBERED:
            del self._progress[next(iter(self._progress))]
        has_ended = info.ended is not None
        taken = 0
        while taken < most:
            taken += 1
            try:
                entries = await self._store.read(info.id, progress.position, _PIECE)
            except KeyError:
                break
            if not entries:
                progress.is_over = has_ended
                break
            for entry in entries:
                if entry.kind == EVENT:
                    if not progress.events:
                        progress.first_at = entry.at
                    progress.events += 1
                    progress.last_at = entry.at
            progress.position = entries[-1].position + 1
            await asyncio.sleep(0)
        return progress, taken


def _described(info: StreamInfo, progress: _Progress | None) -> dict[str, object]:
    rate = progress.rate if progress is not None else None
    if info.output_tokens and info.ended is not None:
        seconds = info.ended - info.created - (info.ttft or 0.0)
        rate = info.output_tokens / seconds if seconds > 0 else None
    return {
        "id": info.id,
        "owner": info.owner,
        "endpoint": info.endpoint,
        "model": info.model,
        "state": info.state,
        "created": info.created,
        "ttft": info.ttft,
        "rate": rate,
        "output_tokens": info.output_tokens,
    }


def _file(name: str) -> bytes:
    return importlib.resources.files("unspool.serve").joinpath("page", name).read_bytes()


def _cookie(request: Request) -> tuple[str, str]:
    """The text and the signature in the page's cookie; empty where there is none."""
    for one in (request.header("cookie") or "").replace(", ", "; ").split("; "):
        name, _, value = one.partition("=")
        if name == _COOKIE:
            text, _, signature = value.partition(".")
            try:
                return urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode(), signature
            except ValueError:
                break
    return "", ""


def _set_cookie(request: Request, value: str, seconds: int) -> bytes:
    # A browser names the origin of every POST and DELETE, behind a proxy that ends TLS too.
    secure = "; Secure" if (request.header("origin") or "").startswith("https://") else ""
    return f"{_COOKIE}={value}; Path={ROOT}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}".encode()


async def _json(request: Request, value: object) -> None:
    data = json.dumps(value).encode()
    headers: Headers = [(b"content-type", b"application/json"), *_HEADERS]
    await request.respond(200, headers, data)
