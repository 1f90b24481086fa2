"""Which headers pass through the gateway: allow-lists in both directions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

#: Headers of a client's request that upstream gets. Everything else stays here: hop-by-hop headers, cookies, ``Origin``, ``Forwarded``
#: and its kin, tokens of the gateway.
_UP = frozenset(
    {
        "accept",
        "accept-language",
        "content-type",
        "idempotency-key",
        "openai-beta",
        "traceparent",
        "tracestate",
        "user-agent",
        "x-client-request-id",
        "x-request-id",
    }
)
# What the SDKs of OpenAI say of themselves.
_SDK = "x-stainless-"
# Headers that are for the gateway, and go no further.
_OWN = ("last-event-id", "x-unspool-abandon", "x-unspool-user")

#: Credentials, of which the first that a request has goes upstream where callers have their own keys.
CREDENTIALS = ("authorization", "api-key", "x-api-key")
# Whose account of that key is asked: the caller's choice only where the key is the caller's.
_ACCOUNT = ("openai-organization", "openai-project")

#: Headers of upstream's response that a client gets.
_DOWN = frozenset(
    {
        "cf-ray",
        "content-disposition",
        "content-language",
        "content-type",
        "date",
        "etag",
        "last-modified",
        "location",
        "openai-model",
        "openai-organization",
        "openai-processing-ms",
        "openai-project",
        "openai-version",
        "request-id",
        "retry-after",
        "retry-after-ms",
        "server",
        "x-request-id",
        "x-should-retry",
    }
)
# Current limits: true when upstream said them, wrong when a stream is read again later.
_DOWN_LIVE = ("x-ratelimit-", "ratelimit-", "ratelimit", "anthropic-ratelimit-")

#: On every route of a stream, errors included: nothing may keep a copy, change it or hold it back.
STREAM_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),
)


def upstream_headers(headers: Iterable[tuple[bytes, bytes]], *, with_account: bool) -> dict[str, str]:
    """The headers of a client's request that go to upstream. ``with_account``: with the caller's own key, and whose account it asks."""
    passed: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name = raw_name.decode("ascii").lower()
        if name in _UP or name.startswith(_SDK) or (with_account and (name in CREDENTIALS or name in _ACCOUNT)):
            passed[name] = raw_value.decode("latin-1")
    for name in [one for one in CREDENTIALS if one in passed][1:]:
        # The owner is that of the first; another's key beside it must not be what upstream goes by.
        del passed[name]
    return passed


def may_be_sent(name: str) -> bool:
    """Whether a page of another origin may send this header to the gateway."""
    return name in _UP or name in CREDENTIALS or name in _ACCOUNT or name in _OWN or name.startswith(_SDK)


def downstream_headers(headers: Mapping[str, str], *, replayed: bool = False) -> list[tuple[bytes, bytes]]:
    """The headers of upstream's response that a client gets; rate limits only with the response that they came with."""
    return [
        (name.encode("ascii"), value.encode("latin-1", "replace"))
        for name, value in headers.items()
        if name in _DOWN or (not replayed and name.startswith(_DOWN_LIVE))
    ]
