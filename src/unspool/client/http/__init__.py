"""One request over HTTP: what is sent, and what is needed of its answer. The modules say how it is sent, whom to trust, and where it may be redirected."""

from __future__ import annotations

from unspool.config.target import Route
from unspool.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from unspool.config.target import Target
    from unspool.outcome import Fault

    class Incoming(Protocol):
        """The answer to a request while it arrives. `unspool.client.http.transport.Transfer` is one; tests have others.

        ``status`` is 0 until the head has arrived; ``headers`` have lower-case names. ``take`` returns the bytes of the body that have
        arrived since the last call. ``over`` says that nothing more comes; ``fault`` then says what went wrong, None for a clean end.
        """

        @property
        def status(self) -> int: ...
        @property
        def headers(self) -> dict[str, str]: ...
        @property
        def http_version(self) -> str: ...
        @property
        def over(self) -> bool: ...
        @property
        def fault(self) -> Fault | None: ...
        def take(self) -> bytes: ...


#: What the URL and the environment say.
PLAIN = Route()
#: No proxy, whatever the environment says: for servers that this process has started itself.
DIRECT = Route(proxy="")


def route_to(target: Target, *, use_proxy: bool = True) -> Route:
    """Return the way to a server, as its profile describes it."""
    if not use_proxy:
        return DIRECT
    return target.network or PLAIN


class Request(Value):
    """One HTTP request. ``headers`` hold secrets, so its repr does not show them; without a ``body`` it is a GET unless ``method`` says otherwise."""

    __slots__ = ("method", "url", "headers", "body", "route")

    def __init__(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        body: bytes | None = None,
        route: Route = PLAIN,
    ) -> None:
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.route = route

    def __repr__(self) -> str:
        return f"Request({self.method} {self.url})"
