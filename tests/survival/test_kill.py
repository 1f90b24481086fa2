"""``kill -9`` at any moment: every byte that reached the terminal or the pipe is in the journal, which reads as interrupted."""

from __future__ import annotations

import os
import pty
import random
import selectors
import subprocess
import time
import tty
from pathlib import Path

from support.effort import rounds
from support.waiting import PATIENCE
from support.wire import APIS
from unspool import outcome
from unspool.journal import reader

from .processes import Home, Kept

KILLS = 350
AT_ONCE = 6
FORMATS = ("text", "text", "stream-json", "sse")
#: Seconds that an answer takes with the command's start, and characters that it has: what moments are drawn from.
SECONDS, CHARACTERS = 0.6, 1600


class Victim:
    """A stream that is killed once it has run for some time, or has shown so much."""

    def __init__(self, home: Home, url: str, number: int, chance: random.Random) -> None:
        self.marker = f"marker-{number:05d}-end"
        self.form = chance.choice(FORMATS)
        api = APIS[number % 3]
        self.on_terminal = chance.random() < 0.5
        by_time = chance.random() < 0.6
        self.deadline = time.monotonic() + (chance.uniform(0.0, SECONDS) if by_time else PATIENCE)
        self.most = None if by_time else chance.randrange(CHARACTERS)
        self.output = b""
        self.killed = False
        if self.on_terminal:
            self.fd, theirs = pty.openpty()
            tty.setraw(theirs)
        else:
            self.fd, theirs = os.pipe()
        arguments = ["--base-url", url, "--api", api, "-m", "m", "--max-tokens", "999", "--format", self.form]
        # The first words are the answer's too, so that no two answers are alike.
        self.child = home.start(
            *arguments, f"{self.marker} in 400 tokens", stdout=theirs, stderr=subprocess.DEVNULL, prepare=None
        )
        os.close(theirs)

    def read(self) -> bool:
        """Take what it has shown; False when it shows nothing more."""
        try:
            data = os.read(self.fd, 1 << 16)
        except OSError:  # the terminal has no other side any more
            data = b""
        self.output += data
        return bool(data)

    def is_due(self) -> bool:
        return time.monotonic() >= self.deadline or (self.most is not None and len(self.output) >= self.most)

    def kill(self) -> None:
        self.child.kill()
        # What is ready to be read by now had been shown.
        while self.read():
            pass
        os.close(self.fd)
        self.killed = self.child.wait() == -9


def kill_all(home: Home, url: str, number: int, chance: random.Random) -> list[Victim]:
    done: list[Victim] = []
    started = 0
    with selectors.DefaultSelector() as waiting:
        while len(done) < number:
            while started < number and len(waiting.get_map()) < AT_ONCE:
                victim = Victim(home, url, started, chance)
                waiting.register(victim.fd, selectors.EVENT_READ, victim)
                started += 1
            victims = [key.data for key in waiting.get_map().values()]
            soonest = min(victim.deadline for victim in victims)
            ready = {key.data for key, _ in waiting.select(max(0.0, soonest - time.monotonic()))}
            for victim in victims:
                if (victim in ready and not victim.read()) or victim.is_due():
                    waiting.unregister(victim.fd)
                    victim.kill()
                    done.append(victim)
    return done


def test_what_was_shown_before_a_kill_is_in_the_journal(home: Home, paced: str, capsys) -> None:
    victims = kill_all(home, paced, rounds(KILLS), random.Random(20261122))
    kept: dict[str, Kept] = {}
    unasked = 0
    for path in home.journals():
        one = Kept(path)
        assert one.damage is None
        assert not reader.is_alive(str(path))
        if one.request is None:
            unasked += 1
        else:
            kept[str(one.request.body).partition("marker-")[2][:5]] = one
    lost = shown = ended = 0
    for number, victim in enumerate(victims):
        one = kept.get(victim.marker[7:12])
        output = victim.output.decode("utf-8", "ignore")
        shown += len(victim.output)
        if one is None:
            assert output == ""
            continue
        if not victim.killed or one.ending.outcome != outcome.INTERRUPTED:
            # It was whole, or wrote its end, before the signal came.
            assert one.ending.outcome == outcome.COMPLETE
            ended += 1
            continue
        assert one.ending.exit_code == 7
        lost += not one.shown(victim.form).startswith(output)
        assert one.shown(victim.form).startswith(output), (number, one.path)
    killed = sum(victim.killed for victim in victims)
    with capsys.disabled():
        print(
            f"\n  {killed} kills, {shown} bytes shown, {lost} lost; {ended} had ended, {unasked} had not asked", end=""
        )
    assert killed > len(victims) * 0.6
    assert len({victim.output for victim in victims if victim.killed}) > killed * 0.3, "too few different moments"


def test_a_killed_stream_is_shown_and_says_so(home: Home, slow: str) -> None:
    for api in APIS:
        child = home.start("--base-url", slow, "--api", api, "-m", "m", "--max-tokens", "9999", "hello in 4000 tokens")
        assert child.stdout is not None
        output = b""
        while len(output) < 200:
            output += os.read(child.stdout.fileno(), 1 << 16)
        child.kill()
        output += child.stdout.read()
        assert child.wait() == -9
        shown = home("last")
        assert (shown.returncode, shown.stdout.startswith(output)) == (7, True)
        assert shown.stderr.startswith(b"unspool: interrupted: its process ended before the answer did")
        assert Kept(Path(home.newest())).text.encode() == shown.stdout
