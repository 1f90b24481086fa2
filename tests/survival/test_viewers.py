"""Viewers under load: no event missing or doubled at the seam between what was and what comes, and none that disturbs the producer."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from support.effort import rounds
from support.server import Server
from support.waiting import PATIENCE, until
from support.wire import SSE_HEAD, end, piece
from unspool import outcome
from unspool.journal import reader
from unspool.sse import Decoder, Event

from .processes import Home, Kept


def pairs(events: list[Event]) -> list[tuple[str, str]]:
    return [(one.type, one.data) for one in events]


def from_block(kept: Kept, first: int) -> list[tuple[str, str]]:
    """The server's events from a block of the journal on."""
    return [(one.type, one.data) for one in kept.records if one.at is not None and one.id >= first]


def produce(home: Home, url: str, api: str, tokens: int, *more: str) -> tuple[subprocess.Popen[bytes], Path]:
    before = len(home.journals())
    arguments = ("--base-url", url, "--api", api, "-m", "m", "--max-tokens", "9999", *more)
    child = home.start(*arguments, f"in {tokens} tokens", stdout=subprocess.DEVNULL)
    path = until(lambda: home.journals()[before:])[0]
    until(lambda: Kept(path).request)
    return child, path


@pytest.mark.parametrize("api", ["responses", "chat", "completions"])
@pytest.mark.parametrize("speed", ["fast", "steady"])
def test_every_viewer_sees_what_the_journal_holds(
    home: Home, paced: str, instant: str, api: str, speed: str, capsys
) -> None:
    chance = random.Random(f"{api} {speed}")
    child, path = produce(home, instant if speed == "fast" else paced, api, 6000 if speed == "fast" else 1200)
    viewers = []
    for number in range(rounds(7)):
        # Each form from the start, the rest by chance.
        first = chance.choice((0, 1, 3, chance.randrange(1200), 99999)) if number > 2 else 0
        form = ("sse", "stream-json", "text")[number % 3]
        more = ("--from", str(first)) if first else ()
        viewers.append((first, form, home.start("attach", "-N", path.stem, "--format", form, *more)))
        time.sleep(chance.uniform(0.0, 0.12))
    outputs = [(first, form, viewer, viewer.communicate(timeout=PATIENCE)) for first, form, viewer in viewers]
    assert child.wait(PATIENCE) == 0
    kept = Kept(path)
    assert kept.ending.outcome == outcome.COMPLETE
    seen = 0
    for first, form, viewer, (stdout, stderr) in outputs:
        assert (viewer.returncode, stderr) == (0, b"")
        if form == "sse":
            expected = from_block(kept, first)
            found = pairs(Decoder().feed(stdout))
            assert found == expected
            seen += len(found)
        elif form == "text":
            assert (kept.text if not first else stdout.decode()) == stdout.decode()
            assert kept.text.endswith(stdout.decode())
        else:
            lines = [json.loads(line) for line in stdout.splitlines()]
            assert lines[-1]["type"] == "end"
            text = "".join(line["text"] for line in lines if line["type"] == "text")
            assert kept.text.endswith(text)
            assert first or text == kept.text
    with capsys.disabled():
        print(f" {len(viewers)} viewers, {seen} events seen", end="")


def test_events_are_counted_one_by_one_whatever_the_place(home: Home, instant: str) -> None:
    """All places from which a viewer may begin, of a stream that has ended."""
    child, path = produce(home, instant, "chat", 12)
    child.wait(PATIENCE)
    kept = Kept(path)
    for first in range(0, len(kept.records) + 2, 2):
        stdout = home("attach", path.stem, "--format", "sse", "--from", str(first)).stdout
        assert pairs(Decoder().feed(stdout)) == from_block(kept, first)


def test_an_answer_in_one_piece_is_left_out_where_it_precedes(home: Home, instant: str) -> None:
    child, path = produce(home, instant, "chat", 12, "--no-stream")
    child.wait(PATIENCE)
    kept = Kept(path)
    body = next(one.id for one in kept.records if one.type == "unspool.body")
    assert home("attach", "-N", path.stem, "--from", str(body)).stdout.decode() == kept.text
    assert home("attach", path.stem, "--from", str(body + 1)).stdout == b""


def test_viewers_that_go_away_disturb_nobody(home: Home) -> None:
    chance = random.Random(5)
    with Server() as stage:
        child = home.start("-N", "--base-url", stage.url, "--api", "chat", "-m", "m", "hi")
        connection = stage.accept()
        connection.send(SSE_HEAD)
        path = until(home.journals)[0]
        for number in range(10):
            connection.send(*[piece("chat", f"word{number} ")] * 20)
            viewer = home.start("attach", path.stem)
            assert viewer.stdout is not None
            os.read(viewer.stdout.fileno(), 100)
            if number % 3 == 0:
                viewer.kill()
            elif number % 3 == 1:
                viewer.stdout.close()
                # It notices when it has something to show.
                while viewer.poll() is None:
                    connection.send(piece("chat", f"word{number} "))
                    time.sleep(0.01)
            else:
                viewer.send_signal(chance.choice((signal.SIGINT, signal.SIGTERM, signal.SIGHUP)))
            assert viewer.wait(PATIENCE) in (-9, 141, 130, 143, 129)
        connection.send(end("chat"))
        connection.close()
        stdout, stderr = child.communicate(timeout=PATIENCE)
    kept = Kept(path)
    assert (child.returncode, stdout.decode(), stderr) == (0, kept.text, b"")
    assert kept.ending.outcome == outcome.COMPLETE


def test_viewers_of_a_killed_producer_say_so(home: Home, slow: str) -> None:
    child, path = produce(home, slow, "responses", 4000)
    viewers = [home.start("attach", path.stem, "--format", form) for form in ("text", "sse", "text", "stream-json")]
    for viewer in viewers:
        assert viewer.stdout is not None
        os.read(viewer.stdout.fileno(), 1)
    child.kill()
    outputs = [viewer.communicate(timeout=PATIENCE) for viewer in viewers]
    kept = Kept(path)
    for viewer, (_, stderr) in zip(viewers, outputs, strict=True):
        assert viewer.returncode == 7
        assert stderr.startswith(b"unspool: interrupted: its process ended before the answer did")
    assert outputs[0][0].decode() == kept.text[1:]
    assert outputs[1][0].decode() == kept.shown("sse")[1:]
    # Who comes later sees the same.
    late = home("attach", path.stem)
    assert (late.returncode, late.stdout.decode()) == (7, kept.text)


def test_a_viewer_may_come_while_nothing_moves(home: Home) -> None:
    with Server() as stage:
        child = home.start("--base-url", stage.url, "--api", "chat", "-m", "m", "hi")
        connection = stage.accept()
        path = until(home.journals)[0]
        early = home.start("attach", path.stem)
        connection.send(SSE_HEAD, piece("chat", "one "))
        assert early.stdout is not None
        assert os.read(early.stdout.fileno(), 100) == b"one "
        late = home.start("attach", path.stem)
        assert late.stdout is not None
        assert os.read(late.stdout.fileno(), 100) == b"one "
        connection.send(piece("chat", "two"), end("chat"))
        connection.close()
        assert [viewer.communicate(timeout=PATIENCE) for viewer in (early, late)] == [(b"two\n", b"")] * 2
        assert child.wait(PATIENCE) == 0


# --- detached streams ---------------------------------------------------------------------------------------------------


class Terminal:
    """A terminal with a shell's session, in which a command runs."""

    def __init__(self, home: Home, *arguments: str) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            from .processes import command

            os.execvpe(command()[0], [*command(), *arguments], home.env)

    def read(self, wanted: int = 1 << 16) -> bytes:
        output = b""
        with contextlib.suppress(OSError):
            while len(output) < wanted and (data := os.read(self.fd, wanted)):
                output += data
        return output

    def wait(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_a_detached_stream_outlives_its_terminal(home: Home, slow: str) -> None:
    terminal = Terminal(home, "-d", "--base-url", slow, "-m", "m", "in 200 tokens")
    lines = terminal.read().decode().split()
    terminal.wait()
    os.close(terminal.fd)
    path = home.streams / f"{lines[0]}.sse"
    (running,) = [json.loads(line) for line in home("ps", "--json").stdout.splitlines()]
    assert running["id"] == lines[0]
    # Its session is its own; even a hang-up that is meant for it means nothing.
    assert os.getsid(running["pid"]) == running["pid"]
    os.kill(running["pid"], signal.SIGHUP)
    viewed = home("attach", "-N", lines[0])
    kept = Kept(path)
    assert (viewed.returncode, viewed.stdout.decode()) == (0, kept.text)
    assert kept.ending.outcome == outcome.COMPLETE
    until(lambda: home("ps").stdout == b"")


def test_a_detached_stream_is_cancelled_by_name(home: Home, slow: str) -> None:
    id = home("-d", "--base-url", slow, "-m", "m", "in 9000 tokens").stdout.decode().strip()
    path = home.streams / f"{id}.sse"
    viewer = home.start("attach", id)
    assert viewer.stdout is not None
    os.read(viewer.stdout.fileno(), 1)
    assert id[-6:] in home("ps").stdout.decode()
    assert home("cancel", id[-6:]).returncode == 0
    assert home("ps").stdout == b""
    assert not reader.is_alive(str(path))
    assert Kept(path).ending.outcome == outcome.CANCELLED
    assert viewer.wait(PATIENCE) == 143
    again = home("cancel", id)
    assert again.returncode == 1
    assert b"is not running any more" in again.stderr


def test_a_stream_whose_terminal_closes_is_cancelled_and_kept(home: Home, slow: str) -> None:
    terminal = Terminal(home, "--base-url", slow, "-m", "m", "in 9000 tokens")
    shown = terminal.read(200)
    # The terminal goes away: the kernel sends its session SIGHUP.
    os.close(terminal.fd)
    assert terminal.wait() == 129
    kept = Kept(home.newest())
    assert kept.damage is None
    assert kept.ending.outcome == outcome.CANCELLED
    assert kept.text.startswith(shown.decode().replace("\r\n", "\n"))


def test_a_detached_stream_that_is_killed_reads_as_interrupted(home: Home, slow: str) -> None:
    id = home("-d", "--base-url", slow, "-m", "m", "in 9000 tokens").stdout.decode().strip()
    pid = json.loads(home("ps", "--json").stdout)["pid"]
    until(lambda: Kept(home.newest()).text)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not reader.is_alive(str(home.newest())))
    assert home("show", id).returncode == 7
    assert home("ps").stdout == b""
