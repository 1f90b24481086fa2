"""`--tool`, `--tool-choice` and `--tool-result`: a model calls, a script answers, the conversation goes on."""

from __future__ import annotations

import json

import pytest

from support.wire import APIS, end, event, head, piece, start, stream

WEATHER = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
CLOCK = {"type": "function", "name": "clock", "parameters": {"type": "object", "properties": {}}}


def calls(api: str, *called: tuple[str, str, str], text: str = "") -> bytes:
    """An answer that calls tools: of each the id, the name and the arguments."""
    said = start(api) + (piece(api, text) if text else b"")
    if api == "chat":
        for index, (id, name, arguments) in enumerate(called):
            function = {"name": name, "arguments": arguments}
            call = {"index": index, "id": id, "type": "function", "function": function}
            said += event(
                {"id": "r1", "choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}]}
            )
        return head() + said + end(api, "tool_calls")
    for index, (id, name, arguments) in enumerate(called, start=1):
        item = {"type": "function_call", "id": f"fc_{index}", "call_id": id, "name": name, "arguments": arguments}
        said += event({"type": "response.output_item.done", "output_index": index, "item": item})
    return head() + said + end(api)


CALL = ("call_1", "weather", '{"city":"Ulm"}')


@pytest.fixture
def tools(tmp_path):
    (tmp_path / "weather.json").write_text(json.dumps(WEATHER))
    (tmp_path / "clock.json").write_text(json.dumps([CLOCK]))
    return str(tmp_path / "weather.json"), str(tmp_path / "clock.json")


@pytest.fixture
def ask(unspool):
    def run(server, *arguments: str, api: str = "chat"):
        unspool.env |= {
            "OPENAI_BASE_URL": server.url,
            "OPENAI_API_KEY": "sk-0",
            "UNSPOOL_MODEL": "m",
            "UNSPOOL_API": api,
        }
        return unspool(*arguments)

    return run


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_tools_of_several_files_are_offered_and_one_chosen(ask, serve, tools, api):
    server = serve(stream(api, "Hi"))
    weather, clock = tools
    assert ask(server, "--tool", weather, "--tool", clock, "--tool-choice", "clock", "?", api=api).returncode == 0
    body = server.requests[0].json
    nested = {"type": "function", "function": {"name": "clock"}}
    assert body["tool_choice"] == (nested if api == "chat" else {"type": "function", "name": "clock"})
    assert [(tool.get("function") or tool)["name"] for tool in body["tools"]] == ["weather", "clock"]


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_where_calls_are_all_of_the_answer_a_pipe_gets_them(ask, serve, tools, api):
    done = ask(serve(calls(api, CALL)), "--tool", tools[0], "Weather in Ulm?", api=api)
    (line,) = done.stdout.splitlines()
    call = {
        "type": "tool_call",
        "index": 0,
        "id": "call_1",
        "name": "weather",
        "arguments": '{"city":"Ulm"}',
        "choice": 0,
        "kind": "function",
    }
    assert (done.returncode, json.loads(line)) == (0, call)
    told = done.stderr.decode()
    assert 'calls the tool weather with {"city":"Ulm"}' in told
    assert "unspool -c --tool-result call_1 RESULT" in told


def test_no_server_writes_the_command_that_people_copy(ask, serve, tools):
    done = ask(serve(calls("chat", ("x; rm -rf ~", "weather", "{}"))), "--tool", tools[0], "Weather?")
    assert b"unspool -c --tool-result ID RESULT" in done.stderr
    assert b"rm -rf" not in done.stderr


def test_beside_words_calls_are_told_on_stderr_alone(ask, serve, tools):
    done = ask(serve(calls("chat", CALL, text="Let me look.")), "--tool", tools[0], "Weather in Ulm?")
    assert done.stdout == b"Let me look.\n"
    assert b"calls the tool weather" in done.stderr


def test_a_person_is_told_of_a_call_and_shown_no_json(unspool, serve, tools):
    server = serve(calls("chat", CALL))
    unspool.env |= {
        "OPENAI_BASE_URL": server.url,
        "OPENAI_API_KEY": "sk-0",
        "UNSPOOL_MODEL": "m",
        "UNSPOOL_API": "chat",
    }
    shown = unspool.on_terminal("--tool", tools[0], "Weather in Ulm?").output.decode()
    assert "calls the tool weather" in shown
    assert '"tool_call"' not in shown


def test_what_was_called_is_printed_again_by_last(ask, unspool, serve, tools):
    first = ask(serve(calls("chat", CALL)), "--tool", tools[0], "Weather in Ulm?")
    assert unspool("last").stdout == first.stdout


@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize("key", ["call_1", "weather"])
def test_a_script_can_close_the_loop(ask, serve, tools, api, key):
    server = serve(calls(api, CALL), stream(api, "It rains."))
    ask(server, "--tool", tools[0], "Weather in Ulm?", api=api)
    done = ask(server, "-q", "-c", "--tool-result", key, '{"sky":"rain"}', api=api)
    assert (done.returncode, done.stdout) == (0, b"It rains.\n")
    first, second = (request.json for request in server.requests)
    # The model may want to call again.
    assert second["tools"] == first["tools"]
    if api == "chat":
        function = {"name": "weather", "arguments": '{"city":"Ulm"}'}
        assert second["messages"] == [
            {"role": "user", "content": "Weather in Ulm?"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": '{"sky":"rain"}'},
        ]
    else:
        assert second["input"] == [
            {"type": "message", "role": "user", "content": "Weather in Ulm?"},
            {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"city":"Ulm"}'},
            {"type": "function_call_output", "call_id": "call_1", "output": '{"sky":"rain"}'},
        ]


def test_a_result_can_be_piped_in(ask, serve, unspool, tools):
    server = serve(calls("chat", CALL), stream("chat", "Done."))
    ask(server, "--tool", tools[0], "Weather?")
    assert unspool("-q", "-c", "--tool-result", "weather", "-", input=b"rain\n" * 50_000).stdout == b"Done.\n"
    assert server.requests[1].json["messages"][-1]["content"] == "rain\n" * 50_000


def test_the_loop_goes_round_more_than_once_and_words_may_follow(ask, serve, tools):
    server = serve(calls("chat", CALL), calls("chat", ("call_2", "weather", "{}")), stream("chat", "Done."))
    ask(server, "--tool", tools[0], "Weather?")
    ask(server, "-c", "--tool-result", "call_1", "rain")
    assert ask(server, "-c", "--tool-result", "call_2", "sun", "In a word?").stdout == b"Done.\n"
    roles = [message["role"] for message in server.requests[2].json["messages"]]
    assert roles == ["user", "assistant", "tool", "assistant", "tool", "user"]


def test_results_keep_the_order_of_their_calls(ask, serve, tools):
    server = serve(calls("chat", ("a", "weather", "{}"), ("b", "weather", "{}")), stream("chat", "Done."))
    ask(server, "--tool", tools[0], "Weather?")
    ask(server, "-c", "--tool-result", "b", "two", "--tool-result", "a", "one")
    said = server.requests[1].json["messages"][2:]
    assert [(message["tool_call_id"], message["content"]) for message in said] == [("a", "one"), ("b", "two")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-c", "and?"], "waits for tool results: give --tool-result ID RESULT for a (weather), b (weather)"),
        (["-c", "--tool-result", "a", "1"], "--tool-result ID RESULT for b (weather)"),
        (["-c", "--tool-result", "weather", "1"], "the last answer has no call 'weather'; its calls are a (weather)"),
        (["-c", "--tool-result", "a", "1", "--tool-result", "a", "2"], "two results for a"),
        (["--tool-result", "a", "1"], "add -c to continue the conversation that called the tool"),
        (["--tool-choice", "auto", "?"], "--tool-choice needs tools"),
        (["--tool", "missing.json", "?"], "--tool: missing.json cannot be read"),
        (["--tool", "[1]", "?"], "a tool is a JSON object with a name"),
        (["--tool", '{"description":"x"}', "?"], "a tool has no name"),
        (["--tool", '{"name":"f"}', "--tool-choice", "g", "?"], "no tool called 'g' to choose; there are f"),
        (["--tool", '{"name":"f"}', "--api", "completions", "?"], "does not support tools; use --api chat"),
    ],
)
def test_what_does_not_go_together_is_told_before_anything_is_asked(ask, serve, tools, arguments, words):
    server = serve(calls("chat", ("a", "weather", "{}"), ("b", "weather", "{}")))
    ask(server, "--tool", tools[0], "Weather?")
    done = ask(server, *arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert words in done.stderr.decode()
    assert len(server.requests) == 1


def test_a_result_where_no_tool_was_called_is_refused(ask, serve):
    server = serve(stream("chat", "Hi"))
    ask(server, "Hello")
    assert b"the last answer calls no tool" in ask(server, "-c", "--tool-result", "a", "1").stderr


def test_calls_come_through_in_one_piece_too(ask, serve, tools):
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    whole = {"id": "r", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    server = serve(head(type="application/json") + json.dumps(whole).encode())
    done = ask(server, "--no-stream", "--tool", tools[0], "?")
    assert (done.returncode, json.loads(done.stdout)["id"]) == (0, "call_1")


def test_nobody_loses_words_to_a_tool_that_was_not_called(ask, serve, tools):
    for api in APIS[:2]:
        done = ask(serve(stream(api, "Just words.")), "--tool", tools[0], "?", api=api)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"Just words.\n", b"")
