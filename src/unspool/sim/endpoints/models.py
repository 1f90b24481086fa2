"""``GET /v1/models``, and what a model's name stands for: how much it reads and writes, whether it thinks before it answers.

The endpoints answer to any name, unless `Rules` say which ones there are. A name that OpenAI has used has that model's limits, as its
"Models" page gives them; any other reads 128,000 tokens, writes as many as it likes, and takes every parameter.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from unspool.sim.errors import RequestError
from unspool.sim.frames import JSONObject

PATH = "/models"

# One of the simulator's own, and the ones that programs written for OpenAI most often ask for.
_NAMES = ("sim-1", "gpt-5.4-mini", "gpt-5.4", "gpt-4o-mini", "gpt-3.5-turbo-instruct")

#: The time of all models, and of answers without a clock: the first second of 2026.
CREATED = 1767225600

#: Whether a model thinks: never, always, or as the request asks.
NEVER, ALWAYS, ASKED = "never", "always", "asked"

_UNKNOWN_WINDOW = 128_000

# The first that matches counts. The window and the longest answer in tokens, whether it thinks, and whether it has chat alone.
_FAMILIES: tuple[tuple[str, int, int, str, bool], ...] = (
    (r"gpt-3\.5-turbo-instruct", 4_096, 4_096, NEVER, False),
    (r"(davinci|babbage)-002", 16_384, 16_384, NEVER, False),
    (r"gpt-3\.5", 16_385, 4_096, NEVER, True),
    (r"gpt-4o", 128_000, 16_384, NEVER, True),
    (r"gpt-4\.1", 1_047_576, 32_768, NEVER, True),
    (r"gpt-4-turbo", 128_000, 4_096, NEVER, True),
    (r"gpt-4(-|$)", 8_192, 8_192, NEVER, True),
    (r"gpt-5[^/]*-chat", 128_000, 16_384, NEVER, True),
    # From 5.1 on the effort is "none" unless one is asked for ("Reasoning models").
    (r"gpt-5\.", 400_000, 128_000, ASKED, True),
    (r"gpt-5", 400_000, 128_000, ALWAYS, True),
    (r"o[1-9](-|$)", 200_000, 100_000, ALWAYS, True),
)


@dataclass(slots=True)
class Model:
    """One model: ``window`` is the tokens of a prompt and its answer together, ``longest`` those of an answer, None without end.

    ``thinks`` is `NEVER`, `ALWAYS` or `ASKED`. ``known`` says that it is one of OpenAI's, and ``chat_only`` that the legacy
    endpoint does not have it.
    """

    name: str
    window: int
    longest: int | None
    thinks: str
    known: bool = True
    chat_only: bool = False


@dataclass(slots=True)
class Rules:
    """The rules that differ between servers.

    ``models`` are the only names answered to; None is any. ``context_window`` is every model's, in tokens; None is each one's own.
    ``strict`` has OpenAI's models insist on their endpoints and parameters; ``lenient`` lets fields pass that OpenAI does not know.
    ``refusals``: whether a refusal is not a text, as at OpenAI and few others. ``completes_at_limit``: whether a response that
    the token limit cuts is called completed, as llama.cpp does. ``bytes_in_deltas``: whether a stream of responses
    has the bytes of tokens, which OpenAI leaves out and Open Responses requires. ``reasoning_field`` is where chat has the thoughts that a
    script gives it, which OpenAI never shows.
    """

    models: Sequence[str] | None = None
    context_window: int | None = None
    strict: bool = False
    lenient: bool = False
    refusals: bool = True
    completes_at_limit: bool = False
    bytes_in_deltas: bool = False
    reasoning_field: str = "reasoning_content"

    def model(self, name: str) -> Model:
        """The model of that name. Raises RequestError (404) when there is none."""
        if self.models is not None and name not in self.models:
            raise _not_found(name)
        window = self.context_window
        # A provider's or a fine-tuned model's name has the family's in it: openai/gpt-4o, ft:gpt-4o-mini:acme::7.
        base = name.removeprefix("ft:").rpartition("/")[2]
        for pattern, own_window, longest, thinks, chat_only in _FAMILIES:
            if re.match(pattern, base):
                return Model(name, window or own_window, longest, thinks, chat_only=chat_only)
        return Model(name, window or _UNKNOWN_WINDOW, None, ASKED, known=False)


def listing(rules: Rules | None = None) -> JSONObject:
    """All models."""
    return {"object": "list", "data": [_model(name) for name in _names(rules)]}


def one(name: str, rules: Rules | None = None) -> JSONObject:
    """The model of that name. Raises RequestError (404) when it is not in the list."""
    if name not in _names(rules):
        raise _not_found(name)
    return _model(name)


def _names(rules: Rules | None) -> Sequence[str]:
    return _NAMES if rules is None or rules.models is None else rules.models


def _not_found(name: str) -> RequestError:
    return RequestError(
        f"The model '{name}' does not exist or you do not have access to it.",
        status=404,
        param="model",
        code="model_not_found",
    )


def _model(name: str) -> JSONObject:
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "unspool"}
