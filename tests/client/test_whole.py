"""One request, its whole answer, and how its connection came to be."""

from __future__ import annotations

import pytest
import trustme

from support.server import Server, sends
from unspool.client.http import Request
from unspool.client.http.whole import fetch

_REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def test_a_connection_over_tls_is_told_step_by_step(
    authority: trustme.CA, tls, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "bundle.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    with Server(sends(_REPLY), tls=tls) as server:
        reply = fetch(Request("GET", server.url, {}), 10.0)
    seen = reply.connection
    assert (reply.status, reply.fault, reply.body) == (200, None, b"{}")
    assert 0 < seen.resolved <= seen.connected < seen.tls <= seen.answered
    assert seen.address == f"127.0.0.1:{server.port}"
    assert "trustme" in seen.issuer
    assert seen.expires


def test_a_certificate_that_is_not_trusted_stops_after_the_connection(tls) -> None:
    with Server(sends(_REPLY), tls=tls) as server:
        reply = fetch(Request("GET", server.url, {}), 10.0)
    assert reply.fault is not None
    assert (reply.status, reply.fault.outcome) == (0, "unreachable")
    assert reply.connection.connected > 0
    assert reply.connection.tls == 0
