"""Who a request belongs to: owners by their upstream key, or by a token of the gateway.

An owner is a short text that is safe to store and to log: an HMAC of the caller's key under the gateway's secret, or the name of a token.
"""

from __future__ import annotations

import fnmatch
import hashlib
import hmac
import os
import secrets
import time
import tomllib
from dataclasses import dataclass
from datetime import UTC, date, datetime

from unspool import Error

_PREFIX = "unspool-"


class TokenFileError(Error):
    """The file of tokens cannot be used; the message names the place."""


class Refused(Exception):
    """A request that its caller may not make. ``status`` and ``code`` are those of the answer."""

    def __init__(self, status: int, message: str, code: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code


@dataclass(slots=True, frozen=True)
class Token:
    """What the holder of a token may do. ``expires`` is Unix time, None for never; empty ``models`` means every model."""

    name: str
    digest: bytes
    expires: float | None = None
    models: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    streams: int | None = None
    tokens_per_day: int | None = None
    admin: bool = False
    trusted: bool = False

    def allows_model(self, model: str) -> bool:
        """Whether the token is good for this model; the patterns are those of a shell."""
        return not self.models or any(fnmatch.fnmatchcase(model, pattern) for pattern in self.models)

    def allows_path(self, path: str) -> bool:
        """Whether the token names this path, or one above it, beyond the ones that everybody may use."""
        return any(path == allowed or path.startswith(allowed.rstrip("/") + "/") for allowed in self.paths)


@dataclass(slots=True, frozen=True)
class Owner:
    """Whose request it is. ``key`` is the caller's own for upstream, None where the gateway's is used; it is never stored."""

    id: str
    token: Token | None = None
    key: str | None = None

    @property
    def is_admin(self) -> bool:
        """Whether every owner's streams may be listed."""
        return self.token is not None and self.token.admin and self.id == self.token.name


def hash_token(token: str) -> str:
    """The form in which a token stands in the file. Tokens are random, so a plain hash is as good as a slow one."""
    return "sha256:" + hashlib.sha256(token.encode()).hexdigest()


def new_token() -> str:
    """A token of 256 random bits."""
    return _PREFIX + secrets.token_urlsafe(32)


class Owners:
    """Finds the owner of a request. ``secret`` keys the HMACs; nodes that share a store must share it."""

    def __init__(self, secret: bytes, tokens: list[Token] | None = None) -> None:
        self._secret = secret
        self._tokens: dict[bytes, Token] | None = None
        if tokens is not None:
            self.replace(tokens)

    @property
    def uses_tokens(self) -> bool:
        """Whether callers have tokens of the gateway instead of keys of upstream."""
        return self._tokens is not None

    def replace(self, tokens: list[Token]) -> None:
        """Use these tokens from now on."""
        self._tokens = {token.digest: token for token in tokens}

    def find(self, authorization: str | None, user: str | None = None) -> Owner:
        """The owner that an ``Authorization`` header names; ``user`` is that of ``X-Unspool-User``. Raises Refused."""
        scheme, _, credential = (authorization or "").partition(" ")
        credential = credential.strip() if scheme.lower() == "bearer" else ""
        if self._tokens is None:
            return Owner(self._hmac(b"key", authorization or ""), key=authorization)
        token = self._tokens.get(hashlib.sha256(credential.encode()).digest()) if credential else None
        if token is None:
            raise Refused(401, "This gateway needs a token of its own as the Bearer key.", "invalid_api_key")
        if token.expires is not None and token.expires <= time.time():
            raise Refused(401, "This token has expired.", "token_expired")
        if user is None:
            return Owner(token.name, token)
        if not token.trusted:
            raise Refused(403, "X-Unspool-User is only for trusted tokens.", "user_not_allowed")
        return Owner(f"{token.name}/{self._hmac(b'user', user)}", token)

    def token(self, digest: bytes) -> Token | None:
        """The token with this digest, None once it is removed."""
        return self._tokens.get(digest) if self._tokens is not None else None

    def is_current(self, owner: Owner) -> bool:
        """Whether the owner's token still holds: it may have been removed, or have expired, since the request began. Of who reads by a
        link, only the name is known."""
        if owner.token is None or self._tokens is None:
            return self.is_known(owner)
        token = self._tokens.get(owner.token.digest)
        return token is not None and (token.expires is None or token.expires > time.time())

    def is_known(self, owner: Owner) -> bool:
        """Whether any token of the owner's name is left."""
        name = owner.id.partition("/")[0]
        return self._tokens is None or any(one.name == name for one in self._tokens.values())

    def sign(self, text: str) -> str:
        """A signature that only this gateway can make."""
        return self._hmac(b"link", text)

    def verify(self, text: str, signature: str) -> bool:
        """Whether `sign` made this signature of the text."""
        return hmac.compare_digest(self.sign(text).encode(), signature.encode("utf-8", "replace"))

    def digest(self, *parts: str | bytes) -> str:
        """A keyed hash of several parts, for keys of a table that must not say what they are made of."""
        joined = b"\0".join(part if isinstance(part, bytes) else part.encode() for part in parts)
        return self._hmac(b"digest", joined)

    def _hmac(self, purpose: bytes, text: str | bytes) -> str:
        message = purpose + b"\0" + (text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text)
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()[:40]


def read_secret(path: str, *, make: bool = True) -> bytes:
    """The gateway's secret, made at the first start where ``make`` says so. Raises OSError, and TokenFileError for one that is too short."""
    try:
        if not make:
            raise FileExistsError
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        with open(path, "rb") as file:
            secret = file.read()
        if len(secret) < 32:
            hint = "remove it to have a new one made" if make else "write one with: openssl rand -hex 32"
            raise TokenFileError(f"{path} is too short for a secret; {hint}") from None
        return secret
    secret = secrets.token_bytes(32)
    with open(fd, "wb") as file:
        file.write(secret)
    return secret


_FIELDS = frozenset({"name", "hash", "expires", "models", "paths", "streams", "tokens_per_day", "admin", "trusted"})


def read_tokens(path: str) -> list[Token]:
    """Read a file of tokens. Raises TokenFileError and OSError.

    [[token]]
    name = "app"
    hash = "sha256:…"          # printed by: unspool serve --new-token app
    models = ["gpt-5*"]
    """
    with open(path, "rb") as file:
        try:
            tables = tomllib.load(file)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise TokenFileError(f"{path}: {error}") from error
    unknown = sorted(set(tables) - {"token"})
    entries = tables.get("token", [])
    if unknown or not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise TokenFileError(f"{path}: expected [[token]] tables, found {', '.join(unknown) or 'something else'}")
    tokens = [_token(entry, f"{path}: token {number}") for number, entry in enumerate(entries, 1)]
    names: dict[str, int] = {}
    for token in tokens:
        names[token.name] = names.get(token.name, 0) + 1
        if names[token.name] > 2:
            raise TokenFileError(f"{path}: {token.name!r} has more than two tokens; two are enough to rotate one")
    if len({token.digest for token in tokens}) < len(tokens):
        raise TokenFileError(f"{path}: the same hash appears twice")
    return tokens


def _token(entry: dict[str, object], place: str) -> Token:
    unknown = sorted(set(entry) - _FIELDS)
    if unknown:
        raise TokenFileError(f"{place}: there is no field {unknown[0]!r}; known fields: {', '.join(sorted(_FIELDS))}")
    name, digest = entry.get("name"), entry.get("hash")
    if not isinstance(name, str) or not name or "/" in name or not name.isprintable():
        raise TokenFileError(f"{place}: name must be a text without slashes")
    if not isinstance(digest, str) or not digest.startswith("sha256:") or len(digest) != 71:
        raise TokenFileError(f"{place} ({name}): hash must be sha256: and 64 hexadecimal digits")
    try:
        raw = bytes.fromhex(digest[7:])
    except ValueError:
        raise TokenFileError(f"{place} ({name}): hash must be sha256: and 64 hexadecimal digits") from None
    return Token(
        name,
        raw,
        _time(entry.get("expires"), f"{place} ({name})"),
        _texts(entry.get("models", []), f"{place} ({name}): models"),
        _texts(entry.get("paths", []), f"{place} ({name}): paths"),
        _count(entry.get("streams"), f"{place} ({name}): streams"),
        _count(entry.get("tokens_per_day"), f"{place} ({name}): tokens_per_day"),
        _flag(entry.get("admin", False), f"{place} ({name}): admin"),
        _flag(entry.get("trusted", False), f"{place} ({name}): trusted"),
    )


def _time(value: object, place: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.astimezone()).timestamp()
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp()
    raise TokenFileError(f"{place}: expires must be a date, such as 2027-01-31")


def _texts(value: object, place: str) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return tuple(value)
    raise TokenFileError(f"{place} must be a list of texts")


def _count(value: object, place: str) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    raise TokenFileError(f"{place} must be a number")


def _flag(value: object, place: str) -> bool:
    if isinstance(value, bool):
        return value
    raise TokenFileError(f"{place} must be true or false")
