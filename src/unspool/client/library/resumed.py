"""Answers that were cut, continued by a program: the same answer where the server keeps it, otherwise a new one for the rest."""

from __future__ import annotations

from dataclasses import dataclass

from unspool import outcome
from unspool.api.deltas import Text
from unspool.client.answer import Answer
from unspool.client.exchange import Exchange
from unspool.client.facts import Messages
from unspool.client.kept import continuation, rest
from unspool.client.library.arguments import check_id, warn_of
from unspool.config import ConfigError
from unspool.journal import folder, ulid
from unspool.journal.reader import Reader
from unspool.journal.replay import Replay
from unspool.journal.writer import Busy, Writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from unspool.api.deltas import Delta
    from unspool.client.aio import AsyncAnswer
    from unspool.client.library.arguments import ReadingArguments
    from unspool.config import Settings
    from unspool.config.target import Target
    from unspool.journal.summary import Summary


@dataclass(slots=True)
class Revived:
    """A stream that continues another: its ``exchange``, what the other one was asked, the deltas that are kept, and the seam to what comes."""

    exchange: Exchange
    one: Summary
    kept: list[Delta]
    seam: continuation.Seam | None = None

    def asked(self) -> Messages:
        """What was asked first."""
        asked = Messages(self.one.history)
        asked.system = self.one.system
        return asked


def read(part: str, arguments: ReadingArguments) -> Summary:
    """The kept stream that a part of an id names. Raises NotFound, and `unspool.journal.reader.Damage`."""
    check_id(part)
    return rest.read(folder.locate(arguments.folder(), part), arguments.settings(needed=arguments.key is None))


def revive(one: Summary, arguments: ReadingArguments) -> Revived:
    """The stream that continues a kept one. Raises Busy, ConfigError, and ValueError for one that cannot be continued."""
    short = ulid.short(one.id)
    if one.outcome == outcome.RUNNING:
        raise Busy(f"{short} is still being written by another process; unspool.follow({short!r}) reads it")
    if not one.body:
        raise ValueError(f"{short} does not say what was asked, so it cannot be asked again")
    settings = arguments.settings(needed=arguments.key is None)
    target = arguments.at(rest.endpoint_of(one, arguments.key, settings))
    if rest.is_whole(one):
        return _whole(one, target)
    if target.needs_key and not target.key:
        raise ConfigError(f"no API key for {target.name}: pass key, or {target.key_hint}")
    found = _continued(one, target, settings, arguments)
    if found.exchange.journal is not None:
        warn_of(found.exchange.journal, level=4)
    arguments.watch(found.exchange)
    return found


def answer(found: Revived, arguments: ReadingArguments) -> Answer[Any]:
    """The answer of a stream that continues another."""
    one: Answer[Any] = Answer(
        found.exchange, arguments.limits(found.exchange.target), check=arguments.check, schema=arguments.schema
    )
    one._continue_from(found.kept, found.seam, found.asked())
    return one


def async_answer(found: Revived, arguments: ReadingArguments) -> AsyncAnswer[Any]:
    """The same for asyncio."""
    from unspool.client.aio import AsyncAnswer

    one: AsyncAnswer[Any] = AsyncAnswer(
        found.exchange, arguments.limits(found.exchange.target), check=arguments.check, schema=arguments.schema
    )
    one._continue_from(found.kept, found.seam, found.asked())
    return one


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


def _continued(one: Summary, target: Target, settings: Settings, arguments: ReadingArguments) -> Revived:
    route, retries = arguments.route(target), arguments.retries
    if rest.is_at_server(one):
        exchange, turns = rest.take_up(one, target, settings, retries=retries, route=route)
        if exchange is None:
            return _whole(one, target)
        return Revived(exchange, one, [delta for deltas, _, _ in turns for delta in deltas])
    exchange, text, seam = rest.ask_again(one, target, settings, retries=retries, route=route)
    return Revived(exchange, one, [Text(text)] if text else [], seam)
