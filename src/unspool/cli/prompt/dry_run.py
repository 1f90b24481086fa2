"""``--dry-run``: the request as it would be sent, without secrets."""

from __future__ import annotations

import json

from unspool.masking import without_secrets
from unspool.terminal.output import Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from unspool.client.exchange import Exchange

# Longer words are files: a person wants to see that they are there, and a program all of them.
_LONGEST_WORD = 200


def show(exchange: Exchange) -> int:
    """Print the request; on a terminal with the files in it cut short."""
    request = exchange.request()
    hidden = set(exchange.target.auth_headers()) | set(exchange.target.headers)
    stdout = Output(1)
    body: object = without_secrets(exchange.body).body
    if stdout.is_tty:
        body = _shortened(body)
    lines = [f"{request.method} {_masked_url(request.url, exchange.target.query)}"]
    lines += [f"{name}: {'***' if name in hidden else value}" for name, value in request.headers.items()]
    lines += ["", json.dumps(body, indent=2, ensure_ascii=False)]
    stdout.write(stdout.safe("\n".join(lines) + "\n"))
    return 0


def _masked_url(url: str, query: Mapping[str, str]) -> str:
    """The URL without the values of its query, except versions."""
    base, mark, _ = url.partition("?")
    shown = [f"{name}={value if 'version' in name.lower() else '***'}" for name, value in query.items()]
    return f"{base}{mark}{'&'.join(shown)}"


def _shortened(value: object) -> object:
    if isinstance(value, dict):
        return {name: _shortened(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_shortened(item) for item in value]
    if isinstance(value, str) and len(value) > _LONGEST_WORD and " " not in value:
        return f"{value[:60]}… ({len(value):,} characters)"
    return value
