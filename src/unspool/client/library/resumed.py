"""Kept answers that a program takes up again."""

from __future__ import annotations

from unspool import outcome
from unspool.client.answer import Answer
from unspool.client.library.arguments import check_id, warn_of
from unspool.client.resume import kept
from unspool.config import ConfigError
from unspool.journal import folder, ulid
from unspool.journal.writer import Busy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from unspool.client.aio import AsyncAnswer
    from unspool.client.library.arguments import ReadingArguments
    from unspool.client.resume.kept import Resumed
    from unspool.journal.summary import Summary


def read(part: str, arguments: ReadingArguments) -> Summary:
    """The kept stream that a part of an id names. Raises NotFound, and `unspool.journal.reader.Damage`."""
    check_id(part)
    return kept.read(folder.locate(arguments.folder(), part), arguments.settings(needed=arguments.key is None))


def resume(one: Summary, arguments: ReadingArguments) -> Resumed:
    """Take up a kept answer. Raises Busy, ConfigError, and ValueError for one that cannot be continued."""
    short = ulid.short(one.id)
    if one.outcome == outcome.RUNNING:
        raise Busy(f"{short} is still being written by another process; unspool.follow({short!r}) reads it")
    if not one.body:
        raise ValueError(f"{short} has no saved request, so it cannot be sent again")
    settings = arguments.settings(needed=arguments.key is None)
    target = arguments.at(kept.target_of(one, arguments.key, settings))
    if target.needs_key and not target.key and not kept.is_complete(one):
        raise ConfigError(f"no API key for {target.name}: pass key, or {target.key_hint}")
    found = kept.resume(one, target, settings, retries=arguments.retries, route=arguments.route(target))
    if found.exchange.ending is None:
        if found.exchange.journal is not None:
            warn_of(found.exchange.journal, level=4)
        arguments.watch(found.exchange)
    return found


def answer(found: Resumed, arguments: ReadingArguments) -> Answer[Any]:
    """The answer of a stream that is taken up."""
    one: Answer[Any] = Answer(
        found.exchange, arguments.limits(found.exchange.target), check=arguments.check, schema=arguments.schema
    )
    one._continue_from(found)
    return one


def async_answer(found: Resumed, arguments: ReadingArguments) -> AsyncAnswer[Any]:
    """The same for asyncio."""
    from unspool.client.aio import AsyncAnswer

    one: AsyncAnswer[Any] = AsyncAnswer(
        found.exchange, arguments.limits(found.exchange.target), check=arguments.check, schema=arguments.schema
    )
    one._continue_from(found)
    return one
