"""Chat Completions, the endpoint that nearly every compatible server speaks: ``POST /v1/chat/completions``.

Shapes are those of OpenAI's published OpenAPI document (2.3.0, ``CreateChatCompletionStreamResponse``) and of the servers named
beside what only they send.
"""

from __future__ import annotations

from unspool.api import Endpoint
from unspool.api.chunks import ChunkDecoder
from unspool.api.prompt import finished, reasons, without_items

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from unspool.api.prompt import Prompt
    from unspool.jsontext import JsonObject


class Chat(Endpoint):
    """``POST /v1/chat/completions``."""

    name = "chat"
    path = "/chat/completions"

    def build(self, prompt: Prompt, *, is_openai: bool = False) -> JsonObject:
        """Return the request body that asks this prompt.

        The token limit is ``max_tokens``, which every compatible server knows. OpenAI's own servers, and OpenAI's reasoning
        models behind any gateway, refuse that name: for them it is ``max_completion_tokens``.
        """
        messages = without_items(prompt.messages)
        for message in messages:
            if type(message.get("content")) is list:
                _check(message["content"], is_openai)
        if prompt.system is not None:
            messages.insert(0, {"role": "system", "content": prompt.system})
        body = {
            "model": prompt.model,
            "messages": messages,
            "max_completion_tokens" if is_openai or reasons(prompt.model) else "max_tokens": prompt.max_tokens,
            "temperature": prompt.temperature,
            "top_p": prompt.top_p,
            "stop": prompt.stop,
            "seed": prompt.seed,
            "n": prompt.n,
            "store": prompt.store or None,
            # Without it OpenAI streams no usage at all.
            "stream_options": {"include_usage": True},
        }
        # Imported only where they are used: most prompts are plain text.
        if prompt.tools or prompt.tool_choice is not None:
            from unspool.api import tools

            body.update(tools.for_chat(prompt))
        if prompt.schema is not None:
            from unspool.api import schema

            body.update(schema.for_chat(prompt))
        return finished(prompt, body)

    def continued(self, body: JsonObject, partial: str, request: str) -> JsonObject:
        """Return the body with the partial answer, and the request for its rest, as two more messages."""
        turns = [{"role": "assistant", "content": partial}, {"role": "user", "content": request}]
        return {**body, "messages": [*(body.get("messages") or ()), *turns]}

    def messages(self, body: JsonObject) -> tuple[str | None, list[JsonObject]]:
        """Return the system instruction and the messages after it."""
        from unspool.api.conversation import with_system

        given = body.get("messages")
        return with_system(None, [one for one in given if type(one) is dict] if type(given) is list else [])

    def decoder(self, choices: int = 1) -> Decoder:
        """Return a decoder for one answer with this many choices."""
        return Decoder(choices)


def _check(parts: list[JsonObject], is_openai: bool) -> None:
    """Raise ValueError for a part of a message that is known not to be taken."""
    for part in parts:
        type = part.get("type")
        if type == "file" and "file_url" in part["file"]:
            raise ValueError("the chat API does not take files by URL: download it first, or use --api responses")
        if type == "input_audio" and is_openai and part["input_audio"].get("format") not in ("wav", "mp3"):
            raise ValueError(
                f"OpenAI takes audio as WAV or MP3, not as {part['input_audio'].get('format')}: convert it first"
            )


class Decoder(ChunkDecoder):
    """Decodes a stream of ``chat.completion.chunk`` objects, or a complete ``chat.completion``."""

    def _text(self, choice: JsonObject) -> Any:
        delta = choice.get("delta")
        # Some servers repeat the role.
        if type(delta) is not dict or not (len(delta) == 1 or (len(delta) == 2 and "role" in delta)):
            return None
        return delta.get("content") if "text" not in choice else None
