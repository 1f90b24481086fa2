"""What Chat Completions and the legacy Completions share: chunks with ``choices``, each of which may add to its answer.

A complete, unstreamed answer of either is one such chunk, with ``message`` where a streamed one has ``delta``.
"""

from __future__ import annotations

from unspool.api.decoder import REASONING, REFUSAL, SIGNS_OF_LIFE, TEXT, Decoder, failure_in, is_number, word
from unspool.api.deltas import Text
from unspool.jsontext import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from unspool.api.deltas import Delta
    from unspool.jsontext import JsonObject


class ChunkDecoder(Decoder):
    """Decodes any chunk of any dialect, and the chunk that is nearly every one the short way: a piece of text and nothing else."""

    def __init__(self, choices: int = 1) -> None:
        super().__init__(choices)
        # The choices of which anything was seen: each needs its finish reason.
        self._seen: set[int] = set()
        self._cited: list[tuple[int, JsonObject]] = []
        # The field in which reasoning came: DeepSeek wants it back with a tool's result.
        self._reasoning_field = ""
        # The first choice's reasoning as OpenRouter has it, put together from its pieces.
        self._reasoning_details: list[JsonObject] = []

    def _has_ended(self) -> bool:
        """Whether every choice that was seen, and every one that was asked for, has its finish reason.

        After ``[DONE]`` those that were seen are enough, for many servers ignore ``n``. Where no choice ever had a reason,
        ``[DONE]`` is the end if a part of the answer came before it: some servers never send one.
        """
        if not self.finish_reasons:
            return self.done and self._has_content
        if not self._seen <= self.finish_reasons.keys():
            return False
        return self.done or len(self.finish_reasons) >= self.choices

    def what_is_missing(self) -> str:
        """Return a sentence on why a stream that was closed in good order has not ended."""
        missing = sorted(self._seen - self.finish_reasons.keys())
        if self.finish_reasons and missing:
            return f"the server closed the stream before the end of choice {missing[0]}"
        if self.finish_reasons:
            return f"the server closed the stream after {len(self.finish_reasons)} of {self.choices} choices"
        return super().what_is_missing()

    def _take_plain(self, chunk: JsonObject, plain: tuple[str, int], out: list[Delta]) -> None:
        self._seen.add(plain[1])
        if plain[0]:
            self._has_content = True
            out.append(Text(*plain))

    def _plain(self, chunk: object) -> tuple[str, int] | None:
        """Return the text and the choice of a chunk that adds a piece of text and says nothing else; None for any other."""
        if type(chunk) is not dict:
            return None
        choices = chunk.get("choices")
        if type(choices) is not list or len(choices) != 1 or type(choices[0]) is not dict:
            return None
        choice = choices[0]
        text = self._text(choice)
        index = choice.get("index")
        if (
            type(text) is str
            and is_number(index)
            and choice.get("finish_reason") is None
            and choice.get("logprobs") is None
            and chunk.get("usage") is None
            and "x_groq" not in chunk
            and "error" not in chunk
            and "error" not in choice
        ):
            return text, index
        return None

    def _text(self, choice: JsonObject) -> Any:
        """Return what a choice adds to the text, where it says nothing else; None for any other."""
        raise NotImplementedError

    def _take(self, type_: str, chunk: object, out: list[Delta]) -> None:
        if type_ == "error":
            from unspool.api import failure as failures

            self._fail(failures.read(chunk))
            return
        if type_ in SIGNS_OF_LIFE:
            return
        failure = failure_in(chunk)
        if failure is not None:
            self._fail(failure)
        if type(chunk) is dict:
            # An error may share its chunk with the last piece of text (OpenRouter).
            self._chunk(chunk, out)

    def _decode_whole(self, body: JsonObject) -> list[Delta]:
        out: list[Delta] = []
        self._chunk(body, out)
        self.done = True
        return out

    def _chunk(self, chunk: JsonObject, out: list[Delta]) -> None:
        self._start(out, chunk.get("id"), chunk.get("model"))
        self._take_usage(chunk)
        self.service_tier = self.service_tier or word(chunk.get("service_tier"))
        self.system_fingerprint = self.system_fingerprint or word(chunk.get("system_fingerprint"))
        for name in (
            "citations",
            "search_results",
        ):  # Perplexity, xAI: the same list with every chunk, or with the last
            self._cite(chunk.get(name), 0, out)
        choices = chunk.get("choices")
        if type(choices) is list:
            for position, choice in enumerate(choices):
                if type(choice) is dict:
                    index = choice.get("index")
                    self._choice(choice, index if is_number(index) else position, out)

    def _cite(self, given: object, choice: int, out: list[Delta]) -> None:
        """Take annotations, each once."""
        for one in given if type(given) is list else ():
            annotation = {"type": "url_citation", "url": one} if type(one) is str else one
            if type(annotation) is dict and (choice, annotation) not in self._cited:
                self._cited.append((choice, annotation))
                from unspool.api.parts import Annotation

                self._add_other(out, Annotation(clean(annotation), choice))

    def _take_usage(self, chunk: JsonObject) -> None:
        """Keep the latest usage: its own chunk at OpenAI, on the last or on each chunk elsewhere, in ``x_groq`` at Groq."""
        usage = chunk.get("usage")
        if not usage:
            groq = chunk.get("x_groq")
            usage = groq.get("usage") if type(groq) is dict else None
        if usage and type(usage) is dict:
            self._usage = usage

    def _choice(self, choice: JsonObject, index: int, out: list[Delta]) -> None:
        self._seen.add(index)
        message = choice.get("delta")
        if type(message) is not dict:
            message = choice.get("message")
        if type(message) is dict:
            self._message(message, index, out)
        text = choice.get("text")
        if type(text) is str:
            self._piece(out, TEXT, text, index)
        logprobs = choice.get("logprobs")
        if logprobs and type(logprobs) is dict:
            from unspool.api.parts import Logprobs

            self._add_other(out, Logprobs(clean(logprobs), index))
        error = choice.get("error")
        if error:
            from unspool.api import failure as failures

            self._fail(failures.read(error))
        # Some servers send "" for null in every chunk.
        reason = word(choice.get("finish_reason"))
        if reason and reason != "null":  # DashScope's word for none
            native = word(choice.get("native_finish_reason"))
            if native:
                self.native_finish_reasons[index] = native
            self._finish(out, reason, index)

    def _message(self, message: JsonObject, choice: int, out: list[Delta]) -> None:
        self._reasoning(message, choice, out)
        content = message.get("content")
        if type(content) is str:
            self._piece(out, TEXT, content, choice)
        elif type(content) is list:
            self._parts(content, choice, out)
        self._other_fields(message, choice, out)
        refusal = message.get("refusal")
        if type(refusal) is str:
            self._piece(out, REFUSAL, refusal, choice)
        calls = message.get("tool_calls")
        if type(calls) is list:
            for call in calls:
                if type(call) is dict:
                    self._tool_call(call, choice, out)
        legacy = message.get("function_call")
        if type(legacy) is dict:
            self._fragment(out, choice, 0, None, word(legacy.get("name")), arguments_text(legacy.get("arguments")))

    def _other_fields(self, message: JsonObject, choice: int, out: list[Delta]) -> None:
        """Read content other than text: annotations, audio, pictures (OpenRouter, LiteLLM), encrypted reasoning (OpenRouter)."""
        self._cite(message.get("annotations"), choice, out)
        audio = message.get("audio")
        if type(audio) is dict:
            data, transcript = word(audio.get("data")) or "", word(audio.get("transcript")) or ""
            if data or transcript:
                from unspool.api.parts import Audio

                self._add_other(out, Audio(data, transcript, word(audio.get("id")), choice))
        images = message.get("images")
        for one in images if type(images) is list else ():
            image = one.get("image_url") if type(one) is dict else one
            url = word(image.get("url") if type(image) is dict else image)
            if url:
                from unspool.api.parts import Image

                self._add_other(out, Image(url, False, choice))
        details = message.get("reasoning_details")
        for one in details if type(details) is list else ():
            if type(one) is dict:
                if choice == 0:
                    _add_detail(self._reasoning_details, clean(one))
                # Those in plain text come in "reasoning" too.
                if one.get("data"):
                    from unspool.api.parts import Item

                    self._add_other(out, Item(clean(one), choice))

    def reasoning_fields(self, reasoning: str) -> JsonObject:
        """Return the fields in which this server had reasoning: DeepSeek and OpenRouter refuse the results of calls without it."""
        fields: JsonObject = {self._reasoning_field: reasoning} if self._reasoning_field and reasoning else {}
        return {**fields, "reasoning_details": self._reasoning_details} if self._reasoning_details else fields

    def _reasoning(self, message: JsonObject, choice: int, out: list[Delta]) -> None:
        """Take ``reasoning_content`` (DeepSeek, llama.cpp, SGLang) and ``reasoning`` (Ollama, vLLM, OpenRouter).

        Gateways send both with the same text, so that either kind of client finds it.
        """
        old, new = _text_of(message.get("reasoning_content")), _text_of(message.get("reasoning"))
        if old or new:
            self._reasoning_field = "reasoning_content" if old else "reasoning"
        if old:
            self._piece(out, REASONING, old, choice)
        if new and new != old:
            self._piece(out, REASONING, new, choice)

    def _parts(self, parts: list[Any], choice: int, out: list[Delta]) -> None:
        """Take content that is an array of parts, as Mistral sends to tell thinking from text."""
        for part in parts:
            if type(part) is not dict:
                self._piece(out, TEXT, _text_of(part), choice)
            elif part.get("thinking"):
                self._piece(out, REASONING, _text_of(part["thinking"]), choice)
            elif part.get("refusal"):
                self._piece(out, REFUSAL, _text_of(part["refusal"]), choice)
            else:
                self._piece(out, TEXT, _text_of(part.get("text")), choice)

    def _tool_call(self, call: JsonObject, choice: int, out: list[Delta]) -> None:
        function = call.get("function")
        given = "arguments"
        is_custom = type(function) is not dict and type(call.get("custom")) is dict
        if is_custom:
            function, given = call.get("custom"), "input"
        if type(function) is not dict:
            function = {}
        index = call.get("index")
        begun = self._fragment(
            out,
            choice,
            index if type(index) is int else None,
            word(call.get("id")),
            word(function.get("name")),
            arguments_text(function.get(given)),
        )
        begun.is_text = begun.is_text or is_custom
        extra = call.get("extra_content")
        if type(extra) is dict:
            begun.extra = clean(extra)


def _add_detail(details: list[JsonObject], piece: JsonObject) -> None:
    """Add a piece of OpenRouter's ``reasoning_details``, which has to be handed back as one: texts grow, other fields are set."""
    last = details[-1] if details else {}
    if not last or (last.get("type"), last.get("index")) != (piece.get("type"), piece.get("index")):
        details.append(piece)
        return
    for name, value in piece.items():
        if name in ("text", "summary", "data") and type(value) is str and type(last.get(name)) is str:
            last[name] += value
        elif value is not None:
            last[name] = value


def arguments_text(arguments: object) -> str:
    """Return a call's arguments as JSON text; some servers send the object itself."""
    if type(arguments) is str:
        return arguments
    if arguments is None:
        return ""
    from json import dumps

    try:
        return dumps(arguments, ensure_ascii=False)
    except (ValueError, RecursionError):
        return ""


def _text_of(value: object) -> str:
    """Return the text in a field that holds a str, or a list of strs and text parts."""
    if type(value) is str:
        return value
    if type(value) is not list:
        return ""
    texts = [part.get("text") if type(part) is dict else part for part in value]
    return "".join(text for text in texts if type(text) is str)
