"""Ways through a proxy: which variable counts, what the server gets, and whose fault it is."""

from __future__ import annotations

import select
import socket
import ssl

import pytest

from support.server import Connection, Script, Server, sends
from support.waiting import PATIENCE
from support.wire import SSE_HEAD, error, reply

from .reading import WHOLE, piece, read

NAME = "api.unspool.test"  # never resolved: the proxy is asked for it


def tunnel(port: int, answer: bytes = b"HTTP/1.1 200 Connection established\r\nX-Proxy: yes\r\n\r\n") -> Script:
    """The script of a proxy that connects to a port of this machine, whatever host it is asked for."""

    def script(connection: Connection) -> None:
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as server:
            connection.send(answer)
            ends = {connection.socket: server, server: connection.socket}
            while True:
                for sock in select.select(list(ends), [], [], PATIENCE)[0]:
                    data = sock.recv(65536)
                    if not data:
                        return
                    ends[sock].sendall(data)

    return script


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_plain_http_goes_through_the_proxy_that_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(sends(SSE_HEAD, WHOLE)) as proxy:
        monkeypatch.setenv(name, f"http://{proxy.host}")
        assert read(f"http://{NAME}/v1").text == "Hello"
        assert proxy.requests[0].path == f"http://{NAME}/v1/chat/completions"


def test_a_visitor_of_a_cgi_program_cannot_choose_its_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(sends(SSE_HEAD, WHOLE)) as proxy, Server(sends(SSE_HEAD, WHOLE)) as server:
        monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.host}")
        monkeypatch.setenv("REQUEST_METHOD", "GET")
        read(server.url)
        assert (len(proxy.requests), len(server.requests)) == (0, 1)


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("name", ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])
def test_https_goes_through_a_tunnel_that_sees_no_key(
    name: str, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server(sends(SSE_HEAD, WHOLE), tls=tls) as server, Server(tunnel(server.port)) as proxy:
        monkeypatch.setenv(name, f"http://{proxy.host}")
        ended = read("https://localhost:4443/v1")
        assert ended.text == "Hello"
        asked = proxy.requests[0]
    assert (asked.method, asked.path) == ("CONNECT", "localhost:4443")
    assert "authorization" not in asked.headers
    assert "x-proxy" not in ended.journal


@pytest.mark.usefixtures("trusted")
def test_the_answer_to_connect_is_never_taken_for_the_servers(
    tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = error(400, "bad model")
    with Server(sends(refused), tls=tls) as server, Server(tunnel(server.port)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.host}")
        ended = read("https://localhost:4443/v1")
    assert (ended.outcome, ended.message) == ("bad_request", "bad model")


@pytest.mark.usefixtures("trusted")
def test_a_server_that_closes_behind_a_tunnel_gave_no_answer(
    tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server(lambda connection: None, tls=tls) as server, Server(tunnel(server.port)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.host}")
        ended = read("https://localhost:4443/v1", retries=1)
        assert len(server.requests) == 2
    assert ended.outcome == "cut"
    assert '"status":200' not in ended.journal


@pytest.mark.usefixtures("trusted")
def test_a_stream_that_breaks_behind_a_tunnel_is_cut(tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(sends(SSE_HEAD, piece("Hel")), tls=tls) as server, Server(tunnel(server.port)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.host}")
        ended = read("https://localhost:4443/v1")
    assert (ended.outcome, ended.text) == ("cut", "Hel")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (reply(407, b"go away", proxy_authenticate='Basic realm="x"'), "user name and password"),
        (reply(502, b"no route"), "502"),
        (reply(403, b"forbidden"), "403"),
        (b"", "does not connect"),
    ],
)
def test_a_proxy_that_does_not_connect_is_named_without_its_password(
    answer: bytes, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server(sends(answer)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://joe:s3cretpass@{proxy.host}")
        ended = read(f"https://{NAME}/v1", retries=0)
        assert proxy.requests[0].headers["proxy-authorization"].startswith("Basic ")
    assert ended.outcome == "unreachable"
    assert f"proxy {proxy.host}" in ended.message
    assert words in ended.message
    assert "s3cret" not in ended.message + ended.journal


def test_a_502_of_a_proxy_is_tried_again_and_a_407_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(sends(reply(502))) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.host}")
        read(f"https://{NAME}/v1")
        assert len(proxy.requests) == 3
    with Server(sends(reply(407))) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.host}")
        read(f"https://{NAME}/v1")
        assert len(proxy.requests) == 1


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_down_is_named_without_its_password(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv(f"{scheme.upper()}_PROXY", f"http://joe:s3cretpass@127.0.0.1:{port}")
    ended = read(f"{scheme}://{NAME}/v1", retries=1)
    assert ended.outcome == "unreachable"
    assert f"proxy 127.0.0.1:{port}" in ended.message
    assert "s3cret" not in ended.message + ended.journal
    assert ended.journal.count("event: unspool.attempt") == 1


def test_a_proxy_that_refuses_a_plain_request_is_no_fault_of_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(sends(reply(407, b"sign in at the proxy"))) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.host}")
        ended = read(f"http://{NAME}/v1")
    assert ended.outcome == "unreachable"
    assert "sign in" in ended.message


@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
@pytest.mark.parametrize("value", ["127.0.0.1", "example.com,127.0.0.1", "*"])
def test_a_host_that_no_proxy_names_is_asked_directly(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(sends(SSE_HEAD, WHOLE)) as proxy, Server(sends(SSE_HEAD, WHOLE)) as server:
        monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.host}")
        monkeypatch.setenv(name, value)
        assert read(server.url).outcome == "complete"
        assert (len(proxy.requests), len(server.requests)) == (0, 1)


@pytest.mark.parametrize(
    ("entry", "is_excepted"),
    [
        ("127.0.0.1:{port}", True),
        ("example.com, 127.0.0.1:{port}", True),
        ("127.0.0.1:1", False),
        ("27.0.0.1:{port}", False),
    ],
)
def test_no_proxy_may_except_one_port_of_a_host(entry: str, is_excepted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(sends(SSE_HEAD, WHOLE)) as proxy, Server(sends(SSE_HEAD, WHOLE)) as server:
        monkeypatch.setenv("http_proxy", f"http://{proxy.host}")
        monkeypatch.setenv("NO_PROXY", entry.format(port=server.host.rpartition(":")[2]))
        assert read(server.url).text == "Hello"
        assert (len(proxy.requests), len(server.requests)) == ((0, 1) if is_excepted else (1, 0))


def test_a_host_that_no_proxy_names_is_not_blamed_on_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    ended = read(f"http://127.0.0.1:{free_port()}/v1", retries=0)
    assert "cannot connect" in ended.message
    assert "proxy" not in ended.message


def test_a_stream_may_be_told_to_use_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    with Server(sends(SSE_HEAD, WHOLE)) as server:
        assert read(server.url, use_proxy=False).outcome == "complete"


def test_an_empty_variable_names_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(sends(SSE_HEAD, WHOLE)) as proxy:
        monkeypatch.setenv("http_proxy", "")
        monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.host}")
        assert read(f"http://{NAME}/v1").outcome == "complete"


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_may_be_spoken_to_over_tls(scheme: str, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(sends(SSE_HEAD, WHOLE), tls=tls if scheme == "https" else None) as server:
        through = tunnel(server.port) if scheme == "https" else sends(SSE_HEAD, WHOLE)
        with Server(through, tls=tls) as proxy:
            monkeypatch.setenv(f"{scheme}_proxy", f"https://{proxy.host}")
            assert read(f"{scheme}://localhost:4443/v1").text == "Hello"
            assert len(proxy.requests) == 1


def test_a_proxy_that_is_not_trusted_is_refused(tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(sends(SSE_HEAD, WHOLE), tls=tls) as proxy:
        monkeypatch.setenv("http_proxy", f"https://joe:s3cretpass@{proxy.host}")
        ended = read(f"http://{NAME}/v1")
        assert proxy.requests == []
    assert ended.outcome == "unreachable"
    assert f"proxy {proxy.host}" in ended.message
    assert "s3cret" not in ended.message
