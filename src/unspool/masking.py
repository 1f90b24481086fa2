"""Replaces secrets by ``***`` in text that came from elsewhere, before it is shown or kept.

Only foreign text is masked: what a server says of an error, its headers, a body that is no event stream. Outcomes, names, the model and the
prompt are not: a key that is a common word would change what they say.

A secret is found as it is, and in every form that unescapes to it: JSON's escapes, percent-encoding, HTML's references, and these
within each other, as a proxy's report of a request has them; and in base64, as Basic authentication sends it. Of a key, its beginning is
found too: servers shorten what they quote, and so do we.
"""

from __future__ import annotations

from unspool.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

MASK = "***"
# A shorter value is no secret, and replacing it would tear up ordinary words.
_SHORTEST = 8
# Characters of a key's beginning that give it away wherever they are; at a place where a text was cut fewer do.
_BEGINNING = 16
_CUT_BEGINNING = 4
# How often a text is unescaped: JSON in JSON, or in a web page.
_LAYERS = 2
# What a shortened text ends with.
_CUTS = ("…", "...")

# Headers that people set and that are no secret; some of their values are words of any message.
_PUBLIC_HEADERS = frozenset(
    {
        *(
            "accept",
            "accept-language",
            "content-type",
            "http-referer",
            "openai-beta",
            "referer",
            "user-agent",
            "x-title",
        ),
        *("anthropic-beta", "anthropic-version"),
    }
)
# Fields of a request body that hold a secret, in lower case and without - and _.
_SECRET_FIELDS = frozenset(
    {
        *(
            "accesstoken",
            "apikey",
            "apitoken",
            "authorization",
            "authtoken",
            "bearertoken",
            "clientsecret",
            "credential",
        ),
        *("credentials", "password", "passwd", "privatekey", "refreshtoken", "secret", "secretkey", "token", "xapikey"),
    }
)
# Fields of a request body in which everything is the prompt, or a schema, whose properties may have any name.
_OPEN_FIELDS = frozenset({"messages", "input", "prompt", "instructions", "schema", "json_schema", "metadata"})


class Mask:
    """Masks ``keys``, also where only their beginning is there, and ``others``, such as the values of headers."""

    def __init__(self, keys: Iterable[str | None] = (), others: Iterable[str] = ()) -> None:
        self._keys = [key for key in keys if key and len(key) >= _SHORTEST]
        originals = [*self._keys, *others]
        self._secrets = _longest_first(form for secret in originals for form in _forms(secret))
        # Their base64 is made for the first text that is long enough to hold one: nearly all are a header of a few characters.
        self._originals: list[str] | None = originals
        self._base64_length = min((4 * len(one) // 3 for one in originals), default=0)

    def text(self, text: str) -> str:
        """Return the text with each secret in it replaced."""
        if not self._secrets:
            return text
        if self._originals is not None and len(text) >= self._base64_length:
            self._secrets = _longest_first([*self._secrets, *map(_base64, self._originals)])
            self._originals = None
        found = list(self._found(text))
        layer = [_Unescaped(text)] if any(mark in text for mark in "\\%&") else []
        for _ in range(_LAYERS):
            layer = [inner for outer in layer for inner in outer.inner()]
            for inner in layer:
                found += [(inner.position(first), inner.position(end)) for first, end in self._found(inner.text)]
        return _replaced(text, found) if found else text

    def texts(self, texts: Mapping[str, str]) -> dict[str, str]:
        """The same for each of these texts."""
        return {name: self.text(value) for name, value in texts.items()}

    def _found(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield where a secret is."""
        for secret in self._secrets:
            at = text.find(secret)
            while at >= 0:
                yield at, at + len(secret)
                at = text.find(secret, at + len(secret))
        for key in self._keys:
            yield from _beginnings(text, key)


def _beginnings(text: str, key: str) -> Iterator[tuple[int, int]]:
    """Yield where the beginning of a key is: a long one anywhere, a shorter one where the text was cut."""
    if len(key) > _BEGINNING:
        at = text.find(key[:_BEGINNING])
        while at >= 0:
            length = _BEGINNING
            while text[at + length : at + length + 1] == key[length : length + 1] != "":
                length += 1
            yield at, at + length
            at = text.find(key[:_BEGINNING], at + length)
    ends = [len(text)]
    for cut in _CUTS:
        at = text.find(cut)
        while at >= 0:
            ends.append(at)
            at = text.find(cut, at + 1)
    for end in ends:
        for length in range(min(len(key) - 1, end), _CUT_BEGINNING - 1, -1):
            if text.endswith(key[:length], 0, end):
                # Not the end of an ordinary word, such as a key's "test-" in "latest-".
                if end == length or not text[end - length - 1].isalnum():
                    yield end - length, end
                break


def _replaced(text: str, found: list[tuple[int, int]]) -> str:
    pieces: list[str] = []
    done = 0
    for first, end in sorted(found):
        if first >= done:
            pieces += text[done:first], MASK
        done = max(done, end)
    return "".join([*pieces, text[done:]])


class _Unescaped:
    """A text without its escapes of some kinds, which knows where in the original each character was."""

    def __init__(self, text: str, steps: tuple[tuple[list[int], list[int]], ...] = ()) -> None:
        self.text = text
        # Of each kind: where in the text something was replaced, and where in the text before it the same place is.
        self._steps = steps

    def inner(self) -> Iterator[_Unescaped]:
        """Yield this text with one more layer of escapes undone, of each kind that it has: what is an escape in one is none in another."""
        for mark, pattern in _patterns().items():
            if mark not in self.text:
                continue
            pieces: list[str] = []
            here, there = [0], [0]
            done = length = 0
            for found in pattern.finditer(self.text):
                plain = _plain(found[0])
                pieces += self.text[done : found.start()], plain
                length += found.start() - done
                # The escape is one piece: what begins or ends in it takes all of it.
                here += [length, length + len(plain)]
                there += [found.start(), found.end()]
                length += len(plain)
                done = found.end()
            if done:
                yield _Unescaped("".join([*pieces, self.text[done:]]), (*self._steps, (here, there)))

    def position(self, at: int) -> int:
        """Where in the original a place in the text is."""
        from bisect import bisect_right

        for here, there in reversed(self._steps):
            step = bisect_right(here, at) - 1
            at = there[step] + at - here[step]
        return at


_compiled: dict[str, re.Pattern[str]] = {}


def _patterns() -> dict[str, re.Pattern[str]]:
    """By what begins them, the escapes of JSON, of URLs and of HTML."""
    # Compiled for a text that has escapes: few streams have one, and ``re`` costs a third of a short answer.
    if not _compiled:
        import re

        _compiled["\\"] = re.compile(r'\\u[0-9a-fA-F]{4}|\\["\\/bfnrt]')
        _compiled["%"] = re.compile(r"%[0-9a-fA-F]{2}")
        _compiled["&"] = re.compile(r"&#\d{1,6};|&#[xX][0-9a-fA-F]{1,6};|&(?:amp|lt|gt|quot|apos);")
    return _compiled


_NAMED = {"&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&apos;": "'"}
_LETTERS = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


def _plain(escape: str) -> str:
    if escape[0] == "\\":
        return chr(int(escape[2:], 16)) if escape[1] == "u" else _LETTERS.get(escape[1], escape[1])
    if escape[0] == "%":
        return chr(int(escape[1:], 16))
    if escape[1] != "#":
        return _NAMED[escape]
    number = int(escape[3:-1], 16) if escape[2] in "xX" else int(escape[2:-1])
    return chr(number) if number < 0x110000 else "\ufffd"


def _forms(secret: str) -> list[str]:
    """The secret as it is, and as percent-encoding names its bytes."""
    return [secret, secret.replace(" ", "+"), secret.encode("utf-8", "replace").decode("latin-1")]


def _base64(secret: str) -> str:
    from binascii import b2a_base64

    return b2a_base64(secret.encode("utf-8", "replace"), newline=False).decode().rstrip("=")


def _longest_first(forms: Iterable[str]) -> list[str]:
    # One secret may be the beginning of another.
    return sorted({form for form in forms if len(form) >= _SHORTEST}, key=len, reverse=True)


def secrets_of(headers: Mapping[str, str], query: Mapping[str, str] | None = None) -> list[str]:
    """The secrets in the headers and the query that a profile adds. The version in a query is none: a date may stand in any message."""
    found: list[str] = []
    for name, value in headers.items():
        if name.lower() not in _PUBLIC_HEADERS:
            scheme, _, rest = value.partition(" ")
            found += value, rest.strip()
            if scheme.lower() == "basic":
                from binascii import a2b_base64

                try:
                    pair = a2b_base64(rest).decode("utf-8", "replace")
                except ValueError:
                    continue
                found += pair, pair.partition(":")[2]
    found += [value for name, value in (query or {}).items() if "version" not in name.lower()]
    return [one for one in found if one]


class Masked(Value):
    """A request body without its secrets, and where they were."""

    __slots__ = ("body", "places")

    def __init__(self, body: dict[str, Any], places: list[str]) -> None:
        self.body = body
        self.places = places


def without_secrets(body: dict[str, Any]) -> Masked:
    """Return a request body without the secrets that its own fields name: a tool's authorization and headers, a nested ``api_key``.

    The prompt and schemas stay as they are. The body itself is returned where nothing is to be masked.
    """
    places: list[str] = []
    masked = _masked(body, "", places)
    return Masked(masked if places else body, places)


def masked_fields(body: dict[str, Any]) -> list[str]:
    """Where in a body that was kept something is masked."""
    return [
        place for place, value in _words(body, "") if value == MASK or f"={MASK}" in value or f"://{MASK}@" in value
    ]


def _words(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Yield the strings of a body, without those of the prompt, and where they are."""
    if type(value) is str:
        yield place, value
    elif type(value) is list:
        for index, item in enumerate(value):
            yield from _words(item, f"{place}[{index}]")
    elif type(value) is dict:
        for name, item in value.items():
            if name not in _OPEN_FIELDS:
                yield from _words(item, f"{place}.{name}" if place else str(name))


def _masked(value: Any, place: str, places: list[str]) -> Any:
    if type(value) is list:
        return [_masked(item, f"{place}[{index}]", places) for index, item in enumerate(value)]
    if type(value) is not dict:
        return value
    masked = dict(value)
    for name, item in value.items():
        where = f"{place}.{name}" if place else str(name)
        if name in _OPEN_FIELDS or not item or item == MASK or (name == "parameters" and _is_schema(item)):
            continue
        if type(item) is str:
            if str(name).lower().replace("-", "").replace("_", "") in _SECRET_FIELDS:
                masked[name] = MASK
                places.append(where)
            elif str(name).endswith("_url") and "://" in item:
                masked[name] = _masked_url(item)
                if masked[name] != item:
                    places.append(where)
        elif name in ("headers", "authentication") and type(item) is dict:
            masked[name] = {key: MASK if type(one) is str and key != "type" else one for key, one in item.items()}
            if masked[name] != item:
                places.append(where)
        else:
            masked[name] = _masked(item, where, places)
    return masked


def _is_schema(value: Any) -> bool:
    return type(value) is dict and (value.get("type") == "object" or "properties" in value)


def _masked_url(url: str) -> str:
    """A URL without its password and the values of its query."""
    scheme, _, rest = url.partition("://")
    rest, mark, query = rest.partition("?")
    authority, slash, path = rest.partition("/")
    _, at, host = authority.rpartition("@")
    if at:
        authority = f"{MASK}@{host}"
    parts = [
        f"{name}={MASK}" if equals else name for name, equals, _ in (part.partition("=") for part in query.split("&"))
    ]
    return f"{scheme}://{authority}{slash}{path}{mark}{'&'.join(parts)}"
