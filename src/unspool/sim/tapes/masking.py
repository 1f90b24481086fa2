"""Keeping keys off a tape: those that the request carried, and whatever else looks like one.

A key becomes as many asterisks as it has bytes, so that no length changes: not the Content-Length, not a chunk's, not a cut's place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl, quote, unquote, urlencode

from unspool.jsontext import dumps

# Names of headers and of query values that hold secrets.
_SECRET_NAME = re.compile(r"auth|key|token|secret|cookie|password|signature|^sig$|^code$", re.IGNORECASE)
# A shorter one is no key, and replacing it would tear up ordinary words.
_SHORTEST = 8
# How the keys of providers begin, and what follows.
_LEADS = (b"sk-", b"gsk_", b"xai-", b"hf_", b"AIza", b"pplx-", b"nvapi-", b"ghp_", b"Bearer ")
# OpenAI's "sk-" is also the end of words and the beginning of names: a digit, or great length, makes it a key.
_KEYS = (
    rb"(?<![A-Za-z0-9])sk-(?=[\w-]*[0-9])[\w-]{8,}",
    rb"(?<![A-Za-z0-9])sk-[\w-]{20,}",
    rb"(?<![A-Za-z0-9])(?:gsk_|xai-|hf_|AIza|pplx-|nvapi-|ghp_)(?=[\w-]*[0-9])[\w-]{20,}",
    rb"(?<=Bearer )[\w.~+/=-]{16,}",
)
_AFTER_LEAD = rb"[\w.~+/=-]*"
# Bytes of what may be a key that are waited for. The longest ones, JSON Web Tokens, are shorter.
_LONGEST = 1 << 14


def secrets_of(headers: Mapping[str, str], query: str) -> list[str]:
    """The keys that a request carries in its headers, by their lower-case names, and in its query."""
    found = [value for name, value in headers.items() if _SECRET_NAME.search(name)]
    found += [value.partition(" ")[2].strip() for value in found]
    found += [part.partition("=")[2].strip() for value in found for part in value.split(";")]
    found += [value for name, value in parse_qsl(query) if _SECRET_NAME.search(name)]
    return sorted({one for one in found if len(one) >= _SHORTEST}, key=len, reverse=True)


def without_secrets(target: str) -> str:
    """A path and query without the values that only its sender may know."""
    path, mark, query = target.partition("?")
    kept = [(name, value) for name, value in parse_qsl(query, keep_blank_values=True) if not _SECRET_NAME.search(name)]
    return path + (mark + urlencode(kept) if kept else "")


class Mask:
    """Masks the pieces of one answer, also where a key is cut between two of them.

    `feed` returns the finished bytes, or None while the last bytes may be the beginning of a key; `close` returns the rest.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # As they are, as they look within JSON, and as they look within a URL.
        forms = {form for one in secrets for form in (one, dumps(one)[1:-1], quote(one, safe=""), unquote(one))}
        self._known = sorted((form.encode("utf-8", "replace") for form in forms), key=len, reverse=True)
        self._pattern = re.compile(b"|".join([*map(re.escape, self._known), *_KEYS]))
        # By their last bytes, for this is asked for each piece: no more than a few end in any one.
        self._beginnings: dict[bytes, set[bytes]] = {}
        for secret in self._known:
            for length in range(1, len(secret)):
                self._beginnings.setdefault(secret[length - 1 : length], set()).add(secret[:length])
        begun = [lead[:length] for lead in _LEADS for length in range(1, len(lead))]
        self._begun = re.compile(
            rb"(?<![A-Za-z0-9])(?:%b|(?:%b)%b)\Z"
            % (b"|".join(map(re.escape, begun)), b"|".join(map(re.escape, _LEADS)), _AFTER_LEAD)
        )
        self.has_masked = False
        """Whether a key was masked so far."""
        self._held = b""
        # What stood before tells whether a word begins.
        self._before = b""

    def all(self, data: bytes) -> bytes:
        """The data with every key in it masked."""
        return self._pattern.sub(lambda key: b"*" * len(key[0]), data)

    def text(self, text: str) -> str:
        """The same for a text."""
        return self.all(text.encode("utf-8", "surrogatepass")).decode("utf-8", "replace")

    def feed(self, piece: bytes) -> bytes | None:
        """Take the next piece. Returns what was held back and this, masked, or None when that has to be held back."""
        self._held += piece
        return None if len(self._held) < _LONGEST and self._is_open() else self.close()

    def close(self) -> bytes:
        """Return the bytes held back, masked."""
        held, self._held = self._held, b""
        masked = self.all(self._before + held)[len(self._before) :]
        self.has_masked = self.has_masked or masked != held
        self._before = (self._before + held)[-1:]
        return masked

    def _is_open(self) -> bool:
        tail = (self._before + self._held)[-_LONGEST:]
        if self._begun.search(tail):
            return True
        return any(map(tail.endswith, self._beginnings.get(tail[-1:], ())))
