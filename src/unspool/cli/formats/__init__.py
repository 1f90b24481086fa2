"""The forms in which an answer goes to stdout: ``--format text|json|stream-json|sse``. Only the one that is wanted is imported."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from unspool.terminal.output import Output

NAMES = ("text", "json", "stream-json", "sse")

# What asks for colours also where there is no terminal.
_FORCING = ("FORCE_COLOR", "CLICOLOR_FORCE")


def choose(arguments: dict[str, Any]) -> Callable[[Output], Any]:
    """Return what makes the format that the arguments ask for: text is rendered where a person reads it, and exact elsewhere."""
    name = arguments["format"]
    if arguments["extract"]:
        from unspool.cli.formats.extract import ExtractFormat

        return lambda output: ExtractFormat(output, last=arguments["extract"] == "last")
    if name != "text":
        from unspool.cli.formats import machine

        return machine.FORMATS[name]

    def text(output: Output) -> Any:
        color = arguments["color"]
        if not arguments["raw"] and (arguments["markdown"] or _is_rendered(output, color)):
            from unspool.cli.formats.rendered import MarkdownFormat

            return MarkdownFormat(output, color)
        from unspool.cli.formats.text import TextFormat

        return TextFormat(output)

    return text


def _is_rendered(output: Output, color: str) -> bool:
    if not output.is_tty and color == "auto" and not any(map(os.environ.get, _FORCING)):
        return False
    from unspool.terminal import abilities

    if output.is_tty:
        return not abilities.is_dumb(os.environ)
    return abilities.wants_colour(color, os.environ, is_tty=False) is True
