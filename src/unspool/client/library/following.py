"""Answers read from their journals, whichever process writes them. A follower can go away and come back; nobody notices."""

from __future__ import annotations

import asyncio
import os
import time

from unspool.client.aio import AsyncReading
from unspool.client.answer import Reading
from unspool.client.facts import Facts, Messages
from unspool.client.library.arguments import check_id
from unspool.client.loop import running_loop
from unspool.config.paths import streams_dir
from unspool.journal import folder, reader
from unspool.journal.replay import Replay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from unspool.api.decoder import Decoder
    from unspool.api.deltas import Delta
    from unspool.outcome import Ending
    from unspool.sse import Event

# Seconds between two checks at the file, some 10 microseconds of work each: as often as tokens come while they come, and less and less
# often while nothing does, up to what a person still takes for at once.
_SHORTEST_NAP = 0.005
_LONGEST_NAP = 0.1


def path_of(part: str, journals: str | os.PathLike[str] | None = None) -> str:
    """The journal of the stream that a part of an id names, in a folder of journals. Raises NotFound."""
    check_id(part)
    return folder.locate(streams_dir() if journals is None else os.fspath(journals), part)


class Naps:
    """How long to wait before the next look, given how long nothing was there."""

    def __init__(self) -> None:
        self._next = _SHORTEST_NAP

    def moved(self) -> None:
        """Say that something was there."""
        self._next = _SHORTEST_NAP

    def next(self) -> float:
        """Return the seconds to wait."""
        nap = self._next
        self._next = min(nap * 1.25, _LONGEST_NAP)
        return nap


class Followed(Facts):
    """The facts of an answer that is read from its journal.

    ``last_id`` is the id of the last block of the journal that was read: ``follow(id, after=last_id)`` continues there.
    """

    def __init__(self, path: str, after: int | None = None, *, check: bool = True) -> None:
        super().__init__(check=check)
        self._journal = reader.Reader(path)
        self._replay = Replay(self._journal, 0 if after is None else after + 1)
        self._after = -1 if after is None else after
        self._ending: Ending | None = None
        self._arrived: list[Event] = []

    @property
    def id(self) -> str:
        """The stream's id."""
        return folder.id_of(self._journal.path)

    @property
    def path(self) -> str:
        """The journal's file."""
        return self._journal.path

    @property
    def last_id(self) -> int:
        """The id of the last block read; where none was, the one to begin after."""
        return max(self._after, self._journal.next_id - 1)

    @property
    def ending(self) -> Ending | None:
        """How the stream ended, None while its end has not been read."""
        return self._ending

    @property
    def request_id(self) -> str | None:
        """The server's id for the request; None where it gave none."""
        return self._replay.request_id

    @property
    def _decoder(self) -> Decoder | None:
        return self._replay.decoder

    def _asked(self) -> Messages:
        asked = Messages()
        if self._replay.request is not None:
            asked.system, messages = self._replay.request.conversation()
            asked += messages
        return asked

    def _events(self) -> Iterable[Event]:
        return self._arrived

    def _news(self) -> Iterator[list[Delta]]:
        """Yield what is there by now; sets the ending when there is nothing more."""
        # Asked before the file is read: who is dead now has written all that it ever will.
        alive = reader.is_alive(self._journal.path)
        for deltas, events, _ in self._replay.turns():
            self._arrived = events
            yield self._kept(deltas)
        self._arrived = []
        damage = self._journal.damage
        if damage is not None or self._journal.ended or not alive:
            rest = self._kept(self._replay.close())
            self._ending = self._replay.ending
            yield rest


class Following(Followed, Reading):
    """An answer read from its journal: `unspool.follow`. Iterating it yields its text, and waits for more while it is being written."""

    def close(self) -> None:
        """Close the journal. The stream continues."""
        self._journal.close()

    def _turns(self, due: Callable[[], float | None] | None = None) -> Iterator[list[Delta]]:
        naps = Naps()
        while self._ending is None:
            for deltas in self._news():
                naps.moved()
                yield deltas
            if self._ending is None:
                time.sleep(naps.next())
                if due is not None:
                    yield []
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_journal"):
            self._journal.close()


class AsyncFollowing(Followed, AsyncReading):
    """An answer read from its journal, for asyncio: `unspool.afollow`."""

    def __init__(self, path: str, after: int | None = None, *, check: bool = True) -> None:
        super().__init__(path, after, check=check)
        self._naps = Naps()
        # What was there at the last look, and nobody has had.
        self._coming = self._news()

    async def aclose(self) -> None:
        """Close the journal. The stream continues."""
        self._journal.close()

    async def _turn(self, seconds: float | None = None) -> list[Delta] | None:
        running_loop()
        while True:
            deltas = next(self._coming, None)
            if deltas is not None:
                self._naps.moved()
                # A long journal is read in one go: others get their turn between its pieces.
                await asyncio.sleep(0)
                return deltas
            if self._ending is not None:
                await self.aclose()
                return None
            nap = self._naps.next()
            await asyncio.sleep(nap if seconds is None else min(nap, seconds))
            self._coming = self._news()
            if seconds is not None:
                return []

    def __del__(self) -> None:
        if hasattr(self, "_journal"):
            self._journal.close()
