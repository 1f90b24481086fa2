"""Conversations, which `-c`, `--cid` and `--name` continue."""

from __future__ import annotations

from unspool.api import endpoint
from unspool.cli.access import SIMULATOR
from unspool.cli.options import UsageError
from unspool.client.resume import continuation
from unspool.client.resume.kept import target_of
from unspool.config import close
from unspool.config.paths import streams_dir
from unspool.journal import folder, names, summary, ulid
from unspool.outcome import COMPLETE
from unspool.value import Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeVar

    from unspool.cli.options.ask import AskOptions
    from unspool.client.exchange import Exchange
    from unspool.config import Settings
    from unspool.config.target import Target
    from unspool.journal.summary import Summary
    from unspool.jsontext import JsonObject
    from unspool.terminal.output import Notes

    _Options = TypeVar("_Options", bound=AskOptions)


class History(Fields):
    """What was said so far: ``messages`` with the last answer among them, and the ``system`` instruction.

    ``parent`` is the id of the stream that said it last. ``target`` is where, None when another is to be asked.
    ``response_id`` is the server's id for what it said, where it keeps that, so that it need not be sent again. ``tools`` are those that
    the model could call.
    """

    messages: list[JsonObject]
    system: str | None
    parent: str
    target: Target | None
    response_id: str | None
    tools: Sequence[JsonObject] = ()

    @property
    def pending(self) -> dict[str, str]:
        """The calls that wait for their results: their ids with the names of the tools."""
        return continuation.pending_calls(self.messages)


def chosen(options: _Options, notes: Notes) -> _Options:
    """The options with the conversation that they continue as ``cid``: a name is one that exists, or of a new one.

    They ask the built-in simulator where that has answered last, whose address is gone by now. Raises UsageError.
    """
    kept = streams_dir()
    words = options.prompt
    if options.continues and not options.name and words and names.exists(kept, words[0]):
        options = options.replace(name=words[0], continues=False, prompt=words[1:])
        notes.line(f"continuing the conversation {options.name}")
    elif options.continues and len(words) == 2 and " " in words[1] and words[0].isalnum():
        # A word before a prompt in quotes is hardly part of it.
        match = close(words[0], names.heads(kept))
        guess = f" (did you mean {match}?)" if match else ""
        raise UsageError(
            f"no conversation is called {words[0]}{guess}; to start one: --name {words[0]}; to send all of it as a prompt, put it in quotes"
        )
    if options.name:
        options = _named(kept, options.name, options)
    if not (options.continues or options.cid) or options.sim or options.names_server:
        return options
    newest = _last(options.cid)
    if newest.profile != SIMULATOR:
        return options
    return options.replace(sim=True, api=options.api or newest.api, model=options.model or newest.model)


def _named(kept: str, name: str, options: _Options) -> _Options:
    """The options with the head of a named conversation. ``-c`` and ``--cid`` beside the name give it to theirs."""
    try:
        head = names.head(kept, names.checked(name))
    except ValueError as error:
        raise UsageError(str(error)) from error
    if options.continues or options.cid:
        newest = _last(options.cid).id
        if head not in (None, newest):
            raise UsageError(f"another conversation is called {name}: unspool -c {name} continues that")
        if not options.dry_run:
            names.add(kept, name, newest)
        return options.replace(continues=False, cid=newest)
    if head is None and options.no_log:
        raise UsageError("--name does not work with -n, which saves nothing")
    return options.replace(cid=head)


def call(name: str, exchange: Exchange, notes: Notes) -> None:
    """Add a stream that has begun to the conversation of this name. An answer is worth more than its name: what prevents it is a note."""
    journal = exchange.journal
    if journal is not None and journal.path is not None:
        try:
            names.add(streams_dir(), name, journal.id)
        except OSError as error:
            short = ulid.short(journal.id)
            why = f"{error.filename}: {error.strerror}"
            notes.line(
                f"the name is not saved ({why}); once that is solved: unspool log rename {short} {name}", always=True
            )


def of(options: AskOptions, settings: Settings) -> History:
    """The conversation that the options continue, at the same server and with the same model unless they name others. Raises UsageError."""
    stories = summary.conversation(streams_dir(), _last(options.cid).id)
    newest = stories[-1]
    is_elsewhere = options.profile or options.model or options.api or options.sim
    target = None if is_elsewhere else target_of(newest, options.key, settings)
    if target is not None and options.base_url is not None and options.base_url.rstrip("/") != target.base_url:
        target = None
    is_stored = (
        endpoint(newest.api).stores_responses and newest.body.get("store") is True and newest.outcome == COMPLETE
    )
    return History(
        continuation.messages(stories),
        newest.system,
        newest.id,
        target,
        newest.response_id if is_stored and target is not None else None,
        tools if type(tools := newest.body.get("tools")) is list else (),
    )


def before(history: History, messages: list[JsonObject]) -> History | None:
    """What was said before the last turn of a conversation: these messages. None where that was the first."""
    if not messages:
        return None
    kept = streams_dir()
    try:
        parent = summary.read(folder.path_of(kept, history.parent)).parent or ""
    except (OSError, summary.NoJournal):
        parent = ""
    return History(messages, None, parent, None, None)


def _last(piece: str | None) -> Summary:
    """The answer to continue: the one that a piece of an id names, or else the newest that has an answer. Raises UsageError.

    One that failed before its first token cannot be continued.
    """
    kept = streams_dir()
    if piece:
        try:
            return summary.read(folder.locate(kept, piece))
        except folder.NotFound as error:
            raise UsageError(str(error)) from error
    for id in reversed(folder.ids(kept)):
        try:
            one = summary.read(folder.path_of(kept, id))
        except (OSError, summary.NoJournal):
            continue
        if one.turn:
            return one
    raise UsageError("there is no conversation to continue yet")
