"""Following redirects: where they may lead, how often, and what of the request goes along."""

from __future__ import annotations

from unspool.client.http.location import host, origin, resolve, same_origin
from unspool.config.url import is_loopback
from unspool.outcome import UNREACHABLE, Fault

STATUSES = frozenset({301, 302, 303, 307, 308})
# As browsers: enough for any honest chain, few enough for a loop to be noticed.
_MOST = 5


class Redirects:
    """Where the request for ``url`` is to be sent by now: ``location``, with ``method``."""

    __slots__ = ("url", "location", "method", "_count")

    def __init__(self, url: str) -> None:
        self.url = url
        self.location = url
        self.method = "POST"
        self._count = 0

    @property
    def is_same_origin(self) -> bool:
        """Whether the key and the profile's other headers may go along: they belong to the origin that was configured."""
        return same_origin(self.location, self.url)

    def follow(self, status: int, location: str) -> Fault | None:
        """Turn to where the server points. Returns why not, where that is not to be done.

        301 and 302 are followed with POST, since a GET at these paths answers nothing anybody asked for. 303 says that the
        request was taken and that its answer lies elsewhere (RFC 9110, 15.4.4): it is fetched with GET, for a second POST
        would ask, and pay, again.
        """
        here = origin(self.location)
        self._count += 1
        if not location:
            return Fault(UNREACHABLE, f"{here} redirects to nowhere")
        if self._count > _MOST:
            return Fault(UNREACHABLE, f"{origin(self.url)} redirects in circles")
        target = resolve(self.location, location)
        if not target.startswith(("http://", "https://")):
            return Fault(UNREACHABLE, f"{here} redirects to something that is not an HTTP URL")
        if self.location.startswith("https:") and target.startswith("http:") and not is_loopback(host(target)):
            # The prompt would be there for all on the way to read, which nobody asked for who wrote https.
            return Fault(UNREACHABLE, f"{here} redirects to {origin(target)}, which is not encrypted")
        self.location = target
        if status == 303:
            self.method = "GET"
        return None
