"""Where a redirect leads, and whether a key may go there."""

from __future__ import annotations

# All that RFC 3986 has in a URL, with the percent sign of what is encoded already.
_URL_CHARACTERS = "!#$%&'()*+,/:;=?@[]-._~"


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


def resolve(base: str, location: str) -> str:
    """The URL that a Location header points to, its scheme in lower case; empty when it is none."""
    from urllib.parse import quote, urljoin

    try:
        url = urljoin(base, location)
    except ValueError:
        return ""
    scheme, mark, rest = url.partition("://")
    # Headers are decoded as Latin-1: what is not ASCII goes back to its bytes, and only then into a URL.
    return f"{scheme.lower()}{mark}{quote(rest.encode('latin-1', 'replace'), safe=_URL_CHARACTERS)}"
