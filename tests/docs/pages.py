"""The pages of the documentation, and the blocks that they show.

A page says of a block what its reader need not see in an HTML comment right above it:

- ``<!-- not run: REASON -->``: it cannot be run here.
- ``<!-- simulator: FAULTS -->``: the server that its first request meets does wrong in this way.
- ``<!-- home: unconfigured -->``: there is no configuration file.
- ``<!-- exit: 7 -->``: its last command ends so. All others end with 0.
- ``<!-- file: NAME -->``: it is the content of this file, for the blocks that follow.

``<!-- one session -->`` anywhere in a page lets all of its blocks be one session, in one home.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *(path for path in [ROOT / "README.md"] if DOCS.exists())])
_BLOCK = re.compile(r"((?:^<!-- [^\n]* -->\n+)*)^```([\w-]*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK = re.compile(r"^<!-- ([\w ]+): (.*) -->$", re.MULTILINE)


class Command(NamedTuple):
    """A command line, and the output below it; None where the page shows none."""

    line: str
    shown: str | None


class Block(NamedTuple):
    """A fenced block of a page. ``marks`` are what its comments say."""

    page: str
    number: int
    language: str
    text: str
    marks: dict[str, str]

    @property
    def name(self) -> str:
        return f"{self.page}:{self.number}"

    @property
    def commands(self) -> list[Command]:
        found: list[Command] = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                found.append(Command(line[2:], None))
            else:
                assert found, f"{self.name} shows output without a command; if it is no session, it is no console"
                last, shown = found[-1]
                # What a shell asks to go on with is a part of the command.
                more = last.endswith("\\") or (shown is None and line.startswith("> "))
                if more:
                    found[-1] = Command(last + "\n" + line.removeprefix("> "), None)
                else:
                    found[-1] = Command(last, line if shown is None else f"{shown}\n{line}")
        return found


def blocks(path: Path, *languages: str) -> list[Block]:
    """The blocks of a page in these languages, in order."""
    text = path.read_text("utf-8")
    return [
        Block(
            str(path.relative_to(ROOT)),
            text.count("\n", 0, found.start(3)),
            found[2],
            found[3],
            dict(_MARK.findall(found[1])),
        )
        for found in _BLOCK.finditer(text)
        if found[2] in languages
    ]


def is_one_session(path: Path) -> bool:
    """Whether the page's blocks build on each other."""
    return "<!-- one session -->" in path.read_text("utf-8")


def table_commands(path: Path) -> list[str]:
    """The commands on the right-hand sides of a page's tables, where they replace what stands on the left."""
    found: list[str] = []
    for row in re.findall(r"^\| (?:`|<code>).*$", path.read_text("utf-8"), re.MULTILINE):
        cell = row.split("|")[2]
        found += [
            code
            for code in map(html.unescape, re.findall(r"(?:`|<code>)(.*?)(?:`|</code>)", cell))
            if re.search(r"(^|\| )unspool [-\"'\w]", code)
        ]
    return list(dict.fromkeys(found))
