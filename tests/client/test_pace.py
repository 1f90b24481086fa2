"""Times of an answer, from what is told and no clock."""

from __future__ import annotations

import pytest

from unspool.api.deltas import Finish, Reasoning, Refusal, Started, Text, ToolCallDelta, Usage
from unspool.client.pace import Pace


def _paced(*turns):
    pace = Pace()
    for at, *deltas in turns:
        pace.feed(at, deltas)
    return pace


def test_nothing_is_known_before_anything_came():
    pace = Pace()
    assert (pace.first_event, pace.first_text, pace.longest_stall, pace.rate(None), pace.pieces) == (
        None,
        None,
        None,
        None,
        0,
    )


def test_the_first_text_is_not_the_first_event():
    pace = _paced((0.1, Started("r", "m")), (0.2,), (0.5, Reasoning("a")), (0.9, Text("b")), (1.0, Finish("stop")))
    assert (pace.first_event, pace.first_reasoning, pace.first_text, pace.last_piece) == (0.1, 0.5, 0.9, 0.9)


@pytest.mark.parametrize("piece", [Text("a"), Refusal("a"), Reasoning("a"), ToolCallDelta(0, "c", "f", "{")])
def test_a_stall_is_between_pieces_and_not_before_the_first_or_after_the_last(piece):
    pace = _paced((5.0, piece), (5.5, piece), (7.0, Started("r", "m")), (7.5, piece), (99.0, Finish("stop")))
    assert pace.longest_stall == 2.0
    assert pace.pieces == 3


def test_one_piece_has_no_stall_and_no_rate():
    pace = _paced((1.0, Text("all")))
    assert (pace.longest_stall, pace.rate(Usage(1, 10))) == (None, None)
    assert _paced((1.0, Text("a"), Text("b"))).longest_stall == 0.0


def test_the_rate_counts_what_came_after_the_first_piece():
    pace = _paced(*((float(at), Text("a")) for at in range(1, 6)))
    assert pace.rate(None) == (1.0, "pieces")
    assert pace.rate(Usage(3, 5)) == (1.0, "tokens")
    assert pace.rate(Usage(3, 50)) == (10.0, "tokens")


def test_reasoning_that_was_not_sent_is_not_in_the_rate():
    hidden = _paced(*((float(at), Text("a")) for at in range(1, 6)))
    assert hidden.rate(Usage(3, 105, reasoning_tokens=100)) == (1.0, "tokens")
    shown = _paced((1.0, Reasoning("a")), *((float(at), Text("a")) for at in range(2, 6)))
    assert shown.rate(Usage(3, 105, reasoning_tokens=100)) == (21.0, "tokens")


def test_a_server_that_counts_nothing_is_not_believed():
    pace = _paced((1.0, Text("a")), (2.0, Text("a")))
    assert pace.rate(Usage(0, 0)) == (1.0, "pieces")
