"""Which certificate authorities to trust, and how to be trusted.

libcurl in a wheel was built with the path of another system's bundle, so the roots must be named. In this order: what
``SSL_CERT_FILE``, ``SSL_CERT_DIR``, ``CURL_CA_BUNDLE`` and ``REQUESTS_CA_BUNDLE`` say, the system's own store, then certifi where it is installed.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from typing import Any

    from unspool.config.target import Route

# Where systems keep their bundle: as in Go's crypto/x509/root_linux.go and root_bsd.go.
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch, Gentoo, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL 6
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # RHEL 7 and later
    "/etc/ssl/cert.pem",  # Alpine, BSDs, macOS
    "/usr/local/etc/ssl/cert.pem",  # FreeBSD
    "/usr/local/share/certs/ca-root-nss.crt",
)


def trust(curl: Any, pycurl: Any, route: Route) -> None:
    """Tell a curl handle whom to trust, as server and as proxy: the proxy may be spoken to over TLS as well."""
    if route.client_cert is not None:
        curl.setopt(pycurl.SSLCERT, route.client_cert)
        curl.setopt(pycurl.SSLKEY, route.client_key or route.client_cert)
    environ = os.environ
    file = route.ca_file or _bundle(environ)
    folder = None if route.ca_file else environ.get("SSL_CERT_DIR")
    if file or folder:
        # A folder alone must not leave the built-in bundle in force, and the other way round.
        for option, value in (
            (pycurl.CAINFO, file),
            (pycurl.CAPATH, folder),
            (pycurl.PROXY_CAINFO, file),
            (pycurl.PROXY_CAPATH, folder),
        ):
            curl.setopt(option, value) if value else curl.unsetopt(option)
        return
    if sys.platform in ("win32", "darwin"):
        curl.setopt(pycurl.SSL_OPTIONS, pycurl.SSLOPT_NATIVE_CA)
        curl.setopt(pycurl.PROXY_SSL_OPTIONS, pycurl.SSLOPT_NATIVE_CA)
        return
    bundle = next((path for path in _BUNDLES if os.path.exists(path)), None) or _certifi()
    if bundle:
        curl.setopt(pycurl.CAINFO, bundle)
        curl.setopt(pycurl.PROXY_CAINFO, bundle)


def context() -> ssl.SSLContext:
    """A context of Python's own TLS, for clients, that trusts the same roots."""
    import ssl

    environ = os.environ
    file = _bundle(environ)
    folder = environ.get("SSL_CERT_DIR")
    if not file and not folder and sys.platform != "win32":
        file = next((path for path in _BUNDLES if os.path.exists(path)), None) or _certifi()
    return ssl.create_default_context(cafile=file or None, capath=folder or None)


def _bundle(environ: Mapping[str, str]) -> str | None:
    """The file of authorities that the environment names, by the names that OpenSSL, curl and requests read."""
    names = ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
    return next((value for value in map(environ.get, names) if value and not os.path.isdir(value)), None)


def _certifi() -> str | None:
    try:
        import certifi  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return None
    return str(certifi.where())
