"""The three text endpoints of the OpenAI API: prompt to request body, events to deltas, error body to failure. No I/O."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.api.decoder import Decoder
    from unspool.api.deltas import Failure
    from unspool.api.prompt import Prompt
    from unspool.jsontext import JsonObject

#: The endpoints by the names that ``--api`` takes.
NAMES = ("responses", "chat", "completions")


class Endpoint:
    """One of the three text endpoints of the OpenAI API. Has no state and does no I/O.

    - ``name`` is what ``--api`` and journals call it; ``path`` follows the base URL.
    - ``stores_responses`` says that the server can keep an answer, so that a later request can refer to it, and that one
      asked for in the background can be streamed again (`unspool.client.resume.connection`).
    - ``continues_text`` says that the model continues the prompt's own text, so that the rest of a cut answer is exact.
    """

    name: str
    path: str
    stores_responses = False
    continues_text = False

    def build(self, prompt: Prompt, *, is_openai: bool = False) -> JsonObject:
        """Return the request body that asks this prompt.

        ``is_openai`` says that OpenAI's own server is asked, which refuses some older fields that every compatible server
        knows. Raises ValueError for what this endpoint cannot take.
        """
        raise NotImplementedError

    def with_usage(self, body: JsonObject) -> JsonObject:
        """Return a request body for a stream that reports its usage."""
        # OpenAI reports none otherwise (CreateChatCompletionRequest, stream_options).
        return {**body, "stream_options": {"include_usage": True, **(body.get("stream_options") or {})}}

    def continued(self, body: JsonObject, partial: str, request: str) -> JsonObject:
        """Return the body that asks for the rest of an answer of which ``partial`` has arrived.

        ``request`` is what to say to the model where it has to be asked. Raises ValueError where that is not possible.
        """
        raise NotImplementedError

    def messages(self, body: JsonObject) -> tuple[str | None, list[JsonObject]]:
        """Return the system instruction and the conversation of a request body, as messages of Chat Completions.

        Takes any body, also one that the endpoint would refuse. Raises nothing.
        """
        raise NotImplementedError

    def history(self, body: JsonObject) -> list[JsonObject]:
        """Return the conversation of a request body as the next turn repeats it: `messages`, and the items that have no such form."""
        return self.messages(body)[1]

    def decoder(self, choices: int = 1) -> Decoder:
        """Return a decoder for one answer with this many choices."""
        raise NotImplementedError

    def explain(self, failure: Failure) -> str:
        """Return a sentence that says what to do if a failure comes from the endpoint itself, else ""."""
        return ""


def endpoint(name: str) -> Endpoint:
    """Return the endpoint of this name. Raises ValueError, which lists the three, when there is none."""
    # Imported only when asked for: a run pays for the one endpoint that it uses.
    if name == "responses":
        from unspool.api.responses import Responses

        return Responses()
    if name == "chat":
        from unspool.api.chat import Chat

        return Chat()
    if name == "completions":
        from unspool.api.completions import Completions

        return Completions()
    raise ValueError(f"no API called {name!r}: use responses, chat or completions")
