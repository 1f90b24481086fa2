"""A disk that refuses: the answer is whole on stdout, the exit code is what it would have been, and one line says what is amiss.

The errors are put into the command's system calls by strace while it runs, into those on its journal and on nothing else; and a
small file system is filled up in earnest. Where the machine does not allow either, the test is skipped and says so.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.server import Connection, Server
from support.waiting import PATIENCE, until
from support.wire import SSE_HEAD, end, piece
from unspool import outcome

from .processes import Home, Kept, find_strace

WORDS = [f"word{number:02d} " for number in range(12)]

STRACE = find_strace()


class Injected:
    """A stream in whose system calls on its journal errors are put, from a moment on at which nothing moves."""

    def __init__(self, home: Home, inject: str, sync: str, api: str = "chat", also: str = "") -> None:
        assert STRACE is not None
        Path(home.env["UNSPOOL_CONFIG"]).write_text(f'sync = "{sync}"\n')
        with Server() as stage:
            child = home.start("-N", "--base-url", stage.url, "--api", api, "-m", "m", "hi")
            assert child.stdout is not None
            connection = stage.accept()
            path = until(home.journals)[0]
            self.tracer = subprocess.Popen(
                [STRACE, "-p", str(child.pid), "-P", str(path), "-P", str(path.parent)]
                + ["-e", "trace=write,fdatasync,fsync,ftruncate", "-e", f"inject={inject}"]
                + (["-e", f"inject={also}"] if also else []),
                stderr=subprocess.PIPE,
            )
            assert self.tracer.stderr is not None
            attached = self.tracer.stderr.readline()
            if b"attached" not in attached:
                child.kill()
                pytest.skip(f"strace may not attach to a process here: {attached.decode()}")
            self._play(connection, api, child)
            self.stdout, self.stderr = child.communicate(timeout=PATIENCE)
        self.stdout = self._shown + self.stdout
        self.code = child.returncode
        self.trace = self.tracer.communicate(timeout=PATIENCE)[1].decode()
        self.kept = Kept(path)

    def _play(self, connection: Connection, api: str, child: subprocess.Popen[bytes]) -> None:
        """Send word by word, each when the last one has been shown: each is a read, and a write, of its own."""
        assert child.stdout is not None
        connection.send(SSE_HEAD)
        self._shown = b""
        for word in WORDS:
            connection.send(piece(api, word))
            while not self._shown.endswith(word.encode()):
                data = os.read(child.stdout.fileno(), 1 << 16)
                assert data, "it ended before its answer did"
                self._shown += data
        connection.send(end(api))
        connection.close()

    def assert_whole(self) -> None:
        assert self.trace.count("(INJECTED)") > 0
        assert self.stdout.decode() == "".join(WORDS)
        assert self.code == 0
        assert self.kept.damage is None
        assert "".join(WORDS).startswith(self.kept.text)


needs_strace = pytest.mark.skipif(STRACE is None, reason="strace is not installed, or may not trace here")


@needs_strace
@pytest.mark.parametrize("error", ["ENOSPC", "EIO", "EDQUOT", "EROFS"])
@pytest.mark.parametrize("first", [1, 2, 7, 14])
def test_a_write_that_fails_ends_the_journal_and_not_the_answer(home: Home, error: str, first: int) -> None:
    # The head of the answer is the first write after the request's, the end the fourteenth or fifteenth.
    stream = Injected(home, f"write:error={error}:when={first}+", "interval")
    stream.assert_whole()
    assert stream.stderr.count(b"\n") == 1
    assert stream.stderr.startswith(b"unspool: this answer is not being saved: ")
    assert stream.kept.ending.outcome == outcome.INTERRUPTED
    assert stream.kept.text == "".join(WORDS[: max(0, first - 2)])


@needs_strace
@pytest.mark.parametrize("api", ["responses", "completions"])
def test_a_full_disk_costs_no_endpoint_its_answer(home: Home, api: str) -> None:
    stream = Injected(home, "write:error=ENOSPC:when=5+", "interval", api)
    stream.assert_whole()
    assert stream.stderr.count(b"\n") == 1


@needs_strace
# The folder is synced with the first block, which "always" has done before an error can be put in.
@pytest.mark.parametrize(("call", "sync"), [("fdatasync", "always"), ("fdatasync", "interval"), ("fsync", "interval")])
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_a_sync_that_fails_is_told_once_and_the_journal_goes_on(home: Home, call: str, error: str, sync: str) -> None:
    # With "interval" the only sync of so short a stream is the last one.
    stream = Injected(home, f"{call}:error={error}:when=1+", sync)
    stream.assert_whole()
    assert stream.stderr.count(b"\n") == 1
    assert stream.stderr.startswith(b"unspool: the journal may not survive a power cut: ")
    assert stream.kept.text == "".join(WORDS)
    assert stream.kept.ending.outcome == outcome.COMPLETE


@needs_strace
def test_a_disk_that_first_cannot_sync_and_then_is_full_is_told_of_twice(home: Home) -> None:
    stream = Injected(home, "fdatasync:error=EIO:when=1+", "always", also="write:error=ENOSPC:when=8+")
    stream.assert_whole()
    first, second = stream.stderr.decode().splitlines()
    assert "power cut" in first
    assert "not being saved" in second


@needs_strace
@pytest.mark.parametrize("when", ["1", "5", "1..13+2"])
@pytest.mark.parametrize(("call", "sync"), [("write", "interval"), ("write", "always"), ("fdatasync", "always")])
def test_an_interrupted_call_is_made_again_and_nobody_hears_of_it(home: Home, call: str, sync: str, when: str) -> None:
    stream = Injected(home, f"{call}:error=EINTR:when={when}", sync)
    stream.assert_whole()
    assert stream.stderr == b""
    assert stream.kept.text == "".join(WORDS)
    assert stream.kept.ending.outcome == outcome.COMPLETE


@pytest.fixture
def small_disk(home: Home) -> Iterator[Path]:
    """A file system of 64 KiB where the journals go."""
    home.state.mkdir(0o700)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs", str(home.state)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"a file system cannot be mounted here: {mounted.stderr.decode().strip()}")
    yield home.state
    subprocess.run(["umount", str(home.state)], check=True)


@pytest.mark.parametrize("room", [65536, 40000, 20000, 8192, 4096, 0])
def test_a_disk_that_is_full_in_earnest(home: Home, paced: str, small_disk: Path, room: int) -> None:
    asked = ("--base-url", paced, "-m", "m", "a story in 300 tokens")
    whole = home("-n", *asked)
    if room < 65536:
        # Pages are what is given out there, so what is left is a whole number of them.
        (small_disk / "ballast").write_bytes(bytes(65536 - room))
    stream = home(*asked)
    assert (stream.stdout, stream.returncode) == (whole.stdout, 0)
    assert stream.stderr.count(b"\n") == 1
    assert stream.stderr.startswith(b"unspool: this answer is not being saved: No space left on device")
    for path in home.journals():
        kept = Kept(path)
        assert kept.damage is None
        assert whole.stdout.decode().startswith(kept.text)
        if room >= 20000:
            assert kept.text
            assert home("last").returncode == 7
