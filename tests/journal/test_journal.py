"""The journal's promises, each by trying to break it."""

from __future__ import annotations

import fcntl
import os
import random
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.effort import rounds
from unspool.journal import folder, record, ulid
from unspool.journal.reader import Damage, Reader, is_alive
from unspool.journal.record import Record
from unspool.journal.writer import Busy, Writer
from unspool.sse import Decoder, Event, Events

EVENTS = [
    Event("message", '{"choices":[{"delta":{"content":"Py"}}]}'),
    Event("response.output_text.delta", '{"delta":"thon"}', "7"),
    Event("message", "two\nlines", "7"),
    Event("message", "", "8"),
    Event("unspool.end", '{"outcome":"complete"}', "8"),
    Event("message", "é€😀\u2028\x00", "9"),
]


def write(home: Path, events: list[Event] = EVENTS, *, ended: bool = True, at_once: int = 1) -> Path:
    writer = Writer(str(home / "streams"), sync="never")
    writer.own(record.REQUEST, '{"api":"chat","body":{}}')
    writer.own(record.RESPONSE, '{"status":200}')
    for index in range(0, len(events), at_once):
        writer.events(Events.of(events[index : index + at_once]), index / 8)
    if ended:
        writer.own(record.END, '{"outcome":"complete"}')
    writer.close()
    assert writer.path is not None
    return Path(writer.path)


def read(path: Path) -> tuple[list[Record], Damage | None]:
    with Reader(str(path)) as reader:
        return reader.read(), reader.damage


def upstream(records: list[Record]) -> list[tuple[str, str, str | None]]:
    return [(one.type, one.data, one.upstream_id) for one in records if one.at is not None]


# --- what is written is read --------------------------------------------------------------------------------------------


def test_events_come_back_to_the_letter(tmp_path: Path) -> None:
    records, damage = read(write(tmp_path))
    assert damage is None
    assert [one.id for one in records] == list(range(len(records)))
    assert [(one.type, one.data) for one in records if one.at is not None] == [(e.type, e.data) for e in EVENTS]
    assert [one.at for one in records if one.at is not None] == [0.0, 0.125, 0.25, 0.375, 0.5, 0.625]


def test_the_servers_ids_are_written_where_they_change(tmp_path: Path) -> None:
    records, _ = read(write(tmp_path))
    assert [one.upstream_id for one in records if one.at is not None] == [None, "7", None, "8", None, "9"]


def test_an_id_that_a_server_takes_back_is_written_too(tmp_path: Path) -> None:
    records, _ = read(
        write(tmp_path, [Event("message", "a", "7"), Event("message", "b", ""), Event("message", "c", "")])
    )
    assert [one.upstream_id for one in records if one.at is not None] == ["7", "", None]


def test_a_journal_is_an_event_stream_that_any_parser_reads(tmp_path: Path) -> None:
    events = Decoder().feed(write(tmp_path).read_bytes())
    assert [event.id for event in events] == [str(n) for n in range(len(EVENTS) + 3)]
    assert [event.data for event in events[2:-1]] == [event.data for event in EVENTS]


def test_a_server_cannot_end_a_journal_by_naming_an_event_so(tmp_path: Path) -> None:
    forged = Event("unspool.end", '{"outcome":"complete"}')
    records, damage = read(write(tmp_path, [forged, Event("message", "more")], ended=False))
    assert damage is None
    assert len(records) == 4
    assert not any(one.is_own(record.END) for one in records)


@settings(max_examples=rounds(150), deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=1, max_size=12),
            st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=40),
            st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=6),
        ),
        max_size=8,
    ),
    st.integers(1, 4),
)
def test_any_event_survives(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[str, str, str]], at_once: int
) -> None:
    path = write(tmp_path_factory.mktemp("any"), [Event(*event) for event in events], at_once=at_once)
    records, damage = read(path)
    assert damage is None
    assert [(one.type, one.data) for one in records if one.at is not None] == [event[:2] for event in events]
    ids, id = [], ""
    for one in records:
        id = id if one.upstream_id is None else one.upstream_id
        ids += [id] if one.at is not None else []
    assert ids == [event[2] for event in events]


def test_a_block_is_in_the_file_before_events_returns(tmp_path: Path) -> None:
    writer = Writer(str(tmp_path / "streams"))
    writer.own(record.REQUEST, "{}")
    for n, event in enumerate(EVENTS, 1):
        writer.events(Events.of([event]), 0.0)
        assert writer.path is not None
        assert len(upstream(read(Path(writer.path))[0])) == n
    writer.close()


def test_a_reader_sees_what_was_appended_since_its_last_read(tmp_path: Path) -> None:
    writer = Writer(str(tmp_path / "streams"))
    writer.own(record.REQUEST, "{}")
    assert writer.path is not None
    with Reader(writer.path) as reader:
        assert [one.type for one in reader.read()] == [record.REQUEST]
        assert reader.read() == []
        writer.events(Events.of(EVENTS[:2]), 1.0)
        assert [one.data for one in reader.read()] == [event.data for event in EVENTS[:2]]
        writer.own(record.END, "{}")
        assert [one.type for one in reader.read()] == [record.END]
        assert reader.ended
    writer.close()


# --- recovery -----------------------------------------------------------------------------------------------------------


def ends_of_groups(whole: bytes) -> list[int]:
    """Where what was written at once ends, the header first."""
    return [len(record.HEADER), *(at.end() for at in re.finditer(rb"\ncrc: [0-9a-f]{8}\n\n", whole))]


@pytest.mark.parametrize("at_once", [1, 2, 6])
def test_every_truncation_gives_a_prefix_of_what_was_written_at_once(tmp_path: Path, at_once: int) -> None:
    path = write(tmp_path, at_once=at_once)
    whole = path.read_bytes()
    everything, _ = read(path)
    ends = ends_of_groups(whole)
    assert len(ends) == 1 + 2 + len(EVENTS) // at_once + 1
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with Reader(str(path)) as reader:
            records = reader.read()
            assert reader.damage is None
            assert records == everything[: len(records)]
            torn = reader.torn_at()
        assert (torn is None) == (size in (0, *ends))
        last = max((end for end in ends if end <= size), default=0)
        assert len(records) == sum(1 for one in everything if one.offset < last)


@pytest.mark.parametrize("at_once", [1, 2, 6])
def test_every_flipped_bit_is_found_and_what_precedes_it_is_kept(tmp_path: Path, at_once: int) -> None:
    path = write(tmp_path, at_once=at_once)
    whole = path.read_bytes()
    everything, _ = read(path)
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(bytes(flipped))
        with Reader(str(path)) as reader:
            records = reader.read()
            intact = [one for one in everything if one in records]
            assert records == everything[: len(records)] == intact
            # What was written with the flipped bit is not among them, and its place is told unless it reads as torn.
            before = max((end for end in ends_of_groups(whole) if end <= place), default=0)
            assert len(records) == sum(1 for one in everything if one.offset < before)
            if reader.damage is not None:
                assert reader.damage.offset <= place
                assert str(reader.damage.offset) in str(reader.damage)
            else:
                assert reader.torn_at() is not None


@pytest.mark.parametrize("tail", [b"\0" * 4096, b"\0" * 100 + b"\n\n", b"id: 99\n\n", b"\n\n", b"garbage\n\n"])
def test_a_tail_that_is_no_block_does_not_hide_what_precedes_it(tmp_path: Path, tail: bytes) -> None:
    path = write(tmp_path, ended=False)
    everything, _ = read(path)
    with path.open("ab") as file:
        file.write(tail)
    with Reader(str(path)) as reader:
        assert reader.read() == everything
        assert reader.damage is not None or reader.torn_at() is not None


def test_a_block_that_is_missing_is_told(tmp_path: Path) -> None:
    path = write(tmp_path)
    whole = path.read_bytes()
    everything, _ = read(path)
    path.write_bytes(whole[: everything[3].offset] + whole[everything[4].offset :])
    records, damage = read(path)
    assert records == everything[:3]
    assert damage is not None
    assert damage.offset == everything[3].offset
    assert "block 4 where block 3" in damage.reason


def test_what_was_written_at_once_is_read_when_all_of_it_is_there(tmp_path: Path) -> None:
    whole = write(tmp_path, at_once=6, ended=False).read_bytes()
    path = tmp_path / "growing.sse"
    path.write_bytes(b"")
    with Reader(str(path)) as reader, path.open("ab", buffering=0) as file:
        first, last = ends_of_groups(whole)[-2:]
        file.write(whole[:first])
        assert len(reader.read()) == 2
        for at in range(first, last - 1):
            file.write(whole[at : at + 1])
            assert reader.read() == []
            assert (reader.offset, reader.torn_at(), reader.next_id) == (first, first, 2)
        file.write(whole[last - 1 :])
        assert len(reader.read()) == 6
        assert (reader.offset, reader.torn_at(), reader.upstream_id) == (last, None, "9")


def test_blocks_exchanged_within_what_was_written_at_once_are_damage(tmp_path: Path) -> None:
    path = write(tmp_path, at_once=6)
    everything, _ = read(path)
    whole = path.read_bytes()
    at = [one.offset for one in everything]
    path.write_bytes(whole[: at[3]] + whole[at[4] : at[5]] + whole[at[3] : at[4]] + whole[at[5] :])
    records, damage = read(path)
    assert records == everything[:2]
    assert damage is not None
    assert damage.offset == at[2]


def test_a_file_of_another_kind_is_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "x.sse"
    path.write_bytes(b"data: 1\n\ndata: 2\n\n")
    records, damage = read(path)
    assert records == []
    assert damage is not None
    assert "not a journal" in damage.reason


@pytest.mark.parametrize("at_once", [1, 4])
def test_blocks_are_read_whole_however_the_file_arrives(tmp_path: Path, at_once: int) -> None:
    path = write(tmp_path, at_once=at_once)
    everything, _ = read(path)
    whole = path.read_bytes()
    rng = random.Random(7)
    for _ in range(200):
        with Reader(str(path)) as reader:
            records, at = [], 0
            while at < len(whole):
                size = rng.randint(1, 60)
                records += reader._feed(whole[at : at + size])
                at += size
            assert records == everything


# --- going on -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_once", [1, 3])
def test_a_journal_is_taken_up_after_every_truncation(tmp_path: Path, at_once: int) -> None:
    path = write(tmp_path, ended=False, at_once=at_once)
    whole = path.read_bytes()
    for size in range(len(record.HEADER), len(whole) + 1):
        path.write_bytes(whole[:size])
        before, _ = read(path)
        writer = Writer.reopen(str(path), sync="never")
        assert writer.id == path.stem
        writer.own(record.ATTEMPT, '{"attempt":2}')
        writer.events(Events.of(EVENTS[1:2]), 9.0)
        writer.own(record.END, "{}")
        writer.close()
        records, damage = read(path)
        assert damage is None
        assert records[: len(before)] == before
        assert [one.type for one in records[len(before) :]] == [record.ATTEMPT, EVENTS[1].type, record.END]


def test_only_an_attempt_may_follow_an_end(tmp_path: Path) -> None:
    path = write(tmp_path)
    writer = Writer.reopen(str(path))
    writer.own(record.ATTEMPT, "{}")
    writer.close()
    records, damage = read(path)
    assert damage is None
    assert records[-1].type == record.ATTEMPT
    path = write(tmp_path)
    writer = Writer.reopen(str(path))
    writer.events(Events.of(EVENTS[:1]), 1.0)
    writer.close()
    _, damage = read(path)
    assert damage is not None
    assert "after the end" in damage.reason


def test_two_processes_never_write_one_journal(tmp_path: Path) -> None:
    writer = Writer(str(tmp_path / "streams"))
    assert writer.path is not None
    with pytest.raises(Busy):
        Writer.reopen(writer.path)
    writer.close()
    again = Writer.reopen(writer.path)
    with pytest.raises(Busy):
        Writer.reopen(writer.path)
    again.close()


def test_a_damaged_journal_is_not_written_to(tmp_path: Path) -> None:
    path = write(tmp_path, ended=False)
    content = path.read_bytes().replace(b"Py", b"Qy")
    path.write_bytes(content)
    with pytest.raises(Damage):
        Writer.reopen(str(path))
    assert path.read_bytes() == content


# --- one writer, private, alive or not ----------------------------------------------------------------------------------


def test_files_are_the_owners_alone(tmp_path: Path) -> None:
    os.umask(0o000)
    try:
        path = write(tmp_path / "home")
    finally:
        os.umask(0o022)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.parent.parent.stat().st_mode) == 0o700


def test_a_living_writer_is_known_by_its_lock_and_a_dead_one_too(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom unspool.journal.writer import Busy, Writer\n"
        f"writer = Writer({str(tmp_path / 'streams')!r})\nprint(writer.path, flush=True)\nsys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    path = process.stdout.readline().strip()
    assert is_alive(path)
    process.kill()
    process.communicate()
    assert not is_alive(path)


def test_asking_whether_a_writer_lives_never_takes_its_lock(tmp_path: Path) -> None:
    writer = Writer(str(tmp_path / "streams"))
    assert writer.path is not None
    assert is_alive(writer.path)
    with open(writer.path, "rb") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    writer.close()
    assert not is_alive(writer.path)


def test_an_id_that_is_taken_is_not_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    streams = tmp_path / "streams"
    first = Writer(str(streams))
    ids = iter([first.id, first.id, "01M82ASBJD937V4J0WCY6W71X8"])
    monkeypatch.setattr(ulid, "new", lambda: next(ids))
    second = Writer(str(streams))
    assert second.id == "01M82ASBJD937V4J0WCY6W71X8"
    assert first.path != second.path
    first.close()
    second.close()


# --- a disk that refuses ------------------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_made_is_told_once_and_costs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    writer = Writer(str(tmp_path / "file" / "streams"))
    assert writer.path is None
    assert writer.trouble is not None
    assert "not being saved" in writer.trouble
    writer.events(Events.of(EVENTS), 0.0)
    writer.close()


@pytest.mark.parametrize("room", range(0, 60, 7))
def test_a_disk_that_fills_up_leaves_whole_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    writer = Writer(str(tmp_path / "streams"))
    writer.own(record.REQUEST, "{}")
    real, left = os.write, [room]

    def full(fd: int, data: bytes) -> int:
        if left[0] <= 0:
            raise OSError(28, "No space left on device")
        written = real(fd, data[: left[0]])
        left[0] -= written
        return written

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        writer.events(Events.of(EVENTS[:1]), 0.0)
        writer.events(Events.of(EVENTS[1:]), 0.0)
    assert writer.trouble is not None
    assert "No space left" in writer.trouble
    assert writer.path is not None
    records, damage = read(Path(writer.path))
    assert damage is None
    assert [one.type for one in records] == [record.REQUEST]
    writer.close()


def test_a_failing_sync_does_not_stop_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(fd: int) -> None:
        raise OSError(5, "Input/output error")

    writer = Writer(str(tmp_path / "streams"), sync="always")
    monkeypatch.setattr(os, "fdatasync", fail)
    writer.events(Events.of(EVENTS[:1]), 0.0)
    writer.events(Events.of(EVENTS[1:2]), 0.0)
    assert writer.trouble is not None
    assert "power cut" in writer.trouble
    assert writer.path is not None
    assert len(read(Path(writer.path))[0]) == 2
    writer.close()


@pytest.mark.parametrize(("sync", "expected"), [("always", 3), ("interval", 1), ("never", 0)])
def test_the_disk_is_waited_for_as_often_as_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sync: str, expected: int
) -> None:
    calls: list[int] = []
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda fd: (calls.append(fd), real(fd)))
    writer = Writer(str(tmp_path / "streams"), sync=sync)
    writer.events(Events.of(EVENTS[:1]), 0.0)
    writer.events(Events.of(EVENTS[1:2]), 0.0)
    writer.close()
    assert len(calls) == expected


def test_a_sync_is_due_only_where_something_was_appended(tmp_path: Path) -> None:
    writer = Writer(str(tmp_path / "streams"))
    assert writer.sync_due() is not None
    writer.sync()
    assert writer.sync_due() is None
    writer.events(Events.of(EVENTS[:1]), 0.0)
    due = writer.sync_due()
    assert due is not None
    assert 0 <= due <= 0.2
    writer.close()


def test_a_journal_in_memory_leaves_no_file_and_reads_the_same(tmp_path: Path) -> None:
    writer = Writer(None)
    writer.own(record.REQUEST, "{}")
    writer.events(Events.of(EVENTS), 0.0)
    assert writer.path is None
    assert len(Decoder().feed(writer.contents())) == len(EVENTS) + 1


# --- ids and the folder -------------------------------------------------------------------------------------------------


def test_ids_sort_by_the_time_they_were_made(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = []
    for milliseconds in (0, 1, 1000, 1_763_000_000_000, 2**48 - 1):
        monkeypatch.setattr(ulid.time, "time_ns", lambda ms=milliseconds: ms * 1_000_000)
        ids.append(ulid.new())
        assert ulid.milliseconds(ids[-1]) == milliseconds
    assert ids == sorted(ids)
    assert all(ulid.is_ulid(id) for id in ids)


def test_an_id_is_found_by_any_piece_that_only_it_has(tmp_path: Path) -> None:
    streams = tmp_path / "streams"
    streams.mkdir()
    ids = ["01M82ASBJD937V4J0WCY6W71X8", "01M82ASBJD937V4J0WCY6WAAAA", "01M82ASBJD71X87V4J0WCY6BBB"]
    for id in ids:
        (streams / f"{id}.sse").touch()
    (streams / "notes.txt").touch()
    find = lambda piece: folder.find(str(streams), piece)  # noqa: E731
    assert find("aaaa") == ids[1]
    assert find("W71X8") == ids[0]
    assert find("71X8") == ids[0], "the end of an id is what messages show, so it wins"
    assert find(ids[2]) == ids[2]
    with pytest.raises(folder.NotFound, match="3 answers match"):
        find("01M8")
    with pytest.raises(folder.NotFound, match="no saved answer"):
        find("ZZZZ")
    with pytest.raises(folder.NotFound, match="no saved answer"):
        find("")
    assert folder.newest(str(streams)) == max(ids)


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert folder.ids(str(tmp_path / "none")) == []
    with pytest.raises(folder.NotFound, match="there are no saved answers yet"):
        folder.newest(str(tmp_path / "none"))
