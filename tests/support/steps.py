"""A simulated model that does three steps with a tool, one after the other, whatever interrupts it."""

from __future__ import annotations

from unspool.sim import call
from unspool.sim.running import Simulator

#: How its last answer ends.
LAST = "All three are done."


def script_three_steps(simulator: Simulator) -> None:
    """Answer "go" with a call of ``step`` for 1, and its results with calls for 2 and 3; and so on after an answer that was cut."""
    when = simulator.when
    when(result_of="step", result="step 3 is done").answer(LAST)
    when(result_of="step", result="step 2 is done").answer("Now 3.", calls=[call("step", number=3)])
    when(result_of="step", result="step 1 is done").answer("Now 2.", calls=[call("step", number=2)])
    when(user="/^go$/").answer("Now 1.", calls=[call("step", number=1)])
    # Somebody asks for the rest of an answer: so many steps are done by then.
    for done in range(3):
        cut = when(user="was cut off", matches=lambda asked, done=done: len(asked.conversation.calls) == done)
        cut.answer(f" and {done + 1}.", calls=[call("step", number=done + 1)])
    when(user="was cut off").answer(LAST)
