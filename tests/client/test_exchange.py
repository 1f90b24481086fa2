"""A stream cut anywhere, in pieces of any size: its text is a prefix, and it is whole only with its end."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from support.effort import rounds
from support.wire import DONE, event
from unspool.api.deltas import Text
from unspool.outcome import CUT, Fault

from .reading import exchange, finish, piece

TEXTS = ["Grüße", ", ", "世界", " \U0001f600", "\n", "end"]
USAGE = event({"id": "c1", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 6, "total_tokens": 7}})
STREAM = b": hello\n\n" + b"".join(map(piece, TEXTS)) + b": ping\n\n" + finish() + USAGE + DONE
#: The first cut after which the answer is whole: the finish reason's JSON has closed.
END = STREAM.index(finish()) + len(finish().rstrip())


class Arriving:
    """A transfer whose bytes come from the test."""

    http_version = "1.1"
    status = 200

    def __init__(self, label: str) -> None:
        self.headers = {"content-type": label}
        self.over = False
        self.fault: Fault | None = None
        self.bytes = b""

    def take(self) -> bytes:
        taken, self.bytes = self.bytes, b""
        return taken


@settings(max_examples=rounds(300), deadline=None)
@given(
    cut=st.integers(0, len(STREAM)),
    sizes=st.lists(st.integers(1, 300), min_size=1, max_size=20),
    broken=st.booleans(),
    ends=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    label=st.sampled_from(["text/event-stream", "application/json", ""]),
)
def test_a_stream_cut_anywhere_is_a_prefix_and_complete_only_with_its_end(
    cut: int, sizes: list[int], broken: bool, ends: bytes, label: str
) -> None:
    received = STREAM[:cut].replace(b"\n", ends)
    stream, transfer, deltas = exchange("http://127.0.0.1:9/v1"), Arriving(label), []
    stream.request()
    position = turn = 0
    while position < len(received):
        size = sizes[turn % len(sizes)]
        transfer.bytes = received[position : position + size]
        deltas += stream.receive(transfer)
        position, turn = position + size, turn + 1
    transfer.over = True
    transfer.fault = Fault(CUT, "broken") if broken else None
    last, wait = stream.finish(transfer)
    deltas += last
    text = "".join(delta.text for delta in deltas if type(delta) is Text)
    assert wait is None
    assert "".join(TEXTS).startswith(text)
    assert stream.ending is not None
    assert stream.ending.outcome == ("complete" if cut >= END else "cut")
    if cut >= END:
        assert text == "".join(TEXTS)
    # The journal has what was delivered.
    assert stream.journal is not None
    assert stream.journal.contents().count(b"\nat: ") >= len([one for one in deltas if type(one) is Text])
