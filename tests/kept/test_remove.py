"""``unspool rm`` and ``unspool prune`` remove what was meant, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from unspool.journal import folder, ulid
from unspool.terminal.cells import byte_count

from .journals import BEGIN, Kept


def left(kept: Kept) -> list[str]:
    return folder.ids(kept.folder)


def test_rm_removes_the_journal_and_its_words(kept: Kept) -> None:
    id, other = kept.keep("xyzzy"), kept.keep("other")
    assert kept.run("search", "xyzzy").returncode == 0
    assert kept.run("rm", ulid.short(id)).returncode == 0
    assert left(kept) == [other]
    assert b"xyzzy" not in kept.catalogue.read_bytes()
    assert kept.run("search", "xyzzy").returncode == 1


def test_rm_makes_no_catalogue(kept: Kept) -> None:
    kept.run("rm", kept.keep())
    assert left(kept) == []
    assert not kept.catalogue.exists()


def test_rm_removes_all_or_nothing_when_a_name_is_wrong(kept: Kept) -> None:
    ids = [kept.keep(), kept.keep()]
    ambiguous = ids[0][:6]  # they are a minute apart
    for wrong in ("zzzzzzz", ambiguous):
        done = kept.run("rm", "-f", ids[0], wrong)
        assert done.returncode == 1
        assert "nothing was removed" in done.stderr
    assert left(kept) == ids


def test_rm_refuses_a_stream_that_is_still_being_written(kept: Kept) -> None:
    writer = kept.begin()
    done = kept.run("rm", "-f", writer.id)
    assert (done.returncode, left(kept)) == (1, [writer.id])
    assert "still running" in done.stderr
    writer.close()
    assert kept.run("rm", "-f", writer.id).returncode == 0


@pytest.mark.parametrize(("typed", "gone"), [("y\n", True), ("n\n", False), ("\n", False), ("\x04", False)])
def test_rm_asks_on_a_terminal(kept: Kept, typed: str, gone: bool) -> None:
    id = kept.keep("Is this \x1b[2J the one?")
    code, shown = kept.on_terminal("rm", id, typed=typed)
    assert "Is this ␛[2J the one?" in shown
    assert (code, left(kept)) == ((0, []) if gone else (1, [id]))


def test_rm_does_not_ask_whoever_says_yes(kept: Kept) -> None:
    assert kept.on_terminal("rm", "--yes", kept.keep()) == (0, "")
    assert left(kept) == []


def test_rm_takes_damaged_empty_and_foreign_files_that_are_named(kept: Kept) -> None:
    kept.keep()
    foreign, empty = ulid.earliest(BEGIN + 1), ulid.earliest(BEGIN + 2)
    kept.path(foreign).write_text("Dear diary")
    kept.path(empty).touch()
    assert kept.run("rm", foreign, empty).returncode == 0
    assert len(left(kept)) == 1


def test_prune_removes_what_is_older(kept: Kept) -> None:
    old, new = kept.keep(at=BEGIN), kept.keep(at=BEGIN + 3_600_000)
    size = kept.path(old).stat().st_size
    done = kept.run("prune", "--older-than", "2026-11-01T00:30:00")
    assert (done.returncode, done.stdout) == (0, f"removed 1 answer, {byte_count(size)}\n")
    assert left(kept) == [new]


def test_prune_keeps_the_newest(kept: Kept) -> None:
    ids = [kept.keep() for _ in range(5)]
    assert kept.run("prune", "--keep", "2").stdout.startswith("removed 3 answers, ")
    assert left(kept) == ids[3:]
    assert kept.run("prune", "--keep", "9").stdout == "removed 0 answers, 0 bytes\n"
    assert kept.run("prune", "--keep", "0").returncode == 0
    assert left(kept) == []


def test_prune_with_both_spares_the_newest_however_old(kept: Kept) -> None:
    ids = [kept.keep(at=BEGIN + number) for number in range(4)]
    new = kept.keep(at=BEGIN + 3_600_000)
    kept.run("prune", "--older-than", "2026-11-01T00:30", "--keep", "2")
    assert left(kept) == [ids[3], new]
    kept.run("prune", "--older-than", "2026-10-01", "--keep", "0")
    assert left(kept) == [ids[3], new]


def test_a_dry_run_says_the_same_and_removes_nothing(kept: Kept) -> None:
    ids = [kept.keep() for _ in range(3)]
    said = kept.run("prune", "--keep", "1", "--dry-run").stdout
    assert left(kept) == ids
    assert kept.run("prune", "--keep", "1").stdout == said.replace("would remove", "removed")


def test_prune_leaves_running_streams_and_files_that_are_no_journals(kept: Kept) -> None:
    kept.keep()
    writer = kept.begin()
    foreign, directory = ulid.earliest(BEGIN + 1), ulid.earliest(BEGIN + 2)
    kept.path(foreign).write_text("Dear diary")
    kept.path(directory).mkdir()
    Path(kept.folder, "notes.sse").write_text("x")
    assert kept.run("prune", "--keep", "0").returncode == 0
    assert sorted(os.listdir(kept.folder)) == sorted(
        [f"{foreign}.sse", f"{directory}.sse", "notes.sse", f"{writer.id}.sse"]
    )
    writer.close()


@pytest.mark.parametrize(("typed", "gone"), [("y\n", True), ("no\n", False)])
def test_prune_asks_on_a_terminal(kept: Kept, typed: str, gone: bool) -> None:
    kept.keep()
    code, shown = kept.on_terminal("prune", "--keep", "0", typed=typed)
    assert "remove 1 answer, " in shown
    assert (code, len(left(kept))) == ((0, 0) if gone else (1, 1))


@pytest.mark.skipif(os.geteuid() == 0, reason="root removes everything")
def test_what_cannot_be_removed_is_told(kept: Kept) -> None:
    id = kept.keep()
    os.chmod(kept.folder, 0o500)
    try:
        done = kept.run("prune", "--keep", "0")
    finally:
        os.chmod(kept.folder, 0o700)
    assert (done.returncode, left(kept)) == (1, [id])
    assert "cannot remove" in done.stderr
