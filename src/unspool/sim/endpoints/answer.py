"""The answer to a conversation, by a script or by the simulator: where it ends, and why."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from unspool.sim.endpoints import texts, tokens
from unspool.sim.endpoints.formats import Format
from unspool.sim.endpoints.messages import Conversation
from unspool.sim.endpoints.request_identity import RequestIdentity
from unspool.sim.endpoints.tools import FUNCTION, Call, Toolbox
from unspool.sim.script import Citation, ScriptedAnswer, ScriptedUsage

TEXT, REFUSAL = "text", "refusal"


@dataclass(slots=True)
class Answer:
    """One answer, ended for ``finish_reason``: ``"stop"``, ``"tool_calls"``, ``"content_filter"``, or ``"length"`` when the limit cut it.

    ``tokens`` are its `TEXT`, or its `REFUSAL`; ``calls`` the tools that it calls afterwards; ``thought`` how many tokens were spent on
    thinking before. What a script says besides: ``reasoning``, the thoughts that are shown; ``citations`` of the text; ``logprobs``
    of the tokens; ``usage``.
    """

    tokens: Sequence[str]
    finish_reason: str
    kind: str = TEXT
    calls: Sequence[Call] = ()
    thought: int = 0
    reasoning: Sequence[str] = ()
    citations: Sequence[Citation] = ()
    logprobs: Sequence[float] = ()
    usage: ScriptedUsage = field(default_factory=ScriptedUsage)

    @property
    def text(self) -> str:
        return "".join(self.tokens)

    @property
    def speaks(self) -> bool:
        """Whether it has a text or a refusal, which may be empty, besides or instead of calls."""
        cut_while_thinking = self.finish_reason == "length" and not self.tokens
        return bool(self.tokens) or not (self.calls or cut_while_thinking)

    @property
    def length(self) -> int:
        """The number of its tokens, as they are billed."""
        return self.thought + len(self.tokens) + sum(len(call.tokens) for call in self.calls)

    def cited(self) -> list[tuple[Citation, int, int]]:
        """The citations, each with the begin and the end of the text that it is for."""
        text = self.text
        found = []
        for one in self.citations:
            begin = max(text.find(one.quoted), 0)
            found.append((one, begin, begin + len(one.quoted) if one.quoted else len(text)))
        return found


def scripted(script: ScriptedAnswer, toolbox: Toolbox, identity: RequestIdentity, *, refusals: bool = True) -> Answer:
    """The answer that a script gives. Limits and stop sequences do not cut it: it says itself how it ends."""
    text = script.text if script.refusal is None else script.refusal
    if script.json is not None:
        text = json.dumps(script.json, ensure_ascii=False, separators=(",", ":"))
    kinds = {tool.name: tool.kind for tool in toolbox.tools}
    calls = [
        Call(
            one.id or identity.id("call_", f"script {number}"),
            one.name,
            kinds.get(one.name, FUNCTION),
            _pieces(
                json.dumps(one.arguments, ensure_ascii=False, separators=(",", ":"))
                if isinstance(one.arguments, dict)
                else one.arguments
            ),
        )
        for number, one in enumerate(script.calls)
    ]
    reasoning = _pieces(script.reasoning)
    return Answer(
        _pieces(text),
        script.finish or ("tool_calls" if calls else "stop"),
        kind=REFUSAL if script.refusal is not None and refusals else TEXT,
        calls=calls,
        thought=len(reasoning) if script.usage.reasoning is None else script.usage.reasoning,
        reasoning=reasoning,
        citations=script.citations,
        logprobs=script.logprobs,
        usage=script.usage,
    )


def _pieces(text: str | Sequence[str] | None) -> Sequence[str]:
    """A text in its tokens, or in the pieces that it is given in."""
    return tokens.split(text) if isinstance(text, str) else tuple(text or ())


def end(text: str, *, limit: int | None = None, stop: Sequence[str] = ()) -> Answer:
    """End a text before the first of the ``stop`` sequences, or after ``limit`` tokens if that comes sooner."""
    found = [position for position in map(text.find, stop) if position >= 0]
    pieces = tokens.split(text[: min(found)] if found else text)
    if limit is not None and len(pieces) > limit:
        return Answer(pieces[:limit], "length")
    return Answer(pieces, "stop")


def answer(
    conversation: Conversation,
    script: ScriptedAnswer | None = None,
    *,
    toolbox: Toolbox,
    format: Format,
    identity: RequestIdentity,
    label: str = "",
    thinking: int = 0,
    limit: int | None = None,
    stop: Sequence[str] = (),
    refusals: bool = True,
) -> Answer:
    """Answer a conversation as the ``script`` says; or else by calling tools, refusing, or a text in the format asked for.

    The tokens of ``thinking`` come first, and count against the limit. Without ``refusals`` a refusal is a text like any other.
    """
    if script is not None:
        return scripted(script, toolbox, identity, refusals=refusals)
    if limit is not None and thinking >= limit:
        return Answer([], "length", thought=limit)
    limit = None if limit is None else limit - thinking
    prompt = conversation.prompt
    calls: list[Call] = []
    kind = TEXT
    if texts.REFUSE in prompt:
        kind = REFUSAL if refusals else TEXT
        choice = end(texts.refusal(), limit=limit)
    elif calls := toolbox.calls(prompt, identity, called=[one.name for one in conversation.results], label=label):
        calls, finish_reason = _within(calls, limit)
        choice = Answer([], finish_reason)
    elif format.json:
        # Cut by a limit alone: a stop sequence in it is none of the text's.
        choice = end(format.text(conversation, label), limit=limit)
    else:
        choice = end(texts.to(conversation, label), limit=limit, stop=stop)
    if texts.FILTER in prompt and not calls:
        choice = Answer(choice.tokens[: len(choice.tokens) // 2], "content_filter")
    return Answer(choice.tokens, choice.finish_reason, kind=kind, calls=calls, thought=thinking)


def _within(calls: Sequence[Call], limit: int | None) -> tuple[list[Call], str]:
    """The calls as far as the limit lets them be written, and why they end."""
    kept: list[Call] = []
    left = limit
    for call in calls:
        if left is not None and len(call.tokens) > left:
            # One that is cut before its arguments begin is not begun.
            return [*kept, *([Call(call.id, call.name, call.kind, call.tokens[:left])] if left else [])], "length"
        kept.append(call)
        left = None if left is None else left - len(call.tokens)
    return kept, "tool_calls"


def rounds(choices: Sequence[Answer]) -> Iterator[list[tuple[int, str | None]]]:
    """Take the choices' tokens side by side, as a model computes them: one token of each choice in a round.

    Each entry is a choice's index and its next token, or None in the round after its last.
    """
    longest = max((len(choice.tokens) for choice in choices), default=-1)
    for step in range(longest + 1):
        yield [
            (index, choice.tokens[step] if step < len(choice.tokens) else None)
            for index, choice in enumerate(choices)
            if step <= len(choice.tokens)
        ]
