"""What fingers type: command lines that name no command, and are no prompts to be paid for."""

from __future__ import annotations

import pytest

from support.wire import head, piece, start, stream


@pytest.fixture
def paid(unspool, serve):
    """A server that would be asked, whose key costs money."""
    server = serve(*[stream("chat", "ok")] * 4)
    unspool.env |= {
        "OPENAI_BASE_URL": server.url,
        "OPENAI_API_KEY": "sk-0123456789",
        "UNSPOOL_MODEL": "m",
        "UNSPOOL_API": "chat",
    }
    return server


@pytest.mark.parametrize(
    ("typed", "same"),
    [
        (("logs", "-n", "5"), ("log", "-n", "5")),
        (("logs",), ("log",)),
        (("history",), ("log",)),
        (("version",), ("--version",)),
        (("logs", "list", "-n", "5"), ("log", "-n", "5")),
        (("logs", "path"), ("log", "--path")),
        (("aliases",), ("config",)),
        (("aliases", "list"), ("config",)),
        (("aliases", "path"), ("config", "path")),
        (("aliases", "set", "fast", "a b"), ("config", "set", "aliases.fast", "a b")),
        (("aliases", "remove", "nobody"), ("config", "unset", "aliases.nobody")),
        (("key",), ("keys",)),
        (("key", "path"), ("keys", "path")),
        (("template", "path"), ("templates", "path")),
        (("model", "--base-url", "http://127.0.0.1:1/v1"), ("models", "--base-url", "http://127.0.0.1:1/v1")),
    ],
)
def test_another_name_of_a_command_is_that_command(unspool, paid, typed, same):
    done, meant = unspool(*typed), unspool(*same)
    assert (done.returncode, done.stdout, done.stderr) == (meant.returncode, meant.stdout, meant.stderr)
    assert paid.requests == []


@pytest.mark.parametrize(
    "typed",
    [
        ("modles", "-P", "groq"),
        ("key", "openai"),
        ("delete", "7F3K9Q"),
        ("delete", "7F3K9Q", "2BXW4M"),
        ("remove", "7F3K9Q", "2BXW4M", "01M8BQS560DKGAZ3K60KD3YP18"),
        ("kyes", "set", "openai"),
        ("serch", "foo", "bar"),
        ("saerch", "event", "stream", "-n", "3"),
        ("shw", "7F3K9Q", "--json"),
        ("caht", "hello", "there"),
        ("modles", "--sim"),
        ("exprt", "7F3K9Q", "--json"),
    ],
)
def test_what_may_be_a_mistyped_command_is_refused_with_the_command(unspool, paid, typed):
    done = unspool(*typed)
    assert (done.returncode, b"did you mean unspool " in done.stderr, paid.requests) == (2, True, [])


@pytest.mark.parametrize(
    "typed",
    [
        ("history", "of", "Rome"),
        ("history", "lesson"),
        ("aliases", "in", "art"),
        ("delete", "these", "words"),
        ("remove", "H2O", "from", "this"),
        ("ask", "history"),
        ("prompt", "engineering", "tips"),
        ("what", "is", "it"),
        ("starch", "in", "potatoes"),
        ("expert", "advice", "needed"),
        ("how", "are", "you", "--json", "--raw"),
    ],
)
def test_words_that_only_begin_like_a_command_are_a_prompt(unspool, paid, typed):
    done = unspool(*typed)
    assert (done.returncode, b"ok" in done.stdout, len(paid.requests)) == (0, True, 1)


def test_prompt_before_a_prompt_is_not_part_of_it(unspool, paid):
    assert unspool("prompt", "Say ok").returncode == 0
    assert "prompt" not in unspool.journal().partition('"messages":')[2].partition("}")[0]


def test_resume_without_an_id_takes_the_last_answer_that_was_cut_and_names_it(unspool, serve):
    cut_short = head() + start("chat") + piece("chat", "One two")
    server = serve(cut_short, stream("chat", "complete"), stream("chat", " three"))
    there = ("--base-url", server.url, "-m", "m", "--retries", "0")
    assert unspool(*there, "Count").returncode == 7
    (cut,) = unspool.journals()
    unspool(*there, "Something else")
    done = unspool("resume")
    assert (done.returncode, f"resuming {cut.stem[-6:]} of ".encode() in done.stderr) == (0, True)
    done = unspool("resume")
    assert (done.returncode, b"is complete already" in done.stderr, len(server.requests)) == (0, True, 3)


def test_a_hint_has_the_options_that_name_the_server(unspool, serve):
    server = serve()
    done = unspool("--base-url", server.url, "hi")
    assert f"unspool models --base-url {server.url} lists".encode() in done.stderr
    assert b"unspool models -P groq lists" in unspool("-P", "groq", "--key", "k", "hi").stderr


def test_an_unknown_option_is_refused_with_the_one_that_is_spelt_much_like_it(unspool, paid):
    for typed, meant in (("--temprature", "--temperature"), ("--max_tokens=3", "--max-tokens"), ("--xyzzy", None)):
        done = unspool(typed, "hi")
        hint = f" (did you mean {meant}?)" if meant else ""
        line = f"unspool: unknown option: {typed}{hint}; see unspool ask --help\n"
        assert (done.returncode, done.stderr.decode()) == (2, line)
    assert paid.requests == []


def test_a_name_that_is_like_no_profile_brings_the_list_of_profiles(unspool):
    assert b"called 'nope': use one of openai, " in unspool("-P", "nope", "hi").stderr
    assert b"called 'opnai': did you mean 'openai'?" in unspool("-P", "opnai", "hi").stderr


@pytest.mark.parametrize(
    "wrong", [("-f", "nofile"), ("--functions", "nofile"), ("-T", "nofile.py"), ("--schema", "{"), ("-o", "n", "0")]
)
@pytest.mark.parametrize("prompt", [("hi",), ()])
def test_a_wrong_argument_is_reported_before_a_missing_key(unspool, wrong, prompt):
    seen = unspool.on_terminal(*wrong, *prompt)
    assert (seen.code, b"no API key" in seen.output) == (2, False)
    assert b"no API key" in unspool("--profile", "groq", "hi").stderr
