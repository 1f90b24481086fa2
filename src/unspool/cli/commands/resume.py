"""``unspool resume``: the rest of an answer that was cut."""

from __future__ import annotations

import os
import time

from unspool import outcome
from unspool.api.deltas import Text
from unspool.api.prompt import Prompt
from unspool.cli import formats
from unspool.cli.access import lacks_key, missing_key
from unspool.cli.commands.show import show
from unspool.cli.flags import LIMIT_OPTIONS, OUTPUT_OPTIONS
from unspool.cli.options import Option, scan
from unspool.cli.signals import Signals
from unspool.cli.streaming import stream, tell
from unspool.client import continuation
from unspool.client.answer import Answer, Limits
from unspool.client.exchange import Exchange, is_background
from unspool.client.replay import Replay
from unspool.client.resuming import end, endpoint_of
from unspool.client.transport import Reactor
from unspool.config.paths import streams_dir
from unspool.journal import folder, story, ulid
from unspool.journal.reader import Reader
from unspool.journal.writer import Writer
from unspool.terminal.output import Notes, Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from unspool.api.deltas import Delta
    from unspool.config import Settings
    from unspool.config.endpoint import Endpoint
    from unspool.journal.story import Story
    from unspool.outcome import Ending
    from unspool.sse import Event

OPTIONS = (
    Option(("--key",), "value", "the API key, where the profile has none", metavar="KEY"),
    *OUTPUT_OPTIONS,
    *LIMIT_OPTIONS,
)


def run(name: str, argv: list[str]) -> int:
    """Print what is kept of an answer and the rest of it, and return how that ended."""
    arguments = scan(OPTIONS, argv, "id")
    if arguments is None or len(arguments["id"]) > 1:
        from unspool.cli.parser import build, read

        parser = build(
            "unspool resume",
            OPTIONS,
            rest="id",
            metavar="ID",
            rest_help="any piece of an id that only one stream has (default: the last one)",
            examples="  unspool resume\n  unspool resume 7F3K9Q > answer.md",
            description="Print what is kept of a cut answer, and the rest of it. A background response is taken up where it broke,"
            " and is the same answer; everything else is asked for again, in a new stream, and said to be so.",
        )
        arguments = read(parser, argv)
        if len(arguments["id"]) > 1:
            parser.error("one ID at a time")
    notes = Notes(Output(2), quiet=arguments["quiet"])
    try:
        path = folder.locate(streams_dir(), arguments["id"][0] if arguments["id"] else None)
        return _resume(story.read(path), arguments, notes)
    except ValueError as error:  # NoJournal and Damage among them
        notes.line(str(error), always=True)
        return 1


def _resume(one: Story, arguments: dict[str, Any], notes: Notes) -> int:
    from unspool.config.settings import load

    short = ulid.short(one.id)
    if one.outcome == outcome.RUNNING:
        notes.line(f"{short} still runs: unspool attach {short} follows it", always=True)
        return 1
    settings = load()
    if arguments["reasoning"] == "auto":
        arguments["reasoning"] = settings.reasoning
    if one.outcome == outcome.INTERRUPTED and one.is_final:
        one = end(one, settings)
    if one.outcome in (outcome.COMPLETE, outcome.FILTERED):
        notes.line(f"{short} is whole already ({one.outcome})")
        return show(one.path, arguments, notes)
    if not one.body:
        notes.line(f"{short} does not say what was asked, so it cannot be asked again", always=True)
        return 1
    endpoint = endpoint_of(one, arguments["key"], settings)
    if lacks_key(endpoint):
        notes.line(missing_key(endpoint), always=True)
        return outcome.EXIT_CODES[outcome.UNAUTHORIZED]
    stdout = Output(1)
    with Signals(stdout, notes.output) as signals:
        format = formats.choose(arguments)(stdout)
        notes.before = getattr(format, "step_aside", None)
        if one.api == "responses" and one.response_id and is_background(one.body) and not one.is_final:
            ending = _take_up(one, endpoint, settings, arguments, format, notes, signals, stdout)
        else:
            ending = _ask_again(one, endpoint, settings, arguments, format, notes, signals, stdout)
    return ending.exit_code


def _take_up(
    one: Story,
    endpoint: Endpoint,
    settings: Settings,
    arguments: dict[str, Any],
    format: Any,
    notes: Notes,
    signals: Signals,
    stdout: Output,
) -> Ending:
    """Go on with a background response, in its own journal."""
    journal = Writer.reopen(one.path, sync=settings.sync)
    with Reader(one.path) as reader:
        replay = Replay(reader)
        for deltas, events, at in replay.turns():
            format.show(deltas, events, at)
    assert replay.decoder is not None
    if replay.decoder.ended:
        # Another process was quicker: it has taken the stream up and come to its end since we looked.
        journal.close()
        format.show(replay.close(), [], replay.at)
        format.close(replay.ending, one.id)
        return replay.ending
    exchange = _exchange(one, endpoint, arguments, one.body)
    exchange.take_up(journal, replay.decoder, max(0.0, time.time() - ulid.milliseconds(one.id) / 1000))
    return _stream(exchange, arguments, format, notes, signals, stdout)


def _ask_again(
    one: Story,
    endpoint: Endpoint,
    settings: Settings,
    arguments: dict[str, Any],
    format: Any,
    notes: Notes,
    signals: Signals,
    stdout: Output,
) -> Ending:
    """Ask for the rest in a new stream, whose parent is the cut one."""
    choices = max(one.body.get("n") or 1, len(one.texts))
    if choices > 1:
        raise ValueError(f"{ulid.short(one.id)} has {choices} choices; only an answer of one can be continued")
    body = continuation.rest_of(one)
    exchange = _exchange(one, endpoint, arguments, body)
    exchange.begin(Writer(streams_dir(), sync=settings.sync), parent=one.id)
    text = continuation.text_of(story.conversation(streams_dir(), one.id))
    # A completion goes on where its prompt stops; what it repeats there belongs to it.
    exact = one.api == "completions"
    if text:
        format.show([Text(text)], [], 0.0)
        words = (
            "is what the server makes of the prompt and this text"
            if exact
            else "was asked for anew, and is another answer"
        )
        notes.line(f"cut here; what follows {words} ({ulid.short(exchange.journal.id)})" if exchange.journal else words)
    return _stream(exchange, arguments, format if exact else _Joined(format, text), notes, signals, stdout)


def _exchange(one: Story, endpoint: Endpoint, arguments: dict[str, Any], body: dict[str, Any]) -> Exchange:
    prompt = Prompt([], one.model, stream=bool(body.get("stream")))
    return Exchange(
        endpoint,
        prompt,
        journal=None,
        api_name=one.api,
        body=body,
        retries=arguments["retries"],
        pid=os.getpid(),
    )


def _stream(
    exchange: Exchange, arguments: dict[str, Any], format: Any, notes: Notes, signals: Signals, stdout: Output
) -> Ending:
    limits = Limits(arguments["connect_timeout"], arguments["idle_timeout"], arguments["timeout"])
    with Answer(exchange, limits, reactor=Reactor(), keep_text=False) as answer:
        ending = stream(answer, format, notes, signals, stdout, arguments)
        tell(answer, ending, format, notes, arguments["verbose"])
    return ending


class _Joined:
    """A format that is shown a continuation, without what it repeats of the text before."""

    def __init__(self, format: Any, before: str) -> None:
        self._format = format
        self._seam = continuation.Seam(before)
        for name in ("due", "tick", "step_aside", "start_anew", "status", "get_ready", "lacks", "block"):
            if hasattr(format, name):
                setattr(self, name, getattr(format, name))

    def show(self, deltas: list[Delta], events: list[Event], at: float) -> None:
        """Show the deltas of one turn."""
        joined: list[Delta] = []
        for delta in deltas:
            if isinstance(delta, Text) and delta.choice == 0:
                text = self._seam.feed(delta.text)
                if text:
                    joined.append(Text(text))
            else:
                joined.append(delta)
        self._format.show(joined, events, at)

    def close(self, ending: Ending, id: str | None) -> None:
        """Show what the seam held back, and close the format."""
        rest = self._seam.close()
        if rest:
            self._format.show([Text(rest)], [], 0.0)
        self._format.close(ending, id)
