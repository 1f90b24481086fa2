"""The gateway's page: in Chromium as a person uses it, and by HTTP as a stranger tries it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from support.server import Server, then_silence
from support.waiting import PATIENCE
from support.wire import SSE_HEAD, piece, start
from unspool.serve.owners import hash_token
from unspool.sim.running import Simulator
from unspool.sim.simulator import SimulatorSettings

from .browser import CHROMIUM, Browser, with_chromium
from .gateways import CHAT, Running, each_event, events

PRINTED = "printed-at-the-start"
HOSTILE = "<img src=x onerror='document.title=1'><script>document.title=2</script>\u202e&amp;\x1b[31m\x00 😀"


@pytest.fixture
def slow() -> Iterator[Simulator]:
    with Simulator(SimulatorSettings(itl=0.05)) as simulator:
        yield simulator


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def browser() -> Iterator[Browser]:
    with Browser(CHROMIUM or "") as running:
        yield running


def page(gateway: Running) -> str:
    return gateway.url.removesuffix("/v1") + "/page/"


def sign_in(browser: Browser, gateway: Running, key: str) -> None:
    browser.go(page(gateway))
    browser.until("document.getElementById('sign-in')?.hidden === false")
    browser.run(
        f"document.getElementById('key').value = {json.dumps(key)}; document.getElementById('sign-in').requestSubmit()"
    )
    browser.until("document.getElementById('streams').hidden === false")


def rows(browser: Browser) -> list[list[str]]:
    found = browser.run(
        "[...document.querySelectorAll('tbody tr')].map(row => [...row.cells].map(one => one.textContent))"
    )
    return found or []


@with_chromium
def test_a_person_watches_a_stream_as_it_is_written_and_cancels_it(
    slow: Simulator, tmp_path: Path, browser: Browser
) -> None:
    with Running(slow.url, tmp_path / "gateway") as gateway:
        response = gateway.ask()
        id = response.headers["X-Unspool-Id"]
        stream = each_event(response)
        next(stream)
        reader = threading.Thread(target=list, args=(stream,))
        reader.start()
        gateway.ask(headers={"Authorization": "Bearer sk-bob"}).close()
        sign_in(browser, gateway, "sk-alice")
        browser.until("document.querySelectorAll('tbody tr').length")
        [row] = rows(browser)
        assert row[:3] == ["running", "gpt-5.4-mini", "chat"]
        assert row[-1] == id[-6:]
        browser.until("Number(document.querySelector('tbody tr').cells[5].textContent) > 1")
        browser.run("document.querySelector('tbody button').click()")
        first = browser.until("document.getElementById('text').textContent")
        browser.until(f"document.getElementById('text').textContent.length > {len(first)}")
        browser.until("/^\\d+\\.\\d+ s to the first token, \\d/.test(document.getElementById('measures').textContent)")
        assert browser.run("location.hash") == f"#{id}"
        browser.reload()
        again = browser.until("document.getElementById('text')?.textContent")
        assert again.startswith(first) or first.startswith(again)
        browser.run("document.getElementById('cancel').click()")
        browser.until("document.getElementById('stream-state').textContent.startsWith('cancelled')")
        reader.join(PATIENCE)
        browser.run("document.getElementById('close').click()")
        browser.until("document.querySelector('tbody tr').cells[0].textContent === 'cancelled'")
        browser.run("document.getElementById('sign-out').click()")
        browser.until("document.getElementById('sign-in').hidden === false")
        assert requests.get(page(gateway) + "streams", timeout=PATIENCE).status_code == 401


@with_chromium
def test_the_token_printed_at_the_start_shows_every_owner(
    simulator: Simulator, tmp_path: Path, browser: Browser
) -> None:
    with Running(simulator.url, tmp_path / "gateway", page_token=PRINTED) as gateway:
        for key in ("sk-alice", "sk-bob"):
            events(gateway.ask(headers={"Authorization": f"Bearer {key}"}))
        sign_in(browser, gateway, PRINTED)
        browser.until("document.querySelectorAll('tbody tr').length === 2")
        assert [row[0] for row in rows(browser)] == ["complete"] * 2
        assert len({row[7] for row in rows(browser)}) == 2


@with_chromium
def test_hostile_text_is_shown_as_text(tmp_path: Path, browser: Browser) -> None:
    body = SSE_HEAD + start("chat", HOSTILE) + piece("chat", HOSTILE)
    with Server(then_silence(body)) as server, Running(server.url, tmp_path / "gateway") as gateway:
        response = gateway.ask({**CHAT, "model": HOSTILE.replace("\x00", "")})
        assert next(each_event(response))
        sign_in(browser, gateway, "sk-alice")
        browser.until("document.querySelectorAll('tbody tr').length")
        browser.run("document.querySelector('tbody button').click()")
        shown = browser.until("document.getElementById('text').textContent")
        assert shown == HOSTILE
        assert browser.run("document.title") == "unspool gateway"
        assert browser.run("document.querySelectorAll('main img, main script').length") == 0
        # Text that comes to be markup all the same could do nothing: neither as HTML, nor as a script, nor as a request.
        assert (
            browser.run("try { document.body.innerHTML = '<b>x</b>'; 'set' } catch (error) { error.name }")
            == "TypeError"
        )
        browser.run(
            "addEventListener('securitypolicyviolation', event => { window.refused = event.violatedDirective });"
            " new Image().src = 'http://127.0.0.1:9/'"
        )
        assert browser.until("window.refused") == "img-src"
        response.close()


@with_chromium
def test_no_credential_is_left_where_a_page_or_a_log_could_read_it(
    simulator: Simulator, tmp_path: Path, browser: Browser
) -> None:
    with Running(simulator.url, tmp_path / "gateway") as gateway:
        sign_in(browser, gateway, "sk-very-secret")
        seen = browser.run("document.cookie + location.href + JSON.stringify({...localStorage, ...sessionStorage})")
        assert "sk-very-secret" not in seen
        assert browser.run("document.cookie") == ""
        assert browser.run("document.getElementById('key').value") == ""
    for path in (tmp_path / "gateway").rglob("*"):
        assert path.is_dir() or b"sk-very-secret" not in path.read_bytes()


# By HTTP


def signed_in(gateway: Running, key: str, **headers: str) -> requests.Session:
    session = requests.Session()
    found = session.post(page(gateway) + "session", json={"key": key}, headers=headers, timeout=PATIENCE)
    assert found.status_code == 204, found.text
    return session


def listed(session: requests.Session, gateway: Running) -> list[dict[str, Any]]:
    found = session.get(page(gateway) + "streams", timeout=PATIENCE)
    assert found.status_code == 200
    return found.json()["streams"]  # type: ignore[no-any-return]


@pytest.fixture
def gateway(simulator: Simulator, tmp_path: Path) -> Iterator[Running]:
    with Running(simulator.url, tmp_path / "gateway", page_token=PRINTED) as running:
        yield running


def test_every_file_has_a_strict_policy_and_nothing_inline(gateway: Running) -> None:
    for name in ("", "page.js", "page.css"):
        found = requests.get(page(gateway) + name, timeout=PATIENCE)
        assert found.status_code == 200
        policy = found.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert found.headers["X-Content-Type-Options"] == "nosniff"
        assert "innerHTML" not in found.text
    html = requests.get(page(gateway).rstrip("/"), timeout=PATIENCE).text
    assert "<style" not in html
    assert " style=" not in html
    assert html.count("<script") == 1


def test_the_cookie_is_out_of_reach_for_scripts_and_other_sites(gateway: Running) -> None:
    found = requests.post(page(gateway) + "session", json={"key": "sk-alice"}, timeout=PATIENCE)
    cookie = found.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "Path=/page" in cookie
    assert "Secure" not in cookie
    assert "sk-alice" not in cookie


def test_one_owner_neither_sees_nor_stops_anothers_streams(gateway: Running) -> None:
    response = gateway.ask()
    id = response.headers["X-Unspool-Id"]
    events(response)
    alice, bob = signed_in(gateway, "sk-alice"), signed_in(gateway, "sk-bob")
    assert [one["id"] for one in listed(alice, gateway)] == [id]
    assert listed(bob, gateway) == []
    assert bob.get(page(gateway) + f"streams/{id}", timeout=PATIENCE).status_code == 404
    assert bob.post(page(gateway) + f"streams/{id}/cancel", timeout=PATIENCE).status_code == 404
    assert [one["id"] for one in listed(signed_in(gateway, PRINTED), gateway)] == [id]


def test_the_cookie_is_no_credential_for_the_api_and_none_other_is_one_for_the_page(gateway: Running) -> None:
    id = gateway.ask().headers["X-Unspool-Id"]
    alice = signed_in(gateway, "sk-alice")
    value = next(iter(alice.cookies)).value
    bare = {"Cookie": f"unspool_page={value}"}
    assert requests.get(f"{gateway.url}/streams", headers=bare, timeout=PATIENCE).json()["data"] == []
    key = {"Authorization": "Bearer sk-alice"}
    assert requests.get(page(gateway) + "streams", headers=key, timeout=PATIENCE).status_code == 401
    deleted = alice.delete(page(gateway) + f"streams/{id}", timeout=PATIENCE)
    linked = alice.post(page(gateway) + f"streams/{id}/link", timeout=PATIENCE)
    assert (deleted.status_code, linked.status_code) == (404, 404)


@pytest.mark.parametrize("change", ["", "x", "e30.x", "W10.abc", "=.=", "\u00ff"])
def test_a_cookie_that_was_not_signed_here_is_nobodys(change: str, gateway: Running) -> None:
    header = f"a=b; unspool_page={change}".encode("latin-1")
    found = requests.get(page(gateway) + "streams", headers={"Cookie": header}, timeout=PATIENCE)
    assert found.status_code == 401


def test_what_another_site_makes_a_browser_send_is_refused(gateway: Running) -> None:
    id = gateway.ask().headers["X-Unspool-Id"]
    alice = signed_in(gateway, "sk-alice")
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        for path in (f"streams/{id}/cancel", "session"):
            found = alice.post(page(gateway) + path, json={"key": "sk-bob"}, headers=headers, timeout=PATIENCE)
            assert found.status_code == 403, headers


def test_an_origin_that_cors_allows_may_use_the_api_and_not_the_page(simulator: Simulator, tmp_path: Path) -> None:
    origin = "http://127.0.0.1:3000"
    with Running(simulator.url, tmp_path / "gateway", origins=(origin,)) as gateway:
        alice = signed_in(gateway, "sk-alice")
        found = alice.get(page(gateway) + "streams", headers={"Origin": origin}, timeout=PATIENCE)
        assert found.status_code == 403
        assert gateway.get("/streams", headers={"Origin": origin}).status_code == 200


def test_a_removed_token_signs_its_page_out_at_once(simulator: Simulator, tmp_path: Path) -> None:
    def write(*names: str) -> Path:
        text = "".join(f'[[token]]\nname = "{one}"\nhash = "{hash_token(one)}"\n' for one in names)
        text += f'[[token]]\nname = "boss"\nhash = "{hash_token("boss")}"\nadmin = true\n'
        (tmp_path / "tokens.toml").write_text(text)
        return tmp_path / "tokens.toml"

    with Running(simulator.url, tmp_path / "gateway", key="sk-up", tokens=write("app", "web")) as gateway:
        events(gateway.ask(headers={"Authorization": "Bearer app"}))
        refused = requests.post(page(gateway) + "session", json={"key": "sk-no"}, timeout=PATIENCE)
        assert refused.status_code == 401
        app, web, boss = (signed_in(gateway, one) for one in ("app", "web", "boss"))
        assert [len(listed(one, gateway)) for one in (app, web, boss)] == [1, 0, 1]
        write("web")
        gateway.loop.call_soon_threadsafe(gateway.worker.reload)
        while app.get(page(gateway) + "streams", timeout=PATIENCE).status_code != 401:
            pass
        assert listed(web, gateway) == []


def test_a_token_of_an_earlier_start_is_worth_nothing(simulator: Simulator, tmp_path: Path) -> None:
    with Running(simulator.url, tmp_path / "gateway", page_token=PRINTED) as gateway:
        session = signed_in(gateway, PRINTED)
        assert listed(session, gateway) == []
    with Running(simulator.url, tmp_path / "gateway", page_token="another") as gateway:
        assert session.get(page(gateway) + "streams", timeout=PATIENCE).status_code == 401


def test_a_proxy_that_ends_tls_gets_a_cookie_that_never_leaves_tls(gateway: Running) -> None:
    host = gateway.url.split("/")[2]
    found = requests.post(
        page(gateway) + "session", json={"key": "k"}, headers={"Origin": f"https://{host}"}, timeout=PATIENCE
    )
    assert "; Secure" in found.headers["Set-Cookie"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"key": 1}', b"x" * 10000, b'{"key": "\\ud800"}'])
def test_a_body_that_is_no_credential_is_refused_in_words(body: bytes, gateway: Running) -> None:
    found = requests.post(page(gateway) + "session", data=body, timeout=PATIENCE)
    assert found.status_code in (400, 413)
    assert found.json()["error"]["message"]
