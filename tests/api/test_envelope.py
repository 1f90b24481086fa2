"""The short way of a chunk that differs from one before it in its text alone must say what the long way says."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unspool.api import chat, completions, envelope, responses
from unspool.api.decoder import Decoder
from unspool.api.deltas import Text, apart
from unspool.sse import Event

MODULES: dict[str, Any] = {"chat": chat, "completions": completions, "responses": responses}

NUMBERS = itertools.count(4)

# Texts that look like what stands around them, and those that cannot be taken as they are.
TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        [
            '"',
            "\\",
            "\n",
            "content",
            "text",
            "stop",
            "index",
            "other",
            "a, ",
            '"},"x":{"',
            "é",
            "😀",
            "\x00",
            "\x7f",
            " ",
            "0",
        ]
    ),
)
PADDINGS = st.sampled_from([None, "a", "Zq3", "other", "content", "a b", 'a"', "é", ""])


def chunk(api: str, text: str, padding: str | None, **more: Any) -> dict[str, Any]:
    if api == "responses":
        made = {
            "type": "response.output_text.delta",
            "sequence_number": next(NUMBERS),
            "item_id": "msg_1",
            "output_index": 0,
        }
        made |= {"content_index": 0, "delta": text, "logprobs": [], **more}
        return made if padding is None else made | {"obfuscation": padding}
    choice: dict[str, Any] = {"index": 0, "logprobs": None, "finish_reason": None}
    choice |= {"delta": {"content": text}} if api == "chat" else {"text": text}
    made = {"id": "c-1", "model": "m", "choices": [choice], **more}
    return made if padding is None else made | {"obfuscation": padding}


def event(value: Any, *, ascii: bool = False, dense: bool = True) -> Event:
    return Event("message", json.dumps(value, ensure_ascii=ascii, separators=(",", ":") if dense else None))


def decoded(decoder: Decoder, events: list[Event], together: bool) -> tuple[list[Any], dict[Any, Any], dict[str, Any]]:
    deltas = decoder.decode(events) if together else [one for each in events for one in decoder.decode([each])]
    facts = {
        name: value for name, value in vars(decoder).items() if name not in ("_envelope", "_misfits", "_think_tags")
    }
    parts = facts.pop("_parts", {})
    return (
        joined([*apart(deltas), *decoder.close()]),
        {key: (part.length, part.checksum) for key, part in parts.items()},
        facts,
    )


def joined(deltas: list[Any]) -> list[Any]:
    """The deltas with texts in a row as one: where spaces at the beginning may belong to a tag, they come with what follows them."""
    found: list[Any] = []
    for one in deltas:
        last = found[-1] if found else None
        if isinstance(one, Text) and isinstance(last, Text) and last.choice == one.choice:
            found[-1] = Text(last.text + one.text, one.choice)
        else:
            found.append(one)
    return found


def plodding(api: str) -> Decoder:
    decoder: Decoder = MODULES[api].Decoder()
    decoder._misfits = 1 << 30  # which learns no envelope
    return decoder


def assert_same(api: str, events: list[Event], together: bool) -> None:
    assert decoded(MODULES[api].Decoder(), events, together) == decoded(plodding(api), events, together)


@given(
    api=st.sampled_from(list(MODULES)),
    pieces=st.lists(st.tuples(TEXTS, PADDINGS, st.integers(1, 2)), max_size=8),
    ascii=st.booleans(),
    dense=st.booleans(),
    together=st.booleans(),
)
def test_a_stream_says_the_same_with_and_without_envelopes(
    api: str, pieces: list[tuple[str, str | None, int]], ascii: bool, dense: bool, together: bool
) -> None:
    events = [event(chunk(api, text, pad, created=time), ascii=ascii, dense=dense) for text, pad, time in pieces]
    assert_same(api, events, together)


@given(
    api=st.sampled_from(list(MODULES)),
    text=TEXTS,
    padding=PADDINGS,
    at=st.integers(0, 200),
    removed=st.integers(0, 30),
    put=st.one_of(
        st.text(max_size=4),
        st.sampled_from(
            ['"', '\\"', '","content":"', '","text":"', '"}],"error":"', "\\", "\x01", "0", "00", "-", ","]
        ),
    ),
)
def test_a_chunk_changed_anywhere_says_the_same_with_and_without_an_envelope(
    api: str, text: str, padding: str | None, at: int, removed: int, put: str
) -> None:
    data = event(chunk(api, "Hello", "xyz")).data
    other = event(chunk(api, text, padding)).data
    events = [
        Event("message", data),
        Event("message", data),
        Event("message", other[:at] + put + other[at + removed :]),
    ]
    assert_same(api, events, together=True)


@pytest.mark.parametrize("api", list(MODULES))
@pytest.mark.parametrize("padding", [None, "q7"])
@pytest.mark.parametrize("odd", ['"', "\\", "\n", "\ud83d", "", None])
def test_a_long_run_says_the_same_whatever_stands_in_it(api: str, padding: str | None, odd: str | None) -> None:
    # Longer than what is compared at once; every 70th text is odd, or its chunk is.
    chunks = [
        chunk(api, f"w{number} " if number % 70 or odd is None else odd, padding, created=7 + (number % 70 == 69))
        for number in range(600)
    ]
    assert_same(api, [event(one, ascii=True) for one in chunks], together=True)


@pytest.mark.parametrize("api", list(MODULES))
@pytest.mark.parametrize("padding", [None, "q7"])
def test_chunks_that_differ_in_text_and_padding_are_parsed_no_more(
    api: str, padding: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = MODULES[api].Decoder()
    decoder.decode([event(chunk(api, "a", padding)), event(chunk(api, "b", padding))])
    monkeypatch.setattr("unspool.api.decoder.from_json", None)
    more = [event(chunk(api, text, padding and f"{padding}{number}")) for number, text in enumerate(["Py", "é", "😀 "])]
    assert list(apart(decoder.decode(more))) == [Text("Py"), Text("é"), Text("😀 ")]


@pytest.mark.parametrize(
    "data",
    [
        '{"choices":[{"index":0,"delta":{"content":"hi","content":"\\u0068i"}}]}',
        '{"user":"hi","choices":[{"index":0,"delta":{"content":"\\u0068i"}}]}',
        '{"choices":[{"index":0,"delta":{"content":"content"}}]}',
        '{"choices":[{"index":0,"delta":{"content":"hi"}}],"also":"hi"}',
    ],
)
def test_a_text_that_stands_elsewhere_too_teaches_nothing(data: str) -> None:
    decoder, value = chat.Decoder(), json.loads(data)
    assert envelope.learn(data.encode(), value, decoder._plain(value), decoder._plain) is None


@pytest.mark.parametrize("api", list(MODULES))
@pytest.mark.parametrize("every", [1, 2, 3, 10, 100])
def test_chunks_that_do_not_fit_do_not_make_the_others_be_looked_at_again_and_again(
    api: str, every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each that does not fit says the second in which it was made, which no other does.
    looked_at = []
    take = MODULES[api].Decoder._take_alike

    def counting(self: Any, chunks: list[bytes], *rest: Any) -> int:
        looked_at.append(len(chunks))
        taken: int = take(self, chunks, *rest)
        return taken

    monkeypatch.setattr(MODULES[api].Decoder, "_take_alike", counting)
    size = 5_000
    chunks = [
        event(chunk(api, "a", None, created=number if number % every == every - 1 else 0)) for number in range(size)
    ]
    decoder = MODULES[api].Decoder()
    assert "".join(one.text for one in decoder.decode(chunks) if type(one) is Text) == "a" * size
    assert sum(looked_at) < 4 * size


def test_a_server_whose_chunks_have_nothing_in_common_is_not_learned_from_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    learned = []
    learn = envelope.learn
    monkeypatch.setattr(envelope, "learn", lambda *arguments: learned.append(1) or learn(*arguments))
    decoder = chat.Decoder()
    decoder.decode([event(chunk("chat", "a", None, created=number)) for number in range(100)])
    assert len(learned) < 10
    assert decoder._envelope is None
    decoder = chat.Decoder()
    for number in range(100):
        decoder.decode([event(chunk("chat", "a", None, created=number // 4))])
    assert len(learned) > 30
