"""Base URLs: what is accepted agrees with the standard library's parser, and what is ambiguous is refused."""

from __future__ import annotations

from urllib.parse import quote, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unspool.config import ConfigError
from unspool.config.url import is_loopback, parse_base_url, percent_encode

hosts = st.one_of(
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9.-]{0,20}", fullmatch=True),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
)
ports = st.one_of(st.just(""), st.integers(1, 65535).map(lambda port: f":{port}"))
paths = st.from_regex(r"(/[A-Za-z0-9._~%!$&'()*+,;=:@-]{0,8}){0,4}", fullmatch=True)


@given(st.sampled_from(["http", "https", "HTTP", "Https"]), hosts, ports, paths)
def test_a_valid_url_is_split_as_urllib_splits_it(scheme: str, host: str, port: str, path: str) -> None:
    url = f"{scheme}://{host}{port}{path}"
    address, expected = parse_base_url(url, "it"), urlsplit(url)
    assert address.scheme == expected.scheme
    assert address.host.strip("[]") == expected.hostname
    assert address.port == expected.port or expected.port is None
    assert address.path == expected.path.rstrip("/")


@given(st.text("htps:/@[]?#\\%.1aA \t\n\0é", max_size=20).map(lambda rest: "http://" + rest))
def test_whatever_is_accepted_has_the_host_that_urllib_sees(url: str) -> None:
    try:
        address = parse_base_url(url, "it")
    except ConfigError:
        return
    if address.host.startswith("["):
        return  # urllib looks closer at IPv6 addresses and refuses some
    expected = urlsplit(url.strip())
    assert address.host == expected.hostname
    assert expected.username is None


@given(st.text())
def test_percent_encoding_is_urllibs_with_nothing_safe(text: str) -> None:
    assert percent_encode(text) == quote(text, safe="")
    assert unquote(percent_encode(text)) == text


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.example.com/v1",
        "localhost:8000",
        "ftp://example.com",
        "http://",
        "http:///v1",
        "https:/example.com",
        "https://user:hunter2@example.com/v1",
        "https://hunter2@example.com",
        "https://example.com\\@evil.example/v1",
        "https://example.com#@evil.example",
        "https://example.com/v1?key=hunter2",
        "https://%65xample.com",
        "https://exämple.com",
        "https://exam ple.com",
        "https://example.com:0",
        "https://example.com:65536",
        "https://example.com:٣",
        "https://example.com:8a",
        "https://[::1",
        "https://[::1]x",
        "https://[fe80::1%25eth0]/",
        "https://example.com/a b",
        "https://example.com/v1\r\nX-Header: hunter2",
    ],
)
def test_a_url_that_is_not_plain_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_base_url(url, "--base-url")
    assert str(raised.value).startswith("--base-url ")
    assert "hunter2" not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "base_url", "api"),
    [
        ("https://example.com/v1/chat/completions", "https://example.com/v1", "chat"),
        ("https://example.com/v1/chat/completions/", "https://example.com/v1", "chat"),
        ("https://example.com/v1/completions", "https://example.com/v1", "completions"),
        ("https://example.com/v1/responses", "https://example.com/v1", "responses"),
        ("https://example.com/v1", "https://example.com/v1", None),
        ("https://example.com/v1///", "https://example.com/v1", None),
        (" https://EXAMPLE.com:443/V1\n", "https://example.com/V1", None),
        ("http://example.com:80", "http://example.com", None),
        ("http://example.com:443", "http://example.com:443", None),
        ("https://[::1]:8443/v1", "https://[::1]:8443/v1", None),
    ],
)
def test_a_pasted_endpoint_becomes_a_base_url_and_its_api(url: str, base_url: str, api: str | None) -> None:
    address = parse_base_url(url, "it")
    assert (address.base_url, address.api) == (base_url, api)


@pytest.mark.parametrize("host", ["localhost", "api.localhost", "127.0.0.1", "127.8.9.10", "[::1]"])
def test_these_hosts_are_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1.example.com", "127.evil.example.com", "localhost.example.com", "128.0.0.1", "[::2]", "127.0.0.x"],
)
def test_these_hosts_only_look_like_this_machine(host: str) -> None:
    assert not is_loopback(host)
