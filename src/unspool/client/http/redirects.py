"""Following redirects: where they may lead, and how often."""

from __future__ import annotations

from unspool.config.url import host, is_loopback, origin
from unspool.outcome import UNREACHABLE, Fault

STATUSES = frozenset({301, 302, 303, 307, 308})
# As browsers: enough for any honest chain, few enough for a loop to be noticed.
_MOST = 5
# All that RFC 3986 has in a URL, with the percent sign of what is encoded already.
_URL_CHARACTERS = "!#$%&'()*+,/:;=?@[]-._~"


def follow(url: str, here: str, location: str, count: int) -> str | Fault:
    """Return where a request for ``url``, redirected for the ``count``-th time, goes next; or why it goes nowhere.

    ``here`` is the URL that redirects, ``location`` its Location header.
    """
    if not location:
        return Fault(UNREACHABLE, f"{origin(here)} redirects without saying where")
    if count > _MOST:
        return Fault(UNREACHABLE, f"{origin(url)} redirects in circles")
    target = resolve(here, location)
    if not target.startswith(("http://", "https://")):
        return Fault(UNREACHABLE, f"{origin(here)} redirects to something that is not an HTTP URL")
    if here.startswith("https:") and target.startswith("http:") and not is_loopback(host(target)):
        # The prompt would be there for all on the way to read, which nobody asked for who wrote https.
        return Fault(UNREACHABLE, f"{origin(here)} redirects to {origin(target)}, which is not encrypted")
    return target


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
