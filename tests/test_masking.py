"""Secrets in foreign text: found in every form that unescapes to them, and nothing else is touched."""

from __future__ import annotations

import base64
import html
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unspool.masking import MASK, Mask, secrets_of, without_secrets

KEY = "sk-proj-0123456789abcdefgh/+%&\"'xyz"
SECRETS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=16, max_size=40)
ESCAPES = {
    "as it is": lambda text: text,
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON with escaped slashes": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "JSON of code points": lambda text: "".join(f"\\u{ord(one):04x}" for one in text),
    "percent": lambda text: quote(text, safe=""),
    "percent in lower case": lambda text: "".join(f"%{ord(one):02x}" for one in text),
    "HTML": html.escape,
    "HTML by number": lambda text: "".join(f"&#{ord(one)};" for one in text),
}


@pytest.mark.parametrize("escape", ESCAPES.values(), ids=list(ESCAPES))
@pytest.mark.parametrize("around", ESCAPES.values(), ids=list(ESCAPES))
@given(secret=SECRETS)
def test_a_secret_is_found_in_every_form_and_within_another(secret: str, escape: object, around: object) -> None:
    shown = around(escape(secret))  # type: ignore[operator]
    assert Mask([secret]).text(f"no key <{shown}> here") == f"no key <{MASK}> here"


@given(secret=SECRETS, before=st.text("xyz ", max_size=30), limit=st.integers(1, 60))
def test_of_a_key_that_was_cut_at_most_its_first_characters_are_left(secret: str, before: str, limit: int) -> None:
    text = f"{before} {secret} is not valid"[:limit]
    masked = Mask([secret]).text(text + "…")
    assert secret[:8] not in masked or secret[:8] in before


def test_a_key_of_which_a_server_shows_the_most_is_masked() -> None:
    assert Mask([KEY]).text(f"wrong key {KEY[:20]}****") == f"wrong key {MASK}****"


def test_a_key_that_begins_with_another_is_masked_to_its_end() -> None:
    assert Mask(["sk-abcdefgh", "sk-abcdefgh-more"]).text("sk-abcdefgh-more") == MASK


def test_what_is_too_short_for_a_secret_is_left_alone() -> None:
    assert Mask(["none", ""], ["a"]).text("a none of them") == "a none of them"


@given(st.text())
def test_text_without_a_secret_is_left_as_it_is(text: str) -> None:
    assert Mask(["\U0001f511" * 8], ["\U0001f512" * 9]).text(text) == text


def test_both_halves_of_basic_authentication_are_secret() -> None:
    pair = base64.b64encode(b"user:correct horse").decode()
    mask = Mask([], secrets_of({"Authorization": f"Basic {pair}"}))
    assert mask.text(f"Basic {pair}; {pair}; correct horse") == f"{MASK}; {MASK}; {MASK}"


def test_public_headers_and_a_querys_version_are_no_secrets() -> None:
    assert (
        secrets_of({"User-Agent": "a program", "HTTP-Referer": "https://example.com"}, {"api-version": "2024-10-21"})
        == []
    )


TOOL = {
    "type": "mcp",
    "server_url": "https://user:hunter22@mcp.example/sse?key=SECRET-1&v",
    "authorization": "SECRET-2",
    "headers": {"X-Token": "SECRET-3", "X-Number": 3},
}


def test_secrets_in_a_request_body_are_masked_where_its_fields_name_them() -> None:
    body = {
        "model": "m",
        "input": [{"role": "user", "content": "my password: SECRET-0"}],
        "tools": [TOOL],
        "extra": {"router": {"api_key": "SECRET-4", "Password": "SECRET-5"}},
        "data_sources": [{"parameters": {"authentication": {"type": "api_key", "key": "SECRET-6"}}}],
    }
    masked = without_secrets(body)
    text = json.dumps(masked.body)
    assert [number for number in range(7) if f"SECRET-{number}" in text] == [0]
    assert "hunter22" not in text
    assert "mcp.example/sse" in text
    assert masked.places == [
        "tools[0].server_url",
        "tools[0].authorization",
        "tools[0].headers",
        "extra.router.api_key",
        "extra.router.Password",
        "data_sources[0].parameters.authentication",
    ]
    assert body["tools"] == [TOOL], "the request that is sent stays as it was"


def test_a_schema_with_a_property_that_is_called_password_is_no_secret() -> None:
    parameters = {"type": "object", "properties": {"password": {"type": "string", "default": "x"}, "token": "string"}}
    body = {
        "tools": [{"type": "function", "function": {"name": "login", "parameters": parameters}}],
        "prompt": {"token": "x"},
    }
    assert without_secrets(body).body is body
