"""Chat Completions, the endpoint that nearly every compatible server speaks: ``POST /v1/chat/completions``.

Shapes are those of OpenAI's published OpenAPI document (2.3.0, ``CreateChatCompletionStreamResponse``) and of the servers named
beside what only they send.
"""

from __future__ import annotations

from unspool.api.chunks import ChunkDecoder
from unspool.api.prompt import finished

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from unspool.api.prompt import Prompt

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

    def _plain(self, chunk: Any) -> tuple[str, int] | None:
        if type(chunk) is not dict:
            return None
        choices = chunk.get("choices")
        if type(choices) is not list or len(choices) != 1 or type(choices[0]) is not dict:
            return None
        choice = choices[0]
        delta = choice.get("delta")
        # Some servers repeat the role.
        if type(delta) is not dict or not (len(delta) == 1 or (len(delta) == 2 and "role" in delta)):
            return None
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
            return text, index
        return None
