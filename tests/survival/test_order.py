"""Append before deliver, seen from the kernel: in the trace of the command's system calls, the journal's write precedes stdout's.

And what each value of ``sync`` costs: with "always" the disk has the text before the reader, with "interval" it is asked some five
times a second, with "never" not at all.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from support.server import Connection, Server
from support.waiting import PATIENCE
from support.wire import APIS, SSE_HEAD, end, piece

from .processes import Home, Kept, find_strace

STRACE = find_strace()
pytestmark = pytest.mark.skipif(STRACE is None, reason="strace is not installed, or may not trace here")

WORDS = [f"word{number:03d}." for number in range(150)]
#: Seconds between two words: long enough for most to be a read of their own.
PACE = 0.003

_CALL = re.compile(r'^(?:\d+ +)?([\d.]+) (\w+)\((\d+)(?:<([^>]*)>)?(?:, "(.*)")?')


class Call:
    """A system call on a descriptor: on the ``journal``, the ``folder``, or ``stdout``."""

    def __init__(self, name: str, target: str, at: float, data: str) -> None:
        self.name = name
        self.target = target
        self.at = at
        self.words = set(re.findall(r"word\d{3}\.", data))


def play(connection: Connection, api: str, *, bursts: bool = False, pace: float = PACE) -> None:
    connection.send(SSE_HEAD)
    for number, word in enumerate(WORDS):
        connection.send(piece(api, word))
        if not bursts or number % 7 == 0:
            time.sleep(pace)
    connection.send(end(api))
    connection.close()


def traced(home: Home, sync: str, api: str, tmp_path: Path, **how: float) -> list[Call]:
    """The command's calls, in order, for a stream of words."""
    assert STRACE is not None
    Path(home.env["UNSPOOL_CONFIG"]).write_text(f'sync = "{sync}"\n')
    file = tmp_path / "trace"
    # All of each buffer, the time in microseconds, and what each descriptor is.
    under = [STRACE, "-f", "-q", "-y", "-ttt", "-s", "1000000", "-e", "trace=write,fdatasync,fsync", "-o", str(file)]
    with Server() as stage:
        child = home.start("-N", "--base-url", stage.url, "--api", api, "-m", "m", "hi", under=under)
        play(stage.accept(), api, **how)  # type: ignore[arg-type]
        stdout, stderr = child.communicate(timeout=PATIENCE)
    assert (stdout.decode(), child.returncode, stderr) == ("".join(WORDS), 0, b"")
    assert Kept(home.newest()).text == "".join(WORDS)
    calls = []
    for line in file.read_text().splitlines():
        found = _CALL.match(line)
        if found is None:
            continue
        at, name, fd, path, data = found.groups()
        path = path or ""
        target = "journal" if path.endswith(".sse") else "folder" if path.endswith("/streams") else ""
        if fd == "1":
            target = "stdout"
        if target:
            calls.append(Call(name, target, float(at), data or ""))
    return calls


def assert_appended_before_shown(calls: list[Call], *, synced: bool) -> int:
    """Each word that is shown is in the journal by then, and on the disk where that is wanted. Returns the number of writes."""
    written: set[str] = set()
    on_disk: set[str] = set()
    shown: list[str] = []
    writes = 0
    for call in calls:
        if call.name == "write" and call.target == "journal":
            written |= call.words
        elif call.name == "fdatasync":
            on_disk = set(written)
        elif call.name == "write" and call.target == "stdout":
            assert call.words
            assert call.words <= (on_disk if synced else written)
            shown += sorted(call.words)
            writes += 1
    assert shown == WORDS
    return writes


def syncs(calls: list[Call]) -> list[Call]:
    return [call for call in calls if call.name == "fdatasync"]


@pytest.mark.parametrize("api", APIS)
def test_a_word_is_in_the_journal_before_it_is_shown(home: Home, api: str, tmp_path: Path) -> None:
    calls = traced(home, "interval", api, tmp_path)
    assert assert_appended_before_shown(calls, synced=False) > 20


def test_a_burst_is_in_the_journal_before_it_is_shown(home: Home, tmp_path: Path) -> None:
    assert_appended_before_shown(traced(home, "interval", "chat", tmp_path, bursts=True), synced=False)


@pytest.mark.parametrize("bursts", [False, True])
def test_with_always_a_word_is_on_the_disk_before_it_is_shown(home: Home, tmp_path: Path, bursts: bool) -> None:
    calls = traced(home, "always", "chat", tmp_path, bursts=bursts)
    writes = assert_appended_before_shown(calls, synced=True)
    assert len(syncs(calls)) >= writes
    # The name of the file, too, before the first word.
    assert [call.name for call in calls if call.target == "folder"] == ["fsync"]
    assert calls.index(next(call for call in calls if call.target == "folder")) < calls.index(
        next(call for call in calls if call.target == "stdout")
    )


def test_with_interval_the_disk_is_asked_five_times_a_second_and_at_the_end(home: Home, tmp_path: Path) -> None:
    calls = traced(home, "interval", "chat", tmp_path, pace=0.01)
    seconds = calls[-1].at - calls[0].at
    found = syncs(calls)
    assert 2 <= len(found) <= seconds * 6 + 1
    appended = [call for call in calls if call.target == "journal" and call.name == "write"]
    assert calls.index(found[-1]) > calls.index(appended[-1]), "what was appended last was not synced"


def test_with_never_the_disk_is_not_asked(home: Home, tmp_path: Path) -> None:
    calls = traced(home, "never", "chat", tmp_path)
    assert_appended_before_shown(calls, synced=False)
    assert not [call for call in calls if call.name in ("fdatasync", "fsync")]
