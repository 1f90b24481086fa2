"""Ids, times and padding of an answer, drawn from a hash of the request: the same request is answered with the same bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from copy import copy

# What an obfuscated event is padded to a multiple of, in characters: seen in recorded traffic.
_PADDING_BLOCK = 16


class RequestIdentity:
    """Marks the answer to one request.

    ``created`` is the Unix time, in seconds, at which the request came in.
    """

    def __init__(self, *, seed: int, method: str, path: str, body: bytes, clock: Callable[[], float]) -> None:
        request = f"{seed}\n{method} {path}\n".encode("utf-8", "replace") + body
        self._digest = hashlib.sha256(request).digest()
        self._clock = clock
        self._noise = self._hash("obfuscation")
        self.created = self.now()

    def now(self) -> int:
        return int(self._clock())

    def another(self) -> RequestIdentity:
        """A identity for the same request whose ids are others, for when the ids of this one are taken."""
        other = copy(self)
        other._digest = hashlib.sha256(self._digest + b"another").digest()
        return other

    def id(self, prefix: str, of: str = "") -> str:
        """An id such as ``chatcmpl-4f…``, the same for each request of the same bytes. ``of`` tells ids of one prefix apart."""
        return prefix + self._hash(prefix + of)[:32]

    @property
    def system_fingerprint(self) -> str:
        return "fp_" + self._hash("fingerprint")[:10]

    def obfuscation(self, text: str) -> str:
        """Padding that hides the length of ``text`` from those who see only the size of the encrypted event."""
        return self._noise[: _PADDING_BLOCK - len(text) % _PADDING_BLOCK]

    def _hash(self, purpose: str) -> str:
        return hashlib.sha256(self._digest + purpose.encode()).hexdigest()
