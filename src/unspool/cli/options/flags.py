"""The options that several commands take, and what they read values with."""

from __future__ import annotations

from unspool.cli import formats
from unspool.cli.options import Option
from unspool.client.answer import IDLE_TIMEOUT
from unspool.client.http.transport import CONNECT_TIMEOUT
from unspool.client.retry import DEFAULT_RETRIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def positive(text: str) -> int:
    """A whole number above zero."""
    number = _whole(text)
    if number <= 0:
        raise ValueError(f"{text} is not above zero")
    return number


def count(text: str) -> int:
    """A whole number, zero included."""
    number = _whole(text)
    if number < 0:
        raise ValueError(f"{text} is below zero")
    return number


def number(text: str) -> float:
    """A number that JSON has a form for."""
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if number - number != 0.0:
        raise ValueError(f"{text!r} is not a number")
    return number


def seconds(text: str) -> float:
    """A duration above zero, in seconds: 30, 1.5s, 300ms, 2m."""
    from unspool import durations

    seconds = durations.parse(text)
    if not seconds:
        raise ValueError(f"{text!r} is not a time above zero")
    return seconds


def value_of(text: str) -> Any:
    """The value of ``-o KEY VALUE``: JSON, or else the text itself."""
    import jiter

    try:
        return jiter.from_json(text.encode(), allow_inf_nan=False)
    except ValueError:
        return text


def speed(text: str) -> float:
    """How many times as fast: a number above zero, or ``max``, which is infinity."""
    if text == "max":
        return float("inf")
    try:
        given = number(text.removesuffix("x"))
    except ValueError:
        given = 0.0
    if given <= 0:
        raise ValueError(f"{text!r} is no speed such as 0.5, 1, 10 or max")
    return given


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a whole number") from None


_SERVER = "where to ask"

#: Options of every command that talks to a server.
SERVER_OPTIONS = (
    Option(
        ("-P", "--profile"),
        "value",
        "a server by its name in the configuration, or a built-in one: openai, ollama, groq, …",
        group=_SERVER,
        metavar="NAME",
    ),
    Option(("--base-url",), "value", "the server's URL, which mostly ends in /v1", group=_SERVER, metavar="URL"),
    Option(
        ("--key",),
        "value",
        "the API key; other users of this machine can read it while the command runs, so prefer the environment or: unspool keys set",
        group=_SERVER,
        metavar="KEY",
    ),
    Option(
        ("--api",),
        "value",
        "the endpoint (default: responses at OpenAI, chat elsewhere)",
        group=_SERVER,
        choices=("responses", "chat", "completions"),
    ),
    Option(("--sim",), "flag", "ask the built-in simulator: no key, no network", group=_SERVER),
)

_MATERIAL = "what goes with the prompt"

#: Options of every command that asks something, for what a prompt is made of besides words.
MATERIAL_OPTIONS = (
    Option(
        ("-a", "--attachment"),
        "append",
        "attach an image, a PDF, a sound or a text: a path, a URL or - for standard input",
        group=_MATERIAL,
        metavar="FILE",
        dest="attachments",
    ),
    Option(
        ("--at", "--attachment-type"),
        "pair",
        "attach a file and say what it is, such as --at scan application/pdf",
        group=_MATERIAL,
        metavar=("FILE", "MIME"),
        dest="attachment_types",
    ),
    Option(
        ("-f", "--file"),
        "append",
        "put a text file before the prompt, or - for standard input",
        group=_MATERIAL,
        metavar="FILE",
        dest="files",
    ),
    Option(
        ("--schema",),
        "value",
        'the JSON the answer has to be: a JSON Schema (file or text), or fields such as "name, age int"',
        group=_MATERIAL,
        metavar="SCHEMA",
    ),
    Option(("--schema-multi",), "value", "the same for a list of such objects", group=_MATERIAL, metavar="SCHEMA"),
    Option(
        ("--tool",),
        "append",
        "a tool the model may call: a file with its JSON definition, or several",
        group=_MATERIAL,
        metavar="FILE",
        dest="tools",
    ),
    Option(
        ("--tool-choice",),
        "value",
        "auto, none, required, or the name of the tool to call",
        group=_MATERIAL,
        metavar="CHOICE",
    ),
    Option(
        ("--tool-result",),
        "pair",
        "with -c: what the tool of this call brought, or - for standard input; ID is the call's, or the tool's name",
        group=_MATERIAL,
        metavar=("ID", "RESULT"),
        dest="tool_results",
    ),
    Option(
        ("-t", "--template"), "value", "a prompt kept with --save, or in a TOML file", group=_MATERIAL, metavar="NAME"
    ),
    Option(
        ("-p", "--param"),
        "pair",
        "the value of a template's parameter",
        group=_MATERIAL,
        metavar=("NAME", "VALUE"),
        dest="params",
    ),
    Option(
        ("--save",),
        "value",
        "keep this command line as a template instead of asking; $input stands for the prompt to come, $name for a parameter",
        group=_MATERIAL,
        metavar="NAME",
    ),
)

_OUTPUT = "what comes out"
_LIMITS = "limits"

#: The form in which a stream goes to stdout.
FORMAT_OPTIONS = (
    Option(
        ("--format",),
        "value",
        "the form of the output; see the documentation for the shape of the JSON ones",
        group=_OUTPUT,
        choices=formats.NAMES,
        default="text",
    ),
    Option(
        ("--json",),
        "flag",
        "short for --format stream-json: a JSON object a line",
        group=_OUTPUT,
        dest="format",
        const="stream-json",
        default="text",
    ),
)

#: Options of every command that shows text.
RENDERING_OPTIONS = (
    Option(
        ("-r", "--raw"),
        "flag",
        "show the text as it is, without rendering; a terminal still gets no control characters",
        group=_OUTPUT,
    ),
    Option(("--markdown",), "flag", "render Markdown even into a pipe or file", group=_OUTPUT),
    Option(
        ("--color",),
        "value",
        "colours: auto on a terminal, unless NO_COLOR is set, and elsewhere if FORCE_COLOR is; UNSPOOL_THEME=light suits a"
        " light background",
        group=_OUTPUT,
        choices=("auto", "always", "never"),
        default="auto",
    ),
    Option(
        ("-x", "--extract"),
        "flag",
        "print the first fenced code block alone, as it arrives; exit code 1 if there is none",
        group=_OUTPUT,
        const="first",
    ),
    Option(
        ("--xl",),
        "flag",
        "print the last fenced code block alone",
        group=_OUTPUT,
        dest="extract",
        const="last",
    ),
    Option(
        ("--show-reasoning",),
        "flag",
        "show the model's reasoning on stderr also where that is no terminal",
        group=_OUTPUT,
        dest="reasoning",
        const="show",
        default="auto",
    ),
    Option(("--copy",), "flag", "put the answer on the clipboard when it is whole", group=_OUTPUT),
    Option(("-u", "--usage"), "flag", "say on stderr what it took: tokens, seconds", group=_OUTPUT),
    Option(
        ("--stats",),
        "value",
        "say on stderr all that was measured, as a line or as JSON; with --json it is a line of the output",
        group=_OUTPUT,
        choices=("line", "json"),
    ),
)

#: Options of every command that shows a stream while it comes.
OUTPUT_OPTIONS = (
    *FORMAT_OPTIONS,
    *RENDERING_OPTIONS,
    Option(
        ("-R", "--hide-reasoning"),
        "flag",
        "do not show the model's reasoning; it is kept all the same",
        group=_OUTPUT,
        dest="reasoning",
        const="hide",
        default="auto",
    ),
    Option(("-q", "--quiet"), "flag", "say nothing on stderr but errors", group=_OUTPUT),
    Option(("-v", "--verbose"), "flag", "say on stderr what is asked of whom, and how it went", group=_OUTPUT),
)

#: How long a stream is waited for.
TIME_OPTIONS = (
    Option(
        ("--timeout",),
        "value",
        "the longest time for the whole answer, such as 90 or 5m (default: none)",
        group=_LIMITS,
        metavar="TIME",
        type=seconds,
    ),
    Option(
        ("--idle-timeout",),
        "value",
        f"the longest silence (default: {IDLE_TIMEOUT:g} s)",
        group=_LIMITS,
        metavar="TIME",
        type=seconds,
        default=IDLE_TIMEOUT,
    ),
    Option(
        ("--connect-timeout",),
        "value",
        f"the longest time to connect (default: {CONNECT_TIMEOUT:g} s)",
        group=_LIMITS,
        metavar="TIME",
        type=seconds,
        default=CONNECT_TIMEOUT,
    ),
)

#: Options of every command that waits for one.
LIMIT_OPTIONS = (
    *TIME_OPTIONS,
    Option(
        ("--retries",),
        "value",
        f"further attempts before the answer begins (default: {DEFAULT_RETRIES})",
        group=_LIMITS,
        metavar="N",
        type=count,
        default=DEFAULT_RETRIES,
    ),
)
