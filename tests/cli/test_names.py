"""Conversations with names: `--name` begins or continues one, `-c NAME` continues it, whatever command continues it moves it."""

from __future__ import annotations

import json

import pytest

from support.wire import head, piece, start, stream


@pytest.fixture
def served(unspool, serve):
    """A server with an answer for each request: "one", "two", …"""
    server = serve(*[stream("chat", word) for word in ("one", "two", "three", "four", "five")])
    unspool.env |= {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "sk-0123456789", "UNSPOOL_MODEL": "m"}
    unspool.env["UNSPOOL_API"] = "chat"
    return server


def ask(unspool, *arguments: str, input: bytes | None = None) -> str:
    done = unspool("-q", *arguments, input=input)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode().strip()


def said(server) -> list[str]:
    """The texts that the last request sent."""
    return [one["content"] for one in server.requests[-1].json["messages"]]


def test_a_name_begins_a_conversation_and_continues_it_whatever_was_asked_since(unspool, served):
    ask(unspool, "--name", "rome", "first")
    ask(unspool, "something else")
    ask(unspool, "--name", "rome", "second")
    assert said(served) == ["first", "one", "second"]
    ask(unspool, "something else again")
    ask(unspool, "-c", "rome", "third")
    assert said(served) == ["first", "one", "second", "three", "third"]


def test_continue_says_which_named_conversation_it_continues(unspool, served):
    ask(unspool, "--name", "rome", "first")
    done = unspool("-c", "rome", "second")
    assert (done.returncode, done.stderr) == (0, b"unspool: continuing the conversation rome\n")
    # What comes from standard input is asked too.
    ask(unspool, "-c", "rome", input=b"third")
    assert said(served) == ["first", "one", "second", "two", "third"]


def test_a_word_that_is_no_name_is_part_of_the_prompt(unspool, served):
    ask(unspool, "--name", "rome", "first")
    ask(unspool, "-c", "Rome", "is", "what?")
    assert said(served)[-1] == "Rome is what?"
    ask(unspool, "-c", "rome is what?")
    assert said(served)[-1] == "rome is what?"


def test_a_mistyped_name_before_a_prompt_in_quotes_is_refused(unspool, served):
    ask(unspool, "--name", "rome", "first")
    done = unspool("-c", "rom", "And now?")
    assert (done.returncode, b"did you mean rome?" in done.stderr, len(served.requests)) == (2, True, 1)


@pytest.mark.parametrize("name", ["", "a b", "-x", ".hidden", "../up", "a/b", "x" * 61, "01M8BQS560DKGAZ3K60KD3YP18"])
def test_what_cannot_be_a_name_is_refused_before_anything_is_asked(unspool, served, name):
    done = unspool(f"--name={name}", "hi")
    # An empty name is none.
    assert (done.returncode, len(served.requests)) == ((0, 1) if not name else (2, 0))


def test_continue_and_cid_beside_a_name_name_that_conversation(unspool, served):
    ask(unspool, "first")
    ask(unspool, "other")
    id = unspool.journals()[0].stem
    ask(unspool, "--cid", id[-6:], "--name", "rome", "second")
    assert said(served) == ["first", "one", "second"]
    ask(unspool, "-c", "--name", "milan", "third")  # a second name for it
    assert said(served) == ["first", "one", "second", "three", "third"]
    done = unspool("--cid", unspool.journals()[1].stem, "--name", "rome", "x")
    assert (done.returncode, b"another conversation is called rome" in done.stderr) == (2, True)


def test_the_name_stands_for_the_last_answer_where_a_command_takes_an_id(unspool, served):
    ask(unspool, "--name", "rome", "first")
    ask(unspool, "-c", "rome", "second")
    ask(unspool, "other")
    assert unspool("show", "rome").stdout.strip() == b"two"
    exported = unspool("export", "--json", "rome").stdout
    assert [one["prompt"] for one in json.loads(exported)["streams"]] == ["first", "second"]
    assert unspool("log", "--path", "rome").stdout.decode().strip() == str(unspool.journals()[1])
    ask(unspool, "--cid", "rome", "third")
    assert said(served) == ["first", "one", "second", "two", "third"]


def test_a_failure_before_the_first_token_leaves_the_conversation_where_it_was(unspool, served):
    ask(unspool, "--name", "rome", "first")
    nowhere = ("--base-url", "http://127.0.0.1:1/v1", "--retries", "0")
    assert unspool(*nowhere, "-c", "rome", "lost").returncode == 6
    ask(unspool, "-c", "rome", "second")
    assert said(served) == ["first", "one", "second"]
    ask(unspool, "-c", "rome", "third")
    assert said(served) == ["first", "one", "second", "two", "third"]


def test_a_name_whose_first_question_failed_begins_again(unspool, served):
    nowhere = ("--base-url", "http://127.0.0.1:1/v1", "--retries", "0")
    assert unspool(*nowhere, "--name", "rome", "lost").returncode == 6
    ask(unspool, "-c", "rome", "first")
    assert said(served) == ["first"]
    ask(unspool, "-c", "rome", "second")
    assert said(served) == ["first", "one", "second"]


def test_the_rest_of_a_cut_answer_belongs_to_the_conversation(unspool, serve):
    server = serve(head() + start("chat") + piece("chat", "One two"), stream("chat", " three"), stream("chat", "ok"))
    there = ("--base-url", server.url, "-m", "m", "--api", "chat", "--retries", "0")
    assert unspool(*there, "--name", "count", "Count").returncode == 7
    assert unspool("resume").returncode == 0
    assert unspool("-c", "count", "more").returncode == 0
    assert said(server) == ["Count", "One two three", "more"]


def test_an_older_answer_that_is_continued_leaves_the_name_where_it_is(unspool, served):
    ask(unspool, "--name", "rome", "first")
    ask(unspool, "-c", "rome", "second")
    ask(unspool, "--cid", unspool.journals()[0].stem, "aside")
    ask(unspool, "-c", "rome", "third")
    assert said(served) == ["first", "one", "second", "two", "third"]


def test_rename_gives_another_name_or_names_the_conversation_of_an_answer(unspool, served):
    ask(unspool, "first")
    ask(unspool, "other")
    id = unspool.journals()[0].stem[-6:]
    assert unspool("log", "rename", id, "rome").returncode == 0
    assert unspool("log", "rename", "rome", "italy").returncode == 0
    ask(unspool, "-c", "italy", "second")
    assert said(served) == ["first", "one", "second"]
    assert unspool("show", "rome").returncode == 1
    ask(unspool, "--name", "rome", "third")
    done = unspool("log", "rename", "italy", "rome")
    assert (done.returncode, done.stderr) == (1, b"unspool: another conversation is called rome\n")
    for wrong in (("nobody", "x"), ("rome", "a b"), ("rome",), ("rome", "a", "b")):
        assert unspool("log", "rename", *wrong).returncode in (1, 2)
    assert unspool("show", "italy").stdout.strip() == b"three"


def test_the_list_of_conversations_has_each_with_its_name_and_its_answers(unspool, served):
    ask(unspool, "--name", "rome", "first")
    ask(unspool, "other")
    ask(unspool, "-c", "rome", "second")
    nowhere = ("--base-url", "http://127.0.0.1:1/v1", "--retries", "0")
    unspool(*nowhere, "-c", "rome", "lost")
    unspool(*nowhere, "lost too")
    rows = [line.split("\t")[2:] for line in unspool("log", "--conversations").stdout.decode().splitlines()]
    assert rows == [["2", "rome", "m", "first", "three"], ["1", "", "m", "other", "two"]]
    (one,) = map(json.loads, unspool("log", "--conversations", "--json", "-n", "1").stdout.splitlines())
    assert (one["name"], one["answers"], one["answer"]) == ("rome", 2, "three")
    shown = unspool.on_terminal("log", "--conversations").output.decode()
    assert "rome  2 answers  " in shown
    assert "first → three" in shown


def test_removing_a_conversation_by_its_name_removes_all_its_answers_and_the_name(unspool, served):
    ask(unspool, "first")
    ask(unspool, "-c", "--name", "rome", "second")
    ask(unspool, "other")
    assert unspool("rm", "-y", "rome").returncode == 0
    assert [path.stem for path in unspool.journals()] == [unspool.journals()[-1].stem]
    assert list((unspool.home / "state" / "names").iterdir()) == []
    ask(unspool, "--name", "rome", "first again")
    assert said(served) == ["first again"]


def test_a_conversation_whose_last_answer_is_removed_is_at_the_one_before(unspool, served):
    ask(unspool, "--name", "rome", "first")
    ask(unspool, "-c", "rome", "second")
    assert unspool("rm", "-y", unspool.journals()[1].stem).returncode == 0
    ask(unspool, "-c", "rome", "second again")
    assert said(served) == ["first", "one", "second again"]


def test_names_are_completed(unspool, served):
    ask(unspool, "--name", "rome", "first")
    for typed in (("--name", "ro"), ("chat", "--name", "ro"), ("show", "ro"), ("log", "rename", "ro"), ("--cid", "ro")):
        assert b"rome\tfirst" in unspool("completion", "candidates", "fish", *typed).stdout


def test_a_chat_continues_a_named_conversation_and_can_name_it(unspool, served):
    ask(unspool, "--name", "rome", "first")
    assert unspool("chat", "-c", "rome", input=b"second\n/retry\n/name italy\nthird\n").returncode == 0
    assert said(served) == ["first", "one", "second", "three", "third"]
    ask(unspool, "-c", "italy", "fourth")
    assert said(served)[-2:] == ["four", "fourth"]
    assert unspool("show", "rome").returncode == 1


def test_an_answer_that_is_not_kept_gets_no_name(unspool, served):
    done = unspool("-n", "--name", "rome", "hi")
    assert (done.returncode, len(served.requests)) == (2, 0)
    ask(unspool, "--name", "rome", "first")
    ask(unspool, "-n", "-c", "rome", "aside")
    ask(unspool, "-c", "rome", "second")
    assert said(served) == ["first", "one", "second"]


def test_a_dry_run_names_nothing(unspool, served):
    ask(unspool, "first")
    assert unspool("--dry-run", "-c", "--name", "rome", "second").returncode == 0
    assert unspool("--dry-run", "--name", "milan", "second").returncode == 0
    assert not (unspool.home / "state" / "names").exists()


def test_an_answer_is_printed_though_its_name_cannot_be_saved(unspool, served):
    (unspool.home / "state").mkdir()
    (unspool.home / "state" / "names").write_text("in the way")
    done = unspool("--name", "rome", "first")
    [journal] = unspool.journals()
    assert (done.returncode, done.stdout) == (0, b"one\n")
    [note] = done.stderr.decode().splitlines()
    assert note.startswith("unspool: the name is not saved (")
    (unspool.home / "state" / "names").unlink()
    command = note.partition("unspool log ")[2].split()
    assert (command[1], unspool("log", *command).returncode) == (journal.stem[-6:], 0)
    ask(unspool, "-c", "rome", "second")
    assert said(served) == ["first", "one", "second"]
