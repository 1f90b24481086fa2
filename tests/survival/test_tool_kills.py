"""``kill -9`` at every step of a loop of tools: no call that had begun runs a second time unasked, and no result is lost."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.watching import Watched
from support.effort import rounds
from unspool.journal import summary
from unspool.sim import call
from unspool.sim.running import Simulator

from .processes import Home

KILLS = 100
APIS = ("chat", "responses")
LAST = "All four are done."
TOOLS = """
import os

def step(number: int) -> str:
    "Do a step."
    with open(os.environ["STEPS"], "a") as file:
        file.write(f"{number}\\n")
    return f"step {number} is done"
"""


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """A model that does a step, then two at the same time, then one more, whatever interrupts it."""
    with Simulator() as one:
        turns: list[tuple[str, list[Any]]] = [
            ("Now 1.", [call("step", number=1)]),
            ("Now 2 and 3.", [call("step", number=2), call("step", number=3)]),
            ("Now 4.", [call("step", number=4)]),
        ]
        for (text, calls), done in zip(turns, (0, 1, 3), strict=True):
            one.when(matches=lambda asked, done=done: len(asked.conversation.calls) == done).answer(text, calls=calls)
        one.when(matches=lambda _: True).answer(LAST)
        yield one


class Victim:
    """A conversation with tools in a home of its own, whose processes are killed."""

    def __init__(self, folder: Path, bytecode: Path, simulator: Simulator, api: str) -> None:
        folder.mkdir()
        self.home = Home(folder, bytecode)
        self.steps = folder / "steps"
        self.steps.touch()
        tools = folder / "tools.py"
        tools.write_text(TOOLS)
        self.home.env.update(STEPS=str(self.steps), PYTHONPATH=str(Path(__file__).with_name("dying")))
        server = ["--base-url", simulator.url, "-m", "sim-1", "--api", api, "--key", "k"]
        self.first = (*server, "--functions", str(tools), "--tools-allow", "all", "go")
        self.resumed = ("resume", "--tools-allow", "all", "--key", "k")
        # Steps that a person was asked about, and let run again.
        self.permitted: Counter[str] = Counter()

    def die(self, *arguments: str, at: int) -> bool:
        """Run the command, killed at this point; whether it came that far."""
        self.home.env["DIE_AT"] = str(at)
        done = self.home(*arguments)
        del self.home.env["DIE_AT"]
        return done.returncode == -9

    @property
    def ran(self) -> Counter[str]:
        """How often each step has run."""
        return Counter(self.steps.read_text().split())

    @property
    def results(self) -> dict[str, str]:
        """The results in the journals, by the ids of their calls."""
        runs = [run for path in self.home.journals() for run in summary.read(str(path)).tool_runs.values()]
        return {run.call: run.result for run in runs if run.result is not None}

    @property
    def open(self) -> int:
        """How many calls had begun and have no result."""
        runs = [run for path in self.home.journals() for run in summary.read(str(path)).tool_runs.values()]
        return sum(run.result is None for run in runs)

    def finish(self, chance: random.Random) -> bytes:
        """Resume without a terminal, and at one where that stops at calls that had begun; return what was shown."""
        ran = self.ran
        done = self.home(*self.resumed)
        if b"had started when the command died" not in done.stderr:
            assert done.returncode == 0, done.stderr
            return done.stdout
        assert (done.returncode, self.ran) == (1, ran), done.stderr
        person = Watched(self.home, *self.resumed, columns=200)
        for _ in range(self.open):
            person.until("run it again?")
            number = re.findall(rb'step\(\{"number":(\d)\}\) had started', person.output)[-1]
            again = chance.random() < 0.5
            self.permitted[number.decode()] += again
            person.type("y\n" if again else "n\n")
        assert person.end() == 0
        return person.output


@pytest.mark.parametrize("api", APIS)
def test_no_call_runs_twice_and_no_result_is_lost_wherever_the_command_is_killed(
    simulator: Simulator, tmp_path: Path, bytecode: Path, api: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = Victim(tmp_path / "whole", bytecode, simulator, api)
    points = tmp_path / "points"
    whole.home.env["POINTS"] = str(points)
    assert whole.home(*whole.first).stdout.decode().endswith(LAST + "\n")
    names = points.read_text().splitlines()
    kills, twice, lost, asked, unasked = 0, 0, 0, 0, 0
    for number in range(rounds(KILLS) // 2):
        chance = random.Random(number)
        victim = Victim(tmp_path / str(number), bytecode, simulator, api)
        # Spread over all points, not at the same ones each time.
        at = 1 + int((number + chance.random()) * len(names) * 2 / rounds(KILLS)) % len(names)
        where = f"{number}, {at}: {names[at - 1]}"
        kills += victim.die(*victim.first, at=at)
        if not victim.home.journals() or not summary.read(str(victim.home.journals()[0])).body:
            assert not victim.ran, where
            unasked += 1
            continue
        while chance.random() < 0.5:
            kills += victim.die(*victim.resumed, at=chance.randrange(1, len(names)))
        results, had_begun = victim.results, victim.open
        assert LAST.encode() in victim.finish(chance), where
        asked += had_begun > 0
        twice += sum((victim.ran - victim.permitted - Counter("1234")).values())
        sent = json.dumps(simulator.requests[-1].json)
        lost += sum(call not in sent or result not in sent for call, result in results.items())
        assert (twice, lost) == (0, 0), where
    with capsys.disabled():
        print(
            f"\n  {kills} kills, {twice} calls ran twice, {lost} results lost; {asked} asked a person, {unasked} had not asked",
            end="",
        )
