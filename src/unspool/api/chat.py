"""Chat Completions, the endpoint that nearly every compatible server speaks: ``POST /v1/chat/completions``.

Shapes are those of OpenAI's published OpenAPI document (2.3.0, ``CreateChatCompletionStreamResponse``) and of the servers named
beside what only they send.
"""

from __future__ import annotations

from unspool.api.chunks import ChunkDecoder
from unspool.api.deltas import Text
from unspool.api.prompt import finished
from unspool.jsontext import from_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from unspool.api.deltas import Delta
    from unspool.api.prompt import Prompt
    from unspool.sse import Event

PATH = "/chat/completions"


def build(prompt: Prompt, *, modern: bool = False) -> dict[str, Any]:
    """Return the request body that asks this prompt.

    ``modern`` names the token limit ``max_completion_tokens``, which OpenAI's reasoning models insist on; the default is the
    older ``max_tokens``, which every compatible server knows.
    """
    messages = list(prompt.messages)
    if prompt.system is not None:
        messages.insert(0, {"role": "system", "content": prompt.system})
    return finished(
        prompt,
        {
            "model": prompt.model,
            "messages": messages,
            "max_completion_tokens" if modern else "max_tokens": prompt.max_tokens,
            "temperature": prompt.temperature,
            "top_p": prompt.top_p,
            "stop": prompt.stop,
            "seed": prompt.seed,
            "n": prompt.n,
            "store": prompt.store or None,
            # Without it OpenAI streams no usage at all.
            "stream_options": {"include_usage": True},
        },
    )


class Decoder(ChunkDecoder):
    """Decodes a stream of ``chat.completion.chunk`` objects, or a whole ``chat.completion``."""

    def decode(self, events: Iterable[Event]) -> list[Delta]:
        """Return the deltas that these events carry, in order. Events after the end mark are ignored."""
        out: list[Delta] = []
        halves = self._halves
        # Hot: once for every token. A chunk whose one choice adds a piece of text and nothing else (but the role, which some
        # servers repeat) is decoded here; every other one goes to _take, which also understands this one.
        for event in () if self.done else events:
            try:
                chunk = from_json(event.utf8)
            except ValueError:
                self._take_unparsed(event, out)
                if self.done:
                    break
                continue
            if type(chunk) is dict and self._started and not halves and event.type != "error":
                choices = chunk.get("choices")
                if type(choices) is list and len(choices) == 1 and type(choices[0]) is dict:
                    choice = choices[0]
                    delta = choice.get("delta")
                    if type(delta) is dict and (len(delta) == 1 or (len(delta) == 2 and "role" in delta)):
                        text = delta.get("content")
                        index = choice.get("index")
                        if (
                            type(text) is str
                            and type(index) is int
                            and choice.get("finish_reason") is None
                            and chunk.get("usage") is None
                            and "x_groq" not in chunk
                            and "text" not in choice
                            and "error" not in chunk
                            and "error" not in choice
                        ):
                            if text:
                                out.append(Text(text, index))
                            continue
            self._take(event.type, chunk, out)
        return out
