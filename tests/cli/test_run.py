"""``unspool run``: every line gets its answer once, whatever happens on the way."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading

import pytest

from support.waiting import PATIENCE
from support.wire import error, head, piece, start, stream

from .watching import Watched


def _asked(connection):
    return connection.json["messages"][-1]["content"]


def _echo(connection):
    """Answer with what was asked."""
    connection.send(stream("chat", _asked(connection)))


def _file(unspool, *lines):
    path = unspool.home / "prompts.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return str(path)


def _prompts(unspool, count):
    return _file(unspool, *({"prompt": f"p{number}"} for number in range(count)))


def _results(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def _texts(done):
    return sorted(result["text"] for result in _results(done))


def test_each_line_gets_a_result_and_a_journal(unspool, serve):
    done = unspool("run", _prompts(unspool, 20), "--base-url", serve(_echo).url, "-m", "m")
    assert done.returncode == 0
    assert _texts(done) == sorted(f"p{number}" for number in range(20))
    assert sorted(result["id"] for result in _results(done)) == [path.stem for path in unspool.journals()]
    assert b"20 of 20 answered" in done.stderr


def test_a_plain_result_says_how_it_ended_and_what_it_cost(unspool, serve):
    path = _file(unspool, {"prompt": "Hi", "custom_id": "a"})
    (result,) = _results(unspool("run", path, "--base-url", serve(_echo).url, "-m", "m"))
    assert (result["custom_id"], result["line"], result["outcome"], result["text"]) == ("a", 1, "complete", "Hi")
    assert (result["finish_reason"], result["model"], result["usage"]["total_tokens"]) == ("stop", "m-1", 5)
    assert 0 <= result["ttft"] <= result["duration"]


@pytest.mark.parametrize("api", ["chat", "responses", "completions"])
def test_a_batch_line_has_a_result_that_the_sdk_reads(unspool, api):
    types = pytest.importorskip("openai.types")
    chat = pytest.importorskip("openai.types.chat")
    responses = pytest.importorskip("openai.types.responses")
    url, body, model = {
        "chat": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}]}, chat.ChatCompletion),
        "responses": ("/v1/responses", {"input": "Hi"}, responses.Response),
        "completions": ("/v1/completions", {"prompt": "Hi"}, types.Completion),
    }[api]
    line = {"custom_id": "a", "method": "POST", "url": url, "body": {"model": "sim-1", **body}}
    (result,) = _results(unspool("run", _file(unspool, line), "--sim"))
    # The legacy endpoint stops after sixteen tokens where it is not told otherwise.
    ended = "length" if api == "completions" else "complete"
    assert (result["custom_id"], result["error"], result["outcome"]) == ("a", None, ended)
    assert result["response"]["status_code"] == 200
    answer = model.model_validate(result["response"]["body"])
    assert answer.usage.total_tokens > 0


def test_a_batch_line_that_fails_has_an_error_in_place_of_a_response(unspool, serve):
    line = {"custom_id": "a", "url": "/v1/chat/completions", "body": {"model": "no", "messages": []}}
    server = serve(error(404, "No such model.", "model_not_found"))
    done = unspool("run", _file(unspool, line), "--base-url", server.url)
    (result,) = _results(done)
    assert (result["response"], result["error"]["code"], result["outcome"]) == (None, "model_not_found", "bad_request")
    assert done.returncode == 10


def test_results_come_in_order_when_that_is_wanted(unspool, serve):
    first_may_go = threading.Event()
    others = []

    def answer(connection):
        if _asked(connection) == "p0":
            first_may_go.wait(PATIENCE)
        else:
            others.append(1)
            if len(others) == 4:
                first_may_go.set()
        _echo(connection)

    done = unspool("run", _prompts(unspool, 5), "--ordered", "--base-url", serve(answer).url, "-m", "m")
    assert [result["text"] for result in _results(done)] == ["p0", "p1", "p2", "p3", "p4"]


def test_never_more_streams_than_wanted_are_under_way(unspool, serve):
    lock, now, most = threading.Lock(), [0], [0]
    two = threading.Barrier(2, timeout=PATIENCE)

    def answer(connection):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        two.wait()
        with lock:
            now[0] -= 1
        _echo(connection)

    done = unspool("run", _prompts(unspool, 10), "--concurrency", "2", "--base-url", serve(answer).url, "-m", "m")
    assert (done.returncode, most[0]) == (0, 2)


def test_a_second_start_asks_for_nothing_that_was_whole(unspool, serve):
    path = _prompts(unspool, 3)
    server = serve(_echo, error(400, "No."), _echo, _echo)
    first = unspool("run", path, "--concurrency", "1", "--base-url", server.url, "-m", "m")
    assert (first.returncode, b"1 failed (1 bad_request)" in first.stderr) == (10, True)
    second = unspool("run", path, "--base-url", server.url, "-m", "m")
    assert (second.returncode, _texts(second)) == (0, ["p0", "p1", "p2"])
    assert b"2 of them before" in second.stderr
    assert [_asked(request) for request in server.requests] == ["p0", "p1", "p2", "p1"]


def test_everything_is_asked_again_when_that_is_wanted(unspool, serve):
    server = serve(_echo)
    for _ in range(2):
        unspool("run", _prompts(unspool, 2), "--fresh", "--base-url", server.url, "-m", "m")
    assert len(server.requests) == 4


def test_another_model_is_another_question(unspool, serve):
    server = serve(_echo)
    for model in ("m", "m", "other"):
        unspool("run", _prompts(unspool, 2), "--base-url", server.url, "-m", model)
    assert len(server.requests) == 4


def test_the_same_line_twice_is_asked_twice_and_kept_twice(unspool, serve):
    server = serve(_echo)
    path = _file(unspool, {"prompt": "Hi"}, {"prompt": "Hi"})
    for _ in range(2):
        done = unspool("run", path, "--base-url", server.url, "-m", "m")
        assert len({result["id"] for result in _results(done)}) == 2
    assert len(server.requests) == 2


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_what_was_whole_when_it_was_ended_is_not_asked_again(unspool, serve, number):
    path = _prompts(unspool, 6)
    held, resumed = threading.Semaphore(0), threading.Event()

    def answer(connection):
        if _asked(connection) in ("p2", "p4") and not resumed.is_set():
            connection.send(head() + start("chat") + piece("chat", "half"))
            held.release()
            connection.wait_closed()
        else:
            _echo(connection)

    server = serve(answer)
    arguments = ("run", path, "--concurrency", "2", "--base-url", server.url, "-m", "m")
    child = unspool.start(*arguments)
    for _ in range(2):
        assert held.acquire(timeout=PATIENCE)
    # Both places are taken by answers that do not end, so the others that were begun have ended, and been printed.
    child.send_signal(number)
    printed, told = child.communicate(timeout=PATIENCE)
    assert child.returncode == (-9 if number == signal.SIGKILL else 128 + number)
    assert sorted(json.loads(line)["text"] for line in printed.splitlines()) == ["p0", "p1", "p3"]
    if number != signal.SIGKILL:
        assert b"stopped: 3 of 6 answered" in told
    before = len(server.requests)
    resumed.set()
    done = unspool(*arguments)
    assert _texts(done) == [f"p{number}" for number in range(6)]
    assert sorted(_asked(request) for request in server.requests[before:]) == ["p2", "p4", "p5"]


def test_a_rate_limit_slows_all_streams_and_costs_no_answer(unspool, serve):
    path = _prompts(unspool, 12)
    refused = []

    def answer(connection):
        if len(refused) < 5:
            refused.append(_asked(connection))
            connection.send(error(429, "Slow down.", "rate_limit_exceeded", retry_after="0.2"))
        else:
            _echo(connection)

    server = serve(answer)
    done = unspool("run", path, "--base-url", server.url, "-m", "m")
    assert (done.returncode, _texts(done)) == (0, sorted(f"p{number}" for number in range(12)))
    assert len(server.requests) == 12 + 5
    assert len(unspool.journals()) == 12


def test_a_quota_that_is_used_up_is_not_waited_for(unspool, serve):
    server = serve(error(429, "Pay.", "insufficient_quota"))
    done = unspool("run", _prompts(unspool, 1), "--base-url", server.url, "-m", "m")
    assert (done.returncode, len(server.requests)) == (4, 1)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "not a JSON object"),
        ('"Hi"', "not a JSON object"),
        ('{"promt": "Hi"}', "no field 'promt'"),
        ('{"prompt": 1}', "needs a prompt"),
        ('{"messages": "Hi"}', "needs a prompt"),
        ('{"messages": [1]}', "form of Chat Completions"),
        ('{"url": "/v1/embeddings", "body": {}}', "it must end in /chat/completions"),
        ('{"url": "/v1/completions", "body": []}', "body is not a JSON object"),
        ('{"method": "GET", "url": "/v1/completions", "body": {}}', "must be POST"),
        ('{"custom_id": 1, "prompt": "Hi"}', "custom_id is not a string"),
    ],
)
def test_a_mistake_in_the_last_line_is_told_before_anything_is_asked(unspool, serve, line, words):
    server = serve(_echo)
    done = unspool(
        "run", _file(unspool, {"prompt": "Hi"}, "", line), "--base-url", server.url, "-m", "m", "--api", "responses"
    )
    assert (done.returncode, done.stdout, server.requests) == (2, b"", [])
    assert b"line 3: " in done.stderr
    assert words.encode() in done.stderr


def test_a_line_that_is_not_utf8_is_told_before_anything_is_asked(unspool, serve):
    server = serve(_echo)
    lines = b'{"prompt": "Hi"}\n' + '{"prompt": "Grüße"}\n'.encode("latin-1")
    done = unspool("run", "-", "--base-url", server.url, "-m", "m", input=lines)
    assert (done.returncode, done.stdout, server.requests) == (2, b"", [])
    assert b"line 2: not UTF-8 (byte 15)" in done.stderr


def test_one_name_for_two_lines_is_a_mistake(unspool):
    done = unspool("run", _file(unspool, *[{"prompt": "Hi", "custom_id": "a"}] * 2), "--sim")
    assert (done.returncode, b"custom_id 'a' is also in line 1" in done.stderr) == (2, True)


def test_prompts_can_be_piped_in(unspool):
    done = unspool("run", "-", "--sim", input=b'{"prompt": "Hi"}\n{"prompt": "Ho"}')
    assert (done.returncode, len(_results(done))) == (0, 2)


def test_a_run_that_is_under_way_is_not_begun_again(unspool, serve):
    path = _prompts(unspool, 1)
    server = serve(lambda connection: connection.wait_closed())
    child = unspool.start("run", path, "--base-url", server.url, "-m", "m")
    assert server.arrived.wait(PATIENCE)
    done = unspool("run", path, "--base-url", server.url, "-m", "m")
    assert (done.returncode, b"is being run by another process" in done.stderr) == (1, True)
    child.kill()


def test_a_result_that_could_not_be_kept_is_printed_all_the_same(unspool, serve):
    run = unspool.streams.parent / "runs" / "mine"
    run.mkdir(parents=True)
    (run / "streams").write_text("in the way")
    done = unspool("run", _prompts(unspool, 2), "--name", "mine", "--base-url", serve(_echo).url, "-m", "m")
    assert (done.returncode, _texts(done)) == (0, ["p0", "p1"])
    assert b"a second run would send it again" in done.stderr


def test_progress_is_shown_to_a_person_and_taken_back(unspool):
    screen = unspool.on_terminal("run", _prompts(unspool, 3), "--sim", "--quiet")
    assert screen.code == 0
    screen = unspool.on_terminal("run", _prompts(unspool, 3), "--sim")
    assert screen.lines[[bool(line) for line in screen.lines].index(False) - 1].startswith("unspool: 3 of 3 answered")


def test_no_key_is_in_the_ledger_and_it_is_private(unspool, serve):
    unspool("run", _prompts(unspool, 1), "--base-url", serve(_echo).url, "-m", "m", "--key", "sk-secret")
    (ledger,) = (unspool.home / "state" / "runs").glob("*/*.run")
    assert b"sk-secret" not in ledger.read_bytes()
    assert os.stat(ledger).st_mode & 0o777 == 0o600


def test_a_result_is_made_safe_where_a_terminal_would_obey_it(unspool, serve):
    server = serve(stream("chat", "a\x9b2Jb\u202ec\x1b]52;c;aGk=\x07"))
    screen = unspool.on_terminal("run", _prompts(unspool, 1), "--quiet", "--base-url", server.url, "-m", "m")
    assert screen.code == 0
    for hostile in ("\x9b", "\u202e", "\x1b]"):
        assert hostile.encode() not in screen.output


def test_a_dead_server_ends_the_run_after_the_retries_of_one_line_and_says_why(unspool):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    arguments = ["--base-url", f"http://127.0.0.1:{port}/v1", "-m", "m", "--retries", "1", "--concurrency", "1"]
    done = unspool("run", _prompts(unspool, 500), *arguments)
    assert (done.returncode, len(_results(done))) == (6, 1)
    first, last = done.stderr.decode().splitlines()
    assert first.startswith("unspool: line 1 is sent again: ")
    assert last.startswith(
        "unspool: stopped, since no line could be answered: 0 of 500 answered, 1 failed (1 unreachable)"
    )
    assert "; line 1: " in last


def _dying(unspool, serve, *, kept=()):
    """Run 500 lines at a server that goes away after the first answer."""

    def answer(connection):
        connection.send(stream("chat", "x"))
        connection.close()
        server.close()

    server = serve(answer)
    arguments = ("--base-url", server.url, "-m", "m", "--concurrency", "1", "--retries", "0", *kept)
    return unspool("run", _prompts(unspool, 500), *arguments), arguments


def test_a_server_that_is_gone_for_longer_than_patience_allows_ends_the_run(unspool, serve):
    done, arguments = _dying(unspool, serve, kept=("--patience", "50ms"))
    last = done.stderr.decode().splitlines()[-1]
    assert done.returncode == 6
    assert last.startswith("unspool: stopped, since the server was unreachable for 0 s: 1 of 500 answered, ")
    assert last.endswith("; run the same command again for the rest")
    assert 1 < len(_results(done)) < 500
    # Started again it has kept an answer, and ends at the first line that cannot reach the server all the same.
    again = unspool("run", str(unspool.home / "prompts.jsonl"), *arguments)
    assert (again.returncode, len(_results(again))) == (6, 2)


def test_a_server_that_is_gone_for_less_time_ends_nothing(unspool, serve):
    done, _ = _dying(unspool, serve)
    assert (done.returncode, len(_results(done))) == (6, 500)
    assert b"1 of 500 answered, 499 failed (499 unreachable)" in done.stderr


def test_a_wrong_key_is_tried_once(unspool, serve):
    server = serve(error(401, "Incorrect API key.", "invalid_api_key"))
    done = unspool("run", _prompts(unspool, 500), "--base-url", server.url, "-m", "m", "--concurrency", "1")
    assert (done.returncode, len(server.requests)) == (3, 1)
    assert b"stopped, since no line could be answered" in done.stderr
    assert b"line 1: Incorrect API key." in done.stderr


def test_a_key_that_fails_after_an_answer_stops_nothing(unspool, serve):
    def answer(connection):
        connection.send(error(401, "No.", "invalid_api_key") if _asked(connection) == "p1" else stream("chat", "x"))

    done = unspool("run", _prompts(unspool, 4), "--base-url", serve(answer).url, "-m", "m", "--concurrency", "1")
    assert (done.returncode, len(_results(done))) == (3, 4)
    assert b"3 of 4 answered, 1 failed (1 unauthorized)" in done.stderr


def test_each_kind_of_failure_has_an_example(unspool, serve):
    def answer(connection):
        kinds = {
            "p1": error(400, "Too long.", "context_length_exceeded"),
            "p2": error(404, "No model.", "model_not_found"),
        }
        connection.send(kinds.get(_asked(connection)) or head() + start("chat") + piece("chat", "Py"))

    path = _file(unspool, {"prompt": "p1"}, {"prompt": "p2"}, {"prompt": "p3"})
    done = unspool("run", path, "--base-url", serve(answer).url, "-m", "m", "--concurrency", "1")
    assert b"3 failed (2 bad_request, 1 cut)" in done.stderr
    assert b"bad_request: line 1: Too long.; cut: line 3: " in done.stderr


def test_fields_and_a_schema_are_defaults_that_a_line_may_change(unspool, serve):
    def answer(connection):
        connection.send(stream("chat", '{"name": "Ada"}'))

    server = serve(answer)
    other = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    path = _file(unspool, {"prompt": "a"}, {"prompt": "b", "schema": other, "seed": 2, "options": {"user": "x"}})
    arguments = [
        "--base-url",
        server.url,
        "-m",
        "m",
        "--schema",
        "name",
        "-o",
        "seed",
        "1",
        "-o",
        "user",
        "u",
        "--ordered",
    ]
    first, second = _results(unspool("run", path, *arguments))
    assert (first["object"], first["message"]) == ({"name": "Ada"}, None)
    assert "does not follow the schema" in second["message"]
    sent = sorted((request.json["seed"], request.json["user"]) for request in server.requests)
    assert sent == [(1, "u"), (2, "x")]


def test_a_dry_run_shows_the_first_request_and_the_number_of_them(unspool, serve):
    server = serve(_echo)
    done = unspool("run", _prompts(unspool, 3), "--base-url", server.url, "-m", "m", "--key", "secret-key", "--dry-run")
    assert (done.returncode, done.stderr) == (0, b"unspool: 3 requests; none was sent\n")
    assert b'"content": "p0"' in done.stdout
    assert b"secret-key" not in done.stdout
    assert not server.requests
    assert not unspool.journals()


def test_the_status_line_says_what_goes_wrong_while_it_does(unspool, serve):
    server = serve(error(503, "The disk is full."))
    watched = Watched(
        unspool, "run", _prompts(unspool, 3), "--base-url", server.url, "-m", "m", "--concurrency", "1", columns=200
    )
    watched.until("0 of 3 answered").until("retrying: ").until("The disk is full.")
    watched.send(signal.SIGINT)
    assert watched.end() == 130


def _bodies(server):
    """What each request asked: its messages and the other fields that tests set."""
    bodies = sorted((request.json for request in server.requests), key=lambda body: str(body["messages"]))
    return [
        ([one["content"] for one in body["messages"]], body.get("temperature"), body.get("seed")) for body in bodies
    ]


@pytest.fixture
def kept_templates(unspool):
    folder = unspool.home / "config" / "unspool" / "templates"
    folder.mkdir(parents=True)
    (folder / "sum.toml").write_text(
        'prompt = "Sum up in $lang: $input"\nsystem = "For $whom."\noptions = { seed = 3, temperature = 0 }\n'
        '[defaults]\nwhom = "all"\n'
    )
    (folder / "hi.toml").write_text('prompt = "Say hi in $lang"\n')
    (folder / "brief.toml").write_text('system = "Be brief."\nmodel = "small"\n')
    return folder


def test_a_template_is_filled_with_each_line_which_may_have_other_values_or_another_one(unspool, serve, kept_templates):
    server = serve(*[stream("chat", "ok")] * 4)
    lines = [
        {"prompt": "A"},
        {"prompt": "B", "params": {"lang": "French", "whom": 5}, "temperature": 1},
        {"template": "hi", "params": {"lang": "German"}},
        {"prompt": "C", "template": "brief"},
    ]
    path = _file(unspool, *lines)
    done = unspool(
        "run", path, "--base-url", server.url, "-m", "m", "-t", "sum", "-p", "lang", "English", "-o", "seed", "4"
    )
    assert done.returncode == 0, done.stderr
    assert _bodies(server) == [
        (["Be brief.", "C"], None, 4),
        (["For 5.", "Sum up in French: B"], 1, 4),
        (["For all.", "Sum up in English: A"], 0, 4),
        (["Say hi in German"], None, 4),
    ]


def test_a_line_that_its_template_cannot_take_is_reported_before_anything_is_asked(unspool, serve, kept_templates):
    server = serve()
    wrong = [
        ({"prompt": "A"}, b"needs a value for lang"),
        ({"prompt": "A", "params": {"lang": "x", "nope": 1}}, b"has no parameter 'nope'"),
        ({"params": {"lang": "x"}}, b"needs a prompt"),
        ({"messages": [{"role": "user", "content": "A"}], "params": {"lang": "x"}}, b"its template needs a prompt"),
        ({"prompt": "A", "template": "nobody"}, b"there is no template 'nobody'"),
        ({"prompt": "A", "template": str(kept_templates / "hi.toml")}, b"cannot be a template's name"),
        ({"prompt": "A", "template": 5}, b"template is not a string"),
    ]
    done = unspool(
        "run", _file(unspool, *(line for line, _ in wrong)), "--base-url", server.url, "-m", "m", "-t", "sum"
    )
    said = done.stderr.splitlines()
    assert (done.returncode, len(said), server.requests) == (2, len(wrong) + 1, [])
    for line, (_, why) in zip(said, wrong, strict=False):
        assert why in line
    path = _file(unspool, {"prompt": "A"})
    assert unspool("run", path, "--base-url", server.url, "-m", "m", "-t", "sum", "-p", "nope", "1").returncode == 1
    assert (
        b"params needs to be a JSON object"
        in unspool("run", _file(unspool, {"prompt": "A", "params": {}}), "--sim").stderr
    )


def test_messages_go_with_a_template_that_only_says_how_to_answer(unspool, serve, kept_templates):
    server = serve(stream("chat", "ok"))
    path = _file(unspool, {"messages": [{"role": "user", "content": "A"}], "template": "brief"})
    assert unspool("run", path, "--base-url", server.url).returncode == 0
    assert (server.requests[0].json["model"], _bodies(server)[0][0]) == ("small", ["Be brief.", "A"])


def test_where_a_model_has_a_price_the_end_says_what_the_run_cost(unspool, serve):
    config = unspool.home / "config" / "unspool" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('[prices]\n"m-1" = { input = 100_000, output = 200_000 }\n')
    done = unspool("run", _prompts(unspool, 3), "--base-url", serve(_echo).url, "-m", "m")
    # Each has 3 tokens in and 2 out.
    assert b", cost 2.1000" in done.stderr
    assert b", cost 2.1000\n" in unspool("stats", "--run", "prompts").stdout
    assert json.loads(unspool("stats", "--run", "prompts", "--json").stdout)["models"]["m-1"]["cost"] == pytest.approx(
        2.1
    )
    config.unlink()
    assert b"cost" not in unspool("stats", "--run", "prompts").stdout
