"""The commands beside asking: models, keys, sim."""

from __future__ import annotations

import json
import signal
import socket
import stat
import urllib.request

import pytest

from support.server import then_silence
from support.waiting import PATIENCE
from support.wire import error, head, stream


def _models(text):
    return head(type="application/json") + text.encode()


def test_models_are_listed_by_id_in_order(unspool, serve):
    server = serve(_models('{"object":"list","data":[{"id":"b"},{"id":"a"},{"id":"a-1"}]}'))
    done = unspool("models", "--base-url", server.url, "--key", "k")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"a\na-1\nb\n", b"")
    assert (server.requests[0].path, server.requests[0].headers["authorization"]) == ("/v1/models", "Bearer k")


def test_models_as_json_are_the_server_s_own_list(unspool, serve):
    listed = '{"object":"list","data":[{"id":"b","owned_by":"x"}]}'
    done = unspool("models", "--base-url", serve(_models(listed)).url, "--json")
    assert json.loads(done.stdout) == json.loads(listed)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (error(401, "Wrong key."), 3),
        (error(429, "Slow down."), 4),
        (error(500, "It broke."), 5),
        (head(200, "text/html") + b"<html></html>", 6),
        (error(404, "Not here."), 10),
        (then_silence(b""), 6),
    ],
    ids=["401", "429", "500", "web page", "404", "silence"],
)
def test_a_failure_to_list_models_has_its_exit_code_and_a_line(unspool, serve, answer, code):
    done = unspool("models", "--base-url", serve(answer).url, "--timeout", "1")
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (code, b"", 1)


def test_models_want_a_key_where_the_server_does(unspool):
    done = unspool("models")
    assert (done.returncode, done.stderr.startswith(b"unspool: no API key for openai: set OPENAI_API_KEY")) == (3, True)


def test_models_of_the_simulator(unspool):
    assert unspool("models", "--sim").stdout.count(b"\n") > 2


def test_a_key_that_is_stored_is_used_and_its_file_is_private(unspool, serve):
    server = serve(stream("chat", "ok"))
    host = server.url.split("/")[2]
    done = unspool("keys", "set", host, input=b"sk-stored-1\nignored\n")
    assert (done.returncode, done.stdout, b"sk-stored" in done.stderr) == (0, b"", False)
    path = unspool.home / "config" / "unspool" / "keys"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert unspool("--base-url", server.url, "-m", "m", "hi").returncode == 0
    assert server.requests[0].headers["authorization"] == "Bearer sk-stored-1"
    assert unspool("keys", "list").stdout.decode() == unspool("keys").stdout.decode() == f"{host}\n"
    assert unspool("keys", "path").stdout.decode() == f"{path}\n"
    assert unspool("keys", "remove", host).returncode == 0
    assert unspool("keys", "remove", host).returncode == 1
    assert unspool("keys").stdout == b""


def test_where_no_key_is_kept_the_list_says_how_to_keep_one(unspool):
    done = unspool("keys", "list")
    assert (done.returncode, done.stdout) == (0, b"")
    assert b"unspool keys set openai" in done.stderr


def test_a_key_is_never_taken_from_the_command_line(unspool):
    done = unspool("keys", "set", "openai", "sk-12345678")
    assert done.returncode == 2
    assert not (unspool.home / "config").exists()


@pytest.mark.parametrize("given", [b"", b"\n", b"\xff\n"])
def test_no_key_and_a_broken_one_are_refused_in_one_line(unspool, given):
    done = unspool("keys", "set", "openai", input=given)
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
    assert unspool("keys").stdout == b""


def test_a_key_typed_at_a_terminal_is_not_echoed(unspool):
    terminal = unspool.on_terminal("keys", "set", "openai", typed=[("key for openai: ", "sk-typed-1\n")])
    assert (terminal.code, b"sk-typed-1" in terminal.output) == (0, False)
    assert unspool("keys").stdout == b"openai\n"


@pytest.mark.parametrize(("typed", "code"), [("\x04", 1), ("\x03", 130)])
def test_leaving_the_prompt_for_a_key_leaves_the_terminal_as_it_was(unspool, typed, code):
    terminal = unspool.on_terminal("keys", "set", "openai", typed=[("key for openai: ", typed)])
    assert (terminal.code, terminal.echoes, b"Traceback" in terminal.output) == (code, True, False)


def _start_sim(unspool, *arguments):
    child = unspool.start("sim", "--ttft", "0", "--itl", "0", *arguments)
    url = child.stdout.readline().decode().strip()
    assert child.stderr.readline() == b"unspool: the simulator is running; press Ctrl-C to stop it\n"
    return child, url


def test_a_simulator_on_a_terminal_prints_what_makes_other_programs_ask_it(unspool):
    seen = unspool.on_terminal("sim", "--port", "0", typed=[("export OPENAI_API_KEY=sim", "\x03")])
    (url,) = (line for line in seen.lines if line.startswith("http://"))
    assert f"export OPENAI_BASE_URL={url}" in seen.lines
    keyed = unspool.on_terminal("sim", "--port", "0", "--require-key", "s3cret", typed=[("export OPENAI_", "\x03")])
    assert b"OPENAI_API_KEY" not in keyed.output


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_the_simulator_tells_its_base_url_and_ends_at_once(unspool, number, code):
    child, url = _start_sim(unspool)
    with urllib.request.urlopen(url + "/models", timeout=PATIENCE) as answer:
        assert json.load(answer)["object"] == "list"
    child.send_signal(number)
    assert (child.wait(PATIENCE), child.stderr.read()) == (code, b"")


def test_the_simulator_can_want_a_key(unspool):
    child, url = _start_sim(unspool, "--require-key", "k-1234")
    assert unspool("--base-url", url, "-m", "m", "hi").returncode == 3
    assert unspool("--base-url", url, "-m", "m", "--key", "k-1234", "hi").returncode == 0
    child.terminate()


def test_the_simulator_can_have_few_and_forgetful_models(unspool):
    child, url = _start_sim(unspool, "--models", "one, two", "--context-window", "30", "--strict")
    assert unspool("--base-url", url, "-m", "two", "hi").returncode == 0
    for arguments in (("-m", "three", "hi"), ("-m", "one", "word " * 40)):
        assert unspool("--base-url", url, *arguments).returncode == 10
    child.terminate()


def test_the_simulator_can_be_lenient_and_sends_signs_of_life(unspool):
    child, url = _start_sim(unspool, "--lenient", "--ttft", "200ms", "--keepalive", "20ms")
    done = unspool("--base-url", url, "--api", "responses", "-m", "m", "--format", "sse", "-o", "top_k", "3", "hi")
    assert done.returncode == 0
    assert b"keepalive" in done.stdout
    child.terminate()


def test_a_port_in_use_is_told(unspool):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = unspool("sim", "--port", str(port))
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode() == f"unspool: cannot listen on 127.0.0.1 port {port}: Address already in use\n"


@pytest.mark.parametrize("command", ["models", "sim"])
def test_words_where_none_are_wanted_are_wrong_usage(unspool, command):
    done = unspool(command, "word")
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("resum", "resume"), ("shwo", "show"), ("modelss", "models"), ("keyz", "keys")],
)
def test_a_command_with_a_slip_in_it_is_not_asked_of_a_model(unspool, serve, typed, meant):
    server = serve(stream("chat", "Hello"))
    unspool.env.update(OPENAI_BASE_URL=server.url, OPENAI_API_KEY="k", UNSPOOL_MODEL="m", UNSPOOL_API="chat")
    done = unspool(typed)
    assert (done.returncode, f"did you mean unspool {meant}?".encode() in done.stderr, server.requests) == (2, True, [])
    assert unspool("ask", typed).stdout == b"Hello\n"
    assert unspool("--", typed).stdout == b"Hello\n"


@pytest.mark.parametrize("prompt", ["Hello", "show me the way", "logic", "hi", "ps1"])
def test_a_prompt_that_only_resembles_a_command_is_asked(unspool, serve, prompt):
    server = serve(stream("chat", "Hello"))
    unspool.env.update(OPENAI_BASE_URL=server.url, OPENAI_API_KEY="k", UNSPOOL_MODEL="m", UNSPOOL_API="chat")
    assert (unspool(prompt).returncode, len(server.requests)) == (0, 1)


def test_help_can_be_asked_for_by_its_name(unspool):
    assert unspool("help").stdout == unspool("--help").stdout
    assert unspool("help", "resume").stdout == unspool("resume", "--help").stdout
