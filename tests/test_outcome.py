"""How a stream ended, judged from real decoders."""

import json

import pytest

from unspool import outcome, sse
from unspool.api import endpoint
from unspool.api import failure as failures
from unspool.api.deltas import Failure

CUT = outcome.Fault(outcome.CUT, "the connection was reset")
UNREACHABLE = outcome.Fault(outcome.UNREACHABLE, "no such host", retryable=True)
TEXT = {"chat": {"delta": {"content": "x"}}, "completions": {"text": "x"}}
CREATED = {"type": "response.created", "response": {"id": "resp_1"}}


def judged(api, *values, choices=1, fault=None):
    decoder = endpoint(api).decoder(choices)
    stream = "".join(f"data: {value if isinstance(value, str) else json.dumps(value)}\n\n" for value in values)
    decoder.decode(sse.Decoder().feed(stream.encode()))
    decoder.close()
    return outcome.judge(decoder, fault)


def text(api):
    return {"id": "x", "choices": [{"index": 0, "finish_reason": None, **TEXT[api]}]}


def finish(reason, index=0):
    return {"id": "x", "choices": [{"index": index, "delta": {}, "text": "", "finish_reason": reason}]}


def terminal(status, **more):
    return {"type": f"response.{status}", "response": {"id": "resp_1", "status": status, "output": [], **more}}


@pytest.mark.parametrize("api", ["chat", "completions"])
@pytest.mark.parametrize(
    ("reason", "word", "code"),
    [
        ("stop", "complete", 0),
        ("tool_calls", "complete", 0),
        ("function_call", "complete", 0),
        ("length", "length", 8),
        ("content_filter", "filtered", 9),
        ("error", "server_error", 5),
        ("insufficient_system_resource", "server_error", 5),
        ("abort", "cut", 7),
        ("repetition", "error", 1),
        ("eos", "complete", 0),
    ],
)
def test_a_finish_reason_decides_how_the_stream_ended(api, reason, word, code):
    ending = judged(api, text(api), finish(reason), "[DONE]")
    assert (ending.outcome, ending.exit_code, ending.finish_reason) == (word, code, reason)


@pytest.mark.parametrize(
    ("event", "word", "reason"),
    [
        (terminal("completed"), "complete", "stop"),
        (terminal("incomplete", incomplete_details={"reason": "max_output_tokens"}), "length", "max_output_tokens"),
        (terminal("incomplete", incomplete_details={"reason": "content_filter"}), "filtered", "content_filter"),
        (terminal("incomplete", incomplete_details={"reason": "steered"}), "error", "steered"),
        (terminal("incomplete"), "cut", "incomplete"),
        (terminal("cancelled"), "cut", "cancelled"),
        (terminal("failed", error={"code": "server_error", "message": "m"}), "server_error", None),
        (terminal("failed", error={"code": "rate_limit_exceeded", "message": "m"}), "rate_limited", None),
        (terminal("failed"), "server_error", None),
    ],
)
def test_a_terminal_event_decides_how_the_stream_ended(event, word, reason):
    ending = judged("responses", CREATED, event)
    assert (ending.outcome, ending.finish_reason) == (word, reason)


@pytest.mark.parametrize("api", ["chat", "completions"])
def test_a_done_mark_without_a_finish_reason_is_complete(api):
    assert judged(api, text(api), "[DONE]").outcome == "complete"


@pytest.mark.parametrize("api", ["chat", "completions"])
def test_a_finish_reason_without_a_done_mark_is_complete(api):
    assert judged(api, text(api), finish("stop")).outcome == "complete"


@pytest.mark.parametrize(
    "values", [("chat", text("chat")), ("completions", text("completions")), ("responses", CREATED)]
)
def test_a_clean_close_without_either_is_cut(values):
    ending = judged(*values)
    assert (ending.outcome, ending.exit_code) == ("cut", 7)
    assert ending.message


@pytest.mark.parametrize(
    ("api", "values"),
    [
        ("responses", [CREATED, "[DONE]"]),
        ("responses", ["[DONE]"]),
        ("responses", [text("chat"), finish("stop"), "[DONE]"]),
        ("chat", ["[DONE]"]),
        ("completions", ["[DONE]"]),
        ("chat", [{"candidates": [{"content": {"parts": [{"text": "Hello"}]}}]}, "[DONE]"]),
        ("chat", [{"id": "x", "choices": [{"index": 0, "delta": {"role": "assistant"}}]}, "[DONE]"]),
    ],
)
def test_a_done_mark_proves_nothing_at_responses_or_after_nothing_usable(api, values):
    ending = judged(api, *values)
    assert ending.outcome == "cut"
    assert ending.message


@pytest.mark.parametrize("values", [[], ["[DONE]"]])
def test_a_choice_that_was_seen_and_did_not_finish_is_cut_though_another_finished(values):
    second = {"choices": [{"index": 1, "delta": {"content": "x"}}]}
    assert judged("chat", text("chat"), second, finish("stop", 0), *values).outcome == "cut"
    assert judged("chat", text("chat"), second, finish("stop", 0), finish("stop", 1), *values).outcome == "complete"


def test_a_done_mark_ends_an_answer_of_fewer_choices_than_were_asked_for():
    assert judged("chat", text("chat"), finish("stop"), "[DONE]", choices=3).outcome == "complete"
    assert judged("chat", text("chat"), finish("stop"), choices=3).outcome == "cut"


def test_a_finish_reason_that_nobody_knows_is_complete_and_noted():
    ending = judged("chat", text("chat"), finish("weather"), "[DONE]")
    assert (ending.outcome, ending.finish_reason) == ("complete", "weather")
    assert any("weather" in note for note in ending.notes)
    assert judged("chat", text("chat"), finish("stop"), "[DONE]").notes == ()


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("sensitive", "filtered"),  # Zhipu
        ("network_error", "server_error"),
        ("content_filter: PROHIBITED_CONTENT", "filtered"),  # Gemini
        ("MAX_TOKENS", "length"),
        ("MALFORMED_FUNCTION_CALL", "server_error"),
        ("COMPLETE", "complete"),  # Cohere
        ("ERROR_TOXIC", "filtered"),
        ("guardrail_intervened", "filtered"),  # Bedrock
        ("end_turn", "complete"),
        ("eos_token", "complete"),  # TGI
    ],
)
def test_a_finish_reason_of_another_provider_means_what_it_means_there(reason, word):
    ending = judged("chat", text("chat"), finish(reason), "[DONE]")
    assert (ending.outcome, ending.notes) == (word, ())


def test_each_finish_reason_is_in_the_table_once():
    words = [word for line in outcome._FINISH_REASONS.values() for word in line.split()]
    assert sorted(words) == sorted(set(words))


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("context_length_exceeded", "bad_request"),
        ("invalid_prompt", "bad_request"),
        ("model_not_found", "bad_request"),
        ("content_filter", "filtered"),
        ("data_inspection_failed", "filtered"),
        ("InvalidApiKey", "unauthorized"),
        ("rate_limit_exceeded", "rate_limited"),
        ("insufficient_quota", "rate_limited"),
        ("server_is_overloaded", "server_error"),
    ],
)
def test_a_code_in_words_has_one_outcome_by_whichever_way_it_comes(code, word):
    error = {"code": code, "message": "as the code says", "type": "invalid_request_error"}
    assert judged("chat", {"error": error}, "[DONE]").outcome == word
    assert judged("chat", text("chat"), {"error": error}).outcome == word
    assert judged("responses", CREATED, terminal("failed", error=error)).outcome == word
    assert judged("responses", CREATED, {**error, "type": "error"}).outcome == word
    for status in (None, 400):
        assert outcome.of_failure(Failure("as the code says", status, code=code)) == word


def test_a_wrong_key_that_gemini_answers_with_400_is_unauthorized():
    body = [
        {
            "error": {
                "code": 400,
                "message": "API key not valid.",
                "status": "INVALID_ARGUMENT",
                "details": [{"reason": "API_KEY_INVALID"}],
            }
        }
    ]
    assert outcome.of_failure(failures.from_response(400, {}, json.dumps(body).encode())) == "unauthorized"


@pytest.mark.parametrize("failure", [Failure("m", 402), Failure("m", code="402"), Failure("Insufficient credits", 429)])
def test_credit_that_is_used_up_gets_no_advice_to_wait(failure):
    ending = outcome.Ending(outcome.of_failure(failure), failure.message, failure=failure)
    assert ending.outcome == "rate_limited"
    assert "waiting does not help" in outcome.sentence(ending, None)


@pytest.mark.parametrize(
    ("body", "said", "word"),
    [
        (
            {"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}},
            "insufficient balance",
            "rate_limited",
        ),
        ({"code": 500, "msg": "oops"}, "oops", "server_error"),
        ({"success": False, "msg": "no such thing"}, "no such thing", "server_error"),
        ({"errors": [{"message": "first"}, {"message": "second"}]}, "first; second", "server_error"),
        ({"error": "plain words"}, "plain words", "server_error"),
    ],
)
def test_the_provider_s_own_text_is_kept_whatever_the_shape_of_its_error(body, said, word):
    ending = judged("chat", body)
    assert (ending.message, ending.outcome) == (said, word)


@pytest.mark.parametrize(
    ("headers", "id", "word"),
    [
        ({"server": "llama.cpp"}, "resp_1", "length"),
        ({"server": "uvicorn", "x-request-id": "5b1f"}, "resp_5b1f", "length"),  # transformers
        ({"server": "uvicorn", "x-request-id": "5b1f"}, "resp_1", "complete"),
        ({}, "resp_None", "complete"),
    ],
)
def test_completed_at_the_token_limit_is_length_at_servers_known_for_it_and_a_note_elsewhere(headers, id, word):
    decoder = endpoint("responses").decoder()
    decoder.body, decoder.headers = {"max_output_tokens": 4}, headers
    done = terminal("completed", id=id, usage={"output_tokens": 4})
    decoder.decode(sse.Decoder().feed(f"data: {json.dumps(done)}\n\n".encode()))
    ending = outcome.judge(decoder, None)
    assert ending.outcome == word
    assert bool(ending.notes) == (word == "complete")


@pytest.mark.parametrize("api", ["chat", "completions"])
def test_done_ends_a_stream_without_reasons_whose_text_came_in_chunks_like_an_empty_one(api):
    def piece(said):
        return {
            "id": "x",
            "choices": [{"index": 0, **({"delta": {"content": said}} if api == "chat" else {"text": said})}],
        }

    assert judged(api, piece(""), piece(""), piece("Hello"), "[DONE]").outcome == "complete"
    assert judged(api, piece(""), piece(""), piece(""), "[DONE]").outcome == "cut"


def _called(name: str, body: dict[str, object] | None) -> tuple[str, ...]:
    decoder = endpoint("chat").decoder()
    decoder.body = body
    call = {"index": 0, "id": "c", "function": {"name": name, "arguments": "{}"}}
    for chunk in ({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}, finish("tool_calls")):
        decoder.decode(sse.Decoder().feed(f"data: {json.dumps(chunk)}\n\n".encode()))
    return outcome.judge(decoder, None).notes


WEATHER = {"type": "function", "function": {"name": "weather"}}


@pytest.mark.parametrize(
    ("name", "body", "is_noted"),
    [
        ("weather", {"tools": [WEATHER]}, False),
        ("weather", {"tools": [{"type": "function", "name": "weather"}]}, False),
        ("wether", {"tools": [WEATHER]}, True),
        ("weather", {}, True),
        ("weather", {"tools": [{"type": "web_search"}]}, True),
        ("weather", {"tools": "nonsense"}, True),
        ("weather", {"tools": [None, 3]}, True),
        # The names of these only the server knows.
        ("weather", {"tools": [{"type": "mcp", "server_label": "s"}]}, False),
        ("weather", {"prompt": {"id": "pmpt_1"}}, False),
        ("weather", {"previous_response_id": "resp_1"}, False),
        ("weather", {"functions": [{"name": "weather"}]}, False),
        # A journal or a tape may not say what was asked.
        ("weather", None, False),
    ],
)
def test_a_call_of_a_tool_that_was_never_offered_is_noted(name, body, is_noted):
    assert any("not offered" in note for note in _called(name, body)) == is_noted


@pytest.mark.parametrize(
    ("reason", "native", "word", "said"),
    [
        ("stop", "STOP", "complete", "stop"),
        ("stop", "completed", "complete", "stop"),
        ("stop", "something new", "complete", "stop"),
        ("stop", "MAX_TOKENS", "length", "MAX_TOKENS"),
        ("stop", "SAFETY", "filtered", "SAFETY"),
        ("stop", "MALFORMED_FUNCTION_CALL", "server_error", "MALFORMED_FUNCTION_CALL"),
        ("length", "MAX_TOKENS", "length", "length"),
        ("error", "stop", "server_error", "error"),
    ],
)
def test_the_provider_s_own_reason_counts_where_a_translation_hides_it(reason, native, word, said):
    chunk = finish(reason)
    chunk["choices"][0]["native_finish_reason"] = native
    ending = judged("chat", chunk)
    assert (ending.outcome, ending.finish_reason) == (word, said)


def test_a_tool_call_whose_arguments_are_no_json_is_noted():
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"city": '}}
    broken = {"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}
    assert any("not a JSON object" in note for note in judged("chat", broken, finish("tool_calls")).notes)
    custom = {"index": 0, "id": "c", "type": "custom", "custom": {"name": "f", "input": "SELECT 1"}}
    free = {"choices": [{"index": 0, "delta": {"tool_calls": [custom]}}]}
    assert judged("chat", free, finish("tool_calls")).notes == ()


def test_a_final_text_that_contradicts_the_streamed_one_is_noted():
    piece = {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "Hello"}
    item = {"type": "message", "content": [{"type": "output_text", "text": "Goodbye"}]}
    assert any(
        "differs from the text" in note
        for note in judged("responses", CREATED, piece, terminal("completed", output=[item])).notes
    )
    item["content"][0]["text"] = "Hello there"
    assert judged("responses", CREATED, piece, terminal("completed", output=[item])).notes == ()


def test_a_stream_without_a_single_event_is_cut():
    assert judged("chat").outcome == "cut"


def test_a_close_with_one_of_two_choices_unfinished_is_cut():
    assert judged("chat", finish("stop", 0), text("chat"), choices=2).outcome == "cut"
    assert judged("chat", finish("stop", 0), finish("stop", 1), choices=2).outcome == "complete"


def test_one_choice_that_hit_the_limit_is_told_of_before_one_that_did_not():
    assert judged("chat", finish("stop", 0), finish("length", 1), "[DONE]", choices=2).outcome == "length"


@pytest.mark.parametrize(
    ("api", "values"),
    [("chat", [finish("stop")]), ("chat", [text("chat"), "[DONE]"]), ("responses", [terminal("completed")])],
)
def test_a_fault_after_the_end_is_still_complete(api, values):
    assert judged(api, *values, fault=CUT).outcome == "complete"


@pytest.mark.parametrize(("api", "values"), [("chat", [text("chat")]), ("responses", [CREATED])])
def test_a_reset_before_the_end_is_cut_in_the_words_of_the_transport(api, values):
    ending = judged(api, *values, fault=CUT)
    assert (ending.outcome, ending.message) == ("cut", "the connection was reset")


def test_a_server_that_was_never_reached_is_unreachable():
    ending = judged("chat", fault=UNREACHABLE)
    assert (ending.outcome, ending.exit_code) == ("unreachable", 6)


def test_an_error_inside_the_stream_outranks_its_done_mark_and_a_fault():
    for fault in (None, CUT):
        ending = judged(
            "chat", text("chat"), {"error": {"message": "m", "type": "server_error"}}, "[DONE]", fault=fault
        )
        assert (ending.outcome, ending.message) == ("server_error", "m")


def test_an_error_event_that_the_response_got_over_is_complete():
    assert judged("responses", CREATED, {"type": "error", "message": "m"}, terminal("completed")).outcome == "complete"


def test_an_error_event_with_nothing_after_it_is_an_error():
    assert judged("responses", CREATED, {"type": "error", "message": "m"}).outcome == "server_error"


def test_an_event_that_could_not_be_read_is_an_error_although_the_rest_finished():
    assert judged("chat", "{", text("chat"), finish("stop"), "[DONE]").outcome == "server_error"


def test_a_refusal_is_complete():
    refusal = {"choices": [{"index": 0, "delta": {"refusal": "No."}}]}
    assert judged("chat", refusal, finish("stop"), "[DONE]").outcome == "complete"


@pytest.mark.parametrize(
    ("failure", "word", "code"),
    [
        (Failure("m", 400), "bad_request", 10),
        (Failure("m", 404, code="model_not_found"), "bad_request", 10),
        (Failure("m", 413), "bad_request", 10),
        (Failure("m", 422), "bad_request", 10),
        (Failure("m", 401), "unauthorized", 3),
        (Failure("m", 403), "unauthorized", 3),
        (Failure("m", 402), "rate_limited", 4),
        (Failure("m", 429), "rate_limited", 4),
        (Failure("m", 429, code="insufficient_quota"), "rate_limited", 4),
        (Failure("m", 408), "server_error", 5),
        (Failure("m", 500), "server_error", 5),
        (Failure("m", 503), "server_error", 5),
        (Failure("m", 301), "unreachable", 6),
        (Failure("m"), "server_error", 5),
        (Failure("m", code="429"), "rate_limited", 4),
        (Failure("m", code="400"), "bad_request", 10),
        (Failure("m", code="401"), "unauthorized", 3),
        (Failure("m", code="invalid_api_key"), "unauthorized", 3),
        (Failure("m", type="rate_limit_error"), "rate_limited", 4),
        (Failure("m", code="credit_balance_exhausted"), "rate_limited", 4),
    ],
)
def test_an_error_of_the_server_becomes_an_outcome_and_an_exit_code(failure, word, code):
    assert outcome.of_failure(failure) == word
    assert outcome.EXIT_CODES[word] == code


@pytest.mark.parametrize("code", ["²", "٤٠١", "40", "4011", "9" * 5000])
def test_a_code_that_only_looks_like_an_http_status_is_none(code):
    assert outcome.of_failure(Failure("m", code=code)) == "server_error"


@pytest.mark.parametrize("code", ["200", "204", "302", "000"])
def test_the_status_of_a_success_in_an_error_s_code_says_nothing(code):
    assert outcome.of_failure(Failure("m", code=code)) == "server_error"


def test_a_signal_ends_with_128_and_its_number():
    assert outcome.Ending(outcome.CANCELLED, signal=15).exit_code == 143
    assert outcome.Ending(outcome.CANCELLED).exit_code == 130


def test_every_outcome_has_its_exit_code():
    words = {value for name, value in vars(outcome).items() if name.isupper() and isinstance(value, str)}
    assert words == set(outcome.EXIT_CODES)
