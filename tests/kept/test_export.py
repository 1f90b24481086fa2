"""``unspool export`` prints a whole conversation, and marks what is not whole."""

from __future__ import annotations

import json

from unspool.cli.commands.export import _closed

from .journals import Kept, chat, responses


def conversation(kept: Kept) -> list[str]:
    first = kept.keep(
        body={"messages": [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "One?"}]},
        events=chat("1."),
    )
    history = [
        {"role": "system", "content": "Be brief"},
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "1."},
        {"role": "user", "content": "Two?"},
    ]
    second = kept.keep(
        body={"messages": history},
        events=chat("```python\nprint(2", finish=None),
        parent=first,
        outcome="cut",
        message="the connection *broke*",
    )
    return [first, second]


def test_a_conversation_is_printed_oldest_first_and_nothing_twice(kept: Kept) -> None:
    conversation(kept)
    kept_apart = kept.run("export")
    assert kept_apart.returncode == 0
    assert kept_apart.stdout == (
        "## System\n\nBe brief\n\n"
        "## User\n\nOne?\n\n"
        "## Assistant\n\n*gpt-4o-2024-08-06, 2026-11-01 00:01*\n\n1.\n\n"
        "## User\n\nTwo?\n\n"
        "## Assistant\n\n*gpt-4o-2024-08-06, 2026-11-01 00:02*\n\n```python\nprint(2\n```\n\n"
        "**[cut: the connection \\*broke\\*]**\n"
    )


def test_a_stream_is_chosen_by_a_piece_of_its_id(kept: Kept) -> None:
    first, _ = conversation(kept)
    assert kept.run("export", first[-8:]).stdout.endswith("1.\n")


def test_json_has_every_stream_of_the_conversation(kept: Kept) -> None:
    first, second = conversation(kept)
    value = json.loads(kept.run("export", "--format", "json").stdout)
    assert [one["id"] for one in value["streams"]] == [first, second]
    assert [one["prompt"] for one in value["streams"]] == ["One?", "Two?"]
    assert [one["outcome"] for one in value["streams"]] == ["complete", "cut"]


def test_when_an_earlier_stream_is_gone_its_words_are_still_printed(kept: Kept) -> None:
    first, _ = conversation(kept)
    kept.path(first).unlink()
    done = kept.run("export")
    assert "One?\n\n## Assistant\n\n1.\n\n## User\n\nTwo?" in done.stdout
    assert "an earlier answer was removed" in done.stderr


def test_reasoning_choices_and_tool_calls_are_printed(kept: Kept) -> None:
    kept.keep("q", responses("So.", reasoning="Hm.\n\nWell."), api="responses")
    assert "> **Reasoning**\n>\n> Hm.\n>\n> Well.\n\nSo.\n" in kept.run("export").stdout
    kept.keep(body={"messages": [], "n": 2}, events=chat("x", n=2))
    assert "### Choice 1\n\nx\n\n### Choice 2\n\nx\n" in kept.run("export").stdout
    from unspool.sse import Event

    call = {"index": 0, "id": "c", "function": {"name": "run_it", "arguments": '{"code":"```"}'}}
    delta = {"id": "c", "choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]}
    kept.keep(events=[Event("message", json.dumps(delta))])
    assert 'Calls the tool run\\_it:\n\n````json\n{"code":"```"}\n````\n' in kept.run("export").stdout


def test_a_pipe_gets_the_text_to_the_letter_and_a_terminal_no_instruction(kept: Kept) -> None:
    kept.keep("q", chat("\x1b[2J wipe"))
    assert "\x1b[2J wipe" in kept.run("export").stdout
    _, shown = kept.on_terminal("export")
    assert "\x1b" not in shown
    assert "␛[2J wipe" in shown


def test_a_damaged_journal_is_exported_as_far_as_it_goes(kept: Kept) -> None:
    id = kept.keep(events=chat("kept", "lost"))
    data = bytearray(kept.path(id).read_bytes())
    data[data.index(b"lost")] ^= 1
    kept.path(id).write_bytes(data)
    done = kept.run("export")
    assert done.returncode == 0
    assert "kept\n\n**[damaged: damaged at byte " in done.stdout
    assert "damaged at byte" in done.stderr


def test_where_nothing_can_be_exported_that_is_said(kept: Kept) -> None:
    assert kept.run("export").returncode == 1
    id = kept.keep()
    kept.path(id).write_text("Dear diary")
    done = kept.run("export", id)
    assert (done.returncode, done.stdout) == (1, "")
    assert "not a journal" in done.stderr
    assert "Traceback" not in done.stderr


def test_only_a_code_block_that_was_cut_is_closed() -> None:
    assert _closed("```\na\n```\nb") == "```\na\n```\nb"
    assert _closed("````\n```\n") == "````\n```\n````"
    assert _closed("~~~ x\na") == "~~~ x\na\n~~~"
    assert _closed("    ```\na") == "    ```\na"
    assert _closed("```inline``` a") == "```inline``` a"
