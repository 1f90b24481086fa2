"""A stream's states: the table is complete, and every way through it ends."""

from __future__ import annotations

import pytest

from unspool.client import states
from unspool.client.states import TRANSITIONS, ImpossibleStep, after

from .reading import exchange


def test_every_state_that_is_led_to_is_in_the_table_and_can_be_reached() -> None:
    reached, new = {states.IDLE}, {states.IDLE}
    while new:
        new = {state for one in new for state in TRANSITIONS[one].values()} - reached
        reached |= new
    assert reached == set(TRANSITIONS)


def test_every_state_but_the_end_can_be_ended_and_nothing_leads_out_of_the_end() -> None:
    for state, steps in TRANSITIONS.items():
        assert (steps.get(states.END) == states.ENDED) is (state != states.ENDED)
    assert TRANSITIONS[states.ENDED] == {}


def test_a_step_that_is_not_in_the_table_raises() -> None:
    with pytest.raises(ImpossibleStep, match=r"ended.*request"):
        after(states.ENDED, states.REQUEST)


def test_a_stream_that_has_ended_sends_nothing_more() -> None:
    stream = exchange("http://127.0.0.1:9/v1")
    assert stream.state == states.IDLE
    stream.request()
    assert stream.state == states.SENT
    with pytest.raises(ImpossibleStep):
        stream.request()
    stream.stop()
    assert stream.state == states.ENDED
    with pytest.raises(ImpossibleStep):
        stream.request()
