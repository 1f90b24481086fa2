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

    ``modern`` is for OpenAI's own servers, and names the token limit ``max_completion_tokens``. So it is also named for OpenAI's
    reasoning models wherever they are asked, for they refuse ``max_tokens``, and gateways hand on what they get; otherwise it is that
    older name, which every compatible server knows. Raises ValueError for what this endpoint cannot take.
    """
    messages = list(prompt.messages)
    for message in messages:
        if type(message.get("content")) is list:
            _check(message["content"], modern)
    if prompt.system is not None:
        messages.insert(0, {"role": "system", "content": prompt.system})
    body = {
        "model": prompt.model,
        "messages": messages,
        "max_completion_tokens" if modern or _reasons(prompt.model) else "max_tokens": prompt.max_tokens,
        "temperature": prompt.temperature,
        "top_p": prompt.top_p,
        "stop": prompt.stop,
        "seed": prompt.seed,
        "n": prompt.n,
        "store": prompt.store or None,
        # Without it OpenAI streams no usage at all.
        "stream_options": {"include_usage": True},
    }
    # Imported only where they are used: most prompts are words.
    if prompt.tools or prompt.tool_choice is not None:
        from unspool.api import tools

        body.update(tools.for_chat(prompt))
    if prompt.schema is not None:
        from unspool.api import schema

        body.update(schema.for_chat(prompt))
    return finished(prompt, body)


def _reasons(model: str) -> bool:
    """Whether this is the name of one of OpenAI's reasoning models, which gateways put their names for providers before."""
    name = model.rpartition("/")[2]
    return name.startswith("gpt-5") or name.partition("-")[0] in ("o1", "o3", "o4")


def _check(parts: list[dict[str, Any]], modern: bool) -> None:
    """Raise ValueError for a part of a message that is known not to be taken."""
    for part in parts:
        type = part.get("type")
        if type == "file" and "file_url" in part["file"]:
            raise ValueError("the chat API takes no file by its URL: download it first, or use --api responses")
        if type == "input_audio" and modern and part["input_audio"].get("format") not in ("wav", "mp3"):
            raise ValueError(
                f"OpenAI takes audio as WAV or MP3, not as {part['input_audio'].get('format')}: convert it first"
            )


class Decoder(ChunkDecoder):
    """Decodes a stream of ``chat.completion.chunk`` objects, or a whole ``chat.completion``."""

    def _text(self, choice: dict[str, Any]) -> Any:
        delta = choice.get("delta")
        # Some servers repeat the role.
        if type(delta) is not dict or not (len(delta) == 1 or (len(delta) == 2 and "role" in delta)):
            return None
        return delta.get("content") if "text" not in choice else None
