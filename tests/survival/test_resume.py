"""``unspool resume``: every unfinished answer has a way on, whatever ended it, and never passes for what it is not."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from support import background as acts
from support.background import BackgroundServer, rest
from support.effort import rounds
from support.server import Connection, Server
from support.waiting import PATIENCE, until
from support.wire import APIS, SSE_HEAD, end, piece
from unspool import outcome
from unspool.journal import record

from .processes import Home, Kept

GO_ON = "Your last message was cut off"


def ask(home: Home, url: str, api: str, *more: str):
    return home("--base-url", url, "--api", api, "-m", "m", "-s", "Be brief.", *more, "Tell me")


def read_until(child, wanted: bytes) -> bytes:
    shown = b""
    while wanted not in shown:
        data = os.read(child.stdout.fileno(), 1 << 16)
        assert data, shown
        shown += data
    return shown


class Script(Server):
    """Answers each request with the next of these texts; all but the last are cut after it."""

    def __init__(self, api: str, *texts: str) -> None:
        self.api = api
        self.texts = texts
        super().__init__(self._answer_next)

    def _answer_next(self, connection: Connection) -> None:
        number = len(self.requests)
        connection.send(SSE_HEAD)
        if self.texts[number - 1]:
            connection.send(piece(self.api, self.texts[number - 1]))
        if number == len(self.texts):
            connection.send(end(self.api))
        connection.close()


# --- a cut answer is asked for again ------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", APIS)
def test_a_cut_answer_goes_on_in_a_stream_of_its_own(home: Home, api: str) -> None:
    with Script(api, "Once upon a ", "time there was.") as server:
        cut = ask(home, server.url, api)
        assert (cut.returncode, cut.stdout) == (7, b"Once upon a ")
        (first,) = home.journals()
        before = first.read_bytes()
        resumed = home("resume")
        assert (resumed.returncode, resumed.stdout) == (0, b"Once upon a time there was.\n")
        words = b"asked the "
        words += b"server to complete this text; saved as " if api == "completions" else b"model to continue; saved as "
        assert words in resumed.stderr
        one, other = home.journals()
        # Never the same stream: what was cut stays as it was.
        assert one.read_bytes() == before
        kept = Kept(other)
        assert kept.request is not None
        assert kept.request.parent == one.stem
        assert kept.text == "time there was."
        asked = server.requests[1].json
    if api == "completions":
        assert asked == server.requests[0].json | {"prompt": server.requests[0].json["prompt"] + "Once upon a "}
    else:
        said = asked["messages" if api == "chat" else "input"]
        assert {name: said[-2][name] for name in ("role", "content")} == {
            "role": "assistant",
            "content": "Once upon a ",
        }
        assert said[-1]["role"] == "user"
        assert said[-1]["content"].startswith(GO_ON)


@pytest.mark.parametrize("api", ["responses", "chat"])
def test_only_an_exact_repetition_is_left_out(home: Home, api: str) -> None:
    with Script(api, "It was a dark and stormy night", "dark and stormy night; the rain fell.") as server:
        ask(home, server.url, api)
        assert home("resume").stdout == b"It was a dark and stormy night; the rain fell.\n"
        # The journal has what the server sent.
        assert Kept(home.newest()).text.startswith("dark and stormy")
    with Script(api, "It was a dark and stormy night", "Dark and stormy night; the rain fell.") as server:
        ask(home, server.url, api)
        assert home("resume").stdout == b"It was a dark and stormy nightDark and stormy night; the rain fell.\n"


def test_a_completion_may_repeat_itself(home: Home) -> None:
    with Script("completions", "la la la la la ", "la la la la la end") as server:
        ask(home, server.url, "completions")
        assert home("resume").stdout == b"la la la la la la la la la la end\n"


@pytest.mark.parametrize("api", APIS)
def test_a_resumed_answer_that_is_cut_again_is_resumed_again(home: Home, api: str) -> None:
    with Script(api, "One two ", "three four ", "five six ", "seven.") as server:
        assert ask(home, server.url, api).returncode == 7
        second, third = home("resume"), home("resume")
        assert (second.returncode, second.stdout) == (7, b"One two three four ")
        assert (third.returncode, third.stdout) == (7, b"One two three four five six ")
        fourth = home("resume")
        assert (fourth.returncode, fourth.stdout) == (0, b"One two three four five six seven.\n")
        # It reads as one answer wherever it is shown.
        assert home("last").stdout == b"One two three four five six seven.\n"
        exported = home("export").stdout.decode()
        assert exported.count("## User") == exported.count("## Assistant") == 1
        assert "One two three four five six seven." in exported
        assert "[cut" not in exported
        bodies = [request.json for request in server.requests]
    parents = [kept.request.parent for kept in map(Kept, home.journals()) if kept.request is not None]
    assert parents == [None, *[path.stem for path in home.journals()[:-1]]]
    if api == "completions":
        assert bodies[3]["prompt"].endswith("One two three four five six ")
    else:
        said = bodies[3]["messages" if api == "chat" else "input"]
        assert [one["content"] for one in said if one["role"] == "assistant"] == [
            "One two ",
            "three four ",
            "five six ",
        ]


@pytest.mark.parametrize("api", APIS)
def test_an_answer_of_which_nothing_came_is_asked_for_as_before(home: Home, api: str) -> None:
    with Script(api, "", "Here it is.") as server:
        assert ask(home, server.url, api, "--retries", "0").returncode == 7
        resumed = home("resume")
        assert (resumed.returncode, resumed.stdout, resumed.stderr.count(b"\n")) == (0, b"Here it is.\n", 1)
        assert server.requests[0].json == server.requests[1].json


def test_an_error_is_asked_for_again(home: Home) -> None:
    def play(connection: Connection) -> None:
        if len(stage.requests) == 1:
            connection.reply(400, {"error": {"message": "Not now."}})
        else:
            connection.send(SSE_HEAD, piece("chat", "Now."), end("chat"))
            connection.close()

    with Server(play) as stage:
        assert ask(home, stage.url, "chat").returncode == 10
        assert home("resume").stdout == b"Now.\n"


def test_an_answer_with_several_choices_is_refused(home: Home) -> None:
    with Server(lambda connection: connection.send(SSE_HEAD, piece("chat", "Only one so far"))) as server:
        assert ask(home, server.url, "chat", "-o", "n", "2").returncode == 7
        resumed = home("resume")
        assert (resumed.returncode, resumed.stdout) == (1, b"")
        assert b"2 choices; only an answer of one can be continued" in resumed.stderr
        assert len(home.journals()) == 1


def test_what_is_whole_is_shown(home: Home, instant: str) -> None:
    whole = ask(home, instant, "chat")
    resumed = home("resume")
    assert (resumed.returncode, resumed.stdout) == (0, whole.stdout)
    assert b"is complete already" in resumed.stderr
    assert len(home.journals()) == 1


def test_what_runs_is_left_alone(home: Home, slow: str) -> None:
    child = home.start("--base-url", slow, "-m", "m", "in 4000 tokens")
    read_until(child, b"text")
    resumed = home("resume")
    assert (resumed.returncode, resumed.stdout) == (1, b"")
    assert b"is still running; to follow it: unspool attach" in resumed.stderr
    child.kill()


def test_an_unknown_id_is_told(home: Home, instant: str) -> None:
    assert home("resume", "7ZZZZZ").returncode == 1
    ask(home, instant, "chat")
    resumed = home("resume", "7ZZZZZ")
    assert (resumed.returncode, resumed.stderr) == (
        1,
        b"unspool: no saved answer has '7ZZZZZ' in its id; unspool log lists them\n",
    )


@pytest.mark.parametrize("how", ["killed", "cancelled", "nobody reads"])
def test_whatever_ended_it_it_goes_on(home: Home, how: str) -> None:
    def play(connection: Connection) -> None:
        connection.send(SSE_HEAD, piece("chat", "Once upon a "))
        if len(stage.requests) == 1:
            connection.wait_closed()
        else:
            connection.send(piece("chat", "time."), end("chat"))
            connection.close()

    with Server(play) as stage:
        child = home.start("--base-url", stage.url, "--api", "chat", "-m", "m", "hi")
        read_until(child, b"upon a ")
        if how == "nobody reads":
            child.stdout.close()
        else:
            child.send_signal(signal.SIGKILL if how == "killed" else signal.SIGINT)
        child.wait(PATIENCE)
        resumed = home("resume")
        assert resumed.returncode == 0
        assert resumed.stdout.startswith(b"Once upon a ")
        assert resumed.stdout.endswith(b"time.\n")


def test_a_conversation_goes_on_from_what_there_is_of_a_cut_answer(home: Home) -> None:
    with Script("chat", "Once upon a ", "A castle.") as server:
        assert ask(home, server.url, "chat").returncode == 7
        assert home("-c", "Where?").stdout == b"A castle.\n"
        assert server.requests[1].json["messages"] == [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Tell me"},
            {"role": "assistant", "content": "Once upon a "},
            {"role": "user", "content": "Where?"},
        ]


@pytest.mark.parametrize("api", APIS)
def test_an_answer_killed_between_its_last_event_and_its_end_is_whole(home: Home, instant: str, api: str) -> None:
    whole = ask(home, instant, api, "--max-tokens", "999")
    path = home.newest()
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"id: %d\nevent: unspool.end" % Kept(path).records[-1].id)])
    assert home("last").returncode == 7
    resumed = home("resume")
    assert (resumed.returncode, resumed.stdout) == (0, whole.stdout)
    assert len(home.journals()) == 1
    assert (home("last").returncode, Kept(path).damage) == (0, None)


# --- a background response is taken up ----------------------------------------------------------------------------------


def start(home: Home, url: str):
    return home.start("-N", "--base-url", url, "--api", "responses", "--background", "-m", "m", "in 150 tokens")


def test_killed_and_resumed_until_it_is_whole_it_is_the_uncut_one(home: Home, paced: str) -> None:
    chance = random.Random(11)
    uncut = home("-N", "--base-url", paced, "--api", "responses", "-m", "m", "in 150 tokens").stdout
    kills = 0
    for _ in range(rounds(4)):
        before = len(home.journals())
        child = start(home, paced)
        path = until(lambda before=before: home.journals()[before:])[0]
        # Without its request nothing can be asked again.
        until(lambda path=path: b"unspool.request" in path.read_bytes())
        for _ in range(12):
            time.sleep(chance.uniform(0.05, 0.28))
            child.kill()
            shown = child.stdout.read()
            child.wait()
            kills += 1
            kept = Kept(path)
            assert kept.damage is None
            assert uncut.startswith(shown)
            assert kept.text.encode().startswith(shown)
            if kept.ending.outcome == outcome.COMPLETE:
                break
            if kept.sequence:
                child = home.start("resume", "-N", path.stem)
            else:
                break  # it was killed before it had an id: there is nothing to take up
        child.kill()  # on a slow machine the last of them still runs
        child.wait()
        resumed = home("resume", "-N", path.stem)
        assert (resumed.returncode, resumed.stdout) == (0, uncut), resumed.stderr
        if kept.sequence:
            kept = Kept(path)
            assert kept.text.encode() == uncut
            # 0, 1, 2, …: no event is missing, none is there twice.
            assert kept.sequence == list(range(len(kept.sequence)))
            assert kept.damage is None
    assert kills >= rounds(4)


@pytest.mark.parametrize("first", [1, 2, 7, 11])
def test_what_was_killed_is_taken_up_in_its_own_journal(home: Home, first: int) -> None:
    with BackgroundServer(rest, first=first) as server:
        server.again = ()
        child = start(home, server.url)
        until(lambda: home.journals() and Kept(home.newest()).sequence == list(range(first)))
        child.kill()
        child.wait()
        server.again = (rest,)
        resumed = home("resume", "-N")
        assert (resumed.returncode, resumed.stdout.decode(), resumed.stderr.count(b"\n")) == (0, server.text, 1)
        kept = Kept(home.newest())
        assert len(home.journals()) == 1
        assert kept.sequence == list(range(server.length))
        assert [one.type for one in kept.records if one.at is None].count(record.ATTEMPT) == 1
        assert home("last", "-N").stdout.decode() == server.text


def test_what_is_refused_to_be_streamed_again_is_had_by_polling(home: Home) -> None:
    with BackgroundServer(acts.status(404), polls=("completed",)) as server:
        server.again = ()
        child = start(home, server.url)
        read_until(child, b"word3")
        child.kill()
        child.wait()
        server.again = (acts.status(404),)
        resumed = home("resume", "-N")
        assert (resumed.returncode, resumed.stdout.decode()) == (0, server.text)
        assert home("last", "-N").stdout.decode() == server.text


def test_a_response_that_failed_is_asked_for_anew(home: Home) -> None:
    with BackgroundServer(acts.failing) as server:
        failed = ask(home, server.url, "responses", "--background")
        assert failed.returncode == 5
        server.again = (rest,)
        resumed = home("resume")
        assert resumed.returncode == 0
        assert b"asked the model to continue" in resumed.stderr
        assert len(home.journals()) == 2


def test_a_response_that_was_cancelled_has_a_way_on_too(home: Home) -> None:
    with BackgroundServer(acts.nothing, polls=("cancelled",)) as server:
        server.again = ()
        child = start(home, server.url)
        shown = read_until(child, b"word3")
        child.send_signal(signal.SIGINT)
        assert child.wait(PATIENCE) == 130
        assert server.cancelled.is_set()
        assert Kept(home.newest()).ending.outcome == outcome.CANCELLED
        # The server may have finished it all the same, so it is asked first.
        server.again = (acts.nothing, acts.nothing, rest)
        resumed = home("resume")
        assert (resumed.returncode, resumed.stdout) == (7, shown)
        assert b"the server stopped the answer: cancelled" in resumed.stderr
        again = home("resume")
        assert again.returncode == 0
        assert again.stdout.startswith(shown)
        assert b"asked the model to continue" in again.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_stops_it_at_the_server(home: Home, number: int) -> None:
    with BackgroundServer() as server:
        child = start(home, server.url)
        read_until(child, b"word3")
        child.send_signal(number)
        assert child.wait(PATIENCE) == 128 + number
        assert server.cancelled.is_set()
        (cancelling,) = [request for request in server.requests if request.path.endswith("/cancel")]
        assert (cancelling.method, cancelling.path) == ("POST", "/v1/responses/resp_1/cancel")


def test_ctrl_c_does_not_wait_for_a_server_that_hangs(home: Home) -> None:
    with BackgroundServer(cancel=lambda connection: connection.wait_closed()) as server:
        child = start(home, server.url)
        read_until(child, b"word3")
        child.send_signal(signal.SIGINT)
        assert child.wait(PATIENCE) == 130
        assert server.cancelled.is_set()
    assert Kept(home.newest()).ending.outcome == outcome.CANCELLED


def test_an_answer_whose_journal_says_nothing_is_told(home: Home, tmp_path: Path) -> None:
    home.streams.mkdir(0o700, parents=True)
    (home.streams / "01KAPXJ8M00000000000000000.sse").write_bytes(record.HEADER[:5])
    shown, resumed = home("last"), home("resume")
    assert shown.returncode == 7
    assert resumed.returncode == 1
    assert b"has no saved request" in resumed.stderr
