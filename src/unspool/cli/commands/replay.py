"""``unspool replay``: an answer again as it came, in time."""

from __future__ import annotations

import select
import time

from unspool import outcome
from unspool.cli import formats
from unspool.cli.commands.show import OPTIONS as SHOW_OPTIONS
from unspool.cli.commands.show import locate, say_ending
from unspool.cli.flags import speed
from unspool.cli.options import Option, scan
from unspool.cli.signals import Signals
from unspool.client.replay import RECONNECTING, Replay
from unspool.journal import folder, reader, ulid
from unspool.terminal.output import Notes, Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from unspool.outcome import Ending

# Between two looks at whether somebody still reads, in seconds.
_INTERVAL = 0.25


OPTIONS = (
    Option(
        ("--speed",),
        "value",
        "how many times as fast as it came, or max (default: 1)",
        metavar="N",
        type=speed,
        default=1.0,
    ),
    *SHOW_OPTIONS,
)


def run(name: str, argv: list[str]) -> int:
    """Play a kept answer in time, and return the exit code it had."""
    arguments = scan(OPTIONS, argv, "id")
    if arguments is None or len(arguments["id"]) != 1:
        from unspool.cli.parser import build, read

        parser = build(
            "unspool replay",
            OPTIONS,
            rest="id",
            metavar="ID",
            rest_help="any piece of an id that only one stream has, or a journal's file",
            examples="  unspool replay 7F3K9Q\n  unspool replay 7F3K9Q --speed 10\n  unspool replay tapes/0001-chat-hello.sse --json",
            description="Play an answer again as it came, in time. The exit code is the one it had.",
        )
        arguments = read(parser, argv)
        if len(arguments["id"]) != 1:
            parser.error("which answer? Give a piece of its id, or a journal's file")
    notes = Notes(Output(2), quiet=arguments["quiet"])
    try:
        path = locate(arguments["id"][0])
    except folder.NotFound as error:
        notes.line(str(error), always=True)
        return 1
    id = folder.id_of(path)
    stdout = Output(1)
    with reader.Reader(path) as journal, Signals(stdout, notes.output) as signals:
        if reader.is_alive(path):
            short = ulid.short(id)
            words = f"{short} still streams: unspool attach {short} follows it, and when it has ended it can be played"
            notes.line(words, always=True)
            return 1
        format = formats.choose(arguments)(stdout)
        ending = _Player(Replay(journal), format, stdout, signals, arguments["speed"]).play(id)
        if ending is None:
            return 128 + signals.number
        say_ending(journal, ending, notes)
    return ending.exit_code


class _Player:
    """Shows what a journal holds when its time has come, as fast as asked for, until its end or a signal."""

    def __init__(self, replay: Replay, format: Any, stdout: Output, signals: Signals, speed: float) -> None:
        self._replay = replay
        self._format = format
        self._stdout = stdout
        self._signals = signals
        self._speed = speed
        self._due: Callable[[], float | None] = getattr(format, "due", lambda: None)
        self._begun = time.monotonic()
        # What is left out of the time: waits while the stream was being taken up again.
        self._skipped = 0.0
        self._attempts = 1
        self._last = 0.0

    def play(self, id: str) -> Ending | None:
        """Play all of it. Returns how it ended, None when a signal ended the playing."""
        replay = self._replay
        try:
            for deltas, events, at in replay.turns():
                if not self._wait_until(at):
                    return None
                self._format.show(deltas, events, at)
            if replay.ended_at is not None and not self._wait_until(max(replay.ended_at, self._last)):
                return None
            self._format.show(replay.close(), [], replay.at)
            self._format.close(replay.ending, id)
            return replay.ending
        except BlockingIOError:  # a signal came, and nobody reads what is to be written
            return None
        except BrokenPipeError:
            return outcome.Ending(outcome.CLOSED)

    def _wait_until(self, at: float) -> bool:
        """Wait for a time on the tape, drawing what is due meanwhile. False when a signal came."""
        if self._replay.attempts != self._attempts:
            self._attempts = self._replay.attempts
            if self._last:
                self._skipped += max(0.0, at - self._last - RECONNECTING)
        self._last = at
        while True:
            now = time.monotonic()
            left = self._begun + (at - self._skipped) / self._speed - now
            due = self._due()
            if due == 0.0:
                self._format.tick()
                due = self._due()
            wait = max(0.0, min(left, _INTERVAL, left if due is None else due))
            if select.select([self._signals.fd], [], [], wait)[0] and not self._has_resumed(now):
                leave = getattr(self._format, "leave", None)
                if leave is not None:
                    leave()
                return False
            if left <= 0:
                return True
            if self._stdout.is_abandoned():
                raise BrokenPipeError

    def _has_resumed(self, since: float) -> bool:
        """Whether what woke us is that we were stopped and go on: the time in which we did not run does not count."""
        if not self._signals.has_resumed() or self._signals.number:
            return False
        self._begun += time.monotonic() - since
        start_anew = getattr(self._format, "start_anew", None)
        if start_anew is not None:
            start_anew()
        return True
