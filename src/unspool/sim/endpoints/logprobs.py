"""Made-up log probabilities: plausible numbers, the same for the same token after the same one.

The token itself has the highest probability. Its alternatives share the rest, each with less than the one before.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence

from unspool.sim.frames import JSONObject

# What might have come instead of any token.
_OTHERS = (
    " the",
    " a",
    ",",
    ".",
    " and",
    " of",
    " to",
    " in",
    " is",
    " it",
    " that",
    " for",
    " with",
    " as",
    "\n",
    " on",
    " was",
    " by",
    " an",
    " this",
    " or",
    " be",
)


class Likelihood:
    """The natural logarithms of the probabilities of one token and of ``others``, likeliest first."""

    __slots__ = ("token", "logprob", "others")

    def __init__(self, token: str, before: str, alternatives: int, logprob: float | None = None) -> None:
        drawn = zlib.crc32(f"{before}\n{token}".encode("utf-8", "replace"))
        # Between a half and nearly one.
        likely = 0.5 + 0.4999 * (drawn % 9_973) / 9_973
        self.token = token
        if logprob is not None:
            likely = math.exp(logprob)
        self.logprob = _rounded(likely) if logprob is None else logprob
        begin = drawn % len(_OTHERS)
        others = [each for each in (*_OTHERS[begin:], *_OTHERS[:begin]) if each != token][:alternatives]
        self.others = [
            (each, _rounded(max(1 - likely, 1e-6) * 0.6**place / 2.6)) for place, each in enumerate(others, 1)
        ]


def _rounded(probability: float) -> float:
    return round(math.log(probability), 6)


def each(tokens: Sequence[str], top: int, *, before: str = "", given: Sequence[float] = ()) -> Iterator[Likelihood]:
    """The likelihood of each token. ``top`` is how many are listed for each place, the token itself among them.

    ``given`` are the logarithms of the first tokens' probabilities, where a script says them.
    """
    for number, token in enumerate(tokens):
        yield Likelihood(token, before, max(top - 1, 0), given[number] if number < len(given) else None)
        before = token


def modern(
    tokens: Sequence[str], top: int, *, before: str = "", with_bytes: bool = True, given: Sequence[float] = ()
) -> list[JSONObject]:
    """As chat and responses write them. A stream of responses leaves the ``bytes`` out."""

    def entry(token: str, logprob: float) -> JSONObject:
        # A prompt's quote may have half a surrogate pair.
        raw = {"bytes": list(token.encode("utf-8", "surrogatepass"))} if with_bytes else {}
        return {"token": token, "logprob": logprob, **raw}

    return [
        {
            **entry(one.token, one.logprob),
            "top_logprobs": [entry(*pair) for pair in ((one.token, one.logprob), *one.others)] if top else [],
        }
        for one in each(tokens, top, before=before, given=given)
    ]


def legacy(
    tokens: Sequence[str],
    top: int,
    *,
    offset: int,
    before: str = "",
    first_unknown: bool = False,
    given: Sequence[float] = (),
) -> JSONObject:
    """As completions write them. ``offset`` is where in prompt and answer the first token stands.

    ``first_unknown``: nothing comes before the first token of an echoed prompt, so there is no saying how likely it was.
    """
    likelihoods = list(each(tokens, top, before=before, given=given))
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token)
    logprobs: list[float | None] = [one.logprob for one in likelihoods]
    tops: list[dict[str, float] | None] = [dict([(one.token, one.logprob), *one.others]) for one in likelihoods]
    if first_unknown and tokens:
        logprobs[0] = tops[0] = None
    return {
        "tokens": list(tokens),
        "token_logprobs": logprobs,
        "top_logprobs": tops if top else None,
        "text_offset": offsets,
    }
