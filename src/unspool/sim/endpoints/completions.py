"""The legacy ``POST /v1/completions``: it continues the prompt's text. A streamed chunk has the shape of the complete answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from unspool.sim.endpoints import logprobs, texts, tokens
from unspool.sim.endpoints.answer import end, rounds, scripted
from unspool.sim.endpoints.fields import Fields, names
from unspool.sim.endpoints.messages import Conversation
from unspool.sim.endpoints.models import Rules
from unspool.sim.endpoints.request_identity import RequestIdentity
from unspool.sim.endpoints.tools import Toolbox
from unspool.sim.errors import RequestError
from unspool.sim.frames import DONE, Frame, JSONObject
from unspool.sim.script import Asked, Find

PATH = "/completions"

#: All fields that OpenAI's reference has.
FIELDS = names(
    """
    best_of echo frequency_penalty logit_bias logprobs max_tokens model n presence_penalty prompt seed stop
    stream stream_options suffix temperature top_p user
    """
)

# OpenAI's default (API reference, "max_tokens"): a completion without it stops mid-sentence, which surprises everybody once.
_DEFAULT_MAX_TOKENS = 16


class Completion:
    """The answer to one request. Raises RequestError for a request that OpenAI would refuse."""

    def __init__(
        self, fields: Fields, identity: RequestIdentity, rules: Rules | None = None, find: Find = lambda asked: None
    ) -> None:
        rules = rules or Rules()
        self.model = fields.required_text("model")
        model = rules.model(self.model)
        if rules.strict and model.chat_only:
            raise RequestError(
                "This is a chat model and not supported in the v1/completions endpoint. Did you mean to use "
                "v1/chat/completions?",
                status=404,
                param="model",
            )
        fields.refuse_unknown(FIELDS, rules, legacy=True)
        prompts = _prompts(fields)
        n = fields.integer("n", minimum=1, maximum=128) or 1
        limit = fields.integer("max_tokens", minimum=0)
        limit = _DEFAULT_MAX_TOKENS if limit is None else limit
        stop = fields.stop()
        fields.sampling()
        self.stream, self.include_usage, self.obfuscate = fields.streaming()
        best_of = fields.integer("best_of", minimum=1, maximum=20) or n
        if best_of < n:
            raise fields.wrong_value("best_of", f"must be at least n, which is {n}.")
        if self.stream and best_of > n:
            raise fields.wrong_value("best_of", "results cannot be streamed when best_of is greater than n.")
        suffix = fields.text("suffix") or ""
        self._top = fields.integer("logprobs", minimum=0, maximum=5)
        self.prompt_tokens = sum(map(tokens.count, prompts))
        longest = max(map(tokens.count, prompts))
        if longest + limit > model.window:
            raise RequestError(
                f"This model's maximum context length is {model.window} tokens, however you requested {longest + limit} tokens "
                f"({longest} in your prompt; {limit} for the completion). Please reduce your prompt; or completion length.",
                code="context_length_exceeded",
            )

        # The answers to a list of prompts are numbered through: all of the first prompt, then all of the second.
        conversation = Conversation(prompts[-1], self.prompt_tokens)
        self.script = find(Asked("completions", self.model, conversation))
        self.choices = [
            scripted(self.script, Toolbox(), identity, refusals=False)
            if self.script is not None
            else end(texts.prose(prompt, label, suffix), limit=limit, stop=stop)
            for prompt in prompts
            for label in texts.each(n)
        ]
        for choice, prompt in zip(self.choices, (prompt for prompt in prompts for _ in range(n)), strict=True):
            if texts.FILTER in prompt and self.script is None:
                choice.tokens = choice.tokens[: len(choice.tokens) // 2]
                choice.finish_reason = "content_filter"
        self._prompts = [prompt for prompt in prompts for _ in range(n)]
        self._echo = fields.flag("echo", False)
        self.tokens = max(len(choice.tokens) for choice in self.choices)
        self._head = {"id": identity.id("cmpl-"), "object": "text_completion", "created": identity.created}
        self._identity = identity

    def whole(self) -> JSONObject:
        """The answer as one object."""
        choices = []
        for index, choice in enumerate(self.choices):
            prompt = self._prompts[index]
            echoed = tokens.split(prompt) if self._echo else []
            text = "".join(echoed) + choice.text
            likely = self._likelihoods(
                [*echoed, *choice.tokens], offset=0 if self._echo else len(prompt), echoed=self._echo
            )
            choices.append(_choice(index, text, choice.finish_reason, likely))
        return {**self._head, "choices": choices, "model": self.model, "usage": self._usage()}

    def frames(self) -> Iterator[Frame]:
        """The answer as a stream: each choice's text, then a chunk without text that says why it ended."""
        offsets = [len(prompt) for prompt in self._prompts]
        last = [""] * len(self.choices)
        for index, prompt in enumerate(self._prompts if self._echo else []):
            echoed = tokens.split(prompt)
            last[index] = echoed[-1] if echoed else ""
            yield self._frame(_choice(index, prompt, None, self._likelihoods(echoed, offset=0, echoed=True)), prompt)
        for number, entries in enumerate(rounds(self.choices)):
            computed = 1
            for index, token in entries:
                if token is None:
                    yield self._frame(_choice(index, "", self.choices[index].finish_reason), "")
                    continue
                likely = None
                if self._top is not None:
                    likely = self._likelihoods([token], offset=offsets[index], before=last[index], number=number)
                    offsets[index] += len(token)
                    last[index] = token
                yield self._frame(_choice(index, token, None, likely), token, computed)
                computed = 0
        if self.include_usage:
            yield Frame.of({**self._head, "choices": [], "model": self.model, "usage": self._usage()})
        yield DONE

    def _frame(self, choice: JSONObject, text: str, computed: int = 0) -> Frame:
        chunk = {**self._head, "choices": [choice], "model": self.model}
        if self.include_usage:
            chunk["usage"] = None
        if self.obfuscate:
            chunk["obfuscation"] = self._identity.obfuscation(text)
        return Frame.of(chunk, tokens=computed)

    def _likelihoods(
        self, pieces: Sequence[str], *, offset: int, before: str = "", echoed: bool = False, number: int = 0
    ) -> JSONObject | None:
        if self._top is None:
            return None
        return logprobs.legacy(
            pieces,
            self._top,
            offset=offset,
            before=before,
            first_unknown=echoed,
            given=[] if echoed else self.choices[0].logprobs[number:],
        )

    def _usage(self) -> JSONObject:
        told = self.choices[0].usage
        prompt_tokens = self.prompt_tokens if told.input is None else told.input
        completion_tokens = sum(len(choice.tokens) for choice in self.choices) if told.output is None else told.output
        return {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        }


def _choice(index: int, text: str, finish_reason: str | None, likely: JSONObject | None = None) -> JSONObject:
    return {"text": text, "index": index, "logprobs": likely, "finish_reason": finish_reason}


def _prompts(fields: Fields) -> list[str]:
    """The prompts: a text, several, or lists of token numbers, which stand for themselves since no vocabulary is at hand."""
    match fields.required("prompt"):
        case str() as prompt:
            return [prompt]
        case [*prompts] if prompts and all(isinstance(prompt, str) for prompt in prompts):
            return prompts
        case [*numbers] if numbers and all(_is_token(number) for number in numbers):
            return [_numbers(numbers)]
        case [*lists] if lists and all(isinstance(numbers, list) and all(map(_is_token, numbers)) for numbers in lists):
            return [_numbers(numbers) for numbers in lists]
        case []:
            raise RequestError(
                "Invalid 'prompt': empty array. Expected an array with minimum length 1, but got an empty array instead.",
                param="prompt",
                code="empty_array",
            )
    raise fields.wrong_type("prompt", "a string, an array of strings, an array of token numbers or an array of those")


def _is_token(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _numbers(numbers: list[int]) -> str:
    return " ".join(map(str, numbers))
