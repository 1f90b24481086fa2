"""Writing JSON at the import cost of nothing: the ``json`` package brings its parser and the regular expressions with it."""

from __future__ import annotations

try:
    # The C function behind json.dumps(ensure_ascii=False).
    from _json import encode_basestring as _string
except ImportError:  # an interpreter without it
    from json.encoder import encode_basestring as _string

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def dumps(value: Any) -> str:
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
