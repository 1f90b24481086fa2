"""`unspool stats`: the timeline of one answer, and sums over many, from the journals."""

from __future__ import annotations

import json

import pytest

from support.wire import error, head, piece, start, stream
from unspool.journal import record, ulid
from unspool.journal.writer import Writer
from unspool.jsontext import dumps
from unspool.sse import Event, Events

DAY = 86_400_000
# 2026-03-02, noon UTC.
NOON = 1_772_452_800_000


@pytest.fixture
def keep(unspool):
    """Keeps an answer that was asked at some time, as pieces at these seconds."""
    folder = unspool.streams
    folder.mkdir(parents=True)

    def write(*seconds, at=NOON, model="m-1", outcome="complete", tokens=10, thinks=0):
        id = ulid.earliest(at)[:-1] + str(len(list(folder.iterdir())))
        writer = Writer.create(str(folder / f"{id}.sse"))
        request = {"api": "chat", "url": "http://x/v1/chat/completions", "profile": "x", "model": model, "body": {}}
        writer.own(record.REQUEST, dumps({**request, "parent": None, "time": ""}))
        for number, second in enumerate(seconds):
            field = "reasoning_content" if number < thinks else "content"
            chunk = {"id": "r", "model": model, "choices": [{"index": 0, "delta": {field: "a"}}]}
            writer.events(Events.of([Event("message", dumps(chunk))]), second)
        usage = {"prompt_tokens": 3, "completion_tokens": tokens}
        last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": usage if tokens else None}
        end = seconds[-1] if seconds else 0.0
        writer.events(Events.of([Event("message", dumps(last))]), end)
        writer.own(record.END, dumps({"outcome": outcome, "finish_reason": "stop", "at": end}))
        writer.close()
        return id

    unspool.env["TZ"] = "UTC"
    return write


def _json(unspool, *arguments):
    done = unspool("stats", "--json", *arguments)
    assert (done.returncode, done.stderr) == (0, b"")
    return json.loads(done.stdout)


def test_the_timeline_has_the_first_token_the_pauses_and_the_stalls(unspool, keep):
    id = keep(0.5, 0.52, 0.54, 0.56, 3.0, 3.02, 3.04, thinks=2)
    told = _json(unspool, id[-6:])
    assert (told["first_reasoning"], told["first_text"], told["total"], told["pieces"]) == (0.5, 0.54, 3.04, 7)
    assert told["stalls"] == [{"at": 0.56, "seconds": 2.44}]
    assert (told["gaps"]["count"], told["gaps"]["max"]) == (6, 2.44)
    assert [one["at"] for one in told["arrivals"]] == [0.5, 0.52, 0.54, 0.56, 3.0, 3.02, 3.04]
    shown = unspool("stats").stdout.decode()
    assert "first reasoning 500 ms, first text 540 ms, end 3.04 s" in shown
    assert "stall of 2.44 s after 560 ms" in shown


@pytest.mark.parametrize(("language", "wait", "pause"), [("C.UTF-8", "·", " "), ("C", "_", " ")])
def test_the_picture_tells_the_wait_from_a_pause(unspool, keep, language, wait, pause):
    unspool.env["LANG"] = language
    keep(2.0, 2.1, 2.2, 3.9, 4.0)
    row = next(line for line in unspool("stats").stdout.decode().splitlines() if line.startswith(wait))
    assert row.count(wait) == pytest.approx(len(row) / 2, abs=2)
    assert pause * 10 in row.strip(wait)
    assert all(mark in unspool("stats").stdout.decode() for mark in ("0 ", "2.00 s", "4.00 s"))


def test_an_answer_that_never_came_has_a_timeline_too(unspool, serve):
    server = serve(error(500, "No."))
    unspool("--base-url", server.url, "-m", "m", "--retries", "0", "hi")
    done = unspool("stats")
    assert done.returncode == 0
    assert "server error" in done.stdout.decode()


def test_sums_are_over_the_answers_that_were_asked_for(unspool, keep):
    keep(0.2, 1.2, tokens=20)
    keep(0.4, 1.4, tokens=40, outcome="cut")
    keep(0.6, 1.6, at=NOON + DAY, model="m-2", tokens=0)
    told = _json(unspool, "--all")
    assert told["outcomes"] == {"complete": 2, "cut": 1}
    assert (told["answers"], told["input_tokens"], told["output_tokens"], told["uncounted"]) == (3, 6, 60, 1)
    assert (told["ttft"]["p50"], told["ttft"]["max"]) == (pytest.approx(0.4, rel=0.01), 0.6)
    assert told["tokens_per_second"]["count"] == 2
    assert {name: one["output_tokens"] for name, one in told["models"].items()} == {"m-1": 60, "m-2": 0}
    assert {day: one["answers"] for day, one in told["days"].items()} == {"2026-03-02": 2, "2026-03-03": 1}
    assert _json(unspool, "--since", "2026-03-03")["answers"] == 1
    assert _json(unspool, "--model", "m-1", "--outcome", "cut")["answers"] == 1
    shown = unspool("stats", "--all").stdout.decode()
    assert "3 answers, 6 tokens in, 60 out; no token counts in 1 of them" in shown


def test_without_answers_the_sums_are_zero(unspool):
    assert _json(unspool, "--all")["answers"] == 0
    assert unspool("stats", "--all").returncode == 0


def test_no_model_name_can_instruct_the_terminal(unspool, serve):
    hostile = "\x1b]52;c;cm0=\x07\x9b2J"
    server = serve(head() + start("chat", model=hostile) + piece("chat", "ok"))
    unspool("--base-url", server.url, "-m", "m", "--retries", "0", "hi")
    server = serve(stream("chat", "ok", model=hostile))
    unspool("--base-url", server.url, "-m", "m", "hi")
    for arguments in ((), ("--all",)):
        shown = unspool("stats", *arguments).stdout.decode()
        assert not [mark for mark in shown if (ord(mark) < 0x20 and mark != "\n") or 0x7F <= ord(mark) < 0xA0]
