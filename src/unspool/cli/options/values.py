"""What reads the values of options: each takes a text and raises ValueError for a wrong one."""

from __future__ import annotations


def positive(text: str) -> int:
    """An integer above zero."""
    number = _integer(text)
    if number <= 0:
        raise ValueError(f"{text} is not above zero")
    return number


def count(text: str) -> int:
    """An integer that is zero or above."""
    number = _integer(text)
    if number < 0:
        raise ValueError(f"{text} is below zero")
    return number


def port(text: str) -> int:
    """A port, 0 for any that is free."""
    number = count(text)
    if number > 65535:
        raise ValueError(f"{text} is above 65535, the last port")
    return number


def number(text: str) -> float:
    """A number that JSON can write."""
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if number - number != 0.0:
        raise ValueError(f"{text!r} is not a number")
    return number


def header(text: str) -> str:
    """A header of a request: its name, a colon and its value."""
    name, colon, value = text.partition(":")
    # RFC 9110, 5.6.2: what a name is made of; 5.5: what a value is.
    if (
        not colon
        or not name
        or not name.isascii()
        or not all(one.isalnum() or one in "!#$%&'*+-.^_`|~" for one in name)
    ):
        raise ValueError("a header is NAME: VALUE")
    if not (value.isascii() and value.isprintable()):
        raise ValueError(f"the value of {name} is not printable ASCII")
    return text


def rate(text: str) -> float:
    """A number above zero."""
    rate = number(text)
    if rate <= 0:
        raise ValueError(f"{text} is not above zero")
    return rate


def seconds(text: str) -> float:
    """A duration above zero, in seconds: 30, 1.5s, 300ms, 2m."""
    from unspool import durations

    seconds = durations.parse(text)
    if not seconds:
        raise ValueError(f"{text!r} is not a time above zero")
    return seconds


def duration(text: str) -> float:
    """A duration in seconds, which may be 0."""
    from unspool import durations

    return durations.parse(text)


def moment(text: str) -> int:
    """A moment in milliseconds since the epoch: an age, a date, a time."""
    from unspool.cli.options import dates

    return dates.moment(text)


def speed(text: str) -> float:
    """A factor of speed: a number above zero, or ``max``, which is infinity."""
    if text == "max":
        return float("inf")
    try:
        given = number(text.removesuffix("x"))
    except ValueError:
        given = 0.0
    if given <= 0:
        raise ValueError(f"{text!r} is not a speed such as 0.5, 1, 10 or max")
    return given


def value_of(text: str) -> object:
    """The value of ``-o KEY VALUE``: JSON, or else the text itself."""
    import jiter

    try:
        return jiter.from_json(text.encode(), allow_inf_nan=False)
    except ValueError:
        return text


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is not an integer") from None
