"""``unspool doctor``: each step with its verdict, and nothing in it that may not be pasted."""

from __future__ import annotations

import json

import pytest

from support.server import then_silence
from support.wire import end, error, head, piece, start, stream

_KEY = "sk-secret-0123456789"
_MODELS = head(type="application/json") + b'{"data":[{"id":"m-1"},{"id":"m-2"}]}'


def _steps(unspool, *arguments):
    done = unspool("doctor", "--json", "--timeout", "1", *arguments)
    assert done.stderr == b""
    steps = {step["step"]: step for step in map(json.loads, done.stdout.splitlines())}
    return done.returncode, steps, {name: step["verdict"] for name, step in steps.items()}


def test_a_server_that_works_passes_every_step(unspool, serve):
    server = serve(_MODELS, stream("chat", "Hello"))
    code, steps, verdicts = _steps(unspool, "--base-url", server.url, "--key", _KEY, "-m", "m-1")
    assert code == 0
    assert verdicts == {
        "unspool": "ok",
        "config": "ok",
        "journals": "ok",
        "key": "ok",
        "proxy": "skipped",
        "DNS": "ok",
        "TCP": "ok",
        "TLS": "skipped",
        "HTTP": "ok",
        "auth": "ok",
        "model": "ok",
        "first token": "ok",
        "end": "ok",
    }
    assert all(steps[name]["seconds"] >= 0 for name in ("DNS", "TCP", "HTTP", "first token", "end"))
    assert server.requests[1].json["model"] == "m-1"


def test_looking_leaves_no_stream_behind(unspool, serve):
    _steps(unspool, "--base-url", serve(_MODELS, stream("chat", "Hello")).url, "-m", "m-1")
    assert unspool.journals() == []


@pytest.mark.parametrize(
    ("answers", "failed", "code"),
    [
        ((error(401, f"Incorrect key {_KEY}."),), "auth", 3),
        ((_MODELS, error(401, f"Incorrect key {_KEY}.")), "first token", 3),
        ((_MODELS, error(404, "No such model.", "model_not_found")), "first token", 10),
        ((_MODELS, head() + start("chat") + piece("chat", "Hel")), "end", 7),
        ((_MODELS, then_silence(head())), "first token", 7),
        ((then_silence(b""),), "HTTP", 6),
        ((b"SSH-2.0-OpenSSH\r\n",), "HTTP", 6),
    ],
    ids=["key of the list", "key", "model", "cut", "silent stream", "silent server", "no HTTP"],
)
def test_the_first_step_that_fails_gives_the_exit_code_and_the_key_is_nowhere(unspool, serve, answers, failed, code):
    server = serve(*answers)
    found, _, verdicts = _steps(unspool, "--base-url", server.url, "--key", _KEY, "-m", "m-1")
    assert (found, next(name for name, verdict in verdicts.items() if verdict == "failed")) == (code, failed)
    plain = unspool("doctor", "--base-url", server.url, "--key", _KEY, "-m", "m-1", "--timeout", "1")
    assert _KEY.encode() not in plain.stdout + plain.stderr


def test_a_server_without_a_list_of_models_can_still_answer(unspool, serve):
    server = serve(error(404, "Not here."), stream("chat", "Hello"))
    code, _, verdicts = _steps(unspool, "--base-url", server.url, "-m", "m-1")
    assert (code, verdicts["auth"], verdicts["model"], verdicts["end"]) == (0, "warning", "warning", "ok")


def test_the_base_url_that_works_is_found_where_v1_is_missing(unspool, serve):
    server = serve(error(404, "Not Found"), _MODELS)
    root = server.url.removesuffix("/v1")
    code, steps, verdicts = _steps(unspool, "--base-url", root, "-m", "m-1")
    assert (code, verdicts["base URL"], len(server.requests)) == (6, "failed", 2)
    assert steps["base URL"]["found"] == f"no API at {root}, but one at {root}/v1: use --base-url {root}/v1"


def test_a_model_that_is_not_in_the_list_is_said_to_be_missing(unspool, serve):
    _, steps, verdicts = _steps(unspool, "--base-url", serve(_MODELS, stream("chat", "Hi")).url, "-m", "m-7")
    assert (verdicts["model"], "m-7 is not in the list of 2" in steps["model"]["found"]) == ("warning", True)


def test_a_model_that_stops_at_the_small_limit_has_answered(unspool, serve):
    server = serve(_MODELS, head() + start("chat") + end("chat", "length"))
    code, steps, _ = _steps(unspool, "--base-url", server.url, "-m", "m-1")
    assert (code, steps["end"]["found"]) == (0, "length")
    assert "reasons first" in steps["first token"]["found"]


def test_nothing_is_asked_where_that_is_not_wanted(unspool, serve):
    server = serve(_MODELS)
    code, _, verdicts = _steps(unspool, "--base-url", server.url, "-m", "m-1", "--no-ask")
    assert (code, verdicts["first token"], len(server.requests)) == (0, "skipped", 1)


def test_a_server_that_is_not_there_fails_at_its_step(unspool):
    code, _, verdicts = _steps(unspool, "--base-url", "http://127.0.0.1:1/v1", "-m", "m")
    assert (code, verdicts["DNS"], verdicts["TCP"], "HTTP" in verdicts) == (6, "ok", "failed", False)


def test_a_name_that_is_not_there_fails_at_its_step(unspool):
    code, _, verdicts = _steps(unspool, "--base-url", "http://nowhere.invalid/v1", "-m", "m")
    assert (code, verdicts["DNS"], "TCP" in verdicts) == (6, "failed", False)


@pytest.mark.parametrize("source", ["OPENAI_API_KEY", "keys", "key_cmd"])
def test_it_is_said_where_the_key_comes_from(unspool, serve, source):
    server = serve(error(401, "No."))
    if source == "OPENAI_API_KEY":
        unspool.env.update(OPENAI_API_KEY=_KEY, OPENAI_BASE_URL=server.url)
    else:
        config = unspool.home / "config" / "unspool"
        config.mkdir(parents=True)
        command = f"key_cmd = ['printf', '{_KEY}']\n" if source == "key_cmd" else ""
        (config / "config.toml").write_text(
            f"profile = 'mine'\n[profiles.mine]\nbase_url = '{server.url}'\nmodel = 'm'\n{command}"
        )
        if source == "keys":
            unspool("keys", "set", "mine", input=_KEY.encode())
    _, steps, _ = _steps(unspool)
    assert steps["key"]["found"].endswith("config/unspool/keys" if source == "keys" else source)
    assert server.requests[0].headers["authorization"] == f"Bearer {_KEY}"


def test_the_home_folder_and_the_password_of_a_proxy_are_not_shown(unspool, serve):
    unspool.env["http_proxy"] = f"http://user:hunter2@127.0.0.1:{serve(_MODELS, stream('chat', 'Hi')).port}"
    done = unspool("doctor", "--base-url", "http://api.example/v1", "-m", "m-1")
    assert done.returncode == 0
    assert b"hunter2" not in done.stdout
    assert str(unspool.home).encode() not in done.stdout
    assert b"~/state/streams" in done.stdout


def test_a_configuration_that_cannot_be_used_is_the_first_to_fail(unspool):
    config = unspool.home / "config" / "unspool"
    config.mkdir(parents=True)
    (config / "config.toml").write_text("profile = ")
    code, steps, _ = _steps(unspool)
    assert (code, list(steps)) == (1, ["unspool", "config"])


def test_what_a_server_says_does_not_reach_the_terminal_as_sequences(unspool, serve):
    hostile = error(401, "\x1b]52;c;aGk=\x07\x1b[2Jgone")
    screen = unspool.on_terminal("doctor", "--base-url", serve(hostile).url, "-m", "m\x1b[31m")
    assert b"\x1b" not in screen.output.replace(b"\x1b[0m", b"")
    assert screen.code == 3


def test_the_simulator_is_in_good_health(unspool):
    done = unspool("doctor", "--sim")
    assert (done.returncode, done.stdout.endswith(b"All checks passed.\n")) == (0, True)
