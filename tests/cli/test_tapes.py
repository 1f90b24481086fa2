"""Recording and playing by command: what a person does who has met with a server's bug."""

from __future__ import annotations

import json
import shutil
import signal

import pytest

from support.waiting import PATIENCE
from support.wire import APIS, head, piece, start, stream
from unspool.journal import ulid

KEY = "sk-0123456789abcdef"
each_api = pytest.mark.parametrize("api", APIS)


@pytest.fixture
def sim(unspool, tmp_path):
    """Starts the server command, and gives its URL and its process."""

    def begin(*arguments):
        child = unspool.start("sim", *arguments, cwd=tmp_path)
        return child.stdout.readline().decode().strip(), child

    return begin


def ask(unspool, url, *arguments, api="chat"):
    options = ("--base-url", url, "--api", api, "-m", "m", "--key", KEY, "--retries", "0", "--no-stdin")
    return unspool(*options, *(arguments or ("hi",)))


def end(child):
    child.send_signal(signal.SIGINT)
    assert child.wait(PATIENCE) == 0
    return child.stderr.read().decode()


@each_api
def test_a_bug_is_recorded_and_met_again_without_the_server(unspool, serve, sim, tmp_path, api):
    server = serve(stream(api, "fine"), head() + start(api) + piece(api, "Py") + b'data: {"bro\n\n: half a comment')
    url, recorder = sim("--record", server.url)
    first = [ask(unspool, url, api=api) for _ in range(2)]
    said = end(recorder)
    server.close()
    tapes = sorted((tmp_path / "tapes").iterdir())
    assert [f"recorded tapes/{tape.name}: " in said for tape in tapes] == [True, True]
    assert all(KEY not in tape.read_text("utf-8") and tape.stat().st_mode & 0o777 == 0o600 for tape in tapes)
    url, player = sim("--tapes", "tapes", "--tapes-only", "--speed", "max")
    again = [ask(unspool, url, api=api) for _ in range(2)]
    assert [(one.returncode, one.stdout) for one in again] == [(one.returncode, one.stdout) for one in first]
    assert [one.returncode for one in first] == [0, 5]
    missed = ask(unspool, url, "ho", api=api)
    assert missed.returncode == 10
    assert "on the tape 'hi'" in missed.stderr.decode()
    assert "no tape answers POST" in end(player)
    shown = [unspool("show", str(tape)) for tape in tapes]
    assert [(one.returncode, one.stdout) for one in shown] == [(one.returncode, one.stdout) for one in first]


@each_api
def test_the_journal_of_any_answer_is_a_tape(unspool, serve, sim, api):
    server = serve(stream(api, "a\r\n", "b", "🙂", reason="length"), head() + start(api) + piece(api, "Py"))
    first = [ask(unspool, server.url, "--format", "sse", word, api=api) for word in ("one", "two")]
    kept = unspool.journals()
    url, _ = sim("--tapes", kept[0].stem, "--tapes", str(kept[1]), "--tapes-only")
    again = [ask(unspool, url, "--format", "sse", word, api=api) for word in ("one", "two")]
    assert [(one.returncode, one.stdout) for one in again] == [(one.returncode, one.stdout) for one in first]
    assert [one.returncode for one in first] == [8, 7]


def test_a_refusal_is_played_from_a_journal_with_its_status_and_words(unspool, serve, sim):
    from support.wire import error

    server = serve(error(429, "You are out.", "insufficient_quota", retry_after="7"))
    first = ask(unspool, server.url, "--json", "hi")
    url, _ = sim("--tapes", str(unspool.streams))
    again = ask(unspool, url, "--json", "hi")
    ends = [json.loads(one.stdout.splitlines()[-1]) for one in (first, again)]
    for one in ends:
        del one["id"]
    assert ends[0] == ends[1]
    assert ends[0]["status"] == 429


def test_an_answer_in_one_piece_is_played_from_a_journal(unspool, serve, sim):
    body = b'{"id":"r1","model":"m","choices":[{"index":0,"message":{"content":"ok"},"finish_reason":"stop"}]}'
    server = serve(head(type="application/json") + body)
    ask(unspool, server.url, "--no-stream", "hi")
    url, _ = sim("--tapes", str(unspool.streams), "--tapes-only")
    assert ask(unspool, url, "--no-stream", "hi").stdout == b"ok\n"
    streamed = ask(unspool, url, "hi")
    assert streamed.returncode == 10
    assert "stream is True, on the tape False" in streamed.stderr.decode()


def test_a_recorded_tape_among_the_journals_is_listed_and_shown_like_any(unspool, serve, sim, tmp_path):
    url, recorder = sim("--record", serve(stream("chat", "Python")).url, "--into", "here")
    ask(unspool, url, "-n", "What is it?")
    end(recorder)
    (tape,) = (tmp_path / "here").iterdir()
    unspool.streams.mkdir(parents=True)
    shutil.copy(tape, unspool.streams / f"{ulid.new()}.sse")
    assert "What is it?" in unspool("log").stdout.decode()
    assert "Python" in unspool("search", "Python").stdout.decode()
    assert unspool("last").stdout == b"Python\n"
    assert unspool("export", unspool.journals()[0].stem).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--record", "http://x/v1", "--fault", "cut=1"), "--fault does not work with --record"),
        (("--record", "http://x/v1", "--upstream", "http://y"), "--upstream does not work with --record"),
        (("--record", "http://x/v1", "--tapes", "t"), "--tapes does not work with --record"),
        (("--record", "http://x/v1", "--ttft", "1s"), "--ttft does not work with --record"),
        (("--upstream", "http://x/v1", "--tapes", "t"), "--tapes does not work with --upstream"),
        (("--record", "ftp://x/v1"), "is not a URL such as"),
        (("--record", "http://x/v1", "--into", "/dev/null"), "/dev/null"),
        (("--into", "x"), "needs --record URL"),
        (("--tapes-only",), "needs --tapes PATH"),
        (("--speed", "2"), "needs --tapes PATH"),
        (("--tapes", "x", "--tape-match", "loosely"), "'loosely' is none of strict, messages, last-message"),
        (("--tapes", "ZZZZ"), "no saved answer has 'ZZZZ' in its id"),
        (("--tapes", "./none"), "./none: No such file or directory"),
        (("--tapes", "."), "there is no tape in this folder"),
        (("--tapes", "/dev/null"), "/dev/null"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_does_not_go_together_is_told(unspool, tmp_path, arguments, words):
    done = unspool("sim", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, b"")
    assert words in done.stderr.decode()
    assert list(tmp_path.glob("tapes")) == []
