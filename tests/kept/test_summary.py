"""A journal tells what was asked, what was answered and how it ended, whatever the endpoint and whatever became of the file."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from unspool.api import endpoint
from unspool.api.conversation import plain
from unspool.journal import record, summary
from unspool.journal.summary import Summary
from unspool.sse import Event, Events

from .journals import Kept, body_of, chat, completions, responses


def tell(kept: Kept, id: str) -> Summary:
    return summary.read(str(kept.path(id)))


@pytest.mark.parametrize(
    ("api", "events"),
    [
        ("chat", chat("Py", "thon")),
        ("completions", completions("Py", "thon")),
        ("responses", responses("Py", "thon")),
    ],
)
def test_question_and_answer_are_read_alike_from_every_endpoint(kept: Kept, api: str, events: list[Event]) -> None:
    told = tell(kept, kept.keep("What is it?", events, api=api))
    assert (told.question, told.texts, told.outcome) == ("What is it?", ["Python"], "complete")
    assert told.messages == [{"role": "user", "content": "What is it?"}]


def test_everything_that_was_noted_is_told(kept: Kept) -> None:
    id = kept.keep("Why?", responses("So.", reasoning="Hm."), api="responses", parent="01KTA0DRX09AV0WB5SFC3Y15YF")
    told = tell(kept, id)
    assert (told.id, told.api, told.profile, told.model) == (id, "responses", "openai", "gpt-5.4-mini")
    assert (told.parent, told.time) == ("01KTA0DRX09AV0WB5SFC3Y15YF", "2026-11-01T00:01:00.000Z")
    assert told.body == body_of("responses", "Why?")
    assert told.reasoning == "Hm."
    assert told.usage is not None
    assert told.usage.output_tokens == 7
    assert (told.response_id, told.response_model, told.request_id) == ("resp_1", "gpt-5.4-mini-2026-03-01", "req_7")
    assert (told.ttft, told.duration, told.finish_reason) == (0.375, 2.5, "stop")
    assert told.size == kept.path(id).stat().st_size


def test_each_choice_has_its_text(kept: Kept) -> None:
    id = kept.keep(events=chat("a", "b", n=3), body=body_of("chat", "x", n=3))
    assert tell(kept, id).texts == ["ab", "ab", "ab"]


def test_a_choice_with_an_absurd_number_does_not_cost_memory(kept: Kept) -> None:
    chunk = {"id": "c", "choices": [{"index": 10**12, "delta": {"content": "far"}}]}
    assert tell(kept, kept.keep(events=[Event("message", json.dumps(chunk))])).texts == ["far"]


def test_a_refusal_is_what_was_answered(kept: Kept) -> None:
    chunk = {"id": "c", "choices": [{"index": 0, "delta": {"refusal": "No."}, "finish_reason": "stop"}]}
    told = tell(kept, kept.keep(events=[Event("message", json.dumps(chunk))]))
    assert (told.text, told.refusal) == ("No.", "No.")


def test_tool_calls_are_told_whole(kept: Kept) -> None:
    pieces: list[dict[str, Any]] = [
        {"index": 0, "id": "call_1", "function": {"name": "add", "arguments": '{"a":'}},
        {"index": 0, "function": {"arguments": "1}"}},
    ]
    events = [
        Event("message", json.dumps({"id": "c", "choices": [{"index": 0, "delta": {"tool_calls": [piece]}}]}))
        for piece in pieces
    ]
    calls = tell(kept, kept.keep(events=events, outcome=None)).tool_calls
    assert [(call.id, call.name, call.arguments) for call in calls] == [("call_1", "add", '{"a":1}')]


def test_an_answer_in_one_piece_is_read_too(kept: Kept) -> None:
    writer = kept.begin()
    answer = {"id": "c", "choices": [{"index": 0, "message": {"content": "Whole."}, "finish_reason": "stop"}]}
    writer.own(record.BODY, json.dumps({"content_type": "application/json", "text": json.dumps(answer)}))
    writer.own(record.END, '{"outcome":"complete","finish_reason":"stop","at":1}')
    writer.close()
    told = tell(kept, writer.id)
    assert (told.text, told.ttft, told.duration) == ("Whole.", None, 1.0)


def test_a_refused_request_tells_why(kept: Kept) -> None:
    writer = kept.begin()
    writer.own(record.ATTEMPT, '{"attempt":2,"wait":1,"reason":"busy"}')
    end = {"outcome": "rate_limited", "message": "slow down", "failure": {"status": 429, "request_id": "req_9"}}
    writer.own(record.END, json.dumps(end))
    writer.close()
    told = tell(kept, writer.id)
    assert (told.outcome, told.message, told.attempts, told.request_id) == ("rate_limited", "slow down", 2, "req_9")


# --- endings that nobody wrote ------------------------------------------------------------------------------------------


def test_a_journal_without_end_is_running_while_its_writer_lives_and_interrupted_after(kept: Kept) -> None:
    writer = kept.begin()
    writer.events(Events.of(chat("Half", finish=None)), 0.5)
    assert tell(kept, writer.id).outcome == "running"
    assert tell(kept, writer.id).text == "Half"
    writer.close()
    assert tell(kept, writer.id).outcome == "interrupted"


def test_damage_is_told_with_its_offset_and_all_that_came_before_it(kept: Kept) -> None:
    id = kept.keep(events=chat("kept ", "lost"))
    data = bytearray(kept.path(id).read_bytes())
    at = data.index(b"lost")
    data[at] ^= 1
    kept.path(id).write_bytes(data)
    told = tell(kept, id)
    assert (told.outcome, told.text) == ("damaged", "kept ")
    assert told.damage is not None
    assert told.damage.offset == data.rindex(b"\n\n", 0, at) + 2
    assert str(told.damage.offset) in told.message


def test_a_journal_cut_or_flipped_anywhere_is_told_or_refused_and_nothing_else(kept: Kept) -> None:
    whole = kept.path(kept.keep(events=chat("Python ", "is"))).read_bytes()
    chance = random.Random(7)
    victim = kept.path(kept.keep())
    for at in range(0, len(whole), 13):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << chance.randrange(8)
        for data in (whole[:at], bytes(flipped)):
            victim.write_bytes(data)
            try:
                assert "Python is".startswith(summary.read(str(victim)).text)
            except summary.NoJournal:
                assert at < len(record.HEADER)


def test_a_large_file_that_is_no_journal_is_refused_without_being_read(kept: Kept) -> None:
    path = kept.path(kept.keep())
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(summary.NoJournal):
        summary.read(str(path))


def test_half_a_character_in_a_request_is_made_whole(kept: Kept) -> None:
    writer = kept.begin()
    writer.close()
    data = '{"api":"chat","body":{"messages":[{"role":"user","content":"\\ud83d!"}]},"time":"t"}'
    path = kept.path(writer.id)
    path.write_bytes(record.HEADER + record.encode_own(0, record.REQUEST, data))
    assert tell(kept, writer.id).question == "\ufffd!"


@pytest.mark.parametrize(
    "data",
    ["null", "[]", '{"api":7,"body":[]}', '{"api":"future","body":{"messages":3}}', '{"api":"chat","body":{"n":-1}}'],
)
def test_a_request_of_an_unknown_shape_is_still_listed(kept: Kept, data: str) -> None:
    id = kept.keep()
    kept.path(id).write_bytes(record.HEADER + record.encode_own(0, record.REQUEST, data))
    told = tell(kept, id)
    assert (told.question, told.texts, told.outcome) == ("", [], "interrupted")
    assert told.time.startswith("2026-11-01T00:01:00")


# --- what was asked -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("api", "body", "system", "messages"),
    [
        ("responses", {"input": "hi", "instructions": "Be kind"}, "Be kind", [{"role": "user", "content": "hi"}]),
        (
            "responses",
            {
                "input": [
                    {"role": "developer", "content": "S"},
                    {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
                ]
            },
            "S",
            [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
        ),
        (
            "responses",
            {
                "input": [
                    {"type": "reasoning", "summary": []},
                    {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
                    {"type": "function_call_output", "call_id": "1", "output": "42"},
                ]
            },
            None,
            [
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
                },
                {"role": "tool", "tool_call_id": "1", "content": "42"},
            ],
        ),
        (
            "chat",
            {
                "messages": [
                    {"role": "system", "content": "A"},
                    {"role": "system", "content": "B"},
                    {"role": "user", "content": "hi"},
                ]
            },
            "A\n\nB",
            [{"role": "user", "content": "hi"}],
        ),
        ("completions", {"prompt": "Once"}, None, [{"role": "user", "content": "Once"}]),
        (
            "completions",
            {"prompt": ["a", "b"]},
            None,
            [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
        ),
    ],
)
def test_bodies_of_all_endpoints_become_the_same_messages(
    api: str, body: dict[str, Any], system: str | None, messages: list[dict[str, Any]]
) -> None:
    assert endpoint(api).messages(body) == (system, messages)


def test_parts_that_are_no_text_are_named() -> None:
    parts = [{"type": "text", "text": "See "}, {"type": "image_url", "image_url": {"url": "x"}}, {"type": "input_file"}]
    assert plain(parts) == "See [image][file]"
    assert plain([1, 2, 3]) == "[tokens]"
    assert plain(None) == ""


def test_what_was_asked_is_without_the_history(kept: Kept) -> None:
    history = [
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": "Two?"},
    ]
    told = tell(kept, kept.keep(body={"messages": history}))
    assert (told.question, len(told.messages)) == ("Two?", 3)


# --- conversations ------------------------------------------------------------------------------------------------------


def test_a_conversation_goes_back_to_its_first_stream(kept: Kept) -> None:
    first = kept.keep("1")
    second = kept.keep("2", parent=first)
    third = kept.keep("3", parent=second)
    kept.keep("another", parent=first)
    assert [one.id for one in summary.conversation(kept.folder, third)] == [first, second, third]


def test_a_conversation_whose_parents_go_in_a_circle_ends(kept: Kept) -> None:
    first = kept.keep("1")
    second = kept.keep("2", parent=first)
    looped = kept.path(first).read_bytes().decode().split("\n\n")[1].split("\n")[2].removeprefix("data: ")
    data = looped.replace('"parent": null', f'"parent": "{second}"')
    kept.path(first).write_bytes(record.HEADER + record.encode_own(0, record.REQUEST, data))
    assert [one.id for one in summary.conversation(kept.folder, second)] == [first, second]


def test_a_parent_is_an_id_and_never_a_path(kept: Kept) -> None:
    elsewhere = Kept(kept.home / "elsewhere")
    stolen = elsewhere.keep()
    id = kept.keep(parent=f"../elsewhere/streams/{stolen}")
    assert len(summary.conversation(kept.folder, id)) == 1


@pytest.mark.parametrize("times", [1, 2])
def test_the_question_of_an_answer_that_goes_on_with_a_cut_one_is_the_person_s(times: int) -> None:
    told = Summary("")
    again = [{"role": "assistant", "content": "half"}, {"role": "user", "content": summary.GO_ON}]
    told.messages = [{"role": "user", "content": "Why?"}, *again * times]
    assert told.question == "Why?"
