"""Where a request goes and as whom."""

from __future__ import annotations

from unspool.config import ConfigError
from unspool.config.url import is_loopback, parse_base_url, percent_encode
from unspool.value import EMPTY, Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.jsontext import JsonObject


class Route(Fields):
    """The way of a request to its server, where it is not the plain one that the URL and the environment describe.

    ``ca_file`` holds the certificate authorities to trust (PEM) instead of the system's; ``client_cert`` and ``client_key`` identify this side (mutual TLS;
    the key may be in the certificate's file). ``proxy`` is a proxy's URL, "" for none at all, None for what the environment says.
    ``unix_socket`` is the path of a socket to connect to instead of the URL's host. The timeouts are in seconds: to connect, without
    data, and for the complete answer; None for the usual ones.
    """

    ca_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    proxy: str | None = None
    unix_socket: str | None = None
    connect_timeout: float | None = None
    idle_timeout: float | None = None
    timeout: float | None = None


class Target(Fields):
    """A server that speaks the API, with the key for it.

    ``base_url`` has no trailing slash and includes ``/v1`` where the server wants it. ``api`` is the default endpoint there:
    ``responses``, ``chat`` or ``completions``. ``key`` is secret and belongs to this URL's origin alone; it is sent as
    ``auth`` says: ``"bearer"`` (``Authorization: Bearer``) or a header's name (``"api-key"`` for Azure). ``headers`` are further
    ones, sent only to that origin too, since people put secrets there. ``query`` is added to each URL. ``model`` is the default,
    None where the caller has to name one. ``needs_key`` is False for servers that may do without; ``key_hint`` says what to do
    for a key, to follow "no key for openai: ". ``paths`` overrides an endpoint's path, where ``{model}`` stands for the
    model (Azure's deployments). ``options`` are fields of each request that says nothing else about them. ``think_tags``
    says whether ``<think>…</think>`` at the head of an answer is reasoning. ``warnings`` are sentences that the
    person should see before the request is sent. ``flags`` are the options of the command line that chose this server, for hints.
    """

    name: str
    base_url: str
    api: str
    key: str | None = None
    auth: str = "bearer"
    headers: dict[str, str] = EMPTY
    query: dict[str, str] = EMPTY
    model: str | None = None
    needs_key: bool = True
    key_hint: str = "set OPENAI_API_KEY"
    paths: dict[str, str] = EMPTY
    options: JsonObject = EMPTY
    think_tags: bool = True
    warnings: tuple[str, ...] = ()
    flags: str = ""
    network: Route | None = None

    def __repr__(self) -> str:
        # A key must not reach a log or a traceback.
        return f"Target(name={self.name!r}, base_url={self.base_url!r}, api={self.api!r}, key={'***' if self.key else None})"

    def __hash__(self) -> int:
        return hash((self.name, self.base_url, self.api, self.model))

    def auth_headers(self) -> dict[str, str]:
        """The headers that carry the key; empty without one."""
        if not self.key:
            return {}
        return {"Authorization": f"Bearer {self.key}"} if self.auth == "bearer" else {self.auth: self.key}

    def url(self, path: str, model: str = "") -> str:
        """The complete URL of an endpoint's path, for a model; what is not safe in a URL is percent-encoded."""
        path = self.paths.get(path, path)
        if "{model}" in path:
            path = path.replace("{model}", percent_encode(model))
        query = "&".join(f"{percent_encode(name)}={percent_encode(value)}" for name, value in self.query.items())
        return f"{self.base_url}{path}?{query}" if query else f"{self.base_url}{path}"


def clean(text: str, what: str) -> str:
    """Return a key, or another header's value, without the white space around it.

    ConfigError when no header can carry the rest: it says ``what`` cannot be carried and never quotes it.
    """
    value = text.strip()
    # RFC 9110, 5.5: visible ASCII and spaces; the octets above it are obsolete and no provider uses them.
    if not (value.isascii() and value.isprintable()):
        raise ConfigError(f"{what} has a character in it that is not printable ASCII: copy it again")
    return value


def plain_http_warning(target: Target) -> str | None:
    """Return a sentence when the key would cross a network unencrypted."""
    if not target.key or not target.base_url.startswith("http:"):
        return None
    host = parse_base_url(target.base_url, "the base URL").host
    if is_loopback(host):
        return None
    return f"the key for {target.name} goes to {host} over plain http, where others can read it: use https"
