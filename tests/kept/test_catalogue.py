"""The catalogue says what the journals say, whatever has become of its own file."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from unspool.journal import summary, ulid
from unspool.journal.catalogue import Catalogue, Entry, Filter, Hit
from unspool.sse import Events

from .journals import BEGIN, MINUTE, Kept, chat, completions, responses

# More than are listed straight from their journals.
ALL = Filter()


def entries(kept: Kept, filter: Filter = ALL) -> list[Entry]:
    with Catalogue(kept.folder) as catalogue:
        return catalogue.entries(filter)


def ids(kept: Kept, filter: Filter = ALL) -> list[str]:
    return [one.id for one in entries(kept, filter)]


def search(kept: Kept, *words: str, filter: Filter = ALL) -> list[Hit]:
    with Catalogue(kept.folder) as catalogue:
        return catalogue.search(words, filter)


def found(kept: Kept, *words: str, filter: Filter = ALL) -> list[str]:
    return [hit.entry.id for hit in search(kept, *words, filter=filter)]


# --- what it says -------------------------------------------------------------------------------------------------------


def test_streams_are_listed_newest_first(kept: Kept) -> None:
    one, two, three = kept.keep("1"), kept.keep("2"), kept.keep("3")
    assert ids(kept) == [three, two, one]


def test_a_listing_from_the_catalogue_and_one_from_the_journals_are_the_same(kept: Kept) -> None:
    kept.keep("a\nquestion", chat("an\tanswer"), outcome="cut")
    kept.keep([{"type": "input_text", "text": "q"}], responses("r" * 1000), api="responses", outcome=None)
    kept.keep("p", completions("c"), api="completions", model="other")
    running = kept.begin()
    straight = entries(kept, Filter(20))
    assert not kept.catalogue.exists()
    assert entries(kept) == straight
    assert kept.catalogue.exists()
    assert [one.outcome for one in straight] == ["running", "complete", "interrupted", "cut"]
    running.close()


def test_nothing_is_made_where_nothing_is_kept(kept: Kept) -> None:
    assert entries(kept, Filter(20)) == []
    assert entries(kept) == []
    assert not kept.home.exists()


def test_filters_choose(kept: Kept) -> None:
    old = kept.keep(model="gpt-5.4", outcome="cut")
    middle = kept.keep(model="GPT-5.4-mini")
    new = kept.keep(model="llama3.2", outcome=None)
    assert ids(kept, Filter(model="gpt")) == [middle, old]
    assert ids(kept, Filter(outcomes=["cut", "interrupted"])) == [new, old]
    assert ids(kept, Filter(outcomes=["running"])) == []
    assert ids(kept, Filter(since=BEGIN + 2 * MINUTE)) == [new, middle]
    assert ids(kept, Filter(20, since=BEGIN + 2 * MINUTE)) == [new, middle]
    assert ids(kept, Filter(1, model="gpt")) == [middle]
    assert ids(kept, Filter(1, outcomes=["cut"])) == [old]


@pytest.mark.parametrize("words", [["python"], ["LANGUAGE"], ["what"], ["is", "a"]])
def test_prompt_and_answer_are_searched(kept: Kept, words: list[str]) -> None:
    kept.keep("Unrelated", "Nothing")
    id = kept.keep("What is Python?", chat("Python is a langu", "age."))
    assert found(kept, *words) == [id]


def test_every_choice_is_searched(kept: Kept) -> None:
    chunk = '{"id":"c","choices":[{"index":0,"delta":{"content":"left"}},{"index":1,"delta":{"content":"right"}}]}'
    from unspool.sse import Event

    id = kept.keep(events=[Event("message", chunk)])
    assert found(kept, "left", "right") == [id]


def test_history_is_found_in_the_stream_that_said_it_and_not_in_those_that_repeat_it(kept: Kept) -> None:
    first = kept.keep("Tell of walruses", "They whistle.")
    history = [
        {"role": "user", "content": "Tell of walruses"},
        {"role": "assistant", "content": "They whistle."},
        {"role": "user", "content": "And seals?"},
    ]
    second = kept.keep(body={"messages": history}, events=chat("They bark."), parent=first)
    assert found(kept, "walruses") == [first]
    assert found(kept, "seals", "bark") == [second]


def test_a_search_finds_the_newest_first_and_shows_where(kept: Kept) -> None:
    old, new = kept.keep("stream one"), kept.keep("stream two")
    hits = search(kept, "stream")
    assert [hit.entry.id for hit in hits] == [new, old]
    assert hits[0].snippet == "stream two"
    assert hits[0].hits == [(0, 6)]
    assert found(kept, "stream", filter=Filter(1)) == [new]
    assert found(kept, "stream", filter=Filter(model="no such")) == []


def test_text_that_sqlite_could_stumble_over_is_kept_and_found(kept: Kept) -> None:
    id = kept.keep("nul \0 then walrus \x02\x03 \x1f 😀 'quote\" \u2028", "a" * 3_000_000)
    assert found(kept, "walrus") == [id]
    assert search(kept, "walrus")[0].snippet.endswith("\u2028")


# --- it follows the journals --------------------------------------------------------------------------------------------


def test_what_is_new_grown_or_gone_is_noticed(kept: Kept) -> None:
    first = kept.keep("first")
    writer = kept.begin("growing")
    assert found(kept, "walrus") == []
    assert {one.outcome for one in entries(kept)} == {"complete", "running"}
    writer.events(Events.of(chat("walrus", finish=None)), 1.0)
    assert found(kept, "walrus") == [writer.id]
    writer.own("unspool.end", '{"outcome":"length"}')
    writer.close()
    new = kept.keep("another walrus")
    kept.path(first).unlink()
    assert [(one.id, one.outcome) for one in entries(kept)] == [(new, "complete"), (writer.id, "length")]
    assert found(kept, "first") == []


def test_a_journal_that_did_not_change_is_not_read_again(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.keep(outcome="cut")
    kept.keep(outcome=None)
    before = entries(kept)
    monkeypatch.setattr(summary, "read", None)
    assert entries(kept) == before


def test_a_file_put_back_from_a_backup_is_read_again(kept: Kept) -> None:
    id = kept.keep("walrus")
    backup = kept.path(id).read_bytes()
    os.utime(kept.path(id), (10, 10))
    other = kept.path(kept.keep("a seal and a longer question")).read_bytes()
    kept.path(id).write_bytes(other)
    assert found(kept, "walrus") == []
    kept.path(id).write_bytes(backup)
    os.utime(kept.path(id), (10, 10))
    assert found(kept, "walrus") == [id]


def test_who_ended_between_reading_and_listing_is_not_called_interrupted(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = kept.begin()
    entries(kept)
    refresh = Catalogue._refresh

    def then_it_ends(self: Catalogue, database: sqlite3.Connection) -> None:
        refresh(self, database)
        writer.own("unspool.end", '{"outcome":"complete"}')
        writer.close()

    monkeypatch.setattr(Catalogue, "_refresh", then_it_ends)
    assert [one.outcome for one in entries(kept)] == ["complete"]


def test_what_was_forgotten_is_in_no_byte_of_the_catalogue(kept: Kept) -> None:
    for number in range(30):
        kept.keep(f"question {number}", f"answer {number}")
    id = kept.keep("the xyzzysecret", "plughsecret " * 50)
    assert found(kept, "xyzzysecret") == [id]
    assert b"plughsecret" in kept.catalogue.read_bytes()
    kept.path(id).unlink()
    with Catalogue(kept.folder) as catalogue:
        catalogue.forget([id])
    left = b"".join(path.read_bytes() for path in kept.home.glob("catalogue*"))
    assert b"secret" not in left
    assert len(entries(kept)) == 30


# --- files that are no good journals ------------------------------------------------------------------------------------


def test_files_that_are_no_journals_are_skipped_and_named(kept: Kept) -> None:
    good = kept.keep()
    foreign, folder, empty = (ulid.earliest(BEGIN + n) for n in (1, 2, 3))
    kept.path(foreign).write_text("Dear diary")
    kept.path(folder).mkdir()
    kept.path(empty).touch()
    Path(kept.folder, "notes.sse").write_text("x")
    Path(kept.folder, f"{good}-copy.sse").write_text("x")
    for filter in (ALL, ALL, Filter(20)):
        with Catalogue(kept.folder) as catalogue:
            assert [one.id for one in catalogue.entries(filter)] == [good]
            assert catalogue.skipped == {f"{foreign}.sse": "not a journal"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_cannot_be_read_is_skipped_and_named(kept: Kept) -> None:
    id = kept.keep()
    kept.path(id).chmod(0)
    with Catalogue(kept.folder) as catalogue:
        assert catalogue.entries(ALL) == []
        assert catalogue.skipped == {f"{id}.sse": "Permission denied"}


def test_a_damaged_journal_is_listed_as_such_and_searched_as_far_as_it_goes(kept: Kept) -> None:
    id = kept.keep("walrus", chat("before", "after"))
    data = bytearray(kept.path(id).read_bytes())
    data[data.index(b"after")] ^= 1
    kept.path(id).write_bytes(data)
    assert [one.outcome for one in entries(kept)] == ["damaged"]
    assert found(kept, "walrus", "before") == [id]
    assert found(kept, "after") == []


# --- the file itself ----------------------------------------------------------------------------------------------------


def test_only_its_owner_can_read_the_catalogue(kept: Kept) -> None:
    kept.keep()
    before = os.umask(0)
    try:
        entries(kept)
    finally:
        os.umask(before)
    assert stat.S_IMODE(kept.catalogue.stat().st_mode) == 0o600
    kept.catalogue.chmod(0o644)
    entries(kept)
    assert stat.S_IMODE(kept.catalogue.stat().st_mode) == 0o600


def _garbage(path: Path) -> None:
    path.write_bytes(b"This is not a database. " * 1000)


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 // 4096 * 4096)


def _tear(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 100)


def _empty(path: Path) -> None:
    os.truncate(path, 0)


def _overwrite(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(data)


def _of_another_version(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("DROP TABLE words")
        database.execute("PRAGMA user_version = 99")
    database.close()


def _without_a_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("DROP TABLE words")
    database.close()


def _of_another_program(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE streams (x)")
    database.close()


@pytest.mark.parametrize(
    "spoil",
    [
        Path.unlink,
        _garbage,
        _truncate,
        _tear,
        _empty,
        _overwrite,
        _of_another_version,
        _without_a_table,
        _of_another_program,
    ],
)
def test_a_spoilt_catalogue_is_made_anew(kept: Kept, spoil: object) -> None:
    for number in range(40):
        kept.keep(f"walrus {number}")
    before = entries(kept)
    assert callable(spoil)
    spoil(kept.catalogue)
    assert len(found(kept, "walrus")) == 40
    assert entries(kept) == before
    with closing(sqlite3.connect(kept.catalogue)) as database, database:
        assert database.execute("SELECT count(*) FROM streams").fetchone() == (40,)
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()


@pytest.mark.parametrize("spoil", [Path.unlink, _garbage, _truncate, _empty])
def test_a_catalogue_spoilt_while_it_is_in_use_is_made_anew(kept: Kept, spoil: object) -> None:
    for number in range(40):
        kept.keep(f"walrus {number}")
    with Catalogue(kept.folder) as catalogue:
        assert len(catalogue.entries(ALL)) == 40
        assert callable(spoil)
        spoil(kept.catalogue)
        kept.keep("walrus, the last")
        assert len(catalogue.search(["walrus"], ALL)) == 41
    assert len(entries(kept)) == 41


def test_a_byte_flipped_anywhere_costs_no_traceback(kept: Kept) -> None:
    for number in range(5):
        kept.keep(f"walrus {number}")
    entries(kept)
    whole = kept.catalogue.read_bytes()
    for at in range(0, len(whole), len(whole) // 97):
        data = bytearray(whole)
        data[at] ^= 0xFF
        kept.catalogue.write_bytes(data)
        search(kept, "walrus")
        entries(kept)


def test_where_no_catalogue_can_be_written_one_is_made_in_memory(kept: Kept) -> None:
    id = kept.keep("walrus")
    kept.catalogue.mkdir()
    assert found(kept, "walrus") == [id]
    assert ids(kept) == [id]


def test_a_catalogue_that_another_process_holds_is_done_without(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    from unspool.journal import catalogue

    monkeypatch.setattr(catalogue, "_PATIENCE", 0.05)
    kept.keep("walrus")
    entries(kept)
    id = kept.keep("seal")
    holder = sqlite3.connect(kept.catalogue, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        assert found(kept, "seal") == [id]
    finally:
        holder.close()


_BUILD = """
import sys
from unspool.journal.catalogue import Catalogue, Filter
sys.stdin.readline()
with Catalogue(sys.argv[1]) as catalogue:
    print(len(catalogue.entries(Filter())), len(catalogue.search(["walrus"], Filter())))
"""


def _builders(kept: Kept, number: int) -> list[subprocess.Popen[str]]:
    return [
        subprocess.Popen(
            [sys.executable, "-c", _BUILD, kept.folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(number)
    ]


def test_processes_that_make_it_at_once_do_not_disturb_each_other(kept: Kept) -> None:
    for number in range(300):
        kept.keep(f"walrus {number}", "short")
    builders = _builders(kept, 3)
    for one in builders:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    assert [one.communicate()[0] for one in builders] == ["300 300\n"] * 3
    with closing(sqlite3.connect(kept.catalogue)) as database, database:
        assert database.execute("SELECT count(*), count(DISTINCT id) FROM streams").fetchone() == (300, 300)
        assert database.execute("SELECT count(*) FROM words").fetchone() == (300,)
    database.close()


def test_a_process_killed_while_making_it_leaves_nothing_wrong_behind(kept: Kept) -> None:
    for number in range(60):
        kept.keep(f"walrus {number}", "short")
    killed = f"""
import os
from unspool.journal import catalogue
store = catalogue._store
def dies(database, id, *rest):
    store(database, id, *rest)
    if id.startswith({ulid.earliest(BEGIN + 30 * MINUTE)[:10]!r}):
        os.kill(os.getpid(), 9)
catalogue._store = dies
catalogue.Catalogue({kept.folder!r}).entries(catalogue.Filter())
"""
    assert subprocess.run([sys.executable, "-c", killed], check=False).returncode == -9
    assert len(found(kept, "walrus")) == 60
