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
        "openai-organization",
        "openai-project",
        "openai-beta",
        "traceparent",
        "tracestate",
        "user-agent",
        "x-client-request-id",
        "x-request-id",
        "x-stainless-arch",
        "x-stainless-async",
        "x-stainless-lang",
        "x-stainless-os",
        "x-stainless-package-version",
        "x-stainless-read-timeout",
        "x-stainless-retry-count",
        "x-stainless-runtime",
        "x-stainless-runtime-version",
        "x-stainless-timeout",
    }
)

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


def upstream_headers(headers: Iterable[tuple[bytes, bytes]], *, pass_authorization: bool) -> dict[str, str]:
    """The headers of a client's request that go to upstream. ``pass_authorization`` is for the caller's own key."""
    passed: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name = raw_name.decode("ascii").lower()
        if name in _UP or (pass_authorization and name in ("authorization", "api-key", "x-api-key")):
            passed[name] = raw_value.decode("latin-1")
    return passed


def downstream_headers(headers: Mapping[str, str], *, replayed: bool = False) -> list[tuple[bytes, bytes]]:
    """The headers of upstream's response that a client gets; rate limits only with the response that they came with."""
    return [
        (name.encode("ascii"), value.encode("latin-1", "replace"))
        for name, value in headers.items()
        if name in _DOWN or (not replayed and name.startswith(_DOWN_LIVE))
    ]
