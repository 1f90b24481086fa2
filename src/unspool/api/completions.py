"""The legacy Completions endpoint, plain text continued: ``POST /v1/completions``.

OpenAI itself has shut down the last models that it served here; vLLM, llama.cpp, SGLang, Ollama and others still do. Shapes
are those of OpenAI's published OpenAPI document (2.3.0, ``CreateCompletionResponse``), in which a streamed chunk and a complete
answer are the same object.
"""

from __future__ import annotations

from unspool.api import Endpoint
from unspool.api.chunks import ChunkDecoder
from unspool.api.prompt import finished, plain_text, without_items

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from unspool.api.deltas import Failure
    from unspool.api.prompt import Prompt
    from unspool.jsontext import JsonObject


class Completions(Endpoint):
    """``POST /v1/completions``."""

    name = "completions"
    path = "/completions"
    continues_text = True

    def build(self, prompt: Prompt, *, is_openai: bool = False) -> JsonObject:
        """Return the request body that asks this prompt: one user message exactly as typed, several joined by blank lines.

        Raises ValueError for content that is not text, and for tools and schemas, unless ``options`` has a field of that name.
        """
        asked = {"tools": prompt.tools, "tool_choice": prompt.tool_choice, "schema": prompt.schema}
        for name, value in asked.items():
            if value is not None and name not in prompt.options:
                raise ValueError(f"the completions API does not support {name}; use --api chat or --api responses")
        if any(message.get("role") == "tool" or message.get("tool_calls") for message in prompt.messages):
            raise ValueError(
                "the completions API does not support tool calls or their results; use --api chat or --api responses"
            )
        texts = [plain_text(message.get("content")) for message in without_items(prompt.messages)]
        if prompt.system is not None:
            texts.insert(0, prompt.system)
        return finished(
            prompt,
            {
                "model": prompt.model,
                "prompt": "\n\n".join(texts),
                "max_tokens": prompt.max_tokens,
                "temperature": prompt.temperature,
                "top_p": prompt.top_p,
                "stop": prompt.stop,
                "seed": prompt.seed,
                "n": prompt.n,
                "stream_options": {"include_usage": True},
            },
        )

    def continued(self, body: JsonObject, partial: str, request: str) -> JsonObject:
        """Return the body with the partial answer added to the prompt, which the model then continues."""
        prompt = body.get("prompt")
        if isinstance(prompt, list) and len(prompt) == 1:
            prompt = prompt[0]
        if not isinstance(prompt, str):
            raise ValueError("only an answer to one text prompt can be continued")
        return {**body, "prompt": prompt + partial}

    def messages(self, body: JsonObject) -> tuple[str | None, list[JsonObject]]:
        """Return each prompt as a user's message."""
        prompt = body.get("prompt")
        # A list of strings is several prompts, any other list one prompt given as tokens.
        is_several = type(prompt) is list and all(type(one) is str for one in prompt)
        return None, [{"role": "user", "content": one} for one in (prompt if is_several else [prompt])]  # type: ignore[union-attr]

    def decoder(self, choices: int = 1) -> Decoder:
        """Return a decoder for one answer with this many choices."""
        return Decoder(choices)

    def explain(self, failure: Failure) -> str:
        """Return what to do if this failure means that the legacy endpoint, or the model on it, is not served."""
        # 400 is what servers say that read the model's name before the path.
        if failure.status not in (None, 400, 404, 405):
            return ""
        message = failure.message.lower()
        advice = "use --api chat or --api responses"
        if "chat model" in message or "not supported in the v1/completions" in message:
            return f"this model is not served by the legacy completions endpoint: {advice}"
        if "deprecated" in message and (failure.status == 404 or failure.code == "model_not_found"):
            return f"this model has been shut down, like all that OpenAI served on the legacy endpoint: {advice} with a current one"
        if failure.status in (404, 405) and failure.code != "model_not_found" and "model" not in message:
            return f"this server does not serve the legacy completions endpoint: {advice}"
        return ""


class Decoder(ChunkDecoder):
    """Decodes a stream of ``text_completion`` objects, or a complete one."""

    def _text(self, choice: JsonObject) -> Any:
        return choice.get("text") if "delta" not in choice and "message" not in choice else None
