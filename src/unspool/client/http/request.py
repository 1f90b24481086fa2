"""One HTTP request, and what is needed of its answer: the seam between what is asked and how it is sent."""

from __future__ import annotations

from unspool.value import Fields, Value

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


class Route(Fields):
    """The way of a request to its server, where it is not the plain one that the URL and the environment describe.

    ``ca_file`` holds the certificate authorities to trust (PEM) instead of the system's; ``client_cert`` and ``client_key`` identify this side (mutual TLS;
    the key may be in the certificate's file). ``proxy`` is a proxy's URL, "" for none at all, None for what the environment says.
    ``unix_socket`` is the path of a socket to connect to instead of the URL's host.
    """

    ca_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    proxy: str | None = None
    unix_socket: str | None = None


#: What the URL and the environment say.
PLAIN = Route()
#: No proxy, whatever the environment says: for servers that this process has started itself.
DIRECT = Route(proxy="")


def route_to(target: Target, *, use_proxy: bool = True) -> Route:
    """Return the way to a server, as its profile describes it."""
    if not use_proxy:
        return DIRECT
    network = target.network
    if network is None:
        return PLAIN
    return Route(
        ca_file=network.ca_file,
        client_cert=network.client_cert,
        client_key=network.client_key,
        proxy=network.proxy,
    )


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
