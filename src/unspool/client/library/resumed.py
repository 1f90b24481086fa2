"""Answers that were cut, taken up by a program: the same again where the server allows it, and otherwise the rest, asked for anew."""

from __future__ import annotations

from unspool import outcome
from unspool.api.deltas import Text
from unspool.client.answer import Answer
from unspool.client.exchange import Exchange
from unspool.client.facts import Messages
from unspool.client.kept import continuation, rest
from unspool.client.library import asking
from unspool.config import ConfigError
from unspool.config.paths import streams_dir
from unspool.journal import folder, ulid
from unspool.journal.reader import Reader
from unspool.journal.replay import Replay
from unspool.journal.writer import Busy, Writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from unspool.api.deltas import Delta
    from unspool.client.aio import AsyncAnswer
    from unspool.config import Settings
    from unspool.config.target import Target
    from unspool.journal.summary import Summary


class Revived:
    """A stream to go on with: its ``exchange``, what was asked first of all, the deltas that are kept, and the seam to what comes."""

    def __init__(
        self, exchange: Exchange, one: Summary, kept: list[Delta], seam: continuation.Seam | None = None
    ) -> None:
        self.exchange = exchange
        self.asked = Messages(one.history)
        self.asked.system = one.system
        self.kept = kept
        self.seam = seam


def revived(piece: str, arguments: Mapping[str, Any]) -> Revived:
    """The stream that goes on with the one that a piece of an id names.

    Raises NotFound, Busy, ConfigError, `unspool.journal.reader.Damage`, and ValueError for what cannot be gone on with.
    """
    from unspool.config.settings import load

    settings = load()
    one = rest.read(folder.locate(streams_dir(), piece), settings)
    short = ulid.short(one.id)
    if one.outcome == outcome.RUNNING:
        raise Busy(f"{short} is still being written by another process; unspool.follow({short!r}) reads it")
    if not one.body:
        raise ValueError(f"{short} does not say what was asked, so it cannot be asked again")
    target = rest.endpoint_of(one, arguments["key"], settings)
    if rest.is_whole(one):
        return _whole(one, target)
    if target.needs_key and not target.key:
        raise ConfigError(f"no API key for {target.name}: {target.key_hint}")
    if rest.is_at_server(one):
        return _taken_up(one, target, settings, arguments)
    return _asked_again(one, target, settings, arguments)


def resumed(stream: Revived, arguments: Mapping[str, Any]) -> Answer[Any]:
    """The answer of a stream to go on with."""
    return ResumedAnswer(stream, asking.limits_of(arguments), check=arguments["check"])


def aresumed(stream: Revived, arguments: Mapping[str, Any]) -> AsyncAnswer[Any]:
    """The same for asyncio."""
    from unspool.client.aio import AsyncAnswer

    class AsyncResumedAnswer(Joined, AsyncAnswer):
        """An answer whose beginning was kept, for asyncio."""

        async def _turn(self, seconds: float | None = None) -> list[Delta] | None:
            before, self.before = self.before, []
            return before or await super()._turn(seconds)

    return AsyncResumedAnswer(stream, asking.limits_of(arguments), check=arguments["check"])


class Joined:
    """An answer whose beginning was kept, and comes first; what the rest repeats of it is left out."""

    before: list[Delta]

    def __init__(self, stream: Revived, *arguments: Any, **options: Any) -> None:
        super().__init__(stream.exchange, *arguments, **options)  # type: ignore[call-arg]
        self._seam: continuation.Seam | None = None
        self.before = self._kept(stream.kept)
        self._seam = stream.seam
        self._first_asked = stream.asked

    def _asked(self) -> Messages:
        return self._first_asked

    def _kept(self, deltas: list[Delta]) -> list[Delta]:
        seam = self._seam
        if seam is not None:
            deltas = seam.joined(deltas)
            if self.ending is not None:  # type: ignore[attr-defined]
                held = seam.close()
                if held:
                    deltas.append(Text(held))
        return super()._kept(deltas)  # type: ignore[misc, no-any-return]


class ResumedAnswer(Joined, Answer):
    """An answer whose beginning was kept."""

    def _turns(self, due: Callable[[], float | None] | None = None) -> Iterator[list[Delta]]:
        if self.before:
            before, self.before = self.before, []
            yield before
        yield from super()._turns(due)


def _whole(one: Summary, target: Target) -> Revived:
    """A stream that needs nothing more: it is only read."""
    exchange = rest.exchange_of(one, target, one.body, retries=0)
    kept: list[Delta] = []
    with Reader(one.path) as reader:
        replay = Replay(reader)
        for deltas, _, _ in replay.turns():
            kept += deltas
    kept += replay.close()
    assert replay.decoder is not None
    exchange.decoder, exchange.ending = replay.decoder, replay.ending
    # Closed: what names the stream, and can write nothing.
    journal = Writer(None)
    journal.id, journal.path = one.id, one.path
    exchange.journal = journal
    return Revived(exchange, one, kept)


def _taken_up(one: Summary, target: Target, settings: Settings, arguments: Mapping[str, Any]) -> Revived:
    exchange, turns = rest.take_up(one, target, settings, retries=arguments["retries"])
    if exchange is None:
        return _whole(one, target)
    return Revived(exchange, one, [delta for deltas, _, _ in turns for delta in deltas])


def _asked_again(one: Summary, target: Target, settings: Settings, arguments: Mapping[str, Any]) -> Revived:
    exchange, text, seam = rest.ask_again(one, target, settings, retries=arguments["retries"])
    return Revived(exchange, one, [Text(text)] if text else [], seam)
