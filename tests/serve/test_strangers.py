"""Nobody gets at another owner's streams or at the gateway's key, or makes the gateway ask what it must not."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from support.server import Connection, Server, then_silence
from support.waiting import PATIENCE, until
from support.wire import SSE_HEAD, piece, reply, start
from unspool.serve import gateway as gateway_module
from unspool.sim.running import Simulator

from .gateways import CHAT, Running, bearer, events, raw, write_tokens

RESPONSES = {"model": "gpt-5.4-mini", "stream": True, "input": "What is Python?"}


class Upstream:
    """Answers each path with its own name; ``paths`` are those that came."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str]]] = []

    @property
    def paths(self) -> list[str]:
        return [f"{method} {path}" for method, path, _ in self.requests]

    def __call__(self, connection: Connection) -> None:
        self.requests.append((connection.method, connection.path, connection.headers))
        connection.reply(200, {"object": "thing", "of": connection.path})


@pytest.fixture
def upstream() -> Upstream:
    return Upstream()


@pytest.fixture
def server(upstream: Upstream) -> Iterator[Server]:
    with Server(upstream) as server:
        yield server


@pytest.fixture
def silent() -> Iterator[Server]:
    """An upstream that begins an answer and says nothing more."""
    with Server(then_silence(SSE_HEAD + start("chat") + piece("chat", "Hi"))) as server:
        yield server


# Owners


@pytest.mark.parametrize("method", ["GET", "DELETE", "POST", "HEAD", "PUT", "PATCH"])
@pytest.mark.parametrize("rest", ["", "/cancel", "/link", "?format=unspool", "?after=x", "?link=unspool.9.x", "?link="])
def test_every_route_of_a_stream_is_404_for_another_owner(method: str, rest: str, gateway: Running) -> None:
    response = gateway.ask()
    events(response)
    path = f"/streams/{response.headers['X-Unspool-Id']}"
    answer = requests.request(method, gateway.url + path + rest, headers=bearer("sk-bob"), timeout=PATIENCE)
    assert answer.status_code == 404
    assert "Python" not in answer.text
    assert gateway.get(path).status_code == 200


@pytest.mark.parametrize("method", ["GET", "DELETE", "POST", "HEAD"])
@pytest.mark.parametrize("rest", ["", "/cancel", "/input_items", "?stream=true", "?stream=true&starting_after=0"])
def test_every_route_of_a_response_is_404_for_another_token(
    method: str, rest: str, simulator: Simulator, tmp_path: Path
) -> None:
    mine, other = write_tokens(tmp_path / "t", 'name = "app"', 'name = "other"\npaths = ["/responses"]')
    with Running(simulator.url, tmp_path / "g", key="sk-gateway", tokens=tmp_path / "t") as gateway:
        asked = gateway.ask(RESPONSES, "/responses", headers=bearer(mine))
        id = json.loads(events(asked)[0].data)["response"]["id"]
        url = f"{gateway.url}/responses/{id}{rest}"
        assert requests.request(method, url, headers=bearer(other), timeout=PATIENCE).status_code == 404
        assert gateway.get(f"/responses/{id}", headers=bearer(mine)).status_code == 200
    assert len(simulator.requests) == 1


@pytest.mark.parametrize("name", ["api-key", "x-api-key"])
def test_a_key_in_any_header_makes_an_owner_of_its_own(name: str, gateway: Running, simulator: Simulator) -> None:
    mine = requests.post(f"{gateway.url}/chat/completions", json=CHAT, headers={name: "sk-a"}, timeout=PATIENCE)
    path = f"{gateway.url}/streams/{mine.headers['X-Unspool-Id']}"
    assert requests.get(path, headers={name: "sk-a"}, timeout=PATIENCE).status_code == 200
    assert requests.get(path, headers={name: "sk-b"}, timeout=PATIENCE).status_code == 404
    assert requests.get(path, timeout=PATIENCE).status_code == 404


def test_upstream_is_asked_with_the_key_that_makes_the_owner_and_no_other(
    server: Server, upstream: Upstream, tmp_path: Path
) -> None:
    with Running(server.url, tmp_path / "g") as gateway:
        gateway.get("/files", headers={"api-key": "sk-bob", "x-api-key": "sk-eve"})
    [(_, _, headers)] = upstream.requests
    assert headers["authorization"] == "Bearer sk-alice"
    assert not {"api-key", "x-api-key"} & headers.keys()


def test_a_user_of_a_trusted_token_that_is_an_admins_sees_only_the_users_streams(
    simulator: Simulator, tmp_path: Path
) -> None:
    [token] = write_tokens(tmp_path / "t", 'name = "app"\nadmin = true\ntrusted = true')
    with Running(simulator.url, tmp_path / "g", key="sk-gateway", tokens=tmp_path / "t") as gateway:
        ids = []
        for user in ("ann", "bob"):
            asked = gateway.ask(headers={**bearer(token), "X-Unspool-User": user})
            events(asked)
            ids.append(asked.headers["X-Unspool-Id"])
        ann = {**bearer(token), "X-Unspool-User": "ann"}
        assert [one["id"] for one in gateway.get("/streams", headers=ann).json()["data"]] == ids[:1]
        assert gateway.get(f"/streams/{ids[1]}", headers=ann).status_code == 404
        assert len(gateway.get("/streams", headers=bearer(token)).json()["data"]) == 2


def test_only_a_trusted_token_names_a_user(simulator: Simulator, tmp_path: Path) -> None:
    [token] = write_tokens(tmp_path / "t", 'name = "app"')
    with Running(simulator.url, tmp_path / "g", key="sk-gateway", tokens=tmp_path / "t") as gateway:
        assert gateway.ask(headers={**bearer(token), "X-Unspool-User": "ann"}).status_code == 403


# What a token may reach


def test_a_token_changes_nothing_upstream_beyond_the_text_endpoints(
    server: Server, upstream: Upstream, tmp_path: Path
) -> None:
    [token] = write_tokens(tmp_path / "t", 'name = "app"\nmodels = ["gpt-5*"]')
    with Running(server.url, tmp_path / "g", key="sk-gateway", tokens=tmp_path / "t") as gateway:
        for method, path in (
            ("DELETE", "/models/gpt-5-mine"),
            ("POST", "/models"),
            ("GET", "/chat/completions"),
            ("GET", "/chat/completions/chatcmpl-1"),
            ("DELETE", "/embeddings"),
            ("GET", "/models/gpt-4.1"),
            ("GET", "/responses/resp_1/input_items"),
            ("GET", "/organization/users"),
        ):
            answer = requests.request(method, gateway.url + path, headers=bearer(token), json={}, timeout=PATIENCE)
            assert answer.status_code == 404, (method, path)
        allowed = {"model": "gpt-5-embed", "input": "Hi"}
        assert gateway.ask(allowed, "/embeddings", headers=bearer(token)).status_code == 200
        assert gateway.ask({"model": "other"}, "/embeddings", headers=bearer(token)).status_code == 403
        assert gateway.ask({}, "/embeddings", headers=bearer(token), data=None).status_code == 200
        garbage = {**bearer(token), "Content-Type": "application/json"}
        answer = requests.post(gateway.url + "/embeddings", headers=garbage, data=b"\xef\xbb\xbf{", timeout=PATIENCE)
        assert answer.status_code == 400
    assert upstream.paths == ["POST /v1/embeddings"] * 2


def test_what_upstream_stores_of_chats_is_listed_for_who_obtained_it(tmp_path: Path) -> None:
    def answer(connection: Connection) -> None:
        listed = [{"id": "chatcmpl-1"}, {"id": "chatcmpl-2"}]
        connection.reply(200, {"object": "list", "data": listed, "first_id": "chatcmpl-1", "last_id": "chatcmpl-2"})

    [token] = write_tokens(tmp_path / "t", 'name = "app"\npaths = ["/chat/completions", "/fine_tuning/jobs"]')
    with (
        Server(answer) as server,
        Running(server.url, tmp_path / "g", key="sk-gateway", tokens=tmp_path / "t") as gateway,
    ):
        for path in ("/chat/completions", "/fine_tuning/jobs"):
            found = gateway.get(path, headers=bearer(token)).json()
            assert (found["data"], found["first_id"], found["last_id"]) == ([], None, None)
            assert gateway.get(f"{path}/chatcmpl-1", headers=bearer(token)).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]},
        {"tools": [{"type": "code_interpreter", "container": "cntr_1"}]},
        {"tools": [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["file-1"]}}]},
        {"input": [{"type": "item_reference", "id": "msg_1"}]},
        {"input": [{"id": "msg_1"}]},
        {"input": [{"type": None, "id": "msg_1"}]},
        {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]}]},
        {"previous_response_id": "resp_1"},
        {"conversation": "conv_1"},
        {"conversation": {"id": "conv_1"}},
    ],
)
def test_a_question_names_nothing_that_its_owner_did_not_obtain(
    body: dict[str, object], server: Server, upstream: Upstream, tmp_path: Path
) -> None:
    [token] = write_tokens(tmp_path / "t", 'name = "app"')
    with Running(server.url, tmp_path / "g", key="sk-gateway", tokens=tmp_path / "t") as gateway:
        assert gateway.ask({**RESPONSES, **body}, "/responses", headers=bearer(token)).status_code == 404
    assert upstream.paths == []


def test_a_question_refers_to_parts_of_its_owners_own_responses(simulator: Simulator, tmp_path: Path) -> None:
    mine, other = write_tokens(tmp_path / "t", 'name = "app"', 'name = "other"')
    with Running(simulator.url, tmp_path / "g", key="sk-gateway", tokens=tmp_path / "t") as gateway:
        last = json.loads(events(gateway.ask(RESPONSES, "/responses", headers=bearer(mine)))[-1].data)
        plain = gateway.ask({**RESPONSES, "stream": False}, "/responses", headers=bearer(mine)).json()
        for response in (last["response"], plain):
            part = response["output"][-1]["id"]
            body = {**RESPONSES, "input": [{"type": "item_reference", "id": part}, {"role": "user", "content": "Hi"}]}
            until(lambda body=body: gateway.ask(body, "/responses", headers=bearer(mine)).status_code != 404)  # type: ignore[misc]
            assert gateway.ask(body, "/responses", headers=bearer(other)).status_code == 404


# Paths


@pytest.mark.parametrize(
    "target",
    [
        "/v1/models/../files/file-1",
        "/v1/models/%2e%2e/files/file-1",
        "/v1/models/%2E%2E%2Ffiles%2Ffile-1",
        "/v1/models/%252e%252e/files/file-1",
        "/v1/models/..%5cfiles%5cfile-1",
        "/v1/models/..;/files/file-1",
        "/v1//files//file-1",
        "//v1/files/file-1",
        "/v1/./files/file-1",
        "/v1/../v1/files/file-1",
        "/v1/models/%3f/../../files/file-1",
        "/v1/../admin",
        "/v1/..",
        "http://127.0.0.1:9/v1/models",
        "http://example.com/v1/files/file-1",
        "/v1@example.com/models",
        "//example.com/v1/models",
        "*",
    ],
)
def test_no_way_of_writing_a_path_gets_past_the_rules(
    target: str, server: Server, upstream: Upstream, tmp_path: Path
) -> None:
    [token] = write_tokens(tmp_path / "t", 'name = "app"')
    with Running(server.url, tmp_path / "g", key="sk-gateway", tokens=tmp_path / "t") as gateway:
        status, head, _ = raw(gateway.url, target, f"Authorization: Bearer {token}")
        assert status in (400, 404)
        assert "cache-control: no-store" in head or status == 400
    assert upstream.paths == []


def test_a_path_goes_upstream_in_its_plain_form(server: Server, upstream: Upstream, tmp_path: Path) -> None:
    with Running(server.url, tmp_path / "g") as gateway:
        for target in ("/v1//audio/./x/../voices", "/v1/audio/%76oices", "/v1/audio/voices/?a=%2e%2e/b"):
            assert raw(gateway.url, target, "Authorization: Bearer sk-alice")[0] == 200
        assert raw(gateway.url, "/v1/audio/a%3fb%23c%25d", "Authorization: Bearer sk-alice")[0] == 200
    assert upstream.paths == [
        "GET /v1/audio/voices",
        "GET /v1/audio/voices",
        "GET /v1/audio/voices?a=%2e%2e/b",
        "GET /v1/audio/a%3Fb%23c%25d",
    ]


def test_a_redirect_of_upstream_is_passed_on_and_not_followed(tmp_path: Path) -> None:
    with Server(lambda connection: connection.reply(200, {"secret": True})) as inner:
        there = reply(302, b"{}", Location=f"{inner.url}/secret")
        with Server(there) as server, Running(server.url, tmp_path / "g") as gateway:
            for answer in (
                gateway.get("/files", allow_redirects=False),
                gateway.ask(CHAT, allow_redirects=False),
                gateway.ask({**CHAT, "stream": False}, allow_redirects=False),
            ):
                assert answer.status_code == 302
        assert inner.requests == []


def test_an_upgrade_is_501(server: Server, upstream: Upstream, tmp_path: Path) -> None:
    with Running(server.url, tmp_path / "g") as gateway:
        for protocol in ("websocket", "h2c"):
            asked = ("Authorization: Bearer sk-alice", f"Upgrade: {protocol}", "Connection: Upgrade")
            assert raw(gateway.url, "/v1/realtime?model=gpt", *asked)[0] == 501
    assert upstream.paths == []


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("Host: evil.example", 421),
        ("Host: 127.0.0.1.evil.example", 421),
        ("Host: localhost.evil.example:8400", 421),
        ("Host: 10.0.0.1", 421),
        ("Host: app.example", 200),
        ("Host: localhost:8400", 200),
        ("Host: [::1]:8400", 200),
        ("Origin: https://evil.example", 403),
        ("Origin: null", 403),
        ("Origin: https://page.example.evil.example", 403),
        ("Origin: https://page.example", 200),
    ],
)
def test_on_loopback_the_api_is_for_hosts_and_origins_that_are_named(
    header: str, status: int, simulator: Simulator, tmp_path: Path
) -> None:
    named = {"allowed_hosts": ("app.example",), "origins": ("https://page.example",)}
    with Running(simulator.url, tmp_path / "g", **named) as gateway:
        for path in ("/v1/streams", "/v1/models"):
            found, head, _ = raw(gateway.url, path, header, "Authorization: Bearer sk-alice")
            assert found == status
            assert ("access-control-allow-origin: https://page.example" in head) == header.endswith("//page.example")
        body = json.dumps(CHAT).encode()
        asked = ("Content-Type: application/json", "Authorization: Bearer sk-alice", header)
        assert raw(gateway.url, "/v1/chat/completions", *asked, method="POST", body=body)[0] == status
        assert len(simulator.requests) == (2 if status == 200 else 0)


# The gateway's key

LEAK = json.dumps({"error": {"message": "Incorrect API key provided: sk-gate***way."}}).encode()


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("patience", [15.0, 0.0])
def test_upstreams_words_about_the_gateways_key_reach_nobody(
    status: int, patience: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gateway_module, "_HEAD_PATIENCE", patience)
    [token] = write_tokens(tmp_path / "t", 'name = "app"\npaths = ["/files"]')
    answers = threading.Event()
    if patience:
        answers.set()

    def refuse(connection: Connection) -> None:
        answers.wait(PATIENCE)
        connection.send(reply(status, LEAK))

    with (
        Server(refuse) as server,
        Running(server.url, tmp_path / "g", key="sk-gateway", tokens=tmp_path / "t") as gateway,
    ):
        asked = gateway.ask(headers=bearer(token))
        assert asked.status_code == (502 if patience else 200)
        answers.set()
        watched = [
            gateway.get(f"/streams/{asked.headers['X-Unspool-Id']}?format={format}", headers=bearer(token))
            for format in ("upstream", "unspool", "ai-sdk")
        ]
        plain = gateway.ask({**CHAT, "stream": False}, headers=bearer(token))
        passed = gateway.get("/files", headers=bearer(token))
        assert (plain.status_code, passed.status_code) == (502, 502)
        assert passed.json()["error"]["code"] == plain.json()["error"]["code"] == "upstream_unauthorized"
        for answer in (asked, *watched, plain, passed):
            assert "sk-gate" not in answer.text
    assert all(b"sk-gate" not in one.read_bytes() for one in (tmp_path / "g").rglob("*") if one.is_file())


def test_a_callers_own_key_is_kept_nowhere(gateway: Running, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        events(gateway.ask(headers=bearer("sk-very-secret-key")))
    assert "sk-very-secret-key" not in caplog.text
    kept = [one.read_bytes() for one in (tmp_path / "gateway").rglob("*") if one.is_file()]
    assert len(kept) > 2
    assert all(b"sk-very-secret-key" not in one for one in kept)


# Headers


def test_headers_pass_by_allow_lists_both_ways(tmp_path: Path) -> None:
    down = {
        "Set_Cookie": "a=b",
        "Access_Control_Allow_Origin": "*",
        "Alt_Svc": "h3",
        "Keep_Alive": "timeout=5",
        "X_Powered_By": "secret",
        "X_Ratelimit_Remaining_Requests": "7",
        "X_Request_Id": "req_1",
    }
    stream = SSE_HEAD[:-2] + b"".join(f"{k.replace('_', '-')}: {v}\r\n".encode() for k, v in down.items()) + b"\r\n"
    stream += (
        b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    )
    up = {
        "Cookie": "a=b",
        "Origin": "http://page.example",
        "Referer": "http://page.example/secret",
        "Forwarded": "for=1.2.3.4",
        "X-Forwarded-For": "1.2.3.4",
        "X-Real-IP": "1.2.3.4",
        "Via": "1.1 proxy",
        "X-Unspool-Abandon": "never",
        "X-Unspool-User": "ann",
        "TE": "trailers",
        "Accept-Encoding": "gzip, br",
        "Proxy-Authorization": "Basic x",
        "OpenAI-Organization": "org-of-another",
        "OpenAI-Project": "proj-of-another",
        "api-key": "sk-other",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }
    [token] = write_tokens(tmp_path / "t", 'name = "app"\ntrusted = true\npaths = ["/files"]')
    for folder, options in (("a", {}), ("b", {"key": "sk-gateway", "tokens": tmp_path / "t"})):
        with (
            Server(stream, stream, reply(200, b"{}", **down)) as server,
            Running(server.url, tmp_path / folder, origins=("http://page.example",), **options) as gateway,  # type: ignore[arg-type]
        ):
            asked = gateway.ask(headers={**up, **bearer(token)})
            events(asked)
            gateway.ask({**CHAT, "stream": False}, headers={**up, **bearer(token)})
            passed = gateway.get("/files", headers={**up, **bearer(token)})
            replayed = gateway.get(f"/streams/{asked.headers['X-Unspool-Id']}", headers={**up, **bearer(token)})
            for request in server.requests:
                sent = {name for name in request.headers if not name.startswith("content-")}
                account = set() if options else {"openai-organization", "openai-project"}
                allowed = {"host", "accept", "accept-encoding", "authorization", "traceparent", "user-agent"} | account
                assert sent == allowed
                assert request.headers["accept-encoding"] == "identity"
                assert request.headers["authorization"] == f"Bearer {'sk-gateway' if options else token}"
            for answer in (asked, passed, replayed):
                got = {name.lower() for name in answer.headers}
                assert not {"set-cookie", "alt-svc", "keep-alive", "x-powered-by"} & got
                assert answer.headers["Access-Control-Allow-Origin"] == "http://page.example"
            assert asked.headers["X-Request-Id"] == "req_1"
            assert asked.headers["X-Ratelimit-Remaining-Requests"] == "7"
            assert "X-Ratelimit-Remaining-Requests" not in replayed.headers


def test_every_answer_about_a_stream_is_kept_by_no_cache(gateway: Running) -> None:
    response = gateway.ask()
    last = events(response)[-1].id
    id = response.headers["X-Unspool-Id"]
    for status, answer in (
        (200, gateway.get(f"/streams/{id}")),
        (204, gateway.get(f"/streams/{id}?after={last}")),
        (400, gateway.get(f"/streams/{id}?after=x")),
        (400, gateway.get(f"/streams/{id}?format=x")),
        (404, gateway.get("/streams/x")),
        (405, requests.put(f"{gateway.url}/streams/{id}", headers=bearer("sk-alice"), timeout=PATIENCE)),
        (200, gateway.get("/streams")),
        (404, gateway.get(f"/streams/{id}?link=unspool.1.x")),
        (400, gateway.ask([])),  # type: ignore[arg-type]
        (400, gateway.ask(headers={"X-Unspool-Abandon": "soon"})),
    ):
        assert answer.status_code == status
        assert answer.headers["Cache-Control"] == "no-store, no-transform"
        assert answer.headers["X-Accel-Buffering"] == "no"


# What a body names


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]},
        {"audio": {"format": "wav", "voice": {"id": "voice_1"}}},
        {"prompt": {"id": "pmpt_1", "version": "2"}},
        {"input": [{"type": "reasoning", "id": "rs_1", "summary": []}]},
        {"input": [{"type": "code_interpreter_call", "id": "ci_1", "container_id": "cntr_1", "code": "1"}]},
        {"tools": [{"type": "shell", "environment": {"skills": [{"type": "skill_reference", "skill_id": "skill_1"}]}}]},
    ],
)
def test_sounds_prompts_and_reasoning_of_others_are_not_found(
    body: dict[str, object], server: Server, upstream: Upstream, tmp_path: Path
) -> None:
    mine, free = write_tokens(tmp_path / "t", 'name = "app"', 'name = "free"\npaths = ["/prompts"]')
    with Running(server.url, tmp_path / "g", key="sk-gateway", tokens=tmp_path / "t") as gateway:
        for path in ("/responses", "/chat/completions", "/embeddings"):
            assert gateway.ask({"model": "m", **body}, path, headers=bearer(mine)).status_code == 404
        assert upstream.paths == []
        named = gateway.ask({"model": "m", **body}, "/embeddings", headers=bearer(free))
        assert named.status_code == (200 if "prompt" in body else 404)


def test_a_question_refers_to_its_owners_own_sounds(tmp_path: Path) -> None:
    message = {"role": "assistant", "content": None, "audio": {"id": "audio_1", "data": "", "transcript": "Hi"}}
    answer = {"id": "c", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    body = {"model": "m", "modalities": ["text", "audio"], "messages": [{"role": "user", "content": "Hi"}]}
    mine, other = write_tokens(tmp_path / "t", 'name = "app"', 'name = "other"')
    with (
        Server(lambda connection: connection.reply(200, answer)) as server,
        Running(server.url, tmp_path / "g", key="sk-gateway", tokens=tmp_path / "t") as gateway,
    ):
        gateway.ask(body, headers=bearer(mine))
        again = {**body, "messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]}
        until(lambda: gateway.ask(again, headers=bearer(mine)).status_code == 200)
        assert gateway.ask(again, headers=bearer(other)).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"gpt-4.1","model":"gpt-5"}',
        b'{"model":"gpt-5","previous_response_id":"resp_1","previous_response_id":null}',
        b'{"model":"gpt-5","input":[{"id":"msg_1","id":"x","role":"user","content":""}]}',
        b'{"model":"gpt-5","Model":"gpt-4.1"}',
        b'{"model":"gpt-5","Previous_Response_ID":"resp_1"}',
        b'\xef\xbb\xbf{"model":"gpt-5"}',
        b'{"model":"gpt-5"}{"model":"gpt-4.1"}',
    ],
)
def test_a_body_that_can_be_read_in_two_ways_is_refused(
    body: bytes, server: Server, upstream: Upstream, tmp_path: Path
) -> None:
    [token] = write_tokens(tmp_path / "t", 'name = "app"\nmodels = ["gpt-5"]')
    with Running(server.url, tmp_path / "g", key="sk-gateway", tokens=tmp_path / "t") as gateway:
        for path in ("/responses", "/embeddings"):
            headers = {**bearer(token), "Content-Type": "application/json"}
            assert requests.post(gateway.url + path, headers=headers, data=body, timeout=PATIENCE).status_code == 400
    assert upstream.paths == []


# Browsers


def test_a_preflight_allows_what_openais_client_for_browsers_sends(server: Server, tmp_path: Path) -> None:
    sent = [
        *("authorization", "content-type", "idempotency-key", "openai-organization", "user-agent"),
        *("x-stainless-arch", "x-stainless-lang", "x-stainless-os", "x-stainless-package-version"),
        *("x-stainless-retry-count", "x-stainless-runtime", "x-stainless-runtime-version", "x-stainless-timeout"),
        *("x-stainless-helper-method", "last-event-id", "x-unspool-abandon"),
    ]
    asked = ["Origin: https://page.example", "Access-Control-Request-Method: POST"]
    asked.append("Access-Control-Request-Headers: " + ",".join([*sent, "x-forwarded-for", "cookie"]))
    with Running(server.url, tmp_path / "g", origins=("https://page.example",)) as gateway:
        status, head, _ = raw(gateway.url, "/v1/chat/completions", *asked, method="OPTIONS")
        assert status == 204
        [allowed] = [line for line in head.split("\r\n") if line.startswith("access-control-allow-headers: ")]
        assert allowed.partition(": ")[2].split(", ") == sent
        other = ["Origin: https://evil.example", *asked[1:]]
        assert raw(gateway.url, "/v1/chat/completions", *other, method="OPTIONS")[0] == 403


# Links and tokens


def test_a_link_ends_with_the_last_token_of_its_owner(silent: Server, tmp_path: Path) -> None:
    file = tmp_path / "t"
    [token] = write_tokens(file, 'name = "app"')
    with Running(silent.url, tmp_path / "g", key="sk-gateway", tokens=file) as gateway:
        id = gateway.ask(headers=bearer(token)).headers["X-Unspool-Id"]
        path = gateway.ask({}, f"/streams/{id}/link", headers=bearer(token)).json()["path"].removeprefix("/v1")
        reading = requests.get(gateway.url + path, stream=True, timeout=PATIENCE)
        assert reading.status_code == 200
        file.write_text("")
        gateway.loop.call_soon_threadsafe(gateway.worker.reload)
        with pytest.raises(requests.RequestException):
            events(reading)
        assert requests.get(gateway.url + path, timeout=PATIENCE).status_code == 404
