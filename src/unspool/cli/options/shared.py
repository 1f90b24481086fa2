"""The options that several commands take, each group with the class that holds their values."""

from __future__ import annotations

from unspool.cli import formats
from unspool.cli.options import Option, Options
from unspool.cli.options.values import count, header, number, positive, seconds
from unspool.client.limits import CONNECT_TIMEOUT, IDLE_TIMEOUT, Limits
from unspool.client.retry import DEFAULT_RETRIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from unspool.config import Settings

PROMPT = "prompt"
MODEL = "model"
SERVER = "server"
OUTPUT = "output"
LIMITS = "limits"

#: What an ID may be, for the help of every command that takes one.
ID_HELP = "any part of an id that no other answer has"


class AddressOptions(Options):
    """Where a server is, and the key for it."""

    profile: str | None = None
    base_url: str | None = None
    key: str | None = None
    headers: Sequence[str] = ()

    @property
    def names_server(self) -> bool:
        """Whether the command line names a server: a gateway, at commands for kept streams."""
        return bool(self.base_url or self.profile)


class ServerOptions(AddressOptions):
    """Which server to ask, and at which endpoint."""

    api: str | None = None
    sim: bool = False


SERVER_OPTIONS = (
    Option(
        ("-P", "--profile"),
        "value",
        "a server by its name in the configuration, or a built-in one: openai, ollama, groq, …",
        group=SERVER,
        metavar="NAME",
    ),
    Option(("--base-url",), "value", "the URL of the server; most end in /v1", group=SERVER, metavar="URL"),
    Option(("--sim",), "flag", "ask the built-in simulator: no key, no network", group=SERVER),
    Option(
        ("--key",),
        "value",
        "the API key; other users of this machine can see it while the command runs, so prefer the environment or: unspool keys set",
        group=SERVER,
        metavar="KEY",
    ),
    Option(
        ("--api",),
        "value",
        "the endpoint (default: responses at OpenAI, chat elsewhere)",
        group=SERVER,
        choices=("responses", "chat", "completions"),
    ),
    Option(
        ("-H", "--header"),
        "append",
        "send this header too, such as -H 'X-Team: search'; repeatable",
        group=SERVER,
        metavar="'NAME: VALUE'",
        dest="headers",
        type=header,
    ),
)

#: What names a gateway, at commands for kept streams.
ADDRESS_OPTIONS = tuple(one for one in SERVER_OPTIONS if one.dest in ("profile", "base_url", "key", "headers"))


class ModelOptions(Options):
    """The model, and how it answers."""

    model: str | None = None
    system: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    options: Sequence[tuple[str, str]] = ()


MODEL_OPTION = Option(("-m", "--model"), "value", "the model", group=MODEL, metavar="MODEL")
SYSTEM_OPTION = Option(("-s", "--system"), "value", "the system instruction", group=MODEL, metavar="TEXT")
MAX_TOKENS_OPTION = Option(
    ("--max-tokens",), "value", "the most tokens the answer may have", group=MODEL, metavar="N", type=positive
)
TEMPERATURE_OPTION = Option(
    ("--temperature",),
    "value",
    "0 for the most likely words, more for variety",
    group=MODEL,
    metavar="N",
    type=number,
)
OTHER_OPTION = Option(
    ("-o", "--option"),
    "pair",
    "any other field of the request, such as -o seed 1 or -o n 2; the value is JSON, or else text",
    group=MODEL,
    metavar=("KEY", "VALUE"),
    dest="options",
)
MODEL_OPTIONS = (
    MODEL_OPTION,
    SYSTEM_OPTION,
    OTHER_OPTION,
    MAX_TOKENS_OPTION,
    TEMPERATURE_OPTION,
    Option(
        ("--top-p",),
        "value",
        "choose among the most likely words that make up this share",
        group=MODEL,
        metavar="N",
        type=number,
    ),
)


class MaterialOptions(Options):
    """What a prompt consists of besides its words."""

    files: Sequence[str] = ()
    attachments: Sequence[str] = ()
    attachment_types: Sequence[tuple[str, str]] = ()
    schema: str | None = None
    schema_multi: str | None = None
    tools: Sequence[str] = ()
    tool_choice: str | None = None
    tool_results: Sequence[tuple[str, str]] = ()

    @property
    def has_material(self) -> bool:
        """Whether there is anything besides words."""
        return bool(
            self.files
            or self.attachments
            or self.attachment_types
            or self.schema
            or self.schema_multi
            or self.tools
            or self.tool_choice
            or self.tool_results
        )


FILE_OPTIONS = (
    Option(
        ("-f", "--file"),
        "append",
        "put a text before the prompt: a file, a folder, a URL, or - for standard input; repeatable",
        group=PROMPT,
        metavar="FILE",
        dest="files",
    ),
    Option(
        ("-a", "--attachment"),
        "append",
        "attach an image, a PDF, a sound or a text: a path, a URL, or - for standard input",
        group=PROMPT,
        metavar="FILE",
        dest="attachments",
    ),
)
ATTACHMENT_TYPE_OPTION = Option(
    ("--at", "--attachment-type"),
    "pair",
    "attach a file of the given type, such as --at scan application/pdf",
    group=PROMPT,
    metavar=("FILE", "MIME"),
    dest="attachment_types",
)
SCHEMA_OPTIONS = (
    Option(
        ("--schema",),
        "value",
        'the form of the answer: a JSON Schema (file or text), or fields such as "name, age int"',
        group=PROMPT,
        metavar="SCHEMA",
    ),
    Option(("--schema-multi",), "value", "the same for a list of such objects", group=PROMPT, metavar="SCHEMA"),
)
TOOL_OPTIONS = (
    Option(
        ("--tool",),
        "append",
        "a tool the model may call: a file with its JSON definition, or several",
        group=PROMPT,
        metavar="FILE",
        dest="tools",
    ),
    Option(
        ("--tool-choice",),
        "value",
        "auto, none, required, or the name of the tool to call",
        group=PROMPT,
        metavar="CHOICE",
    ),
    Option(
        ("--tool-result",),
        "pair",
        "with -c: the result of a tool call, or - for standard input; ID is the id of the call, or the name of the tool",
        group=PROMPT,
        metavar=("ID", "RESULT"),
        dest="tool_results",
    ),
)


class PromptOptions(ModelOptions, MaterialOptions):
    """All that a prompt is made from."""

    prompt: Sequence[str] = ()
    no_stdin: bool = False
    no_stream: bool = False
    store: bool = False
    background: bool = False


class FormatOptions(Options):
    """The form in which an answer goes to stdout."""

    format: str = "text"


FORMAT_OPTIONS = (
    Option(("--json",), "flag", "the same as --format stream-json", group=OUTPUT, dest="format", const="stream-json"),
    Option(
        ("--format",),
        "value",
        "the form of the output; stream-json is a JSON object a line",
        group=OUTPUT,
        choices=formats.NAMES,
    ),
)


class RenderingOptions(FormatOptions):
    """How an answer is shown, and what is said beside it."""

    raw: bool = False
    markdown: bool = False
    color: str = "auto"
    extract: str | None = None
    reasoning: str = "auto"
    breaks: bool = False
    copy: bool = False
    usage: bool = False
    stats: str | None = None
    quiet: bool = False

    def configured(self, settings: Settings) -> Self:
        """Return these options with what the configuration says about those that were not given."""
        reasoning = settings.reasoning if self.reasoning == "auto" else self.reasoning
        return self.replace(reasoning=reasoning, breaks=settings.breaks)


QUIET_OPTION = Option(("-q", "--quiet"), "flag", "print only errors on stderr", group=OUTPUT)
RENDERING_OPTIONS = (
    Option(
        ("-r", "--raw"),
        "flag",
        "show the text without rendering it; a terminal still gets no control characters",
        group=OUTPUT,
    ),
    Option(
        ("-x", "--extract"),
        "flag",
        "print only the first fenced code block, as it arrives; exit code 1 if there is none",
        group=OUTPUT,
        const="first",
    ),
    Option(("--xl",), "flag", "print only the last fenced code block", group=OUTPUT, dest="extract", const="last"),
    Option(("--copy",), "flag", "copy the answer to the clipboard when it is complete", group=OUTPUT),
    Option(("-u", "--usage"), "flag", "print tokens and seconds on stderr", group=OUTPUT),
    Option(
        ("--stats",),
        "value",
        "print all measurements on stderr; with --json they are a line of the output",
        group=OUTPUT,
        choices=("line", "json"),
    ),
    Option(("--markdown",), "flag", "render Markdown in a pipe or file too", group=OUTPUT),
    Option(
        ("--color",),
        "value",
        "colours; auto: on a terminal unless NO_COLOR is set, elsewhere if FORCE_COLOR is; UNSPOOL_THEME=light suits a light"
        " background",
        group=OUTPUT,
        choices=("auto", "always", "never"),
    ),
    Option(
        ("--show-reasoning",),
        "flag",
        "print the model's reasoning on stderr, also where that is no terminal",
        group=OUTPUT,
        dest="reasoning",
        const="show",
    ),
)


class OutputOptions(RenderingOptions):
    """How an answer is shown while it arrives."""

    verbose: bool = False


OUTPUT_OPTIONS = (
    *FORMAT_OPTIONS,
    *RENDERING_OPTIONS,
    Option(
        ("-R", "--hide-reasoning"),
        "flag",
        "do not show the model's reasoning; it is kept all the same",
        group=OUTPUT,
        dest="reasoning",
        const="hide",
    ),
    QUIET_OPTION,
    Option(("-v", "--verbose"), "flag", "print on stderr what is sent where, and how it ended", group=OUTPUT),
)


class TimeOptions(Options):
    """How long an answer may take."""

    timeout: float | None = None
    idle_timeout: float = IDLE_TIMEOUT
    connect_timeout: float = CONNECT_TIMEOUT

    @property
    def limits(self) -> Limits:
        """The times as a client takes them."""
        return Limits(self.connect_timeout, self.idle_timeout, self.timeout)


TIME_OPTIONS = (
    Option(
        ("--timeout",),
        "value",
        "the longest time for the complete answer, such as 90 or 5m (default: none)",
        group=LIMITS,
        metavar="TIME",
        type=seconds,
    ),
    Option(
        ("--idle-timeout",),
        "value",
        "the longest time without data (default: {default} s)",
        group=LIMITS,
        metavar="TIME",
        type=seconds,
    ),
    Option(
        ("--connect-timeout",),
        "value",
        "the longest time to connect (default: {default} s)",
        group=LIMITS,
        metavar="TIME",
        type=seconds,
    ),
)


class LimitOptions(TimeOptions):
    """How long an answer may take, and how often it is tried."""

    retries: int = DEFAULT_RETRIES


LIMIT_OPTIONS = (
    *TIME_OPTIONS,
    Option(
        ("--retries",),
        "value",
        "further attempts before the answer begins (default: {default})",
        group=LIMITS,
        metavar="N",
        type=count,
    ),
)
