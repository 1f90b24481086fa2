"""``unspool log`` and ``unspool search`` as a person and as a script see them."""

from __future__ import annotations

import json
import re

import pytest

from unspool.journal import ulid

from .journals import BEGIN, Kept, chat, responses

_BOLD = re.compile(r"\x1b\[(?:1|22)m")


def test_a_pipe_gets_six_columns_separated_by_tabs(kept: Kept) -> None:
    id = kept.keep("What\tis\nPython?", chat("A\tlanguage.\n\n", "Yes."))
    done = kept.run("log")
    line = f"{id}\t2026-11-01T00:01:00+00:00\tcomplete\tgpt-5.4-mini\tWhat is Python?\tA language. Yes.\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, line, "")


def test_twenty_are_listed_unless_told_otherwise(kept: Kept) -> None:
    for number in range(25):
        kept.keep(f"question {number}")
    assert len(kept.run("log").stdout.splitlines()) == 20
    assert len(kept.run("log", "-n", "0").stdout.splitlines()) == 25
    assert [line.split("\t")[4] for line in kept.run("log", "-n2").stdout.splitlines()] == [
        "question 24",
        "question 23",
    ]


def test_an_empty_home_has_nothing_to_list_and_nothing_to_find(kept: Kept) -> None:
    assert (kept.run("log").returncode, kept.run("log", "-n", "0").returncode) == (0, 0)
    done = kept.run("search", "python")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
    assert not (kept.home / "catalogue.sqlite").exists()


@pytest.mark.parametrize("columns", [20, 47, 80, 132])
def test_no_line_is_wider_than_the_terminal(kept: Kept, columns: int) -> None:
    kept.keep("短い質問" * 30, chat("長い答え 😀" * 40), model="a-model-with-a-name-of-uncommon-length-indeed")
    kept.keep("q" * 300, chat("a" * 300), outcome="rate_limited")
    kept.keep("ok", chat("fine"))
    for arguments in (["log"], ["search", "質問"], ["search", "答"], ["search", "fine"]):
        code, shown = kept.on_terminal(*arguments, columns=columns)
        assert code == 0
        for line in _BOLD.sub("", shown).splitlines():
            wide = sum(2 if ord(character) > 0x2E80 else 1 for character in line)
            assert wide <= columns


def test_a_terminal_gets_short_ids_times_and_first_words(kept: Kept) -> None:
    id = kept.keep("What is Python?", chat("A language."), outcome="cut")
    _, shown = kept.on_terminal("log", columns=100)
    assert shown == f"{ulid.short(id)}  2026-11-01 00:01  cut  gpt-5.4-mini  What is Python? → A language.\n"


def test_what_a_model_or_a_server_says_is_no_instruction_to_the_terminal(kept: Kept) -> None:
    kept.keep("\x1b]0;owned\x07 ask", chat("\x1b[2J\x9b31m walrus \u202e"), model="m\x1b[2J", outcome="\x1b[8m")
    for arguments in (["log"], ["search", "walrus"], ["search", "ask"], ["log", "-n", "0"]):
        _, shown = kept.on_terminal(*arguments, columns=200)
        left = _BOLD.sub("", shown)
        assert "walrus" in left or "ask" in left
        assert not set(left) & {*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), "\u202e"} - {"\n"}


def test_json_has_all_that_is_known(kept: Kept) -> None:
    id = kept.keep("Why?", responses("So", ".", reasoning="Hm"), api="responses", outcome="length")
    done = kept.run("log", "--json")
    value = json.loads(done.stdout)
    assert value["id"] == id
    assert (value["prompt"], value["text"], value["choices"], value["reasoning"]) == ("Why?", "So.", ["So."], "Hm")
    assert (value["outcome"], value["usage"]["output_tokens"], value["ttft"], value["duration"]) == (
        "length",
        7,
        0.375,
        2.5,
    )
    assert (value["damaged_at"], value["version"]) == (None, 1)


def test_a_damaged_journal_is_listed_and_json_tells_where(kept: Kept) -> None:
    id = kept.keep(events=chat("kept", "lost"))
    data = bytearray(kept.path(id).read_bytes())
    at = data.index(b"lost")
    data[at] ^= 1
    kept.path(id).write_bytes(data)
    assert "\tdamaged\t" in kept.run("log").stdout
    value = json.loads(kept.run("log", "--json", "--outcome", "damaged").stdout)
    assert value["damaged_at"] == data.rindex(b"\n\n", 0, at) + 2
    assert value["text"] == "kept"


def test_a_running_stream_is_listed_as_running(kept: Kept) -> None:
    writer = kept.begin("slow?")
    assert "\trunning\t" in kept.run("log").stdout
    assert kept.run("log", "--outcome", "running").stdout.startswith(writer.id)
    writer.close()
    assert "\tinterrupted\t" in kept.run("log").stdout


def test_foreign_files_are_told_in_one_line_on_stderr(kept: Kept) -> None:
    kept.keep()
    for number in range(5):
        kept.path(ulid.earliest(BEGIN + number)).write_text("\x1b[2J not a journal")
    done = kept.run("log", "--model", "gpt")
    assert len(done.stdout.splitlines()) == 1
    assert len(done.stderr.splitlines()) == 1
    assert "and 2 more" in done.stderr


def test_filters_are_understood(kept: Kept) -> None:
    kept.keep(model="llama3.2", outcome="cut")
    new = kept.keep(model="gpt-5.4")
    assert kept.run("log", "--model", "LLAMA").stdout.count("\n") == 1
    assert kept.run("log", "--outcome", "cut", "--outcome", "complete").stdout.count("\n") == 2
    assert kept.run("log", "--since", "2026-11-01T00:02").stdout.startswith(new)
    assert kept.run("log", "--since", "2999-01-01").stdout == ""
    assert kept.run("log", "--model", "no\udcff").stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["log", "--since", "whenever"],
        ["log", "--since", "9" * 400 + "d"],
        ["log", "--since", "-"],
        ["log", "-n", "-1"],
        ["log", "--outcome", "happy"],
        ["log", "7F3K9Q"],
        ["log", "--path", "a", "b"],
        ["search"],
        ["search", "++"],
        ["search", ""],
        ["export", "a", "b"],
        ["rm"],
        ["prune"],
        ["prune", "--keep", "-3"],
        ["prune", "--keep", "1", "extra"],
    ],
)
def test_wrong_usage_exits_with_2_and_no_traceback(kept: Kept, arguments: list[str]) -> None:
    done = kept.run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


def test_path_prints_the_folder_or_a_file_of_it(kept: Kept) -> None:
    id = kept.keep()
    assert kept.run("log", "--path").stdout == kept.folder + "\n"
    assert kept.run("log", "--path", ulid.short(id).lower()).stdout == f"{kept.path(id)}\n"
    assert kept.run("log", "--path", "zzzzzzzzz").returncode == 1


@pytest.mark.parametrize("command", ["log", "search", "export", "rm", "prune"])
def test_help_begins_with_examples(kept: Kept, command: str) -> None:
    done = kept.run(command, "--help")
    assert done.returncode == 0
    assert done.stdout.index("examples:") < done.stdout.index("options:")


# --- search -------------------------------------------------------------------------------------------------------------


def test_search_finds_prompts_and_answers_and_shows_the_words_around(kept: Kept) -> None:
    kept.keep("something else", "entirely")
    old = kept.keep("Of walruses and men", "Café")
    new = kept.keep("Tell me more", "The walruses whistle.")
    done = kept.run("search", "WALRUSES")
    assert done.returncode == 0
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == [new, old]
    assert [row[5] for row in rows] == ["The walruses whistle.", "Of walruses and men"]
    assert kept.run("search", "cafe", "men").stdout.startswith(old)
    assert kept.run("search", "walruses whistle").stdout.startswith(new)
    assert kept.run("search", "walruses men whistle").returncode == 1


def test_search_json_has_the_stream_the_snippet_and_the_hits(kept: Kept) -> None:
    kept.keep("q", "很快的流式输出")
    value = json.loads(kept.run("search", "流式", "--json").stdout)
    assert (value["text"], value["snippet"], value["hits"]) == ("很快的流式输出", "很快的流式输出", [[3, 5]])


def test_search_takes_the_filters_of_log(kept: Kept) -> None:
    kept.keep("walrus", model="a", outcome="cut")
    kept.keep("walrus", model="b")
    assert kept.run("search", "walrus", "--model", "a").stdout.count("\n") == 1
    assert kept.run("search", "walrus", "--outcome", "complete").stdout.count("\n") == 1
    assert kept.run("search", "walrus", "-n", "1").stdout.count("\n") == 1
    assert kept.run("search", "walrus", "--since", "2999-01-01").returncode == 1


@pytest.mark.parametrize(
    "typed", ['"', 'a"b', "AND", "a OR", "NEAR(a", "col:a", "a*b*", "^a", "{a b}:c", "a\udcffb", "-- -x"]
)
def test_nothing_typed_is_a_traceback(kept: Kept, typed: str) -> None:
    kept.keep()
    done = kept.run("search", "--", typed)
    assert done.returncode in (0, 1, 2)
    assert "Traceback" not in done.stderr


def test_a_hit_far_into_a_line_is_shown_on_a_narrow_terminal(kept: Kept) -> None:
    kept.keep("one two three four five six seven eight nine ten eleven walrus twelve", "a")
    _, shown = kept.on_terminal("search", "walrus", columns=60)
    assert "\x1b[1mwalrus\x1b[22m" in shown


def test_a_reader_that_goes_away_is_no_traceback(kept: Kept) -> None:
    import subprocess

    from .journals import command

    for number in range(30):
        kept.keep(f"question {number}")
    done = subprocess.run(
        ["sh", "-c", '"$@" | head -n 1', "sh", *command(), "log", "-n", "0"],
        env=kept.environ(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.count("\n"), done.stderr) == (1, "")
