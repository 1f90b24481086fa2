"""Reads and writes JSON: a fast parser with a lenient fallback, repair of split surrogate pairs, and a writer without imports.

The ``json`` package imports regular expressions and costs more than this module, so it is only the fallback.

A server that cuts its output by UTF-16 units sends an emoji as ``\\ud83d`` in one event and ``\\ude00`` in the next. Each half is
a legal JSON escape (RFC 8259, 8.2, warns of it), but no character, and a str that holds one cannot be printed or written.
"""

from __future__ import annotations

from jiter import from_json

try:
    # The C function behind json.dumps(ensure_ascii=False).
    from _json import encode_basestring as _string
except ImportError:  # an interpreter without it
    from json.encoder import encode_basestring as _string

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    #: A JSON object: what a body, an event or a part of one is. Its values are checked where they are read.
    JsonObject = dict[str, Any]

__all__ = ["clean", "dumps", "ends_early", "from_json", "loads", "parse", "rescue", "whole"]

# Nothing an API sends is nested deeper; what is would only exhaust the interpreter's stack when walked.
_DEEPEST = 64
# Python refuses to write integers of more than 4,300 digits, since that takes time that grows with their square. Nothing counts this far.
_LARGEST = 1 << 1024


def loads(text: str | bytes) -> Any:
    """Parse one JSON text. Raises ValueError for what no parser accepts, and nothing else."""
    try:
        return from_json(text.encode() if isinstance(text, str) else text)
    except ValueError:
        return rescue(text.decode("utf-8", "replace") if isinstance(text, bytes) else text)


def parse(text: str | bytes) -> Any:
    """Return what a JSON text says, None when it is not JSON."""
    try:
        return loads(text)
    except ValueError:
        return None


def ends_early(text: bytes) -> bool:
    """Whether these bytes begin as a JSON object or array and stop before its end."""
    try:
        from_json(text)
    except ValueError as error:
        return text.lstrip()[:1] in (b"{", b"[") and str(error).startswith("EOF")
    return False


def rescue(text: str) -> Any:
    """Parse what ``jiter`` rejects although servers send it: halved characters, raw control characters, a byte order mark.

    Strings of the result may hold lone surrogates. Raises ValueError, also for nesting too deep to parse.
    """
    # json costs 30 times jiter to import, and most streams never need it.
    from json import loads as forgiving

    try:
        return forgiving(text.removeprefix("\ufeff"), strict=False, parse_int=_integer)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _integer(digits: str) -> int | float:
    """An integer, or an infinity for one that Python refuses to read since it has more than 4,300 digits."""
    try:
        return int(digits)
    except ValueError:
        return float(digits)


def whole(text: str) -> str:
    """Return the text with paired surrogates made into characters and lone ones into U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def clean(value: object, depth: int = 0) -> Any:
    """Return a JSON value that `dumps` can write, whatever a server sent: every string is made `whole`, and None stands for what is
    nested absurdly deep, and for numbers that JSON has no form for, or that are too long to be written."""
    if type(value) is str:
        return whole(value)
    if type(value) is float:
        return value if value - value == 0.0 else None
    if type(value) is int:
        return value if -_LARGEST < value < _LARGEST else None
    if depth > _DEEPEST:
        return None
    if type(value) is dict:
        return {whole(key): clean(item, depth + 1) for key, item in value.items()}
    if type(value) is list:
        return [clean(item, depth + 1) for item in value]
    return value


def dumps(value: object) -> str:
    """Return a value as compact JSON text on one line, the same as ``json.dumps`` with ``ensure_ascii=False, allow_nan=False``.

    Raises TypeError for what JSON has no form for, ValueError for NaN and the infinities.
    """
    parts: list[str] = []
    _write(value, parts.append)
    return "".join(parts)


def _write(value: Any, out: Any) -> None:
    if value is None:
        out("null")
    elif value is True:
        out("true")
    elif value is False:
        out("false")
    elif isinstance(value, str):
        out(_string(value))
    elif isinstance(value, int):
        out(int.__repr__(value))
    elif isinstance(value, float):
        if value - value != 0.0:
            raise ValueError(f"JSON has no form for {value!r}")
        out(float.__repr__(value))
    elif isinstance(value, dict):
        out("{")
        comma = ""
        for name, item in value.items():
            if not isinstance(name, str):
                raise TypeError(f"a JSON object's names are strings, not {name!r}")
            out(comma + _string(name) + ":")
            _write(item, out)
            comma = ","
        out("}")
    elif isinstance(value, list | tuple):
        out("[")
        comma = ""
        for item in value:
            out(comma)
            _write(item, out)
            comma = ","
        out("]")
    else:
        raise TypeError(f"JSON has no form for {type(value).__name__}")
