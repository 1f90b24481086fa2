"""Write the manual, docs/unspool.1, from the tables of the commands, the exit codes and the texts below.

python tools/man_page.py
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from unspool import __version__, outcome
from unspool.cli.commands import NAMES, find
from unspool.cli.options import Command, Option, help

PAGE = Path(__file__).resolve().parent.parent / "docs" / "unspool.1"

_DESCRIPTION = """\
unspool streams answers from the OpenAI API, and from every server that speaks it, and never loses a token. Each event is on disk
before its text is on the screen. An answer that is not complete is reported as such, in words and in the exit code.

Standard input, if it is not a terminal, is put before the prompt. Standard output carries only the answer: rendered on a terminal;
in a pipe or file as it arrives, with a newline at the end of a complete answer (-N: the exact bytes). Everything else goes to standard error.

An ID is the id of an answer, or any part of it that is unique.
"""

_EXITS = {
    "0": "The answer is complete: the server marked its end.",
    "1": "Any other error.",
    "2": "Wrong usage.",
    "3": "No API key, an invalid one, or one without permission.",
    "4": "Too many requests, after all retries; or the quota is used up.",
    "5": "The server failed, before or during the stream.",
    "6": "The server cannot be reached (DNS, connection, TLS, proxy), or it does not speak the API.",
    "7": "The stream stopped before its end: closed, reset or timed out.",
    "8": "The answer reached the token limit.",
    "9": "A content filter stopped the answer.",
    "10": "The server rejected the request: unknown model, wrong parameter, prompt too long.",
    "130": "Stopped by Ctrl-C; 143: by SIGTERM.",
    "141": "The reader of standard output closed it.",
}

_ENVIRONMENT = {
    "OPENAI_API_KEY": "The key for OpenAI. For each other built-in profile, the variable that its provider documents.",
    "OPENAI_BASE_URL": "Another base URL for the profile openai.",
    "UNSPOOL_CONFIG": "The configuration file, instead of the one below.",
    "UNSPOOL_HOME": "The folder for saved answers, instead of the one below.",
    "UNSPOOL_THEME": "light, for a light background.",
    "NO_COLOR, FORCE_COLOR, CLICOLOR_FORCE": "No colours; colours in pipes too. --color overrides them.",
    "HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY": "Proxies, and the hosts that are reached without one.",
    "SSL_CERT_FILE, SSL_CERT_DIR, CURL_CA_BUNDLE": "Certificates to trust, instead of the system's.",
    "VISUAL, EDITOR": "The editor for templates, and for the prompt in a chat.",
}

_FILES = {
    "~/.config/unspool/config.toml": "Profiles and defaults; optional.",
    "~/.config/unspool/keys": "The keys, readable only by their owner.",
    "~/.config/unspool/templates/": "Templates, one TOML file each.",
    "~/.local/state/unspool/streams/": "The journals, one file per answer.",
}


def page() -> str:
    """The complete manual."""
    lines = [
        '.\\" Written by tools/man_page.py: do not edit.',
        f'.TH UNSPOOL 1 2026-11-22 "unspool {__version__}" "User Commands"',
        ".nh",
        ".ad l",
        ".SH NAME",
        "unspool \\- stream answers from the OpenAI API and from servers that speak it",
        ".SH SYNOPSIS",
        ".B unspool",
        "[\\fIOPTION\\fR]... [\\fIPROMPT\\fR]...",
        ".br",
        ".B unspool",
        "\\fICOMMAND\\fR [\\fIOPTION\\fR]... [\\fIWORD\\fR]...",
        ".SH DESCRIPTION",
        *_paragraphs(_DESCRIPTION),
    ]
    ask = find("ask")
    lines += [".SH EXAMPLES", *_verbatim(ask.examples)]
    lines += [".SH OPTIONS", *_options(ask, {})]
    shared = {_names(option): ask.help_of(option) for option in ask.options}
    lines.append(".SH COMMANDS")
    lines += _filled(ask.epilog)
    for name in NAMES:
        if name != "ask":
            lines += _command(find(name), shared)
    lines += [".SH EXIT STATUS", *_entries(_EXITS)]
    lines += [".SH ENVIRONMENT", *_entries(_ENVIRONMENT)]
    lines += [".SH FILES", *_entries(_FILES)]
    # A section's first paragraph needs no macro to begin.
    lines = [line for at, line in enumerate(lines) if line != ".PP" or lines[at - 1][:3] not in (".SH", ".SS")]
    return "\n".join(lines) + "\n"


def _command(command: Command, shared: dict[str, str]) -> Iterator[str]:
    usage = " ".join(one.usage for one in command.words)
    yield f".SS {_text(f'unspool {command.name} {usage}'.rstrip())}"
    yield from _paragraphs(command.description or help.sentence(command.summary))
    for action in command.actions:
        words = " ".join(one.usage for one in action.words)
        yield from _entry(f"\\fB{_text(action.name.split()[-1])}\\fR {_text(words)}".rstrip(), action.summary)
    yield from _options(command, shared)
    same = [_names(option) for option in command.options if _is_shared(command, option, shared)]
    if same:
        yield ".PP"
        yield "Options as above:"
        yield from (f"{one}," for one in same[:-1])
        yield f"{same[-1]}."
    if command.examples:
        yield from _verbatim(command.examples)
    if command.epilog:
        yield from _paragraphs(command.epilog)


def _options(command: Command, shared: dict[str, str]) -> Iterator[str]:
    for title, options in help.groups(command):
        own = [option for option in options if not _is_shared(command, option, shared)]
        if own and title:
            yield ".PP"
            yield f"\\fI{_text(title.capitalize())}\\fR"
        for option in own:
            yield from _entry(_names(option), command.help_of(option))


def _is_shared(command: Command, option: Option, shared: dict[str, str]) -> bool:
    return shared.get(_names(option)) == command.help_of(option)


def _names(option: Option) -> str:
    names = ", ".join(f"\\fB{_text(name)}\\fR" for name in option.names)
    if option.choices is not None:
        # A line may be broken after each bar.
        return f"{names} " + "|\\:".join(_text(one) for one in option.choices)
    return " ".join((names, *(f"\\fI{_text(one)}\\fR" for one in option.metavars)))


def _entries(entries: dict[str, str]) -> Iterator[str]:
    for name, words in entries.items():
        yield from _entry(f"\\fB{_text(name)}\\fR", words)


def _entry(name: str, words: str) -> Iterator[str]:
    yield ".TP"
    yield name
    yield from _filled(words)


def _verbatim(text: str) -> Iterator[str]:
    yield from (".PP", ".nf", *map(_text, text.split("\n")), ".fi")


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in text.strip().split("\n\n"):
        yield ".PP"
        if "\n  " in f"\n{paragraph}":  # a list or a table with its own layout
            yield from (".nf", *map(_text, paragraph.split("\n")), ".fi")
        else:
            yield from _filled(paragraph)


def _filled(text: str) -> Iterator[str]:
    """Wrap a text into source lines, which roff fills again."""
    yield from (_text(line) for line in textwrap.wrap(text, 72, break_long_words=False, break_on_hyphens=False))


def _text(text: str) -> str:
    """Escape a text for roff."""
    text = (
        text.replace("\\", "\\e")
        .replace("-", "\\-")
        .replace("'", "\\(aq")
        .replace("`", "\\(ga")
        .replace("^", "\\(ha")
        .replace("~", "\\(ti")
    )
    text = "".join(letter if letter.isascii() else f"\\[u{ord(letter):04X}]" for letter in text)
    return f"\\&{text}" if text[:1] in (".", "'") else text


def main() -> int:
    """Write the page."""
    wrong = set(_EXITS) ^ {str(code) for code in (*outcome.EXIT_CODES.values(), outcome.USAGE_EXIT_CODE)}
    if wrong:
        print(
            f"exit codes {', '.join(sorted(wrong))}: described but unknown, or known but not described", file=sys.stderr
        )
        return 1
    PAGE.write_text(page(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
