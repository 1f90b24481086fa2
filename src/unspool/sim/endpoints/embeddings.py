"""``POST /v1/embeddings``: vectors of texts, the same for the same text and near each other for texts that share words.

Each word, and each three letters of it, adds to places of the vector that its hash names. So texts with the same words point the same
way, word forms of one stem nearly so, and texts with nothing in common in different ones. The meaning of words is not known here.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
import struct
from collections.abc import Iterator
from functools import lru_cache

from unspool.sim.endpoints import tokens
from unspool.sim.endpoints.fields import Fields
from unspool.sim.endpoints.models import Rules
from unspool.sim.errors import RequestError
from unspool.sim.frames import JSONObject

PATH = "/embeddings"
FIELDS = frozenset({"dimensions", "encoding_format", "input", "model", "user"})

_DIMENSIONS = {"text-embedding-3-large": 3_072}
_DEFAULT = 1_536
# "input" in the API reference.
_MOST_INPUTS, _MOST_TOKENS = 2_048, 8_192
_TRIGRAM_WEIGHT = 0.4


def answer(fields: Fields, rules: Rules) -> JSONObject:
    """The answer to one request. Raises RequestError for a request that OpenAI would refuse."""
    model = fields.required_text("model")
    rules.model(model)
    fields.refuse_unknown(FIELDS, rules)
    most = _DIMENSIONS.get(model, _DEFAULT)
    if model == "text-embedding-ada-002" and "dimensions" in fields:
        raise RequestError("This model does not support specifying dimensions.", param="dimensions")
    dimensions = fields.integer("dimensions", minimum=1, maximum=most) or most
    as_floats = (fields.one_of("encoding_format", ("float", "base64")) or "float") == "float"
    fields.text("user")
    texts = _texts(fields)
    counts = [tokens.count(text) for text in texts]
    if max(counts) > _MOST_TOKENS:
        raise RequestError(
            f"This model's maximum context length is {_MOST_TOKENS} tokens, however you requested {max(counts)} tokens.",
            param="input",
            code="context_length_exceeded",
        )
    vectors = [vector(text, most, dimensions) for text in texts]
    data = [
        {"object": "embedding", "index": index, "embedding": list(one) if as_floats else _base64(one)}
        for index, one in enumerate(vectors)
    ]
    usage = {"prompt_tokens": sum(counts), "total_tokens": sum(counts)}
    return {"object": "list", "data": data, "model": model, "usage": usage}


@lru_cache(maxsize=1_024)
def vector(text: str, most: int = _DEFAULT, dimensions: int = _DEFAULT) -> tuple[float, ...]:
    """The vector of a text, of length 1. A shorter one is the beginning of the longer one, as OpenAI's are."""
    values = [0.0] * most
    for feature, weight in _features(text):
        digest = hashlib.sha256(feature.encode("utf-8", "replace")).digest()
        for (place,) in struct.iter_unpack("<H", digest):
            values[place % most] += weight if place & 0x8000 else -weight
    values = values[:dimensions]
    length = math.sqrt(sum(value * value for value in values))
    if not length:
        return (1.0, *[0.0] * (dimensions - 1))
    return tuple(value / length for value in values)


def _features(text: str) -> Iterator[tuple[str, float]]:
    for word in re.findall(r"\w+", text.casefold()) or [text]:
        yield word, 1.0
        padded = f" {word} "
        for at in range(len(padded) - 2):
            yield padded[at : at + 3], _TRIGRAM_WEIGHT


def _base64(values: tuple[float, ...]) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


def _texts(fields: Fields) -> list[str]:
    """The inputs: a text, several, or lists of token numbers, which stand for themselves."""
    value = fields.required("input")
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list):
        raise fields.wrong_type("input", "a string or an array")
    if items and all(type(item) is int for item in items):
        items = [items]
    if not items or len(items) > _MOST_INPUTS or not all(items):
        raise RequestError(
            "'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference.",
            param="input",
        )
    texts = []
    for item in items:
        if isinstance(item, list) and all(type(number) is int for number in item):
            item = " ".join(map(str, item))
        if not isinstance(item, str):
            raise fields.wrong_type("input", "a string, an array of strings, or arrays of token numbers")
        texts.append(item)
    return texts
