"""The pieces of a chat without a terminal: what a line is, what is remembered, prompts from a pipe."""

from __future__ import annotations

import json
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.wire import end, error, head, piece, start, stream
from unspool.cli.chat import entry
from unspool.cli.chat.history import MOST, PromptHistory
from unspool.cli.chat.keyboard import Keyboard
from unspool.cli.chat.lines import Lines


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("one", None),
        ("one\\", "one\n"),
        ("one\\\\", None),
        ('"""', '"""\n'),
        ('"""one', '"""one\n'),
        ('"""one"""', None),
        ('"""one\\', '"""one\\\n'),
        ('one """', None),
        ("", None),
    ],
)
def test_a_text_goes_on_after_a_backslash_and_in_open_quotes(text, more):
    assert entry.continued(text) == more


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("/model x y", ("model", "x y")),
        (" /quit ", ("quit", "")),
        ("?", ("help", "")),
        ("/?", ("?", "")),
        ("exit", ("quit", "")),
        ("/system a\nb", ("system", "a\nb")),
        ("exit the shell", None),
        ("// a comment\ncode()", None),
        ("/* a comment */", None),
        ("/", None),
        ("//model", None),
        ("a /model", None),
    ],
)
def test_only_a_slash_and_a_letter_make_a_command(text, command):
    assert entry.command(text) == command


@pytest.mark.parametrize(
    ("typed", "asked"),
    [
        ("//model is a word", "/model is a word"),
        ("// a comment", "// a comment"),
        ('"""a\n"quoted"\nb"""', 'a\n"quoted"\nb'),
        ("  indented", "  indented"),
    ],
)
def test_a_prompt_is_asked_as_it_is_meant(typed, asked):
    assert entry.unquoted(typed) == asked


@given(st.text())
def test_whatever_is_typed_is_a_command_or_a_prompt_and_never_lost(text):
    if entry.command(text) is None and '"""' not in text:
        assert entry.unquoted(text) in (text, text[1:])


def test_the_history_has_each_prompt_once_where_it_was_used_last(tmp_path):
    history = PromptHistory(str(tmp_path / "state" / "chat_history"))
    for text in ("one", "two\nlines", "one"):
        history.add(text)
    assert history.load() == ["two\nlines", "one"]
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def test_the_history_forgets_what_is_long_ago_and_stays_private(tmp_path):
    path = tmp_path / "chat_history"
    path.write_text("".join(json.dumps(str(number)) + "\n" for number in range(2 * MOST + 1)) + "torn \x00\n")
    path.chmod(0o600)
    assert PromptHistory(str(path)).load()[-1] == str(2 * MOST)
    assert len(path.read_text().splitlines()) == MOST
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_history_that_cannot_be_kept_is_no_reason_to_fail(tmp_path):
    (tmp_path / "file").write_text("")
    history = PromptHistory(str(tmp_path / "file" / "chat_history"))
    history.add("one")
    assert history.load() == []


# From a pipe


def chat(unspool, server, text, *arguments):
    options = ("--base-url", server.url, "--api", "chat", "-m", "m", "--key", "k", "--retries", "0")
    return unspool("chat", *options, *arguments, input=text.encode())


def test_each_line_of_a_pipe_is_a_prompt_of_one_conversation(unspool, serve):
    server = serve(stream("chat", "Hello."), stream("chat", "Ada.\n"))
    done = chat(unspool, server, "I am Ada\n\nWho am\\\nI?", "-s", "Be brief")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"Hello.\nAda.\n", b"")
    assert [one["content"] for one in server.requests[1].json["messages"]] == [
        "Be brief",
        "I am Ada",
        "Hello.",
        "Who am\nI?",
    ]


def test_the_first_answer_that_fails_ends_it(unspool, serve):
    server = serve(stream("chat", "Hello."), error(429, "Slow down."), stream("chat", "Never."))
    done = chat(unspool, server, "one\ntwo\nthree\n")
    assert (done.returncode, done.stdout) == (4, b"Hello.\n")
    assert done.stderr.startswith(b"unspool: rate limited: Slow down")
    assert len(server.requests) == 2


def test_an_answer_at_the_token_limit_does_not_end_it_and_is_told(unspool, serve):
    server = serve(stream("chat", "Hel", reason="length"), stream("chat", "Ada."))
    done = chat(unspool, server, "one\ntwo\n")
    assert (done.returncode, done.stdout) == (8, b"Hel\nAda.\n")


def test_commands_work_in_a_pipe_and_one_that_cannot_be_done_ends_it(unspool, serve):
    server = serve(stream("chat", "Hello."))
    done = chat(unspool, server, "/model other\n/set temperature 0.5\n/set seed 7\none\n/nonsense\ntwo\n", "-q")
    assert (done.returncode, done.stdout) == (2, b"Hello.\n")
    assert done.stderr.startswith(b"unspool: there is no command /nonsense")
    asked = server.requests[0].json
    assert (asked["model"], asked["temperature"], asked["seed"]) == ("other", 0.5, 7)
    assert len(server.requests) == 1


def test_json_is_an_object_a_line_for_each_turn(unspool, serve):
    done = chat(unspool, serve(stream("chat", "Hello.")), "one\ntwo\n", "--json")
    kinds = [json.loads(line)["type"] for line in done.stdout.splitlines()]
    assert kinds.count("end") == 2


def test_a_misspelt_command_is_told_what_was_meant(unspool, serve):
    done = chat(unspool, serve(b""), "/modle x\n")
    assert b"there is no command /modle: did you mean /model?, and //modle sends it" in done.stderr


def test_nothing_to_ask_is_no_failure(unspool, serve):
    done = chat(unspool, serve(b""), "")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


# Commands


def test_files_go_with_the_next_prompt_alone(unspool, serve, tmp_path):
    (tmp_path / "notes.md").write_text("a\n```\nb\n```\n")
    server = serve(stream("chat", "Hello."))
    assert chat(unspool, server, f"/file {tmp_path}/notes.md\none\ntwo\n").returncode == 0
    asked = [one["content"] for one in server.requests[1].json["messages"]]
    assert asked == ["File notes.md:\n````\na\n```\nb\n```\n````\n\none", "Hello.", "two"]


PICTURE = b"\x89PNG\r\n\x1a\n1234"
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgoxMjM0"}}


@pytest.mark.parametrize("way", ["command", "option"])
def test_a_picture_goes_with_the_next_prompt_and_stays_in_the_conversation(unspool, serve, tmp_path, way):
    (tmp_path / "a.png").write_bytes(PICTURE)
    server = serve(stream("chat", "A cat."))
    if way == "command":
        done = chat(unspool, server, f"/file {tmp_path}/a.png\nWhat is it?\nAnd now?\n/retry\n")
    else:
        done = chat(unspool, server, "And now?\n/retry\n", "-a", f"{tmp_path}/a.png", "What is it?")
    assert done.returncode == 0
    first, second, again = ([one["content"] for one in request.json["messages"]] for request in server.requests)
    assert first == [[{"type": "text", "text": "What is it?"}, IMAGE]]
    assert second == [*first, "A cat.", "And now?"]
    assert again == second
    later = chat(unspool, server, "/retry\n", "-c")
    assert later.returncode == 0
    assert [one["content"] for one in server.requests[-1].json["messages"]] == second


def test_a_question_with_a_picture_is_asked_again_with_it(unspool, serve, tmp_path):
    (tmp_path / "a.png").write_bytes(PICTURE)
    server = serve(stream("chat", "A cat."))
    assert chat(unspool, server, "", "-a", f"{tmp_path}/a.png", "What is it?").returncode == 0
    assert chat(unspool, server, "/retry\n", "-c").returncode == 0
    assert server.requests[1].json["messages"] == server.requests[0].json["messages"]


@pytest.mark.parametrize(
    ("source", "words"), [("-", b"by its name"), ("nowhere.png", b"cannot be read"), ("empty", b"is empty")]
)
def test_what_cannot_go_with_the_first_prompt_is_told_before_anything_is_asked(unspool, serve, tmp_path, source, words):
    (tmp_path / "empty").write_bytes(b"")
    server = serve(b"")
    done = chat(unspool, server, "one\n", "-a", source if source == "-" else f"{tmp_path}/{source}")
    assert done.returncode == 2
    assert words in done.stderr
    assert not server.requests


@pytest.mark.parametrize("content", [b"\x00", b"caf\xe9", b"x" * ((1 << 20) + 1)], ids=["NUL", "not UTF-8", "long"])
def test_what_is_no_text_is_not_sent(unspool, serve, tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    server = serve(b"")
    assert chat(unspool, server, f"/file {tmp_path}/file\none\n").returncode == 2
    assert not server.requests


@pytest.mark.parametrize("arguments", [(), ("-n",)], ids=["kept", "in memory"])
def test_a_conversation_is_saved_and_no_file_is_replaced_unasked(unspool, serve, tmp_path, arguments):
    server = serve(stream("chat", "Hello."))
    path = tmp_path / "saved.md"
    assert chat(unspool, server, f"one\n/save {path}\n/save {path}.json\n", *arguments).returncode == 0
    assert "one" in path.read_text()
    assert "Hello." in path.read_text()
    assert "Hello." in json.dumps(json.loads((tmp_path / "saved.md.json").read_text()))
    path.write_text("mine")
    assert chat(unspool, server, f"one\n/save {path}\n").returncode == 2
    assert path.read_text() == "mine"
    assert chat(unspool, server, f"one\n/save -f {path}\n").returncode == 0
    assert "Hello." in path.read_text()


def test_a_new_conversation_knows_nothing_but_whom_it_asks(unspool, serve):
    server = serve(stream("chat", "Hello."))
    assert chat(unspool, server, "one\n/clear\ntwo\n", "-s", "Be brief").returncode == 0
    assert [one["content"] for one in server.requests[1].json["messages"]] == ["Be brief", "two"]


def test_a_retry_takes_the_place_of_the_answer(unspool, serve):
    server = serve(stream("chat", "Hello."), stream("chat", "Better."), stream("chat", "Last."))
    assert chat(unspool, server, "one\n/retry\ntwo\n").stdout == b"Hello.\nBetter.\nLast.\n"
    assert [one["content"] for one in server.requests[2].json["messages"]] == ["one", "Better.", "two"]


def test_the_last_question_of_another_chat_can_be_asked_again(unspool, serve):
    server = serve(stream("chat", "Hello."))
    chat(unspool, server, "one\ntwo\n")
    chat(unspool, server, "/retry\n", "-c")
    assert [one["content"] for one in server.requests[2].json["messages"]] == ["one", "Hello.", "two"]
    first, _, again = unspool.journals()
    assert f'"parent":"{first.stem}"' in again.read_text().replace('": "', '":"')


def test_an_edited_question_takes_the_place_of_the_last(unspool, serve):
    server = serve(stream("chat", "Hello."), stream("chat", "Better."))
    unspool.env["EDITOR"] = "sed -i s/one/two/"
    chat(unspool, server, "one\n/edit\n")
    assert [one["content"] for one in server.requests[1].json["messages"]] == ["two"]


def test_the_api_can_be_changed_in_the_middle(unspool, serve):
    server = serve(stream("chat", "Hello."), stream("responses", "Ada."))
    assert chat(unspool, server, "one\n/api responses\ntwo\n").stdout == b"Hello.\nAda.\n"
    assert [one["content"] for one in server.requests[1].json["input"]] == ["one", "Hello.", "two"]


def test_what_the_server_keeps_is_not_sent_again(unspool, serve):
    server = serve(stream("responses", "Hello."))
    chat(unspool, server, "one\ntwo\n", "--api", "responses", "--store")
    assert server.requests[1].json["previous_response_id"] == "r1"
    assert "Hello." not in json.dumps(server.requests[1].json)


def test_the_system_instruction_can_be_set_and_removed(unspool, serve):
    server = serve(stream("chat", "Hello."))
    chat(unspool, server, "one\n/system Be brief\ntwo\n/system -\nthree\n")
    assert [request.json["messages"][0]["role"] for request in server.requests] == ["user", "system", "user"]


def test_tokens_are_told(unspool, serve):
    done = chat(unspool, serve(head() + start("chat") + piece("chat", "Py") + end("chat")), "one\ntwo\n/usage\n")
    assert b"last answer: 3 tokens in, 2 out; since the chat began: 6 in, 4 out, 2 answers" in done.stderr


def test_what_was_said_and_the_options_are_told(unspool, serve):
    done = chat(
        unspool, serve(stream("chat", "Hello.\nYou.")), "/set temperature 1\none\n/history\n/last\n/set top_p x\n"
    )
    assert done.stdout == b"Hello.\nYou.\nHello.\nYou.\n"
    assert b"temperature 1.0\n> one\n  Hello. You.\n" in done.stderr
    assert b"top_p: 'x' is not a number" in done.stderr


@pytest.mark.parametrize(
    ("typed", "lines"),
    [(b"\x04", [None]), (b"Hi\r\x04", ["Hi", None]), (b"a\x04b\rc\x04\r", ["ab", "c"])],
    ids=["at once", "after a line", "within a line"],
)
def test_ctrl_d_that_is_typed_ahead_ends_where_a_line_begins_and_nowhere_else(typed, lines):
    reader = Lines(None, Keyboard(None))
    reader.type_ahead(typed, held=False)
    assert [reader.read() for _ in lines] == lines
