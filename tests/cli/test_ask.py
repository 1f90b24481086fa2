"""Asking: where the prompt comes from, what is sent, and what it can be told."""

from __future__ import annotations

import json
import os

import pytest

from support.waiting import PATIENCE
from support.wire import APIS, end, error, head, piece, start, stream
from unspool import sse

each_api = pytest.mark.parametrize("api", APIS)


def _body(server):
    return server.requests[-1].json


def _sent(unspool, serve, *arguments, api="chat", **options):
    """The body that is sent for a command line."""
    server = serve(stream(api, "ok"))
    done = unspool("--base-url", server.url, "--api", api, "-m", "m", *arguments, **options)
    assert (done.returncode, done.stdout) == (0, b"ok\n"), done.stderr
    return _body(server)


def _prompt(unspool, serve, *arguments, **options):
    return _sent(unspool, serve, *arguments, api="completions", **options)["prompt"]


def test_what_is_piped_in_comes_before_the_words(unspool, serve):
    assert _prompt(unspool, serve, "sum", "up", input=b"a\nb\n") == "a\nb\n\nsum up"


def test_what_is_piped_in_may_be_all_of_it(unspool, serve):
    assert _prompt(unspool, serve, input=b" a\n\n") == " a"


def test_standard_input_can_be_ignored(unspool, serve):
    assert _prompt(unspool, serve, "--no-stdin", "hi", stdin=-1) == "hi"


def test_a_file_can_be_standard_input(unspool, serve, tmp_path):
    (tmp_path / "in").write_bytes(b"from a file")
    with open(tmp_path / "in", "rb") as file:
        assert _prompt(unspool, serve, stdin=file) == "from a file"


def test_a_byte_order_mark_says_how_standard_input_is_encoded(unspool, serve):
    assert _prompt(unspool, serve, input="Grüße".encode("utf-16")) == "Grüße"
    assert _prompt(unspool, serve, input=b"\xef\xbb\xbfa") == "a"


def test_five_megabytes_can_be_piped_in(unspool, serve):
    text = "0123456789" * 500_000
    assert _prompt(unspool, serve, input=text.encode()) == text


def test_a_non_blocking_standard_input_is_read_to_its_end(unspool, serve):
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    server = serve(stream("completions", "ok"))
    child = unspool.start("--base-url", server.url, "--api", "completions", "-m", "m", stdin=read_end)
    os.close(read_end)
    os.write(write_end, b"one ")
    os.write(write_end, b"two")
    os.close(write_end)
    assert (child.wait(PATIENCE), _body(server)["prompt"]) == (0, "one two")


def test_an_idle_pipe_is_told_of_and_waited_for(unspool, serve):
    server = serve(stream("chat", "ok"))
    child = unspool.start("--base-url", server.url, "-m", "m", "hi", stdin=-1)
    assert child.stderr.readline() == b"unspool: reading stdin: press Ctrl-D to end it; --no-stdin ignores it\n"
    assert child.communicate(b"late", PATIENCE) == (b"ok\n", b"")
    assert _body(server)["messages"] == [{"role": "user", "content": "late\n\nhi"}]


@pytest.mark.parametrize("arguments", [(), ("",), ("--no-stdin",), ("  ",)])
def test_no_prompt_at_all_is_wrong_usage(unspool, arguments):
    done = unspool("--key", "k", *arguments, input=b"\n")
    assert done.returncode == 2
    assert done.stderr == b'unspool: there is no prompt; try: unspool "What is Python?", or see unspool --help\n'


def test_options_are_json_where_they_can_be(unspool, serve):
    options = {"seed": "7", "user": "ann", "logprobs": "true", "stop": '["a","b"]', "metadata": '{"a":1}', "x": "NaN"}
    sent = _sent(unspool, serve, *(word for pair in options.items() for word in ("-o", *pair)), "hi")
    wanted = {"seed": 7, "user": "ann", "logprobs": True, "stop": ["a", "b"], "metadata": {"a": 1}, "x": "NaN"}
    assert {name: sent[name] for name in wanted} == wanted


@each_api
def test_system_temperature_and_limit_have_each_endpoint_s_own_name(unspool, serve, api):
    sent = _sent(unspool, serve, "-s", "Be brief.", "--temperature", "0", "--max-tokens", "5", "hi", api=api)
    assert sent["temperature"] == 0
    assert 5 in [sent.get(name) for name in ("max_tokens", "max_completion_tokens", "max_output_tokens")]
    assert "Be brief." in json.dumps([sent.get(name) for name in ("instructions", "messages", "prompt")])


def test_further_choices_follow_the_first(unspool, serve):
    answer = (
        head()
        + start("chat")
        + piece("chat", "a")
        + piece("chat", "b", 1)
        + piece("chat", "c")
        + end("chat", choices=2)
    )
    done = unspool("--base-url", serve(answer).url, "-m", "m", "-o", "n", "2", "hi")
    assert (done.returncode, done.stdout) == (0, b"ac\n\n[choice 2]\nb\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--temperature", "hot"), "--temperature: 'hot' is not a number"),
        (("--temperature", "nan"), "--temperature: 'nan' is not a number"),
        (("--max-tokens", "0"), "--max-tokens: 0 is not above zero"),
        (("--max-tokens", "many"), "--max-tokens: 'many' is not an integer"),
        (("--retries", "-1"), "--retries: -1 is below zero"),
        (("--timeout", "soon"), "--timeout: 'soon' is not a time such as 30, 1.5s, 300ms or 2m"),
        (("-o", "n", "2.5"), "-o n takes an integer above zero, not 2.5"),
        (("-o", "seed"), "-o/--option: expected 2 arguments"),
        (("--format", "xml"), "--format: invalid choice: 'xml'"),
        (("--modle", "m"), "unknown option: --modle (did you mean --model?)"),
        (("--temp", "0"), "unknown option: --temp"),
        (("-m",), "-m/--model: expected one argument"),
    ],
)
def test_wrong_usage_is_one_line_with_2(unspool, arguments, words):
    done = unspool("--key", "k", "hi", *arguments)
    text = done.stderr.decode()
    assert (done.returncode, done.stdout) == (2, b"")
    assert text.startswith(f"unspool: {words}")
    assert text.count("\n") == 1
    assert unspool.journals() == []


def test_an_option_the_endpoint_lacks_is_wrong_usage_and_leaves_no_journal(unspool):
    done = unspool("--key", "k", "-o", "n", "2", "hi")
    assert (done.returncode, b"use --api chat" in done.stderr) == (2, True)
    assert unspool.journals() == []


def test_a_server_without_a_default_model_asks_for_one(unspool, serve):
    done = unspool("--base-url", serve(b"").url, "hi")
    assert (done.returncode, done.stderr.startswith(b"unspool: name a model with -m: 127.0.0.1:")) == (2, True)


@pytest.mark.parametrize("give", ["option", "environment"])
def test_a_dry_run_shows_the_request_without_the_key_and_sends_nothing(unspool, serve, give):
    server = serve(stream("chat", "no"))
    unspool.env["OPENAI_BASE_URL"] = server.url
    unspool.env["OPENAI_ORG_ID"] = "org-secret"
    if give == "environment":
        unspool.env["OPENAI_API_KEY"] = "sk-very-secret"
    done = unspool("--dry-run", *(("--key", "sk-very-secret") if give == "option" else ()), "hi")
    shown = done.stdout.decode()
    assert (done.returncode, server.requests, unspool.journals()) == (0, [], [])
    assert shown.startswith(f"POST {server.url}/chat/completions\n")
    assert "Authorization: ***" in shown
    assert "secret" not in shown
    assert json.loads(shown.partition("\n\n")[2])["messages"] == [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize("arguments", [("--", "last"), ("ask", "last"), ("ask", "--", "last")])
def test_a_prompt_may_be_a_command_s_name(unspool, serve, arguments):
    server = serve(stream("completions", "ok"))
    unspool.env.update(OPENAI_BASE_URL=server.url, OPENAI_API_KEY="k", UNSPOOL_API="completions")
    assert unspool(*arguments).returncode == 0
    assert _body(server)["prompt"] == "last"


def test_the_environment_names_server_model_and_account(unspool, serve):
    server = serve(stream("chat", "ok"))
    unspool.env.update(OPENAI_BASE_URL=server.url, OPENAI_API_KEY="k-1", OPENAI_ORG_ID="org-1", UNSPOOL_MODEL="mine")
    assert unspool("hi").stdout == b"ok\n"
    headers = server.requests[0].headers
    assert (_body(server)["model"], headers["authorization"], headers["openai-organization"]) == (
        "mine",
        "Bearer k-1",
        "org-1",
    )


def test_a_profile_of_the_configuration_file_is_asked(unspool, serve):
    server = serve(stream("completions", "ok"))
    folder = unspool.home / "config" / "unspool"
    folder.mkdir(parents=True)
    text = f'[profiles.mine]\nbase_url = "{server.url}"\nmodel = "m-7"\napi = "completions"\nneeds_key = false\n'
    (folder / "config.toml").write_text(text)
    done = unspool("-P", "mine", "hi")
    assert (done.returncode, done.stdout) == (0, b"ok\n"), done.stderr
    assert (server.requests[0].path, _body(server)["model"]) == ("/v1/completions", "m-7")
    assert unspool("-P", "mien", "hi").stderr == b"unspool: there is no profile called 'mien': did you mean 'mine'?\n"


@each_api
def test_json_lines_have_one_shape_for_all_endpoints(unspool, serve, api):
    done = unspool("--base-url", serve(stream(api, "Py", "thon")).url, "--api", api, "-m", "m", "--json", "hi")
    lines = [json.loads(line) for line in done.stdout.decode().split("\n")[:-1]]
    for line in lines:
        line.pop("at", None)
    assert [line["type"] for line in lines] == ["start", "text", "text", "finish", "usage", "end"]
    assert lines[0] == {"type": "start", "version": 1, "response_id": "r1", "model": "m-1"}
    assert lines[1] == {"type": "text", "text": "Py", "choice": 0}
    assert (lines[4]["input_tokens"], lines[4]["output_tokens"]) == (3, 2)
    assert (lines[-1]["outcome"], lines[-1]["exit_code"]) == ("complete", 0)


@pytest.mark.parametrize("format", ["json", "stream-json"])
def test_an_error_is_in_the_json_too(unspool, serve, format):
    server = serve(error(400, "No.", "bad"))
    done = unspool("--base-url", server.url, "-m", "m", "--format", format, "hi")
    last = json.loads(done.stdout)
    assert (done.returncode, last["outcome"], last["exit_code"], last["status"]) == (10, "bad_request", 10, 400)
    missing = json.loads(unspool("--format", format, "hi").stdout)
    assert (missing["outcome"], missing["exit_code"]) == ("unauthorized", 3)


@each_api
def test_sse_output_parses_to_the_server_s_own_events(unspool, serve, api):
    answer = stream(api, "a\nb", "c").replace(b"event: ", b"id: 7\nevent: ", 1)
    done = unspool("--base-url", serve(answer).url, "--api", api, "-m", "m", "--format", "sse", "hi")
    assert sse.Decoder().feed(done.stdout) == sse.Decoder().feed(answer.partition(b"\r\n\r\n")[2])


@each_api
def test_an_answer_in_one_piece_is_asked_for_and_printed(unspool, serve, api):
    whole = {"id": "r1", "model": "m", "choices": [{"index": 0, "finish_reason": "stop"}]}
    if api == "responses":
        part = {"type": "output_text", "text": "ok"}
        item = {"type": "message", "id": "i1", "role": "assistant", "content": [part]}
        whole = {"id": "r1", "object": "response", "model": "m", "status": "completed", "output": [item]}
    else:
        whole["choices"][0].update({"message": {"content": "ok"}} if api == "chat" else {"text": "ok"})
    answer = head(type="application/json") + json.dumps(whole).encode()
    assert _sent(unspool, lambda _: serve(answer), "--no-stream", "hi", api=api)["stream"] is False
    assert unspool("last").stdout == b"ok\n"


def test_verbose_says_whom_it_asked_and_how_it_went(unspool, serve):
    server = serve(stream("chat", "ok"))
    done = unspool("--base-url", server.url, "-m", "m", "-v", "hi")
    first, last, rest = done.stderr.decode().split("\n")
    assert first.startswith(f"unspool: POST {server.url}/chat/completions model m, stream 0")
    assert last.startswith("unspool: complete, finish reason stop, model m-1, first event after ")
    assert (rest, done.stdout) == ("", b"ok\n")


def test_the_simulator_says_that_it_is_one_unless_asked_to_be_quiet(unspool):
    done = unspool("--sim", "hi in 3 tokens")
    assert done.returncode == 0
    assert done.stderr.startswith(b"unspool: the answer comes from the built-in simulator (http://127.0.0.1:")
    assert done.stderr.count(b"\n") == 1
    assert unspool("--sim", "-q", "hi in 3 tokens").stderr == b""


def test_help_begins_with_the_usage_and_has_examples(unspool):
    for arguments, usage in (
        ((), "[OPTION]... PROMPT..."),
        (("show",), "show [OPTION]... [ID]"),
        (("keys",), "keys [ACTION]"),
    ):
        done = unspool(*arguments, "-h")
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.decode().startswith(f"usage: unspool {usage}\n")
        assert "\nexamples:\n  unspool " in done.stdout.decode()
    assert unspool("help").stdout == unspool("--help").stdout
    assert unspool("help", "show").stdout == unspool("show", "--help").stdout


def test_the_version_is_told(unspool):
    from unspool import __version__

    assert unspool("--version").stdout.decode() == f"unspool {__version__}\n"


TUTORIAL = ("-m", "gpt-3.5-turbo-instruct", "--max-tokens", "100", "--temperature", "0", "What is Python?")


def test_the_tutorial_s_request_has_its_fields_and_no_others(unspool, serve):
    server = serve(stream("completions", "A language."))
    unspool.env.update(OPENAI_BASE_URL=server.url, OPENAI_API_KEY="k")
    assert unspool("--api", "completions", *TUTORIAL).stdout == b"A language.\n"
    assert _body(server) == {
        "model": "gpt-3.5-turbo-instruct",
        "prompt": "What is Python?",
        "max_tokens": 100,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_the_tutorial_s_request_is_answered_by_the_simulator(unspool):
    done = unspool("--sim", "--api", "completions", *TUTORIAL)
    assert done.returncode in (0, 8)
    assert b"Python is a high-level, general-purpose programming language" in done.stdout


def test_a_key_is_not_sent_to_where_a_redirect_leads(unspool, serve):
    other = serve(error(401, "Who are you?"))
    server = serve(head(307, location=other.url.replace("127.0.0.1", "localhost") + "/chat/completions"))
    done = unspool("--base-url", server.url, "-m", "m", "--key", "sk-12345678", "hi")
    assert (done.returncode, "authorization" in other.requests[0].headers) == (3, False)
    assert b"to which the key was not sent" in done.stderr
