"""Kept answers, taken up again: the same answer where the server keeps it, and otherwise a new stream that asks for the rest."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from dataclasses import dataclass

from unspool import outcome
from unspool.api import endpoint
from unspool.api.deltas import Text
from unspool.api.prompt import Prompt
from unspool.client.exchange import Exchange, is_background
from unspool.client.facts import Messages
from unspool.client.resume import continuation
from unspool.config import ConfigError
from unspool.journal import folder, reader, summary, ulid
from unspool.journal.blocks import End, Request
from unspool.journal.reader import Reader
from unspool.journal.replay import Replay
from unspool.journal.writer import Busy, Writer
from unspool.masking import masked_fields, without_secrets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from unspool.api.deltas import Delta
    from unspool.config import Settings
    from unspool.config.target import Route, Target
    from unspool.journal.summary import Summary
    from unspool.jsontext import JsonObject
    from unspool.sse import Event


def read(path: str, settings: Settings) -> Summary:
    """The story of a kept stream, whose end is written where the server's had come and a killed process had no time for it."""
    one = summary.read(path)
    if one.outcome == outcome.INTERRUPTED and one.is_final:
        _end(one, settings)
        return summary.read(path)
    return one


def is_complete(one: Summary) -> bool:
    """Whether nothing is missing."""
    return one.outcome in (outcome.COMPLETE, outcome.FILTERED)


def is_at_server(one: Summary) -> bool:
    """Whether the server continues the stream and keeps it, so that its rest is that of the same answer."""
    if one.is_final:
        return False
    if one.stream_id is not None and bool(one.body.get("stream")):
        # Whoever cancels a stream stops it at the gateway too, and what is gone there is gone.
        is_gone = one.failure is not None and one.failure.status in (404, 410)
        return one.outcome not in (outcome.CANCELLED, outcome.CLOSED) and not is_gone
    return endpoint(one.api).stores_responses and bool(one.response_id) and is_background(one.body)


def target_of(one: Summary, key: str | None, settings: Settings) -> Target:
    """Where a kept stream was asked, with the key that belongs there."""
    from unspool.config.settings import resolve

    path = endpoint(one.api).path
    try:
        found = resolve(profile=one.profile, key=key, model=one.model, api=one.api, settings=settings)
        if found.url(path, one.model).partition("?")[0] == one.url:
            return found
    except ConfigError:
        pass  # the profile was nameless, or is gone
    return resolve(base_url=one.url.removesuffix(path), key=key, model=one.model, api=one.api, settings=settings)


@dataclass(slots=True)
class Resumed:
    """A kept answer that is taken up again. Its ``exchange`` brings what follows; its ``ending`` is set where nothing does.

    ``turns`` are those to show before: the deltas that arrived together, their events, and the seconds into the stream. ``seam`` takes away
    what a continuation repeats of them, None where a repetition would belong to the answer. ``is_same`` says that the answer continues in its
    own journal, under its own id.
    """

    exchange: Exchange
    one: Summary
    turns: list[tuple[list[Delta], list[Event], float]]
    seam: continuation.Seam | None = None
    is_same: bool = True

    @property
    def deltas(self) -> list[Delta]:
        """The deltas that are kept."""
        return [delta for deltas, _, _ in self.turns for delta in deltas]

    def asked(self) -> Messages:
        """What was asked first."""
        asked = Messages(self.one.history)
        asked.system = self.one.system
        return asked


def resume(
    one: Summary,
    target: Target,
    settings: Settings,
    *,
    retries: int,
    pid: int | None = None,
    use_proxy: bool = True,
    route: Route | None = None,
) -> Resumed:
    """Take up a kept answer: read it where it is complete, continue it where its server keeps it, and otherwise ask for the rest of it.

    What another process takes up and ends at the same time is complete. Raises Busy while another process still writes it, and ValueError
    for what cannot be continued.
    """

    def exchange(body: JsonObject) -> Exchange:
        return Exchange(
            target,
            Prompt([], one.model, stream=bool(body.get("stream"))),
            journal=None,
            api_name=one.api,
            body=body,
            retries=retries,
            pid=pid,
            use_proxy=use_proxy,
            tool_sources=one.tool_sources or None,
            route=route,
        )

    if is_complete(one):
        return _complete(one, exchange(one.body))
    return _take_up(one, exchange(one.body), settings) if is_at_server(one) else _ask_again(one, exchange, settings)


def _complete(one: Summary, exchange: Exchange) -> Resumed:
    with Reader(one.path) as journal_reader:
        replay = Replay(journal_reader)
        turns = list(replay.turns())
    turns.append((replay.close(), [], replay.at))
    assert replay.decoder is not None
    exchange.decoder, exchange.ending = replay.decoder, replay.ending
    # Closed: it names the stream, and can write nothing.
    exchange.journal = journal = Writer(None)
    journal.id, journal.path = one.id, one.path
    return Resumed(exchange, one, turns)


def _take_up(one: Summary, exchange: Exchange, settings: Settings) -> Resumed:
    """Continue a stream that the server keeps, in its own journal."""
    journal = Writer.reopen(one.path, sync=settings.sync)
    with Reader(one.path) as journal_reader:
        replay = Replay(journal_reader)
        turns = list(replay.turns())
    assert replay.decoder is not None
    if replay.decoder.ended:
        journal.close()
        return _complete(one, exchange)
    seconds = max(0.0, time.time() - ulid.milliseconds(one.id) / 1000)
    exchange.take_up(journal, replay.decoder, seconds, one.stream_id or "")
    return Resumed(exchange, one, turns)


def _ask_again(one: Summary, exchange_for: Callable[[JsonObject], Exchange], settings: Settings) -> Resumed:
    """Ask for the rest in a new stream, whose parent is the cut one."""
    choices = max(one.choices, len(one.texts))
    if choices > 1:
        raise ValueError(f"{ulid.short(one.id)} has {choices} choices; only an answer of one can be continued")
    if masked := masked_fields(one.body):
        raise ValueError(
            f"{ulid.short(one.id)} was sent with a secret that is not saved ({', '.join(masked)}), so it cannot be sent again"
        )
    body = continuation.rest_of(one)
    exchange = exchange_for(body)
    kept = os.path.dirname(one.path)
    text = continuation.text_of(summary.conversation(kept, one.id))
    with _locked(kept):
        # Of many that resume one stream at once only the first finds no stream that already does.
        if other := _running_rest(one, body, kept):
            short = ulid.short(other)
            raise Busy(f"{ulid.short(one.id)} is being resumed by another process as {short}")
        exchange.begin(Writer(kept, sync=settings.sync), parent=one.id)
    seam = None if endpoint(one.api).continues_text else continuation.Seam(text)
    return Resumed(exchange, one, [([Text(text)], [], 0.0)] if text else [], seam, is_same=False)


@contextmanager
def _locked(kept: str) -> Iterator[None]:
    """Keep other processes out that ask for the same, for the moment in which one stream of the folder is taken up.

    Does nothing where there are no locks, or the file of this one cannot be made: what follows then says why.
    """
    fd = -1
    try:
        fd = os.open(os.path.join(os.path.dirname(kept), "resume.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        import fcntl

        fcntl.flock(fd, fcntl.LOCK_EX)
    except (OSError, ImportError):
        pass
    try:
        yield
    finally:
        if fd >= 0:
            os.close(fd)


def _running_rest(one: Summary, body: JsonObject, kept: str) -> str | None:
    """The id of the running stream that asks for the rest of this one, None where there is none."""
    asked = without_secrets(body).body
    for id in reversed(folder.ids(kept)):
        if id < one.id:
            return None
        try:
            path = folder.path_of(kept, id)
            if id != one.id and reader.is_alive(path):
                request = Request.first(path)
                if request.parent == one.id and request.body == asked:
                    return id
        except OSError:
            continue  # removed since it was listed
    return None


def _end(one: Summary, settings: Settings) -> None:
    journal = Writer.reopen(one.path, sync=settings.sync)
    with Reader(one.path) as journal_reader:
        replay = Replay(journal_reader)
        for _ in replay.turns():
            pass
        decoder = replay.decoder
        if not journal_reader.ended and decoder is not None and decoder.failure is None:
            ending = outcome.judge(decoder, None)
            journal.put(End.of_ending(ending, decoder.usage, replay.at))
    journal.close()
