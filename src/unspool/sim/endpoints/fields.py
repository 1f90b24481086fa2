"""A request's body or query, read field by field. A missing field, or one of the wrong type, raises RequestError with OpenAI's code.

A field that is null counts as absent, as it does at OpenAI. A field at the top of a body that OpenAI does not know is refused, as it
is there, unless the simulator is lenient; unknown fields further down are accepted.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from unspool.sim.endpoints.models import Rules
from unspool.sim.errors import RequestError
from unspool.sim.frames import JSONObject

_NAMES = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
    list: "an array",
    dict: "an object",
    type(None): "null",
}


def names(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


def parse(raw: bytes) -> Fields:
    """Parse a request's JSON body."""
    try:
        body = json.loads(raw)
    # ValueError: not JSON, not UTF-8, or a number of thousands of digits. RecursionError: thousands of nested brackets.
    except (ValueError, RecursionError):
        raise RequestError("We could not parse the JSON body of your request: it is not valid JSON.") from None
    if not isinstance(body, dict):
        raise RequestError(f"The JSON body of your request must be an object, but it is {_NAMES[type(body)]}.")
    return Fields(body)


def parse_query(query: Mapping[str, str]) -> Fields:
    """Read a URL's query as fields: ``true`` and ``5`` are a boolean and a number; anything that is not JSON is a string."""
    return Fields({name: _parse_value(value) for name, value in query.items()})


def _parse_value(value: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


class Streaming(NamedTuple):
    """Whether an answer is streamed, and with which extras."""

    stream: bool
    include_usage: bool
    obfuscate: bool


class Fields:
    """The fields of a JSON object; ``path`` is where it stands in the request, for error messages."""

    def __init__(self, body: JSONObject, path: str = "") -> None:
        self._body = body
        self._path = path

    def __contains__(self, name: str) -> bool:
        return self._body.get(name) is not None

    def value(self, name: str) -> Any:
        """The field's value of any type, None when it is absent."""
        return self._body.get(name)

    def where(self, name: str) -> str:
        """The path of a field, as errors name it."""
        return self._path + name

    def refuse_unknown(self, names: Collection[str], rules: Rules, *, legacy: bool = False) -> None:
        """Refuse fields that are none of these, in the words of the older endpoints or of the newer one."""
        unknown = [name for name in self._body if name not in names]
        if not unknown or rules.lenient:
            return
        if legacy:
            several = "s" if len(unknown) > 1 else ""
            raise RequestError(f"Unrecognized request argument{several} supplied: {', '.join(unknown)}")
        raise RequestError(
            f"Unknown parameter: '{unknown[0]}'.", param=self._path + unknown[0], code="unknown_parameter"
        )

    def streaming(self) -> Streaming:
        """How the answer is to be sent."""
        stream = self.flag("stream", False)
        options = self.object("stream_options")
        if "stream_options" in self and not stream:
            raise self.wrong_value("stream_options", "only allowed when 'stream' is enabled.")
        return Streaming(stream, options.flag("include_usage", False), options.flag("include_obfuscation", True))

    def sampling(self) -> None:
        """Check what has no bearing on a written answer."""
        self.number("temperature", minimum=0, maximum=2)
        self.number("top_p", minimum=0, maximum=1)
        self.number("presence_penalty", minimum=-2, maximum=2)
        self.number("frequency_penalty", minimum=-2, maximum=2)
        self.integer("seed", minimum=-(2**63), maximum=2**63 - 1)
        bias = self.object("logit_bias")
        for token in self.value("logit_bias") or {}:
            bias.number(token, minimum=-100, maximum=100)
        for name in ("user", "safety_identifier", "prompt_cache_key"):
            self.text(name)
        self.metadata()

    def metadata(self) -> None:
        """Check the ``metadata``: up to 16 texts."""
        metadata = self.object("metadata")
        given = self.value("metadata") or {}
        for name in given:
            metadata.text(name)
        if len(given) > 16:
            raise RequestError(
                "Invalid 'metadata': too many properties. Expected an object with at most 16 properties, but got an object "
                f"with {len(given)} properties instead.",
                param=self._path + "metadata",
                code="object_above_max_properties",
            )

    def tier(self) -> str | None:
        """The ``service_tier``."""
        tier = self.one_of("service_tier", ("auto", "default", "flex", "scale", "priority", "fast"))
        # Fast mode is reported under its former name.
        return "priority" if tier == "fast" else tier

    def texts(self, name: str) -> list[str] | None:
        """An array of strings."""
        value = self.value(name)
        if value is not None and not (isinstance(value, list) and all(isinstance(each, str) for each in value)):
            raise self.wrong_type(name, "an array of strings")
        return value

    def one_of(self, name: str, values: Sequence[str], *, required: bool = False) -> str | None:
        """A text that is one of a few."""
        value = self.required_text(name) if required else self.text(name)
        if value is not None and value not in values:
            where = self._path + name
            known = ", ".join(f"'{each}'" for each in values[:-1]) + f" and '{values[-1]}'"
            raise RequestError(
                f"Invalid value: '{value}'. Supported values are: {known}.", param=where, code="invalid_value"
            )
        return value

    def required(self, name: str) -> Any:
        if name not in self:
            where = self._path + name
            raise RequestError(
                f"Missing required parameter: '{where}'.", param=where, code="missing_required_parameter"
            )
        return self._body[name]

    def text(self, name: str) -> str | None:
        value = self.value(name)
        if value is not None and not isinstance(value, str):
            raise self.wrong_type(name, "a string")
        return value

    def required_text(self, name: str) -> str:
        self.required(name)
        return self.text(name) or ""

    def flag(self, name: str, default: bool) -> bool:
        value = self.value(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.wrong_type(name, "a boolean")
        return value

    def integer(self, name: str, *, minimum: int, maximum: int | None = None) -> int | None:
        value = self.value(name)
        if value is None:
            return None
        # True is an int to Python, and never one to JSON.
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.wrong_type(name, "an integer")
        self._check_range(name, value, minimum, maximum, "integer")
        return value

    def number(self, name: str, *, minimum: float, maximum: float) -> float | None:
        value = self.value(name)
        if value is None:
            return None
        # JSON has neither NaN nor Infinity, but Python's reader takes them.
        if not isinstance(value, int | float) or isinstance(value, bool) or value != value:
            raise self.wrong_type(name, "a number")
        self._check_range(name, value, minimum, maximum, "decimal")
        return value

    def object(self, name: str) -> Fields:
        """The fields of an object; none when it is absent."""
        value = self.value(name)
        if value is not None and not isinstance(value, dict):
            raise self.wrong_type(name, "an object")
        return Fields(value or {}, f"{self._path}{name}.")

    def objects(self, name: str) -> list[Fields]:
        """The fields of each object in an array; none when it is absent."""
        value = self.value(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.wrong_type(name, "an array of objects")
        for position, item in enumerate(value):
            if not isinstance(item, dict):
                raise self.wrong_type(f"{name}[{position}]", "an object", item)
        return [Fields(item, f"{self._path}{name}[{position}].") for position, item in enumerate(value)]

    def stop(self) -> list[str]:
        """The ``stop`` field: one sequence, or up to four."""
        value = self.value("stop")
        if value is None:
            return []
        sequences = [value] if isinstance(value, str) else value
        if not isinstance(sequences, list) or not all(isinstance(sequence, str) for sequence in sequences):
            raise self.wrong_type("stop", "a string or an array of strings")
        if len(sequences) > 4:
            raise RequestError(
                f"Invalid 'stop': array too long. Expected an array with maximum length 4, but got {len(sequences)}.",
                param="stop",
                code="array_above_max_length",
            )
        return [sequence for sequence in sequences if sequence]

    def wrong_type(self, name: str, expected: str, value: Any = None) -> RequestError:
        """The error for a field that is not what was expected."""
        where = self._path + name
        got = _NAMES[type(self.value(name) if value is None else value)]
        return RequestError(
            f"Invalid type for '{where}': expected {expected}, but got {got} instead.",
            param=where,
            code="invalid_type",
        )

    def wrong_value(self, name: str, why: str) -> RequestError:
        """The error for a field of the right type that cannot be honoured."""
        where = self._path + name
        return RequestError(f"Invalid value for '{where}': {why}", param=where, code="invalid_value")

    def _check_range(self, name: str, value: float, minimum: float, maximum: float | None, kind: str) -> None:
        where = self._path + name
        if value < minimum:
            raise RequestError(
                f"Invalid '{where}': {kind} below minimum value. Expected a value >= {minimum}, but got {value} instead.",
                param=where,
                code=f"{kind}_below_min_value",
            )
        if maximum is not None and value > maximum:
            raise RequestError(
                f"Invalid '{where}': {kind} above maximum value. Expected a value <= {maximum}, but got {value} instead.",
                param=where,
                code=f"{kind}_above_max_value",
            )
