"""Conversations, which `-c` and `--cid` continue."""

from __future__ import annotations

from unspool.api import endpoint
from unspool.client.kept import continuation
from unspool.client.kept.rest import endpoint_of
from unspool.config.paths import streams_dir
from unspool.journal import folder, summary
from unspool.outcome import COMPLETE
from unspool.value import Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from unspool.config import Settings
    from unspool.config.target import Target
    from unspool.journal.summary import Summary
    from unspool.jsontext import JsonObject


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


def find(
    piece: str | None, key: str | None, settings: Settings, *, same_server: bool, base_url: str | None = None
) -> History:
    """The conversation of the stream that a piece of an id names, or else of the last one that has an answer.

    It continues at the ``same_server``, with the same model, unless ``base_url`` is another's. Raises `unspool.journal.folder.NotFound`.
    """
    stories = summary.conversation(streams_dir(), last(piece).id)
    newest = stories[-1]
    target = endpoint_of(newest, key, settings) if same_server else None
    if target is not None and base_url is not None and base_url.rstrip("/") != target.base_url:
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


def last(piece: str | None) -> Summary:
    """The answer to continue: the one that a piece of an id names, or else the newest that has an answer. Raises NotFound.

    One that failed before its first token cannot be continued.
    """
    kept = streams_dir()
    if piece:
        return summary.read(folder.locate(kept, piece))
    for id in reversed(folder.ids(kept)):
        try:
            one = summary.read(folder.path_of(kept, id))
        except (OSError, summary.NoJournal):
            continue
        if one.turn:
            return one
    raise folder.NotFound("there is no conversation to continue yet")
