"""Blocks as later versions and other programs may write them: every reader reads on, and all of them understand the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import unspool
from unspool import api
from unspool.journal import blocks, folder, record, replay, summary
from unspool.journal.blocks import Attempt, Block, End, Request, Response
from unspool.journal.reader import Reader
from unspool.journal.unframed import Body, Wire
from unspool.journal.writer import Writer
from unspool.outcome import Ending
from unspool.sim.tapes.tape import NoTape, Tape
from unspool.sse import Event, Events

REQUEST = {
    "api": "chat",
    "url": "http://127.0.0.1:9/v1/chat/completions",
    "model": "m",
    "body": {"messages": [{"role": "user", "content": "hi"}]},
}
END = {"outcome": "error", "message": "m", "failure": {"status": 500, "type": "t"}, "at": 1.5}
CHUNK = '{"choices":[{"index":0,"delta":{"content":"Hello"},"finish_reason":null}]}'

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = sorted(
    {field for kind in (Request, Attempt, Response, Body, Wire, End) for field in kind.field_names()} | {"base64"}
)
VALUES = ANY | st.sampled_from(
    [REQUEST["body"], {"status": "500"}, {"n": "2"}, {"messages": "hi"}, {"messages": [1, {}]}]
)
CHANGES = st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=8), VALUES, max_size=4)
TYPES = (record.ATTEMPT, record.RESPONSE, record.BODY, record.WIRE, "unspool.later")


def journal(into: Path, *written: tuple[str, str] | str) -> str:
    """Write a journal of these blocks, a type with its data or an event's data, and return its path."""
    writer = Writer(str(into), sync="never")
    for one in written:
        if isinstance(one, str):
            writer.events(Events.of([Event("message", one)]), 0.5)
        else:
            writer.own(*one)
    writer.close()
    assert writer.path is not None
    return writer.path


def replayed(path: str) -> tuple[str, str, Ending, int]:
    """The text, the question and the ending as `Replay` reads them, and the number of requests."""
    with Reader(path) as reader:
        answer = replay.Replay(reader)
        deltas = [delta for turn in answer.turns() for delta in turn[0]] + answer.close()
    text = "".join(one.text for one in deltas if isinstance(one, unspool.Text) and one.choice == 0)
    return text, answer.request.model if answer.request else "", answer.ending, answer.attempts


def block_by_block(path: str) -> str:
    with Reader(path) as reader:
        deltas = [delta for _, found, _ in replay.Replay(reader).blocks() for delta in found]
    return "".join(one.text for one in deltas if isinstance(one, unspool.Text) and one.choice == 0)


@settings(deadline=None)
@given(
    request=CHANGES,
    between=st.lists(st.tuples(st.sampled_from(TYPES), CHANGES | ANY), max_size=3),
    end=CHANGES | ANY,
)
def test_whatever_the_blocks_say_every_reader_reads_on_and_all_agree(
    tmp_path_factory: pytest.TempPathFactory, request: dict[str, Any], between: list[tuple[str, Any]], end: Any
) -> None:
    into = tmp_path_factory.mktemp("any") / "state" / "streams"
    path = journal(
        into,
        (record.REQUEST, json.dumps({**REQUEST, **request})),
        *((kind, json.dumps(value)) for kind, value in between),
        CHUNK,
        (record.END, json.dumps({**END, **end} if isinstance(end, dict) else end)),
    )
    told = summary.read(path)
    text, model, ending, attempts = replayed(path)
    assert (told.text, told.model, told.outcome, told.message, told.attempts) == (
        text,
        model,
        ending.outcome,
        ending.message,
        attempts,
    )
    assert (told.finish_reason or None, told.failure, told.signal) == (
        ending.finish_reason or told.finish_reason or None,
        ending.failure,
        ending.signal,
    )
    assert block_by_block(path) == text
    assert told.question is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNSPOOL_HOME", str(into.parent))
        followed = unspool.follow(folder.id_of(path), check=False)
        assert (followed.read(), followed.outcome) == (text, ending.outcome)
        assert followed.reply("more")[-1] == {"role": "user", "content": "more"}
    try:
        Tape(path).answer()
    except NoTape:
        pytest.fail("a journal that can be read can be played")


@given(
    written=st.builds(
        Request,
        **dict.fromkeys(("api", "url", "profile", "model", "time"), st.text()),
        parent=st.none() | st.text(min_size=1),
        pid=st.none() | st.integers(1, 1 << 22),
        body=st.dictionaries(st.text(), st.text() | st.integers(0, 1000)),
        think_tags=st.booleans(),
        owner=st.none() | st.text(min_size=1),
        listed=st.none() | st.booleans(),
    )
    | st.builds(Attempt, st.integers(1, 9), st.none() | st.floats(0, 60), st.text(), pid=st.none() | st.integers(1, 99))
    | st.builds(Response, st.integers(100, 599), st.text(), st.dictionaries(st.text(), st.text()))
    | st.builds(Body, st.text(), st.text(), st.none() | st.floats(0, 99))
    | st.builds(Wire, st.just(0.25), st.binary(), st.booleans())
    | st.builds(
        End, st.text(min_size=1), st.text(), at=st.none() | st.floats(0, 99), upstream=st.none() | st.booleans()
    )
)
def test_a_block_is_read_as_it_was_written(written: Block) -> None:
    assert type(written).read(written.encode()) == written


def test_an_end_keeps_the_servers_error() -> None:
    failure = unspool.Failure("m", 429, "t", "c", "p", "req_1", 2.5)
    assert End.read(End("rate_limited", "m", failure=failure).encode()).failure == failure


@pytest.mark.parametrize(
    "number",
    ["NaN", "Infinity", "-1", "1e400", "9" * 5000, '"1"', "true"],
    ids=["NaN", "infinite", "negative", "1e400", "digits", "text", "flag"],
)
def test_a_number_that_is_none_is_absent(number: str) -> None:
    assert End.read(f'{{"outcome":"cut","at":{number},"signal":{number}}}').at in (None, 1.0)
    assert End.read(f'{{"outcome":"cut","at":{number}}}').outcome == "cut"


@pytest.mark.parametrize(
    "number", ["NaN", "-Infinity", "1e400", "9" * 5000], ids=["NaN", "infinite", "1e400", "digits"]
)
def test_a_servers_number_that_json_has_no_form_for_is_kept_as_null(number: str) -> None:
    decoder = api.endpoint("chat").decoder()
    decoder.decode([Event("message", f'{{"choices":[],"usage":{{"completion_tokens":3,"speed":{number}}}}}')])
    written = End.of_ending(Ending("complete"), decoder.usage, 1.0).encode()
    assert json.loads(written)["usage"] == {"completion_tokens": 3, "speed": None}


COMMANDS = (["log"], ["search", "hi"], ["export"], ["last"], ["show"], ["replay"], ["attach"])


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_field_of_a_later_version_crashes_no_command(command: list[str], tmp_path: Path) -> None:
    end = {**END, "failure": {"status": 500, "region": "eu"}, "later": {"x": 1}}
    path = journal(tmp_path / "streams", (record.REQUEST, json.dumps(REQUEST)), CHUNK, (record.END, json.dumps(end)))
    arguments = [*command, folder.id_of(path)] if command[0] in ("show", "replay", "attach") else command
    done = subprocess.run(
        [sys.executable, "-m", "unspool", *arguments],
        env={"UNSPOOL_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in done.stderr
    assert ("hi" if command[0] in ("log", "search") else "Hello") in done.stdout


def test_a_stream_whose_end_was_taken_back_reads_as_interrupted_everywhere(tmp_path: Path) -> None:
    path = journal(
        tmp_path / "state" / "streams",
        (record.REQUEST, json.dumps(REQUEST)),
        (record.END, '{"outcome":"cut"}'),
        (record.ATTEMPT, '{"attempt":2}'),
    )
    assert summary.read(path).outcome == replayed(path)[2].outcome == "interrupted"


def test_a_block_of_an_unknown_type_is_no_block_of_ours() -> None:
    assert blocks.read(record.Record(3, "unspool.later", "{}")) is None
    assert blocks.read(record.Record(3, record.END, "{}", at=0.5)) is None
