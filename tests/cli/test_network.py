"""How a server is reached: headers for one request, what a profile says of the way, engines on this machine, and a server's only model."""

from __future__ import annotations

import json

import pytest

from support.server import then_silence
from support.wire import head, reply, start, stream


def _models(*names: str) -> bytes:
    return reply(200, json.dumps({"object": "list", "data": [{"id": name} for name in names]}).encode())


def _configure(unspool, text: str) -> None:
    path = unspool.home / "config" / "unspool" / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_header_of_the_command_line_takes_the_place_of_the_profile_s(unspool, serve):
    server = serve(stream("chat", "ok"))
    _configure(unspool, f'[profiles.a]\nbase_url = "{server.url}"\nheaders = {{ X-Team = "one", X-Other = "kept" }}\n')
    done = unspool("-P", "a", "-m", "m", "-H", "x-team: two", "-H", "X-New:3", "hi")
    assert (done.returncode, done.stderr) == (0, b"")
    sent = server.requests[0].headers
    assert (sent["x-team"], sent["x-other"], sent["x-new"]) == ("two", "kept", "3")


def test_a_header_is_hidden_in_a_dry_run_and_not_kept(unspool, serve):
    server = serve(stream("chat", "ok"))
    shown = unspool("--base-url", server.url, "-m", "m", "-H", "X-Token: secret-5", "--dry-run", "hi").stdout
    assert b"secret-5" not in shown
    unspool("--base-url", server.url, "-m", "m", "-H", "X-Token: secret-5", "hi")
    assert "secret-5" not in unspool.journal()


@pytest.mark.parametrize("wrong", ["X-Team", "X Team: a", ": a", "X-Team: é"])
def test_what_is_no_header_is_refused(unspool, wrong):
    assert unspool("-H", wrong, "--sim", "hi").returncode == 2


def test_a_profile_s_proxy_is_used_for_its_server_only(unspool, serve):
    proxy = serve(stream("chat", "through the proxy"))
    other = serve(stream("chat", "direct"))
    _configure(
        unspool,
        f'[profiles.a]\nbase_url = "http://llm.test/v1"\nproxy = "http://127.0.0.1:{proxy.port}"\n'
        f'[profiles.b]\nbase_url = "{other.url}"\n',
    )
    assert b"through the proxy" in unspool("-P", "a", "-m", "m", "hi").stdout
    assert b"direct" in unspool("-P", "b", "-m", "m", "hi").stdout
    assert len(proxy.requests) == 1


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('ca_file = "none-such.pem"', "names a file that does not exist: none-such.pem"),
        ('proxy = "proxy.example.com"', "must be a URL"),
    ],
)
def test_a_wrong_way_is_told_with_its_key(unspool, line, words):
    _configure(unspool, f'[profiles.a]\nbase_url = "http://127.0.0.1:1/v1"\n{line}\n')
    done = unspool("-P", "a", "-m", "m", "hi")
    assert (done.returncode, words in done.stderr.decode()) == (1, True)


def test_client_key_needs_its_certificate(unspool, tmp_path):
    (tmp_path / "key.pem").write_text("x")
    _configure(unspool, f'[profiles.a]\nbase_url = "http://127.0.0.1:1/v1"\nclient_key = "{tmp_path}/key.pem"\n')
    assert b"needs client_cert beside it" in unspool("-P", "a", "-m", "m", "hi").stderr


def test_the_only_model_of_a_server_need_not_be_named(unspool, serve):
    server = serve(_models("only-1"), stream("chat", "ok"))
    done = unspool("--base-url", server.url, "hi")
    assert (done.returncode, server.requests[1].json["model"]) == (0, "only-1")


def test_of_several_models_one_has_to_be_named(unspool, serve):
    server = serve(_models("b-2", "a-1"))
    done = unspool("--base-url", server.url, "hi")
    assert (done.returncode, len(server.requests)) == (2, 1)
    assert f"name a model with -m, such as a-1: 127.0.0.1:{server.port} has no default model".encode() in done.stderr


def test_without_a_key_the_engine_that_runs_here_is_named(unspool, serve):
    engine = serve(_models("llama3.2", "qwen3"))
    _configure(unspool, f'[profiles.ollama]\nbase_url = "{engine.url}"\n')
    done = unspool("hi")
    assert done.returncode == 3
    assert b"or use ollama, which runs on this machine: -P ollama -m llama3.2" in done.stderr


def test_the_default_model_is_marked_for_a_person_only(unspool, serve):
    server = serve(*[_models("a-1", "b-2")] * 2)
    _configure(unspool, f'[profiles.a]\nbase_url = "{server.url}"\nmodel = "b-2"\n')
    assert unspool("models", "-P", "a").stdout == b"a-1\nb-2\n"
    assert [line for line in unspool.on_terminal("models", "-P", "a").lines if line] == ["a-1", "b-2 (default)"]


def test_a_profile_has_timeouts_that_give_way_to_the_command_line(unspool, serve):
    server = serve(*[then_silence(head() + start("chat"))] * 2)
    _configure(
        unspool, f'[profiles.slow]\nbase_url = "{server.url}"\nmodel = "m"\nidle_timeout = "300ms"\ntimeout = 60\n'
    )
    done = unspool("-P", "slow", "--retries", "0", "hi")
    assert (done.returncode, b"nothing arrived for 0.3 s (idle timeout)" in done.stderr) == (7, True)
    done = unspool("-P", "slow", "--retries", "0", "--idle-timeout", "400ms", "hi")
    assert (done.returncode, b"nothing arrived for 0.4 s (idle timeout)" in done.stderr) == (7, True)
