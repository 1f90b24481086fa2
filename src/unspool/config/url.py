"""Base URLs: checked, split and compared by origin.

A key is sent or withheld by what this module takes for the host, and the transport connects to what *it* takes for the host. Where
two URL parsers might disagree (a backslash, a percent sign or user name before the host, a fragment) the URL is refused.
"""

from __future__ import annotations

from unspool.config import ConfigError
from unspool.value import Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    #: Scheme, host and port (RFC 6454): the unit that a key belongs to.
    Origin = tuple[str, str, int]

_DEFAULT_PORTS = {"http": 80, "https": 443}
_ALPHANUMERIC = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
# RFC 3986, 2.3 and 3.3.
_UNRESERVED = _ALPHANUMERIC + "-._~"
_PATH = _UNRESERVED + "!$&'()*+,;=:@/%"
_HOST = _ALPHANUMERIC + "-._"
_IPV6 = "0123456789abcdefABCDEF:."

# People paste the URL out of a curl example; longest first, for the first is also the end of the second.
_ENDPOINTS = (("/chat/completions", "chat"), ("/completions", "completions"), ("/responses", "responses"))


class Address(Fields):
    """A base URL in its parts. ``host`` is in lower case, an IPv6 one in brackets; ``path`` has no slash at its end.

    ``api`` is the endpoint that the URL ended in, if it did; it is no longer part of ``path``.
    """

    scheme: str
    host: str
    port: int
    path: str
    api: str | None = None

    @property
    def origin(self) -> Origin:
        """Scheme, host and port."""
        return (self.scheme, self.host, self.port)

    @property
    def base_url(self) -> str:
        """The URL, normalised."""
        port = "" if self.port == _DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}{self.path}"

    @property
    def name(self) -> str:
        """What a key for this origin is filed under: the host, and the port unless it is that of https."""
        return self.host if self.port == 443 else f"{self.host}:{self.port}"


def parse_base_url(text: str, source: str) -> Address:
    """Split a base URL; ConfigError says what is wrong with it, beginning with ``source`` and quoting nothing.

    Nothing is quoted because a URL is a place where people put passwords.
    """
    scheme, separator, rest = text.strip().partition("://")
    scheme = scheme.lower()
    authority, slash, path = rest.partition("/")
    if not separator or scheme not in _DEFAULT_PORTS or not authority:
        raise ConfigError(f"{source} must be an http:// or https:// URL, such as https://api.example.com/v1")
    if "@" in authority:
        raise ConfigError(
            f"{source} holds a user name or password: take it out, and store the key with 'unspool keys set', "
            "or send it in a profile's headers"
        )
    if "?" in rest or "#" in rest:
        raise ConfigError(f"{source} has a query or a fragment (? or #): put parameters into a profile's query table")
    host, port = _split_authority(authority, scheme, source)
    path = f"{slash}{path}".rstrip("/")
    if not _only(path, _PATH):
        raise ConfigError(f"{source} has a character in its path that must be percent-encoded")
    for ending, api in _ENDPOINTS:
        if path.endswith(ending):
            return Address(scheme, host, port, path[: -len(ending)].rstrip("/"), api)
    return Address(scheme, host, port, path)


def origin(url: str) -> str:
    """The scheme, host and port of a URL, without a user or a password."""
    scheme, _, rest = url.partition("://")
    for end in "/?#":
        rest = rest.partition(end)[0]
    host = rest.rpartition("@")[2].lower()
    default = {"http": ":80", "https": ":443"}.get(scheme.lower(), "")
    return f"{scheme.lower()}://{host.removesuffix(default) if default else host}"


def host(url: str) -> str:
    """The host of a URL, that of IPv6 in its brackets."""
    address = origin(url).partition("://")[2]
    if address.startswith("["):
        return address.partition("]")[0] + "]"
    return address.partition(":")[0]


def same_origin(one: str, other: str) -> bool:
    """Whether two URLs have the same scheme, host and port."""
    return origin(one) == origin(other)


def is_loopback(host: str) -> bool:
    """Whether a host, as in `Address`, never leaves this machine (RFC 1122, 3.2.1.3; RFC 4291, 2.5.3; RFC 6761, 6.3)."""
    if host == "localhost" or host.endswith(".localhost") or host == "[::1]":
        return True
    numbers = host.split(".")
    return len(numbers) == 4 and numbers[0] == "127" and _only("".join(numbers), "0123456789")


def percent_encode(text: str) -> str:
    """Encode all but the unreserved characters, so that the text is one value of a query or one segment of a path."""
    if _only(text, _UNRESERVED):
        return text
    # A lone surrogate, which a command line may contain, stands for the byte it was made from.
    octets = text.encode("utf-8", "surrogateescape")
    return "".join(chr(octet) if chr(octet) in _UNRESERVED else f"%{octet:02X}" for octet in octets)


def _split_authority(authority: str, scheme: str, source: str) -> tuple[str, int]:
    if authority.startswith("["):
        host, bracket, after = authority[1:].partition("]")
        valid = bool(bracket) and ":" in host and _only(host, _IPV6) and after[:1] in ("", ":")
        host, digits = f"[{host}]", after[1:]
    else:
        host, _, digits = authority.partition(":")
        valid = bool(host) and _only(host, _HOST)
    if not valid:
        raise ConfigError(f"{source} has a host that is neither a name (in ASCII) nor an address")
    if not digits:
        return host.lower(), _DEFAULT_PORTS[scheme]
    if not _only(digits, "0123456789") or len(digits) > 5 or not 0 < int(digits) < 65536:
        raise ConfigError(f"{source} has a port that is not a number from 1 to 65535")
    return host.lower(), int(digits)


def _only(text: str, allowed: str) -> bool:
    return not text.strip(allowed)


def has_version(base_url: str) -> bool:
    """Whether a base URL has a path segment that names a version, such as ``/v1`` or ``/v1beta``, or leads to a deployment."""
    path = base_url.partition("://")[2].partition("/")[2]
    return any(part[:1] == "v" and part[1:2].isdigit() for part in path.split("/")) or "deployments" in path
