"""Each command that the documentation shows runs, in a clean home against the simulator, and prints what is shown."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from unspool.cli.commands import NAMES
from unspool.cli.options import scan
from unspool.cli.options.ask import ASK
from unspool.sim.running import Simulator

from .pages import DOCS, PAGES, ROOT, Block, blocks, is_one_session, table_commands
from .stage import Ran, Stage, matches

pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="the documentation is not beside the tests")

COMING_FROM = DOCS / "how-to" / "coming-from.md"
REPLACEMENTS = table_commands(COMING_FROM) if DOCS.exists() else []


def sessions() -> list[list[Block]]:
    found: list[list[Block]] = []
    for path in PAGES:
        shown = (
            blocks(path, "console", "python", "toml", "json", "html")
            if is_one_session(path)
            else blocks(path, "console")
        )
        if is_one_session(path):
            found.append([block for block in shown if block.language == "console" or "file" in block.marks])
        else:
            found += [[block] for block in shown]
    return [session for session in found if session]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Simulator() as simulator:
        yield Stage(tmp_path, simulator)


def check(block: Block, ran: list[Ran]) -> None:
    commands = block.commands
    for number, (command, came) in enumerate(zip(commands, ran, strict=True)):
        expected = int(block.marks.get("exit", 0)) if number == len(commands) - 1 else 0
        assert came.code == expected, f"{block.name}: $ {command.line}\n{came.output}"
        # A traceback is shown where it is what the page speaks of.
        assert "Traceback" not in came.output, f"{block.name}: $ {command.line}\n{came.output}"
        if command.shown is not None:
            assert matches(command.shown, came.output), (
                f"{block.name}: $ {command.line}\n--- shown\n{command.shown}\n--- printed\n{came.output}"
            )


@pytest.mark.parametrize("session", [pytest.param(one, id=one[0].name) for one in sessions()])
def test_a_session_of_the_documentation_goes_as_it_is_shown(session: list[Block], stage: Stage) -> None:
    lines: list[str] = []
    shown: list[tuple[Block, int]] = []
    for block in session:
        if "file" in block.marks:
            lines.append(f"cat > {block.marks['file']} <<'END OF FILE'\n{block.text}END OF FILE")
        elif "not run" not in block.marks:
            if "home" in block.marks:
                stage.forget_configuration()
            if "simulator" in block.marks:
                stage.simulator.script(*block.marks["simulator"].split(" | "))
            shown.append((block, len(lines)))
            lines += [command.line for command in block.commands]
    ran = stage.run(lines)
    for block, first in shown:
        check(block, ran[first : first + len(block.commands)])


def test_few_blocks_are_not_run_and_each_says_why() -> None:
    left_out = [block for path in PAGES for block in blocks(path, "console") if "not run" in block.marks]
    assert all(len(block.marks["not run"]) > 10 for block in left_out)
    assert len(left_out) <= 16, [block.name for block in left_out]


def test_the_page_for_those_who_come_from_elsewhere_has_its_commands() -> None:
    assert len(REPLACEMENTS) > 25


@pytest.mark.parametrize("command", REPLACEMENTS)
def test_what_replaces_a_command_of_another_tool_works(command: str, stage: Stage) -> None:
    words = shlex.split(command[command.index("unspool ") :])[1:]
    if words[0] not in NAMES:
        assert scan(ASK, words) is not None, "it needs argparse"
    (ran,) = stage.run([command])
    # A code block is asked for of an answer that may have none.
    assert ran.code == 0, ran.output
    assert "Traceback" not in ran.output


def test_all_pages_are_looked_at() -> None:
    assert ROOT / "README.md" in PAGES
    assert len(PAGES) > 15
