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
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from unspool.jsontext import JsonObject
    from unspool.masking.search import Search

MASK = "***"
# A shorter value is no secret, and replacing it would tear up ordinary words.
SHORTEST = 8
# Characters of a key's beginning that give it away at a place where a text was cut.
CUT_BEGINNING = 4

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
        self._keys = [key for key in keys if key and len(key) >= SHORTEST]
        self._secrets = [*self._keys, *others]
        self._beginnings = [form[:CUT_BEGINNING] for one in self._secrets for form in forms(one)]
        self._base64_length = min((4 * len(one) // 3 for one in self._secrets), default=0)
        self._search: Search | None = None

    def text(self, text: str) -> str:
        """Return the text with each secret in it replaced."""
        if self._search is None:
            # Nearly every text is a header of a few characters, with no escapes and not even the beginning of a secret.
            is_plain = len(text) < self._base64_length and not any(mark in text for mark in "\\%&")
            if not self._beginnings or (is_plain and not any(one in text for one in self._beginnings)):
                return text
            from unspool.masking.search import Search

            self._search = Search(self._keys, self._secrets)
        return self._search.replaced(text)

    def texts(self, texts: Mapping[str, str]) -> dict[str, str]:
        """The same for each of these texts."""
        return {name: self.text(value) for name, value in texts.items()}


def forms(secret: str) -> list[str]:
    """The secret as it is, and as percent-encoding names its bytes, where that is long enough to be a secret."""
    found = (secret, secret.replace(" ", "+"), secret.encode("utf-8", "replace").decode("latin-1"))
    return [one for one in found if len(one) >= SHORTEST]


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

    def __init__(self, body: JsonObject, places: list[str]) -> None:
        self.body = body
        self.places = places


def without_secrets(body: JsonObject) -> Masked:
    """Return a request body without the secrets that its own fields name: a tool's authorization and headers, a nested ``api_key``.

    The prompt and schemas stay as they are. The body itself is returned where nothing is to be masked.
    """
    places: list[str] = []
    masked = _masked(body, "", places)
    return Masked(masked if places else body, places)


def masked_fields(body: JsonObject) -> list[str]:
    """Where in a body that was kept something is masked."""
    return [
        place for place, value in _words(body, "") if value == MASK or f"={MASK}" in value or f"://{MASK}@" in value
    ]


def _words(value: object, place: str) -> Iterator[tuple[str, str]]:
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


def _masked(value: object, place: str, places: list[str]) -> Any:
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


def _is_schema(value: object) -> bool:
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
