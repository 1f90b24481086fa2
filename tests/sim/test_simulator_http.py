"""What all paths share: errors, keys, headers, models, and the same bytes for the same request."""

import json

import pytest

from unspool.sim.endpoints import models
from unspool.sim.running import Simulator
from unspool.sim.simulator import SimulatorSettings

ASKS = {
    "/completions": {"model": "sim-1", "prompt": "Hello"},
    "/chat/completions": {"model": "sim-1", "messages": [{"role": "user", "content": "Hello"}]},
    "/responses": {"model": "sim-1", "input": "Hello"},
}


@pytest.mark.parametrize("path", ASKS)
@pytest.mark.parametrize("body", [b"", b"{", b'{"model":', b"\xff", b"[]", b'"hi"', b"null", b"[" * 100_000])
def test_a_body_that_is_no_json_object_is_refused(client, path, body):
    status, error = client.error("POST", path, body)
    assert status == 400
    assert list(error) == ["message", "type", "param", "code"]


def test_an_unknown_path_is_not_found(client):
    status, error = client.error("POST", "/nothing", {})
    message = error.pop("message")
    assert (status, error) == (404, {"type": "invalid_request_error", "param": None, "code": None})
    assert message.startswith("Invalid URL (POST /v1/nothing). The simulator has ")
    assert "POST /v1/completions" in message


def test_a_slash_too_many_is_not_forgiven(client):
    assert client.error("GET", "/chat/completions/")[0] == 404


@pytest.mark.parametrize(("method", "path"), [("GET", "/chat/completions"), ("POST", "/models"), ("PUT", "/responses")])
def test_a_wrong_method_is_not_allowed(client, method, path):
    status, error = client.error(method, path)
    assert (status, error["code"]) == (405, "method_not_supported")


def test_the_listed_models_can_be_looked_up(client):
    listing = json.loads(client.request("GET", "/models")[2])
    assert listing["object"] == "list"
    for model in listing["data"]:
        assert json.loads(client.request("GET", f"/models/{model['id']}")[2]) == model


def test_a_model_that_is_not_listed_is_not_found(client):
    status, error = client.error("GET", "/models/meta/llama")
    assert (status, error["code"], error["param"]) == (404, "model_not_found", "model")


def test_a_fault_of_the_simulator_is_a_server_error(client, monkeypatch):
    def fail():
        raise ZeroDivisionError

    monkeypatch.setattr(models, "listing", fail)
    status, error = client.error("GET", "/models")
    assert (status, error["type"]) == (500, "server_error")


def test_every_response_carries_the_api_headers(client):
    for method, path, body in (
        ("GET", "/models", None),
        ("POST", "/responses", ASKS["/responses"]),
        ("GET", "/x", None),
    ):
        headers = client.request(method, path, body)[1]
        assert headers["x-request-id"].startswith("req_")
        assert headers["openai-version"] == "2020-10-01"
        assert headers["openai-processing-ms"].isdigit()
        for kind in ("requests", "tokens"):
            assert {f"x-ratelimit-{what}-{kind}" for what in ("limit", "remaining", "reset")} <= set(headers)


def test_a_long_answer_arrives_whole(client):
    ask = {"model": "m", "messages": [{"role": "user", "content": "A story in 4,000 tokens"}]}
    # Two more chunks than tokens: the one with the role and the one with the reason.
    assert len(client.chunks("/chat/completions", **ask)) == 4_002


@pytest.mark.parametrize("path", ASKS)
@pytest.mark.parametrize("stream", [True, False])
def test_the_same_request_gets_the_same_bytes(client, path, stream):
    ask = {**ASKS[path], "stream": stream}
    assert client.request("POST", path, ask)[2] == client.request("POST", path, ask)[2]


def test_another_seed_gives_other_ids(client, client_of):
    with Simulator(SimulatorSettings(seed=1)) as other:
        ids = {asked.post("/responses", **ASKS["/responses"])["id"] for asked in (client, client_of(other.url))}
    assert len(ids) == 2


@pytest.fixture(scope="module")
def locked(client_of):
    with Simulator(SimulatorSettings(require_key="sk-the-right-key-1234")) as simulator:
        yield client_of(simulator.url)


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer"}, {"Authorization": "Basic abc"}])
def test_a_missing_key_is_unauthorized(locked, headers):
    status, error = locked.error("GET", "/models", None, **headers)
    assert (status, error["type"], error["code"]) == (401, "invalid_request_error", None)


def test_a_wrong_key_is_unauthorized_and_not_given_back(locked):
    status, error = locked.error("POST", "/responses", {}, Authorization="Bearer sk-a-wrong-key-98765")
    assert (status, error["code"]) == (401, "invalid_api_key")
    assert "wrong" not in error["message"]


def test_the_right_key_opens(locked):
    assert locked.request("GET", "/models", None, Authorization="Bearer sk-the-right-key-1234")[0] == 200
