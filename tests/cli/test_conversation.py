"""`-c` and `--cid`: going on with a conversation, rebuilt from its journals."""

from __future__ import annotations

import json

import pytest

from unspool.sim.running import Simulator


@pytest.fixture
def sim(unspool):
    with Simulator() as simulator:
        unspool.env |= {"OPENAI_BASE_URL": simulator.url, "OPENAI_API_KEY": "sk-0123456789", "UNSPOOL_MODEL": "sim-1"}
        yield simulator


def ask(unspool, *arguments: str) -> str:
    done = unspool("-q", *arguments)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode()


def body(unspool, *arguments: str) -> dict:
    """The request body that a command line stands for."""
    return json.loads(ask(unspool, "--dry-run", *arguments).partition("\n\n")[2])


def request(unspool, number: int) -> dict:
    """What the journal of a stream says was asked."""
    for line in unspool.journals()[number].read_text("utf-8").splitlines():
        if line.startswith("data: "):
            return json.loads(line[6:])
    raise AssertionError("no request")


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_the_last_conversation_goes_on_with_all_that_was_said(unspool, sim, api):
    first = ask(unspool, "--api", api, "-s", "Be brief", "My name is Ada in 9 tokens")
    second = ask(unspool, "-c", "And in 5 tokens?")
    asked = request(unspool, 1)["body"]
    history = asked["messages"][1:] if api == "chat" else asked["input"]
    assert [message["role"] for message in history] == ["user", "assistant", "user"]
    assert [message["content"] for message in history] == ["My name is Ada in 9 tokens", first, "And in 5 tokens?"]
    assert (asked["messages"][0]["content"] if api == "chat" else asked["instructions"]) == "Be brief"
    assert request(unspool, 1)["parent"] == unspool.journals()[0].stem
    assert second


def test_the_model_and_the_endpoint_are_those_of_before_unless_others_are_named(unspool, sim):
    ask(unspool, "--api", "responses", "-m", "mine", "Hi in 3 tokens")
    assert body(unspool, "-c", "more")["model"] == "mine"
    assert "input" in body(unspool, "-c", "more")
    assert body(unspool, "-c", "-m", "other", "--api", "chat", "more")["model"] == "other"
    assert len(body(unspool, "-c", "-m", "other", "--api", "chat", "more")["messages"]) == 3


def test_the_same_base_url_continues_with_the_same_model(unspool, sim):
    del unspool.env["UNSPOOL_MODEL"]
    ask(unspool, "--base-url", sim.url, "--key", "sk-1", "--api", "chat", "-m", "mine", "Hi in 3 tokens")
    asked = body(unspool, "--base-url", sim.url + "/", "--key", "sk-1", "-c", "more")
    assert (asked["model"], len(asked["messages"])) == ("mine", 3)


def test_any_conversation_goes_on_by_a_piece_of_its_id(unspool, sim):
    ask(unspool, "--api", "chat", "one in 3 tokens")
    ask(unspool, "--api", "chat", "two in 3 tokens")
    id = unspool.journals()[0].stem
    assert body(unspool, "--cid", id[-6:], "more")["messages"][0]["content"] == "one in 3 tokens"
    assert body(unspool, "-c", "more")["messages"][0]["content"] == "two in 3 tokens"


def test_a_stream_that_said_nothing_is_nothing_to_go_on_with(unspool, sim):
    ask(unspool, "--api", "chat", "one in 3 tokens")
    assert unspool("--base-url", "http://127.0.0.1:1/v1", "--retries", "0", "-m", "m", "lost").returncode == 6
    assert body(unspool, "-c", "more")["messages"][0]["content"] == "one in 3 tokens"


def test_where_the_server_keeps_the_conversation_only_what_is_new_is_sent(unspool, sim):
    ask(unspool, "--api", "responses", "--store", "one in 3 tokens")
    ask(unspool, "-c", "--store", "two in 3 tokens")
    asked = request(unspool, 1)["body"]
    assert asked["previous_response_id"].startswith("resp_")
    assert asked["input"] == "two in 3 tokens"
    # The chain is read from the journals all the same.
    turns = body(unspool, "-c", "three")["input"]
    assert [turn["content"] for turn in turns if turn["role"] == "user"] == [
        "one in 3 tokens",
        "two in 3 tokens",
        "three",
    ]


def test_there_being_nothing_to_go_on_with_is_wrong_usage(unspool, sim):
    done = unspool("-c", "more")
    assert done.returncode == 2
    assert b"no conversation to continue yet" in done.stderr
    assert unspool("--cid", "ZZZ", "more").returncode == 2
