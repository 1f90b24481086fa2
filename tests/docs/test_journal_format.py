"""A reader in another language, written from the specification alone, reads what unspool writes as unspool does."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import unspool
from unspool.journal.reader import Reader
from unspool.sim.running import Simulator

from .pages import DOCS

READER = Path(__file__).parent / "journal-reader.mjs"
PAGE = DOCS / "reference" / "journal-format.md"
NODE = shutil.which("node")

needs_node = pytest.mark.skipif(NODE is None, reason="Node is not installed")


def theirs(paths: list[Path]) -> list[Any]:
    assert NODE is not None
    done = subprocess.run([NODE, str(READER), *map(str, paths)], capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.split("\n") if line]


def ours(path: Path) -> dict[str, Any]:
    with Reader(str(path)) as reader:
        blocks = [[one.id, one.at, one.type, one.upstream_id, one.data] for one in reader.read()]
        damaged = reader.damage
        return {
            "blocks": blocks,
            "ended": reader.ended,
            "damagedAt": damaged.offset if damaged else None,
            "tornAt": None if damaged else reader.torn_at(),
        }


@pytest.fixture(scope="module")
def journals(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A journal of each endpoint, of a refusal, of an answer that was cut, and of one in one piece."""
    home = tmp_path_factory.mktemp("journals")
    with pytest.MonkeyPatch.context() as environ, Simulator() as simulator:
        environ.setenv("UNSPOOL_HOME", str(home))
        environ.setenv("HOME", str(home))
        asked = [
            ("responses", ""),
            ("chat", ""),
            ("completions", ""),
            ("chat", "cut=7"),
            ("chat", "status=400"),
            ("chat", "unstreamed"),
        ]
        asked += [("chat", "split-emoji"), ("chat", "u2028"), ("responses", "pings"), ("chat", "rate-limit=10ms")]
        for api, fault in asked:
            simulator.script(fault)
            unspool.stream("What is Python?", model="m-1", api=api, base_url=simulator.url, check=False).read()
    return sorted((home / "streams").glob("*.sse"))


@needs_node
def test_real_journals_read_the_same(journals: list[Path]) -> None:
    assert len(journals) == 10
    assert theirs(journals) == [ours(path) for path in journals]


@needs_node
def test_cut_and_damaged_journals_read_the_same(journals: list[Path], tmp_path: Path) -> None:
    chance = random.Random(7)
    spoilt = []
    for path in journals:
        whole = path.read_bytes()
        for _ in range(25):
            at = chance.randrange(len(whole))
            flipped = bytearray(whole)
            flipped[at] ^= 1 << chance.randrange(8)
            for content in (whole[:at], bytes(flipped), whole + whole[-at:]):
                spoilt.append(tmp_path / f"{len(spoilt)}.sse")
                spoilt[-1].write_bytes(content)
    found = theirs(spoilt)
    assert sum(one["damagedAt"] is not None for one in found) > 100
    assert sum(one["tornAt"] is not None for one in found) > 100
    for path, one in zip(spoilt, found, strict=True):
        assert one == ours(path), path


@needs_node
@pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not beside the tests")
def test_the_test_vectors_of_the_specification_hold(tmp_path: Path) -> None:
    page = PAGE.read_text("utf-8")
    whole = json.loads(re.findall(r"```json\n(.*?)\n```", page, re.DOTALL)[-1]).encode()
    assert f"A journal of {len(whole)} bytes" in page
    end, group = map(int, re.findall(r"without its last (\d+) bytes", page))
    contents = [
        whole,
        whole[:-1],
        whole[:-end],
        whole[:-group],
        whole.replace("Grüße".encode(), "Gruße".encode()),
        b";" + whole[1:],
        b"",
        b": uns",
    ]
    said = []
    for number, content in enumerate(contents):
        path = tmp_path / f"{number}.sse"
        path.write_bytes(content)
        (one,) = theirs([path])
        assert ours(path)["blocks"] == one["blocks"]
        said.append((len(one["blocks"]), one["ended"], one["damagedAt"], one["tornAt"]))
    torn = int(re.findall(r"three blocks, torn at byte (\d+)", page)[0])
    torn_group = int(re.findall(r"one block, torn at byte (\d+)", page)[0])
    damaged = int(re.findall(r"one block, damaged at byte (\d+)", page)[0])
    assert said == [
        (4, True, None, None),
        (3, False, None, torn),
        (3, False, None, None),
        (1, False, None, torn_group),
        (1, False, damaged, None),
        (0, False, 0, None),
        (0, False, None, None),
        (0, False, None, 0),
    ]
