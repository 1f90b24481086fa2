"""Where redirects lead, and what goes along."""

from __future__ import annotations

import json
import ssl

import pytest

from support.server import Server, sends
from support.wire import SSE_HEAD, error, reply
from unspool.config.url import same_origin

from .reading import KEY, WHOLE, read

SECRET = {"X-Team": "team-secret-value"}


def to(location: str, status: int = 307) -> bytes:
    return reply(status, location=location)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_followed_with_the_same_request(status: int) -> None:
    with Server(sends(to("/other/chat/completions", status)), sends(SSE_HEAD, WHOLE)) as server:
        assert read(server.url).text == "Hello"
        first, second = server.requests
    assert (second.method, second.path) == ("POST", "/other/chat/completions")
    assert json.loads(second.body) == json.loads(first.body)
    assert second.headers["authorization"] == f"Bearer {KEY}"


def test_a_303_is_fetched_with_get_and_without_the_body() -> None:
    with Server(sends(to("/jobs/1", 303)), sends(SSE_HEAD, WHOLE)) as server:
        assert read(server.url).text == "Hello"
        second = server.requests[1]
    assert (second.method, second.path, second.body) == ("GET", "/jobs/1", b"")


def test_the_fifth_redirect_is_followed() -> None:
    hops = [sends(to(f"/{hop}")) for hop in range(5)]
    with Server(*hops, sends(SSE_HEAD, WHOLE)) as server:
        assert read(server.url).outcome == "complete"


def test_a_circle_of_redirects_is_given_up_after_five() -> None:
    with Server(sends(to("/again"))) as server:
        ended = read(server.url)
        assert ended.outcome == "unreachable"
        assert "in circles" in ended.message
        assert len(server.requests) == 6


def test_a_redirect_without_a_location_is_unreachable() -> None:
    with Server(sends(reply(302))) as server:
        assert "redirects without saying where" in read(server.url).message


@pytest.mark.parametrize("location", ["http://[::1", "ftp://example.com/", "file:///etc/passwd", "javascript:alert(1)"])
def test_a_location_that_is_no_http_url_is_unreachable(location: str) -> None:
    with Server(sends(to(location))) as server:
        ended = read(server.url, retries=0)
        assert ended.outcome == "unreachable"
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "location", ["/caf\xe9", "/a b", "/x#fragment", "?x=1", "../y", "//{host}/z", "HTTP://{host}/q"]
)
def test_a_location_of_any_form_is_followed(location: str) -> None:
    with Server() as server:
        server.answers = (sends(to(location.format(host=server.host))), sends(SSE_HEAD, WHOLE))
        assert read(server.url).outcome == "complete"
        assert server.requests[1].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("auth", ["bearer", "api-key"])
def test_the_key_and_the_headers_of_a_profile_stay_with_their_origin(auth: str) -> None:
    with Server(sends(SSE_HEAD, WHOLE)) as other, Server(sends(to(f"{other.url}/chat/completions"))) as server:
        assert read(server.url, auth=auth, headers=SECRET).text == "Hello"
        sent, leaked = server.requests[0], other.requests[0]
    assert KEY in str(sent.headers)
    assert sent.headers["x-team"] == "team-secret-value"
    assert KEY not in f"{leaked.path}{leaked.headers}{leaked.body!r}"
    assert "x-team" not in leaked.headers
    assert leaked.body == sent.body


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("status", [303, 307])
@pytest.mark.parametrize(
    "location", ["http://prompts.invalid/v1", "http://[2001:db8::1]:80/v1", "HTTP://127.0.0.1.invalid/"]
)
def test_a_redirect_from_https_to_http_is_refused(tls: ssl.SSLContext, location: str, status: int) -> None:
    with Server(sends(to(location, status)), tls=tls) as server:
        ended = read(server.url)
        assert (ended.outcome, len(server.requests)) == ("unreachable", 1)
    assert ended.message.endswith(", which is not encrypted")


@pytest.mark.usefixtures("trusted")
def test_a_redirect_from_https_to_http_on_this_machine_is_followed(tls: ssl.SSLContext) -> None:
    with Server(sends(SSE_HEAD, WHOLE)) as plain, Server(sends(to(f"{plain.url}/chat/completions")), tls=tls) as server:
        assert read(server.url).text == "Hello"


def test_another_name_of_the_same_machine_is_another_origin() -> None:
    with Server() as server:
        server.answers = (sends(to(f"http://localhost:{server.port}/v1")), sends(SSE_HEAD, WHOLE))
        assert read(server.url).outcome == "complete"
        assert "authorization" not in server.requests[1].headers


@pytest.mark.parametrize(
    "trick", ["http://{own}@{other}/", "http://{other}\\@{own}/", "http://{other}#@{own}/", "http://{other}?@{own}/"]
)
def test_no_form_of_a_location_smuggles_the_key_to_another_origin(trick: str) -> None:
    with Server(sends(error(401))) as other, Server() as server:
        server.answers = (sends(to(trick.format(own=server.host, other=other.host))), sends(error(401)))
        read(server.url)
        assert all(KEY not in str(request.headers) for request in other.requests)


def test_a_401_behind_a_redirect_says_that_the_key_was_withheld() -> None:
    with Server(sends(error(401, "who are you?"))) as other, Server(sends(to(other.url))) as server:
        ended = read(server.url)
    assert ended.outcome == "unauthorized"
    assert f"http://{other.host}" in ended.message
    assert "key was not sent" in ended.message


def test_a_redirect_back_home_gets_the_key_again() -> None:
    with Server() as other, Server() as server:
        other.answers = (sends(to(f"{server.url}/back")),)
        server.answers = (sends(to(other.url)), sends(error(401, "wrong key")))
        ended = read(server.url, headers=SECRET)
        back = server.requests[1]
    assert back.headers["authorization"] == f"Bearer {KEY}"
    assert back.headers["x-team"] == "team-secret-value"
    assert "not sent" not in ended.message


def test_a_retry_behind_a_redirect_asks_there_and_without_the_key() -> None:
    with Server(sends(error(503)), sends(SSE_HEAD, WHOLE)) as other, Server(sends(to(other.url))) as server:
        assert read(server.url).outcome == "complete"
        assert len(server.requests) == 1
        assert len(other.requests) == 2
        assert "authorization" not in other.requests[1].headers


def test_a_redirect_is_in_the_journal_as_an_attempt_without_path_and_query() -> None:
    with Server(sends(SSE_HEAD, WHOLE)) as other, Server(sends(to(f"{other.url}/x?token=t0ken"))) as server:
        journal = read(server.url).journal
    assert f'"redirect":"http://{other.host}"' in journal
    assert "t0ken" not in journal


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ("https://api.example.com/elsewhere?x#y", True),
        ("https://API.example.com:443/", True),
        ("HTTPS://api.example.com", True),
        ("https://user:password@api.example.com/", True),
        ("http://api.example.com/", False),
        ("https://api.example.com:8443/", False),
        ("https://example.com/", False),
        ("https://api.example.com.evil.test/", False),
        ("https://api.example.com@evil.test/", False),
        ("https://evil.test/@api.example.com", False),
        ("https://evil.test#@api.example.com", False),
        ("http://api.example.com:443/", False),
    ],
)
def test_an_origin_is_its_scheme_host_and_port(other: str, same: bool) -> None:
    assert same_origin("https://api.example.com/v1", other) is same
