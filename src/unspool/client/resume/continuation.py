"""Going on from a kept stream: the next turn of its conversation, or the rest of an answer that was cut.

Only what a server keeps can be taken up as the same stream (`unspool.client.resume.connection`). Everything else is a new request, and
what it brings is a new answer, which must never pass for the old one.
"""

from __future__ import annotations

from unspool.api import NAMES, endpoint
from unspool.api.deltas import Text
from unspool.config.paths import streams_dir
from unspool.journal import summary, ulid
from unspool.journal.summary import GO_ON
from unspool.masking import without_secrets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.api.deltas import Delta
    from unspool.journal.blocks import Request
    from unspool.journal.summary import Summary
    from unspool.jsontext import JsonObject

# The shortest repetition that is taken for one. Of fewer characters two texts may agree by chance: "\\n- " often does.
_SHORTEST_OVERLAP = 8
_LONGEST_OVERLAP = 400


def messages(stories: list[Summary]) -> list[JsonObject]:
    """The messages of a conversation, its last answer included, partial or complete, from the stories of its streams, oldest first."""
    found: list[JsonObject] = []
    for story in stories:
        # A request carries the complete history, unless it left that to the server.
        before = found if story.body.get("previous_response_id") else []
        # Of several choices the first is what was answered.
        found = [*before, *story.history, *story.turn]
    return joined(found)


def joined(messages: list[JsonObject]) -> list[JsonObject]:
    """Return messages in which an answer and the rest that was asked for are one."""
    found: list[JsonObject] = []
    for message in messages:
        request, text = found[-1].get("content") if len(found) > 1 else None, message.get("content")
        is_rest = isinstance(request, str) and request.startswith(GO_ON) and message.get("role") == "assistant"
        before = found[-2].get("content") if is_rest else None
        if isinstance(before, str) and isinstance(text, str):
            seam = Seam(before)
            found[-2:] = [{**message, "content": before + seam.feed(text) + seam.close()}]
        else:
            found.append(message)
    return found


def pending_calls(messages: list[JsonObject]) -> dict[str, str]:
    """The calls of a conversation that have no result yet: their ids with the names of their tools."""
    pending: dict[str, str] = {}
    for message in messages:
        if message.get("role") == "tool":
            pending.pop(str(message.get("tool_call_id")), None)
        for call in message.get("tool_calls") or ():
            function = call.get("function") or call.get("custom") or {}
            pending[str(call.get("id"))] = str(function.get("name"))
    return pending


def rest_of(story: Summary) -> JsonObject:
    """The request body that asks for the rest of a cut answer, with all that the cut one asked for.

    For Completions it is exact: the prompt and what came of the answer, to go on from. The others are asked to go on.
    """
    partial = story.text
    return endpoint(story.api).continued(story.body, partial, GO_ON) if partial else dict(story.body)


def text_of(stories: list[Summary]) -> str:
    """The text of the last of these streams, oldest first, with the texts of those that it is the rest of."""
    text = ""
    for before, story in zip([None, *stories], stories, strict=False):
        if before is None or not is_rest(story, before):
            text = story.text
        elif endpoint(story.api).continues_text:
            text += story.text
        else:
            seam = Seam(text)
            text += seam.feed(story.text) + seam.close()
    return text


def before(request: Request) -> tuple[str, Seam | None]:
    """The text that a kept stream with this request continues, and the seam to it; nothing where it is an answer of its own.

    There is no seam where the server continues the text itself: what is repeated there belongs to it.
    """
    if request.parent is None or not ulid.is_ulid(request.parent) or request.api not in NAMES:
        return "", None
    try:
        chain = summary.conversation(streams_dir(), request.parent)
        if request.api != chain[-1].api or request.body != without_secrets(rest_of(chain[-1])).body:
            return "", None
    except (OSError, ValueError):
        return "", None  # no longer kept, or cannot be continued
    text = text_of(chain)
    return text, None if not text or endpoint(request.api).continues_text else Seam(text)


def is_rest(story: Summary, before: Summary) -> bool:
    """Return whether one stream is the rest of the answer of another."""
    try:
        return story.api == before.api and story.body == without_secrets(rest_of(before)).body
    except ValueError:
        return False


class Seam:
    """Takes away from the beginning of a continuation what it repeats of the end of the text before it, when it does so exactly.

    Holds pieces back only while they may still turn out to be such a repetition.
    """

    def __init__(self, before: str) -> None:
        self._before = before[-_LONGEST_OVERLAP:]
        self._held = ""
        self._open = len(before) >= _SHORTEST_OVERLAP

    def feed(self, text: str) -> str:
        """Return what can be shown of the continuation by now."""
        if not self._open:
            return text
        self._held += text
        if self._may_repeat_more():
            return ""
        return self.close()

    def joined(self, deltas: list[Delta]) -> list[Delta]:
        """Return what can be shown of these deltas by now."""
        if not self._open:
            return deltas
        kept: list[Delta] = []
        for delta in deltas:
            if type(delta) is Text and delta.choice == 0:
                text = self.feed(delta.text)
                if text:
                    kept.append(Text(text))
            else:
                kept.append(delta)
        return kept

    def close(self) -> str:
        """Return what was held back, without the repetition."""
        self._open = False
        held, self._held = self._held, ""
        for length in range(min(len(held), len(self._before)), _SHORTEST_OVERLAP - 1, -1):
            if self._before.endswith(held[:length]):
                return held[length:]
        return held

    def _may_repeat_more(self) -> bool:
        """Whether the text before ends in something that begins with all that is held, and is longer."""
        held, before = self._held, self._before
        at = before.find(held)
        while at >= 0:
            if at + len(held) < len(before):
                return True
            at = before.find(held, at + 1)
        return False
