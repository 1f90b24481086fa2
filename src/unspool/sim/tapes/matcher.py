"""The tapes that are in, and which of them answers a request."""

from __future__ import annotations

import os
import re
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from unspool import api
from unspool.api.conversation import plain
from unspool.journal import reader
from unspool.jsontext import parse
from unspool.sim.frames import JSONObject
from unspool.sim.tapes.masking import Mask, secrets_of, without_secrets
from unspool.sim.tapes.tape import NoTape, Tape, endpoint_of

#: How much of a request has to be as it is on a tape.
STRICT, MESSAGES, LAST_MESSAGE = "strict", "messages", "last-message"
MATCHES = (STRICT, MESSAGES, LAST_MESSAGE)

# What says who asks, and where a cache is kept, and changes nothing about the answer.
_VOLATILE = frozenset({"user", "safety_identifier", "prompt_cache_key", "metadata"})
_SUFFIX = ".sse"
# A request differs from most tapes in most things; what tells people something are the first few.
_TOLD_DIFFERENCES = 5
_TOLD_LENGTH = 60
_KEPT_NAMES = 1_000

_ABSENT = object()


class TapeMatcher:
    """Finds the tape that answers a request: of several, one after the other, and then the last again.

    ``match`` is one of `MATCHES`. ``ignore`` names what may differ all the same: a field of the request by its path (``temperature``,
    ``metadata.id``, ``messages[0]``), or between slashes a regular expression, whose matches in any text are not compared. ``played`` are the names of the latest tapes played. Safe to use from another thread than the server's.
    """

    def __init__(
        self, tapes: Iterable[str | os.PathLike[str]] = (), *, match: str = STRICT, ignore: Iterable[str] = ()
    ) -> None:
        ignore = list(ignore)
        self._ignored_fields = [one.replace("[", ".").replace("]", "").split(".") for one in ignore if one[:1] != "/"]
        self._ignored_texts = [re.compile(one[1:-1]) for one in ignore if one[:1] == "/"]
        if match not in MATCHES:
            raise ValueError(f"tapes are matched by {', '.join(MATCHES)}, and not by {match!r}")
        self._match = match
        self._lock = threading.Lock()
        self._tapes: list[tuple[Tape, JSONObject]] = []
        self._is_played: set[int] = set()
        self._played: deque[str] = deque(maxlen=_KEPT_NAMES)
        for path in tapes:
            self.add(path)

    def __len__(self) -> int:
        return len(self._tapes)

    @property
    def played(self) -> list[str]:
        """The file names of the latest tapes played, oldest first."""
        with self._lock:
            return list(self._played)

    def add(self, path: str | os.PathLike[str]) -> None:
        """Put in a tape, or all of a folder by their names. Raises NoTape, a ValueError, for what cannot be played; OSError."""
        path = os.fspath(path)
        if os.path.isdir(path):
            tapes = list(_of_folder(path))
            if not tapes:
                raise NoTape(f"{path}: there is no tape in this folder")
        else:
            tapes = [Tape(path)]
        with self._lock:
            self._tapes += ((tape, self._key(tape.method, tape.endpoint, tape.body)) for tape in tapes)

    def find(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Tape | None:
        """The tape that answers this request next, None when there is none. ``target`` is the path below the base URL, and the query."""
        wanted = self._asked(method, target, headers, body)
        with self._lock:
            matching = [number for number, (_, key) in enumerate(self._tapes) if key == wanted]
            if not matching:
                return None
            number = next((one for one in matching if one not in self._is_played), matching[-1])
            self._is_played.add(number)
            tape, _ = self._tapes[number]
            self._played.append(tape.name)
            return tape

    def explain(self, method: str, target: str, headers: dict[str, str], body: bytes) -> str:
        """Say why no tape answers this request, and what on the nearest one is different."""
        wanted = self._asked(method, target, headers, body)
        what = f"no tape answers {method} {without_secrets(target)}"
        with self._lock:
            found = [(list(_differences(key, wanted)), tape.name) for tape, key in self._tapes]
        if not found:
            return f"{what}: there are no tapes"
        # Another endpoint is further away than any other difference.
        differences, name = min(found, key=lambda one: (any("endpoint" in each for each in one[0]), len(one[0])))
        told = "; ".join(differences[:_TOLD_DIFFERENCES])
        more = f"; and {len(differences) - _TOLD_DIFFERENCES} more" if len(differences) > _TOLD_DIFFERENCES else ""
        return f"{what}; the nearest of {len(found)}, {name}, differs ({self._match}): {told}{more}"

    def _asked(self, method: str, target: str, headers: dict[str, str], body: bytes) -> JSONObject:
        # Tapes have no keys, so the request is compared without keys too.
        secrets = secrets_of(headers, target.partition("?")[2])
        body = Mask(secrets).all(body)
        value = parse(body) if body else None
        if value is None and body:
            value = body.decode("utf-8", "replace")
        return self._key(method, endpoint_of(method, without_secrets(target)), value)

    def _key(self, method: str, endpoint: str, body: Any) -> JSONObject:
        """The part of a request that is compared."""
        key: JSONObject = {"method": method, "endpoint": endpoint}
        if not isinstance(body, dict):
            return key if body in (None, "") else {**key, "body": body}
        for steps in self._ignored_fields:
            body = _without(body, steps)
        for expression in self._ignored_texts:
            body = _blanked(body, expression)
        lasting = {name: value for name, value in body.items() if name not in _VOLATILE and value is not None}
        # Not to ask for a stream is to ask for none.
        stream = bool(lasting.pop("stream", False))
        if self._match == STRICT or endpoint not in api.NAMES:
            return {**key, "stream": stream, **lasting} if lasting else key
        system, messages = api.endpoint(endpoint).messages(body)
        key |= {"model": body.get("model"), "stream": stream}
        if self._match == MESSAGES:
            told = [{**message, "content": plain(message.get("content"))} for message in messages]
            return {**key, "system": system, "messages": told}
        users = [plain(one.get("content")) for one in messages if one.get("role") == "user"]
        return {**key, "last message": users[-1] if users else ""}


def _without(value: object, steps: Sequence[str]) -> Any:
    """Return the value without the field at a path; unchanged if there is no such path."""
    first, *rest = steps
    if isinstance(value, dict) and first in value:
        inner = {first: _without(value[first], rest)} if rest else {}
        return {name: one for name, one in value.items() if name != first} | inner
    if isinstance(value, list) and first.isdecimal() and int(first) < len(value):
        at = int(first)
        return [*value[:at], *([_without(value[at], rest)] if rest else ()), *value[at + 1 :]]
    return value


def _blanked(value: object, expression: re.Pattern[str]) -> Any:
    """The value with what an expression finds taken out of each text in it."""
    if isinstance(value, str):
        return expression.sub("…", value)
    if isinstance(value, dict):
        return {name: _blanked(one, expression) for name, one in value.items()}
    return [_blanked(one, expression) for one in value] if isinstance(value, list) else value


def _of_folder(folder: str) -> Iterator[Tape]:
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        # Skip a journal that is still being written: the folder may have one at any time.
        if name.endswith(_SUFFIX) and not reader.is_alive(path):
            yield Tape(path)


def _differences(taped: object, asked: object, place: str = "") -> Iterator[str]:
    """Describe where two requests differ."""
    if isinstance(taped, dict) and isinstance(asked, dict):
        for name in [*taped, *(name for name in asked if name not in taped)]:
            below = f"{place}.{name}" if place else name
            yield from _differences(taped.get(name, _ABSENT), asked.get(name, _ABSENT), below)
    elif isinstance(taped, list) and isinstance(asked, list):
        for at in range(max(len(taped), len(asked))):
            one = taped[at] if at < len(taped) else _ABSENT
            other = asked[at] if at < len(asked) else _ABSENT
            yield from _differences(one, other, f"{place}[{at}]")
    elif taped != asked:
        before, after = _excerpts(taped, asked)
        yield f"{place} is {after}, on the tape {before}"


def _excerpts(one: object, other: object) -> tuple[str, str]:
    """Two values in few words, of long texts the place where they part."""
    if isinstance(one, str) and isinstance(other, str):
        parted = next(
            (at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]),
            min(len(one), len(other)),
        )
        begin = max(0, parted - _TOLD_LENGTH // 3)
        return _excerpt(one, begin), _excerpt(other, begin)
    return _excerpt(one, 0), _excerpt(other, 0)


def _excerpt(value: object, begin: int) -> str:
    if value is _ABSENT:
        return "absent"
    if not isinstance(value, str):
        text = repr(value)
        return text if len(text) <= _TOLD_LENGTH else text[:_TOLD_LENGTH] + "…"
    cut = value[begin : begin + _TOLD_LENGTH]
    return ("…" if begin else "") + repr(cut) + ("…" if begin + _TOLD_LENGTH < len(value) else "")
