"""The journal's own blocks as typed values: the one place where their fields are written and read.

Reading is tolerant: an unknown field is ignored, and a field with a value of the wrong type is treated as absent. So a journal of a
later version, or of another program, reads as far as it is understood, and every reader understands the same. Writing leaves
out what is None or empty.

On the way of every answer, so there are no dataclasses here: importing them costs more than a short answer.
"""

from __future__ import annotations

from unspool import api
from unspool.api.deltas import Failure
from unspool.journal import record
from unspool.jsontext import clean, dumps, parse
from unspool.outcome import ERROR, Ending
from unspool.value import EMPTY, Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self, TypeAlias

    from unspool.api.deltas import Usage
    from unspool.journal.record import Record
    from unspool.jsontext import JsonObject

    # What a field's type says of its value beyond the JSON type; `_CHECKS` has the function for each.
    Word: TypeAlias = str
    Positive: TypeAlias = int
    Seconds: TypeAlias = float
    Headers: TypeAlias = dict[str, str]
    Head: TypeAlias = list[tuple[str, str]]
    Texts: TypeAlias = list[str]

# The fields of a server's error that are kept. Its message is the end's own.
_FAILURE_FIELDS = ("status", "type", "code", "param", "request_id", "retry_after")


class Block(Fields):
    """Base of the journal's own blocks. The type of a field decides which values are read (`_CHECKS`); one of another type is not."""

    TYPE = ""

    @classmethod
    def read(cls, data: str) -> Self:
        """Read a block's data. Never raises: what cannot be read is absent."""
        return cls.of(fields(data))

    @classmethod
    def of(cls, value: JsonObject) -> Self:
        """Read a block from its fields."""
        found: JsonObject = {}
        for name, type in cls.__annotations__.items():
            check = _CHECKS.get(type.removesuffix(" | None"))
            if check is not None and name in value and (one := check(value[name])) is not None:
                found[name] = one
        return cls(**found)

    def described(self) -> JsonObject:
        """The fields that are written."""
        return {name: getattr(self, name) for name in self._fields()}

    def encode(self) -> str:
        """Return the block's data, one line of JSON."""
        return dumps({name: value for name, value in self.described().items() if value is not None and value != ""})


def fields(data: str) -> JsonObject:
    """The fields of a block as they are in the file; empty for data that is no JSON object."""
    value = parse(data)
    return clean(value) if type(value) is dict else {}


# Each returns the value of a field, None for one of another type.


def _text(value: object) -> str | None:
    return value if type(value) is str else None


def _word(value: object) -> str | None:
    return value if type(value) is str and value else None


def _integer(value: object) -> int | None:
    # No count in a journal is larger; a larger one cannot be formatted or passed to a system call.
    return value if type(value) is int and abs(value) < 1 << 53 else None


def _positive(value: object) -> int | None:
    return value if type(value) is int and 0 < value < 1 << 53 else None


def _seconds(value: object) -> float | None:
    # Not NaN, which is not equal to itself, and not infinite: seconds are waited for.
    return float(value) if isinstance(value, int | float) and type(value) is not bool and 0 <= value < 1e12 else None


def _flag(value: object) -> bool | None:
    return value if type(value) is bool else None


def _object(value: object) -> JsonObject | None:
    return value if type(value) is dict else None


def _texts(value: object) -> list[str] | None:
    return [one for one in value if type(one) is str] if type(value) is list else None


def _headers(value: object) -> dict[str, str] | None:
    return {name: text for name, text in value.items() if type(text) is str} if type(value) is dict else None


def _head(value: object) -> list[tuple[str, str]] | None:
    if type(value) is not list:
        return None
    pairs = (one for one in value if type(one) is list and len(one) == 2)
    return [(name, text) for name, text in pairs if type(name) is str and type(text) is str]


#: By the name of a field's type. Fields of other types are read by their block's own `of`.
_CHECKS: dict[str, Callable[[object], object]] = {
    "str": _text,
    "Word": _word,
    "int": _integer,
    "Positive": _positive,
    "Seconds": _seconds,
    "bool": _flag,
    "JsonObject": _object,
    "Headers": _headers,
    "Head": _head,
    "Texts": _texts,
    "object": lambda value: value,
}


class Request(Block):
    """What was asked. ``body`` is the request's JSON object to the letter, ``parent`` the stream whose conversation it continues.

    ``pid`` is the process to send a signal to; ``think_tags`` says whether ``<think>`` in the text is reasoning; ``tools`` is where the
    tools come from that the command runs. A tape has ``method`` and ``path`` too, and in ``text`` a request that is no JSON object. The
    gateway adds ``owner``, ``epoch`` and ``listed``.
    """

    TYPE = record.REQUEST
    api: str = ""
    url: str = ""
    profile: str = ""
    model: str = ""
    body: JsonObject = EMPTY
    parent: Word | None = None
    pid: Positive | None = None
    time: str = ""
    think_tags: bool = True
    tools: Texts | None = None
    method: Word | None = None
    path: Word | None = None
    text: object = None
    owner: Word | None = None
    epoch: int | None = None
    listed: bool | None = None

    @classmethod
    def first(cls, path: str) -> Self:
        """Read what was asked from a journal, without its answer; an empty request where that cannot be had. Raises OSError."""
        from unspool.journal.reader import Reader

        with Reader(path) as journal:
            records = next(filter(None, journal.batches()), None)
        return cls.read(records[0].data) if records and records[0].is_own(cls.TYPE) else cls()

    def described(self) -> JsonObject:
        return {**super().described(), "think_tags": None if self.think_tags else False}

    def conversation(self) -> tuple[str | None, list[JsonObject]]:
        """The system instruction and the messages, as `Endpoint.messages` returns them; nothing for a request of another kind."""
        return api.endpoint(self.api).messages(self.body) if self.api in api.NAMES else (None, [])

    @property
    def choices(self) -> int:
        """How many answers were asked for."""
        return _positive(self.body.get("n")) or 1


class Attempt(Block):
    """A further request: a retry, a redirect to an ``origin``, or a resume of a response after an event."""

    TYPE = record.ATTEMPT
    attempt: Positive | None = None
    wait: Seconds | None = None
    reason: str = ""
    redirect: Word | None = None
    resume: Word | None = None
    starting_after: int | None = None
    pid: Positive | None = None


class Response(Block):
    """The head of an answer. ``headers`` have lower-case names. A tape has ``reason``, the ``head`` as it was spelled, and ``at``."""

    TYPE = record.RESPONSE
    status: Positive = 0
    http: str = ""
    headers: Headers = EMPTY
    reason: str = ""
    head: Head | None = None
    at: Seconds | None = None

    @property
    def request_id(self) -> str | None:
        """The server's id for the request."""
        return self.headers.get("x-request-id") or self.headers.get("request-id") or None


class End(Block):
    """How the stream ended; ``at`` is in seconds from the request. ``failure`` is the error that the server reported.

    The gateway's say with ``upstream`` that the server's own last event is in the journal, and name the ``successor`` that asks again.
    """

    TYPE = record.END
    outcome: Word = ERROR
    message: str = ""
    finish_reason: Word | None = None
    signal: Positive | None = None
    failure: Failure | None = None
    usage: JsonObject | None = None
    at: Seconds | None = None
    upstream: bool | None = None
    successor: Word | None = None
    notes: list[str] | None = None

    @classmethod
    def of_ending(cls, ending: Ending, usage: Usage | None, at: float) -> Self:
        """The block that says how a stream ended."""
        counted = usage.raw if usage is not None else None
        return cls(
            ending.outcome,
            ending.message,
            ending.finish_reason,
            ending.signal or None,
            ending.failure,
            counted,
            round(at, 3),
            notes=list(ending.notes) or None,
        )

    @classmethod
    def of(cls, value: JsonObject) -> Self:
        found = super().of(value)
        notes = value.get("notes")
        if type(notes) is list:
            found.notes = [one for one in notes if type(one) is str]
        failure = value.get("failure")
        if type(failure) is dict:
            found.failure = Failure(
                found.message,
                status=_positive(failure.get("status")),
                type=_word(failure.get("type")),
                code=_word(failure.get("code")),
                param=_word(failure.get("param")),
                request_id=_word(failure.get("request_id")),
                retry_after=_seconds(failure.get("retry_after")),
            )
        return found

    def described(self) -> JsonObject:
        value = super().described()
        if self.failure is not None:
            found = {name: getattr(self.failure, name) for name in _FAILURE_FIELDS}
            value["failure"] = {name: one for name, one in found.items() if one is not None}
        return value

    @property
    def ending(self) -> Ending:
        """How the stream ended."""
        notes = tuple(self.notes or ())
        return Ending(self.outcome, self.message, self.finish_reason, self.failure, self.signal, notes)


_CLASSES: dict[str, type[Block]] = {one.TYPE: one for one in (Request, Attempt, Response, End)}


def read(one: Record) -> Block | None:
    """The block of the journal's own that a record holds; None for an event of the server, and for a type that is not known."""
    if one.at is not None:
        return None
    kind = _CLASSES.get(one.type)
    if kind is None:
        from unspool.journal import unframed

        kind = unframed.CLASSES.get(one.type)
    return kind.read(one.data) if kind is not None else None
