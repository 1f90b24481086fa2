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
from unspool.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ClassVar, Self

    from unspool.api.deltas import Usage
    from unspool.journal.record import Record

    #: Returns a field's value, None for one of another type.
    Check = Callable[[Any], Any]

# The fields of a server's error that are kept. Its message is the end's own.
_FAILURE_FIELDS = ("status", "type", "code", "param", "request_id", "retry_after")


class Block(Value):
    """Base of the journal's own blocks. ``CHECKS`` has a function for each field that is read."""

    __slots__: tuple[str, ...] = ()
    TYPE = ""
    CHECKS: ClassVar[dict[str, Check]] = {}

    @classmethod
    def read(cls, data: str) -> Self:
        """Read a block's data. Never raises: what cannot be read is absent."""
        return cls.of(fields(data))

    @classmethod
    def of(cls, value: dict[str, Any]) -> Self:
        """Read a block from its fields."""
        checked = {field: check(value[field]) for field, check in cls.CHECKS.items() if field in value}
        return cls(**{field: one for field, one in checked.items() if one is not None})

    def described(self) -> dict[str, Any]:
        """The fields that are written."""
        return {name: getattr(self, name) for name in self.__slots__}

    def encode(self) -> str:
        """Return the block's data, one line of JSON."""
        return dumps({name: value for name, value in self.described().items() if value is not None and value != ""})


def fields(data: str) -> dict[str, Any]:
    """The fields of a block as they are in the file; empty for data that is no JSON object."""
    value = parse(data)
    return clean(value) if type(value) is dict else {}


# Checks of fields


def _text(value: Any) -> str | None:
    return value if type(value) is str else None


def _word(value: Any) -> str | None:
    return value if type(value) is str and value else None


def _integer(value: Any) -> int | None:
    # Nothing that a journal counts is larger, and what is cannot be formatted or sent to a system call.
    return value if type(value) is int and abs(value) < 1 << 53 else None


def _positive(value: Any) -> int | None:
    return value if type(value) is int and 0 < value < 1 << 53 else None


def _seconds(value: Any) -> float | None:
    # Not NaN, which is not equal to itself, and not infinite: seconds are waited for.
    return float(value) if type(value) in (int, float) and 0 <= value < 1e12 else None


def _flag(value: Any) -> bool | None:
    return value if type(value) is bool else None


def _object(value: Any) -> dict[str, Any] | None:
    return value if type(value) is dict else None


def _headers(value: Any) -> dict[str, str] | None:
    if type(value) is not dict:
        return None
    return {name: text for name, text in value.items() if type(text) is str}


def _head(value: Any) -> list[tuple[str, str]] | None:
    if type(value) is not list:
        return None
    return [
        (one[0], one[1])
        for one in value
        if type(one) is list and len(one) == 2 and {type(part) for part in one} == {str}
    ]


class Request(Block):
    """What was asked. ``body`` is the request's JSON object to the letter, ``parent`` the stream whose conversation it continues.

    ``pid`` is the process that can be told to stop; ``think_tags`` says whether ``<think>`` in the text is reasoning. A tape has ``method`` and ``path`` too, and in ``text`` a request that is no JSON
    object. The gateway adds ``owner``, ``epoch`` and ``listed``.
    """

    __slots__ = (
        *("api", "url", "profile", "model", "body", "parent", "pid", "time"),
        *("think_tags", "method", "path", "text", "owner", "epoch", "listed"),
    )
    TYPE = record.REQUEST
    CHECKS: ClassVar[dict[str, Check]] = {
        **dict.fromkeys(("api", "url", "profile", "model", "time"), _text),
        **dict.fromkeys(("parent", "method", "path", "owner"), _word),
        "body": _object,
        "pid": _positive,
        "text": lambda value: value,
        "epoch": _integer,
        **dict.fromkeys(("listed", "think_tags"), _flag),
    }

    def __init__(
        self,
        api: str = "",
        url: str = "",
        profile: str = "",
        model: str = "",
        body: dict[str, Any] | None = None,
        parent: str | None = None,
        pid: int | None = None,
        time: str = "",
        think_tags: bool = True,
        method: str | None = None,
        path: str | None = None,
        text: Any = None,
        owner: str | None = None,
        epoch: int | None = None,
        listed: bool | None = None,
    ) -> None:
        self.api = api
        self.url = url
        self.profile = profile
        self.model = model
        self.body: dict[str, Any] = body if body is not None else {}
        self.parent = parent
        self.pid = pid
        self.time = time
        self.think_tags = think_tags
        self.method = method
        self.path = path
        self.text = text
        self.owner = owner
        self.epoch = epoch
        self.listed = listed

    @classmethod
    def first(cls, path: str) -> Self:
        """Read what was asked from a journal, without its answer; an empty request where that cannot be had. Raises OSError."""
        from unspool.journal.reader import Reader

        with Reader(path) as journal:
            records = next(filter(None, journal.batches()), None)
        return cls.read(records[0].data) if records and records[0].is_own(cls.TYPE) else cls()

    def described(self) -> dict[str, Any]:
        return {**super().described(), "think_tags": None if self.think_tags else False}

    def conversation(self) -> tuple[str | None, list[dict[str, Any]]]:
        """The system instruction and the messages, as `Endpoint.messages` returns them; nothing for a request of another kind."""
        return api.endpoint(self.api).messages(self.body) if self.api in api.NAMES else (None, [])

    @property
    def choices(self) -> int:
        """How many answers were asked for."""
        return _positive(self.body.get("n")) or 1


class Attempt(Block):
    """A further request: a retry, a redirect to an ``origin``, or a resume of a response after an event."""

    __slots__ = ("attempt", "wait", "reason", "redirect", "resume", "starting_after", "pid")
    TYPE = record.ATTEMPT
    CHECKS: ClassVar[dict[str, Check]] = {
        "attempt": _positive,
        "wait": _seconds,
        "reason": _text,
        "redirect": _word,
        "resume": _word,
        "starting_after": _integer,
        "pid": _positive,
    }

    def __init__(
        self,
        attempt: int | None = None,
        wait: float | None = None,
        reason: str = "",
        redirect: str | None = None,
        resume: str | None = None,
        starting_after: int | None = None,
        pid: int | None = None,
    ) -> None:
        self.attempt = attempt
        self.wait = wait
        self.reason = reason
        self.redirect = redirect
        self.resume = resume
        self.starting_after = starting_after
        self.pid = pid


class Response(Block):
    """The head of an answer. ``headers`` have lower-case names. A tape has ``reason``, the ``head`` as it was spelled, and ``at``."""

    __slots__ = ("status", "http", "headers", "reason", "head", "at")
    TYPE = record.RESPONSE
    CHECKS: ClassVar[dict[str, Check]] = {
        "status": _positive,
        "http": _text,
        "headers": _headers,
        "reason": _text,
        "head": _head,
        "at": _seconds,
    }

    def __init__(
        self,
        status: int = 0,
        http: str = "",
        headers: dict[str, str] | None = None,
        reason: str = "",
        head: list[tuple[str, str]] | None = None,
        at: float | None = None,
    ) -> None:
        self.status = status
        self.http = http
        self.headers: dict[str, str] = headers if headers is not None else {}
        self.reason = reason
        self.head = head
        self.at = at

    @property
    def request_id(self) -> str | None:
        """The server's id for the request."""
        return self.headers.get("x-request-id") or self.headers.get("request-id") or None


class Body(Block):
    """An answer, or a piece of one, that was no event stream: its ``text``."""

    __slots__ = ("content_type", "text", "at")
    TYPE = record.BODY
    CHECKS: ClassVar[dict[str, Check]] = {"content_type": _text, "text": _text, "at": _seconds}

    def __init__(self, text: str = "", content_type: str = "", at: float | None = None) -> None:
        self.text = text
        self.content_type = content_type
        self.at = at


class Ignored(Block):
    """What of an event stream became no event, as ``text``. Readers of the answer leave it out."""

    __slots__ = ("at", "text")
    TYPE = record.IGNORED
    CHECKS: ClassVar[dict[str, Check]] = {"text": _text, "at": _seconds}

    def __init__(self, text: str = "", at: float | None = None) -> None:
        self.text = text
        self.at = at


class Wire(Block):
    """A piece of an answer's bytes in a tape. ``more``: its HTTP chunk goes on in the next. ``end``: how the connection ended."""

    __slots__ = ("at", "data", "more", "end")
    TYPE = record.WIRE
    CHECKS: ClassVar[dict[str, Check]] = {"at": _seconds, "more": _flag, "end": _word}

    def __init__(self, at: float = 0.0, data: bytes = b"", more: bool = False, end: str | None = None) -> None:
        self.at = at
        self.data = data
        self.more = more
        self.end = end

    @classmethod
    def of(cls, value: dict[str, Any]) -> Self:
        found = super().of(value)
        text, base64 = value.get("text"), value.get("base64")
        if type(text) is str:
            found.data = text.encode("utf-8", "replace")
        elif type(base64) is str:
            from binascii import a2b_base64

            try:
                found.data = a2b_base64(base64)
            except ValueError:
                pass
        return found

    def described(self) -> dict[str, Any]:
        value: dict[str, Any] = {"at": round(self.at, 3), "end": self.end}
        if self.end is None:
            try:
                value["text"] = self.data.decode()
            except UnicodeDecodeError:
                from binascii import b2a_base64

                value["base64"] = b2a_base64(self.data, newline=False).decode()
        value["more"] = True if self.more else None
        return value


class End(Block):
    """How the stream ended; ``at`` is in seconds from the request. ``failure`` is the error that the server reported.

    The gateway's say with ``upstream`` that the server's own last event is in the journal, and name the ``successor`` that asks again.
    """

    __slots__ = (
        *("outcome", "message", "finish_reason", "signal", "failure", "usage", "at"),
        *("upstream", "successor", "notes"),
    )
    TYPE = record.END
    CHECKS: ClassVar[dict[str, Check]] = {
        "outcome": _word,
        "message": _text,
        "finish_reason": _word,
        "signal": _positive,
        "usage": _object,
        "at": _seconds,
        "upstream": _flag,
        "successor": _word,
    }

    def __init__(
        self,
        outcome: str = ERROR,
        message: str = "",
        finish_reason: str | None = None,
        signal: int | None = None,
        failure: Failure | None = None,
        usage: dict[str, Any] | None = None,
        at: float | None = None,
        upstream: bool | None = None,
        successor: str | None = None,
        notes: list[str] | None = None,
    ) -> None:
        self.outcome = outcome
        self.message = message
        self.finish_reason = finish_reason
        self.signal = signal
        self.failure = failure
        self.usage = usage
        self.at = at
        self.upstream = upstream
        self.successor = successor
        self.notes = notes

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
    def of(cls, value: dict[str, Any]) -> Self:
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

    def described(self) -> dict[str, Any]:
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


_CLASSES: dict[str, type[Block]] = {one.TYPE: one for one in (Request, Attempt, Response, Body, Ignored, Wire, End)}


def read(one: Record) -> Block | None:
    """The block of the journal's own that a record holds; None for an event of the server, and for a type that is not known."""
    kind = _CLASSES.get(one.type) if one.at is None else None
    return kind.read(one.data) if kind is not None else None
