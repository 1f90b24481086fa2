"""Whom the client trusts."""

from __future__ import annotations

import datetime
import ssl
import subprocess
from pathlib import Path

import pytest
import trustme

from support.server import Connection, Server, sends
from support.wire import SSE_HEAD

from .reading import WHOLE, piece, read


@pytest.fixture
def bundle(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "bundle.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


def serving(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def expect_refusal(tls: ssl.SSLContext, *words: str, host: str = "127.0.0.1") -> None:
    with Server(sends(SSE_HEAD, WHOLE), tls=tls) as server:
        ended = read(f"https://{host}:{server.port}/v1")
        assert ended.outcome == "unreachable"
        assert server.requests == []
        assert server.connections <= 1
    for word in (f"{host}:{server.port}", *words):
        assert word in ended.message


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "CURL_CA_BUNDLE"])
def test_a_private_authority_is_trusted_when_a_variable_names_its_file(
    name: str, tls: ssl.SSLContext, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, str(bundle))
    with Server(sends(SSE_HEAD, WHOLE), tls=tls) as server:
        assert read(server.url).text == "Hello"


def test_a_private_authority_is_trusted_when_its_folder_is_named(
    tls: ssl.SSLContext, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = tmp_path / "one.pem"
    authority.cert_pem.write_to_path(str(certificate))
    try:
        run = subprocess.run(
            ["openssl", "x509", "-hash", "-noout", "-in", str(certificate)], capture_output=True, text=True, check=True
        )
    except FileNotFoundError:
        pytest.skip("the openssl command is not installed")
    folder = tmp_path / "folder"
    folder.mkdir()
    certificate.rename(folder / f"{run.stdout.strip()}.0")
    monkeypatch.setenv("SSL_CERT_DIR", str(folder))
    with Server(sends(SSE_HEAD, WHOLE), tls=tls) as server:
        assert read(server.url).text == "Hello"


def test_an_empty_folder_of_authorities_trusts_nobody(
    tls: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    expect_refusal(tls, "is not trusted")


def test_an_unknown_authority_is_refused(tls: ssl.SSLContext) -> None:
    expect_refusal(tls, "is not trusted")


@pytest.mark.usefixtures("trusted")
def test_a_certificate_for_another_host_is_refused(authority: trustme.CA) -> None:
    expect_refusal(serving(authority.issue_cert("api.example.com")), "is not trusted", "127.0.0.1")


@pytest.mark.usefixtures("trusted")
def test_an_expired_certificate_is_refused(authority: trustme.CA) -> None:
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    expect_refusal(serving(authority.issue_cert("127.0.0.1", not_after=past)), "is not trusted", "expired")


def test_a_file_of_authorities_that_is_missing_is_named(tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/bundle.pem")
    expect_refusal(tls, "/nowhere/bundle.pem")


def test_a_server_without_tls_behind_an_https_url_is_unreachable() -> None:
    with Server(Connection.wait_closed, raw=True) as server:
        # What a plain HTTP server says to a TLS handshake.
        server.answers = (lambda connection: connection.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"),)
        ended = read(f"https://127.0.0.1:{server.port}/v1", retries=0)
    assert ended.outcome == "unreachable"
    assert "TLS" in ended.message


@pytest.mark.usefixtures("trusted")
def test_a_tls_connection_that_ends_without_saying_so_is_cut(tls: ssl.SSLContext) -> None:
    with Server(sends(SSE_HEAD, piece("Hel")), tls=tls) as server:
        ended = read(server.url)
    assert (ended.outcome, ended.text) == ("cut", "Hel")


@pytest.mark.usefixtures("trusted")
def test_a_whole_answer_is_complete_though_tls_ends_without_saying_so(tls: ssl.SSLContext) -> None:
    with Server(sends(SSE_HEAD, WHOLE), tls=tls) as server:
        assert read(server.url).outcome == "complete"
