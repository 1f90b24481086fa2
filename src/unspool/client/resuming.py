"""Answers that were cut, taken up by a program: the same again where the server allows it, and otherwise the rest, asked for anew."""

from __future__ import annotations

import time

from unspool import outcome
from unspool.api.deltas import Text
from unspool.api.prompt import Prompt
from unspool.client import asking, continuation
from unspool.client.answer import Answer
from unspool.client.exchange import Exchange, is_background
from unspool.client.facts import Messages
from unspool.client.replay import Replay
from unspool.config import ConfigError
from unspool.config.paths import streams_dir
from unspool.journal import folder, record, story, ulid
from unspool.journal.reader import Reader
from unspool.journal.writer import Busy, Writer
from unspool.jsontext import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping
    from typing import Any

    from unspool.api.deltas import Delta
    from unspool.client.aio import AsyncAnswer
    from unspool.config import Settings
    from unspool.config.endpoint import Endpoint
    from unspool.journal.story import Story


class Revived:
    """A stream to go on with: its ``exchange``, what was asked first of all, the deltas that are kept, and the seam to what comes."""

    def __init__(
        self, exchange: Exchange, one: Story, kept: list[Delta], seam: continuation.Seam | None = None
    ) -> None:
        self.exchange = exchange
        self.asked = Messages(one.messages)
        self.asked.system = one.system
        self.kept = kept
        self.seam = seam


def revived(piece: str, arguments: Mapping[str, Any]) -> Revived:
    """The stream that goes on with the one that a piece of an id names.

    Raises NotFound, Busy, ConfigError, `unspool.journal.reader.Damage`, and ValueError for what cannot be gone on with.
    """
    from unspool.config.settings import load

    one = story.read(folder.locate(streams_dir(), piece))
    short = ulid.short(one.id)
    if one.outcome == outcome.RUNNING:
        raise Busy(f"{short} is still being written by another process; unspool.follow({short!r}) reads it")
    settings = load()
    if one.outcome == outcome.INTERRUPTED and one.is_final:
        one = end(one, settings)
    if not one.body:
        raise ValueError(f"{short} does not say what was asked, so it cannot be asked again")
    endpoint = endpoint_of(one, arguments["key"], settings)
    if one.outcome in (outcome.COMPLETE, outcome.FILTERED):
        return _whole(one, endpoint)
    if endpoint.needs_key and not endpoint.key:
        raise ConfigError(f"no API key for {endpoint.name}: {endpoint.key_hint}")
    if one.api == "responses" and one.response_id and is_background(one.body) and not one.is_final:
        return _taken_up(one, endpoint, settings, arguments)
    return _asked_again(one, endpoint, settings, arguments)


def resumed(stream: Revived, arguments: Mapping[str, Any]) -> Answer[Any]:
    """The answer of a stream to go on with."""
    return ResumedAnswer(stream, asking.limits_of(arguments), check=arguments["check"])


def aresumed(stream: Revived, arguments: Mapping[str, Any]) -> AsyncAnswer[Any]:
    """The same for asyncio."""
    from unspool.client.aio import AsyncAnswer

    class AsyncResumedAnswer(Joined, AsyncAnswer):
        """An answer whose beginning was kept, for asyncio."""

        async def _turns(self, due: Callable[[], float | None] | None = None) -> AsyncIterator[list[Delta]]:
            if self.before:
                before, self.before = self.before, []
                yield before
            async for batch in super()._turns(due):
                yield batch

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
            joined: list[Delta] = []
            for delta in deltas:
                if type(delta) is Text and delta.choice == 0:
                    text = seam.feed(delta.text)
                    if text:
                        joined.append(Text(text))
                else:
                    joined.append(delta)
            if self.ending is not None:  # type: ignore[attr-defined]
                rest = seam.close()
                if rest:
                    joined.append(Text(rest))
            deltas = joined
        return super()._kept(deltas)  # type: ignore[misc, no-any-return]


class ResumedAnswer(Joined, Answer):
    """An answer whose beginning was kept."""

    def _turns(self, due: Callable[[], float | None] | None = None) -> Iterator[list[Delta]]:
        if self.before:
            before, self.before = self.before, []
            yield before
        yield from super()._turns(due)


def _whole(one: Story, endpoint: Endpoint) -> Revived:
    """A stream that needs nothing more: it is only read."""
    exchange = _exchange(one, endpoint, one.body, 0)
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


def _taken_up(one: Story, endpoint: Endpoint, settings: Settings, arguments: Mapping[str, Any]) -> Revived:
    """Go on with a background response, in its own journal."""
    journal = Writer.reopen(one.path, sync=settings.sync)
    kept: list[Delta] = []
    with Reader(one.path) as reader:
        replay = Replay(reader)
        for deltas, _, _ in replay.turns():
            kept += deltas
    assert replay.decoder is not None
    if replay.decoder.ended:
        # Another process was quicker: it has taken the stream up and come to its end since we looked.
        journal.close()
        return _whole(one, endpoint)
    exchange = _exchange(one, endpoint, one.body, arguments["retries"])
    exchange.take_up(journal, replay.decoder, max(0.0, time.time() - ulid.milliseconds(one.id) / 1000))
    return Revived(exchange, one, kept)


def _asked_again(one: Story, endpoint: Endpoint, settings: Settings, arguments: Mapping[str, Any]) -> Revived:
    """Ask for the rest in a new stream, whose parent is the cut one."""
    choices = max(one.body.get("n") or 1, len(one.texts))
    if choices > 1:
        raise ValueError(f"{ulid.short(one.id)} has {choices} choices; only an answer of one can be continued")
    exchange = _exchange(one, endpoint, continuation.rest_of(one), arguments["retries"])
    text = continuation.text_of(story.conversation(streams_dir(), one.id))
    exchange.begin(Writer(streams_dir(), sync=settings.sync), parent=one.id)
    # A completion goes on where its prompt stops; what it repeats there belongs to it.
    seam = None if one.api == "completions" else continuation.Seam(text)
    return Revived(exchange, one, [Text(text)] if text else [], seam)


def _exchange(one: Story, endpoint: Endpoint, body: dict[str, Any], retries: int) -> Exchange:
    prompt = Prompt([], one.model, stream=bool(body.get("stream")))
    return Exchange(endpoint, prompt, journal=None, api_name=one.api, body=body, retries=retries)


def endpoint_of(one: Story, key: str | None, settings: Settings) -> Endpoint:
    """Where a kept stream was asked, with the key that belongs there."""
    from unspool import api
    from unspool.config.settings import resolve

    path = api.endpoint(one.api).PATH
    try:
        found = resolve(profile=one.profile, key=key, model=one.model, api=one.api, settings=settings)
        if found.url(path, one.model).partition("?")[0] == one.url:
            return found
    except ConfigError:
        pass  # the profile was nameless, or is gone
    return resolve(base_url=one.url.removesuffix(path), key=key, model=one.model, api=one.api, settings=settings)


def end(one: Story, settings: Settings) -> Story:
    """Write the end that a killed process had no time for, where the server's own had come. Returns the story with it."""
    journal = Writer.reopen(one.path, sync=settings.sync)
    with Reader(one.path) as reader:
        replay = Replay(reader)
        for _ in replay.turns():
            pass
        decoder = replay.decoder
        if not reader.ended and decoder is not None and decoder.failure is None:
            ending = outcome.judge(decoder, None)
            described = {"outcome": ending.outcome, "message": ending.message, "finish_reason": ending.finish_reason}
            journal.own(record.END, dumps(described))
    journal.close()
    return story.read(one.path)
