"""The options that several commands take, each group with the class that holds their values."""

from __future__ import annotations

from unspool.cli import formats
from unspool.cli.options import Option, Options, count, header, number, positive, seconds
from unspool.client.limits import CONNECT_TIMEOUT, DEFAULT_RETRIES, IDLE_TIMEOUT, Limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from unspool.config import Settings
    from unspool.config.target import Target

PROMPT = "prompt"
MODEL = "model"
TOOLS = "tools"
SERVER = "server"
OUTPUT = "output"
LIMITS = "limits"

#: What an ID may be, for the help of every command that takes one.
ID_HELP = "an answer's id, or any part of it that is unique, or the name of a conversation"


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
        "-P, --profile NAME",
        "the server: a profile of the configuration, or a built-in one such as openai, ollama, groq",
        SERVER,
    ),
    Option("--base-url URL", "the server's base URL; most end in /v1", SERVER),
    Option("--sim", "use the built-in simulator: no key, no network", SERVER),
    Option(
        "--key KEY",
        "the API key; other users of this machine can see it in the process list, so prefer the environment or: unspool keys set",
        SERVER,
    ),
    Option(
        "--api responses|chat|completions", "the API endpoint (default: responses at OpenAI, chat elsewhere)", SERVER
    ),
    Option(
        "-H, --header 'NAME: VALUE'...",
        "add a request header, such as -H 'X-Team: search'; repeatable",
        SERVER,
        sets="headers",
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


MODEL_OPTION = Option("-m, --model MODEL", "the model, or one of your aliases", MODEL)
SYSTEM_OPTION = Option("-s, --system TEXT", "the system prompt", MODEL)
MAX_TOKENS_OPTION = Option("--max-tokens N", "limit the answer to N tokens", MODEL, type=positive)
TEMPERATURE_OPTION = Option(
    "--temperature N", "0 for the most likely words, higher for more variety", MODEL, type=number
)
OTHER_OPTION = Option(
    "-o, --option KEY VALUE",
    "set any other request field, such as -o seed 1 or -o n 2; VALUE is JSON or text",
    MODEL,
    sets="options",
)
MODEL_OPTIONS = (
    MODEL_OPTION,
    SYSTEM_OPTION,
    OTHER_OPTION,
    MAX_TOKENS_OPTION,
    TEMPERATURE_OPTION,
    Option("--top-p N", "choose among the most likely words, up to this total probability", MODEL, type=number),
)


class MaterialOptions(Options):
    """What a prompt consists of besides its words."""

    files: Sequence[str] = ()
    attachments: Sequence[str] = ()
    attachment_types: Sequence[tuple[str, str]] = ()
    schema: str | None = None
    schema_multi: str | None = None
    tools: Sequence[str] = ()
    functions: Sequence[str] = ()
    run_tools: Sequence[str] = ()
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
        "-f, --file FILE...",
        "put text before the prompt: a file, a folder, a URL, or - for stdin; repeatable",
        PROMPT,
        sets="files",
    ),
    Option(
        "-a, --attachment FILE...",
        "attach an image, a PDF, audio or text: a path, a URL, or - for stdin; repeatable",
        PROMPT,
        sets="attachments",
    ),
)
ATTACHMENT_TYPE_OPTION = Option(
    "--at, --attachment-type FILE MIME",
    "attach a file of this media type, such as --at scan application/pdf",
    PROMPT,
    sets="attachment_types",
)
SCHEMA_OPTIONS = (
    Option(
        "--schema SCHEMA",
        'answer in JSON of this form: a JSON Schema (file or text), or fields such as "name, age int"',
        PROMPT,
    ),
    Option("--schema-multi SCHEMA", "the same, for a list of such objects", PROMPT),
)
TEMPLATE_OPTIONS = (
    Option("-t, --template NAME", "use a template: one saved with --save, or a TOML file", PROMPT),
    Option("-p, --param NAME VALUE", "set a parameter of the template", PROMPT, sets="params"),
)
TOOL_OPTIONS = (
    Option(
        "--tool FILE...",
        "offer the model a tool: a file with its JSON definition, or a list of them; repeatable",
        PROMPT,
        sets="tools",
    ),
    Option("--tool-choice CHOICE", "auto, none, required, or the name of the tool to call", PROMPT),
    Option(
        "--tool-result ID RESULT",
        "with -c: send the result of a tool call (- for stdin); ID is the call's id or the tool's name",
        PROMPT,
        sets="tool_results",
    ),
)


class ToolRunOptions(Options):
    """What allows the tools that the command runs, and for how long."""

    tools_allow: Sequence[str] = ()
    tools_approve: bool = False
    tools_debug: bool = False
    chain_limit: int = 10
    tool_timeout: float = 60.0


TOOL_SOURCE_OPTIONS = (
    Option("--functions FILE...", "let the model call the functions in a Python file, or in Python code", TOOLS),
    Option(
        "-T, --run-tool NAME...",
        "let the model call a tool from the configuration, such as mcp:NAME, a Python file, or an installed package",
        TOOLS,
        sets="run_tools",
    ),
)
TOOL_RUN_OPTIONS = (
    Option("--tools-allow NAMES...", "run these tools without asking: names separated by commas, or all", TOOLS),
    Option("--ta, --tools-approve", "ask before each call, even for allowed tools", TOOLS),
    Option("--td, --tools-debug", "show tool results in full", TOOLS),
    Option(
        "--cl, --chain-limit N", "stop after this many rounds of tool calls (default: {default})", TOOLS, type=count
    ),
    Option("--tool-timeout TIME", "time limit for one tool call (default: {default} s)", TOOLS, type=seconds),
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
    Option("--json", "the same as --format stream-json", OUTPUT, sets="format", const="stream-json"),
    Option(f"--format {'|'.join(formats.NAMES)}", "the output format; stream-json is one JSON object per line", OUTPUT),
)


class RenderingOptions(FormatOptions):
    """How an answer is shown, and what is reported about it."""

    raw: bool = False
    markdown: bool = False
    color: str = "auto"
    extract: str | None = None
    no_newline: bool = False
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


QUIET_OPTION = Option("-q, --quiet", "print only errors on stderr", OUTPUT)
RENDERING_OPTIONS = (
    Option("-r, --raw", "do not render Markdown; on a terminal, control characters are still removed", OUTPUT),
    Option(
        "-x, --extract",
        "print only the first fenced code block, as it arrives; exit with 1 if there is none",
        OUTPUT,
        const="first",
    ),
    Option("--xl", "print only the last fenced code block", OUTPUT, sets="extract", const="last"),
    Option("-N, --no-newline", "in a pipe or file, do not add a missing newline at the end of the answer", OUTPUT),
    Option("--copy", "copy the answer to the clipboard when it is complete", OUTPUT),
    Option("-u, --usage", "print tokens and seconds on stderr", OUTPUT),
    Option("--stats line|json", "print all measurements on stderr; with --json, as a line of the output", OUTPUT),
    Option("--markdown", "render Markdown even if stdout is not a terminal", OUTPUT),
    Option(
        "--color auto|always|never",
        "when to use colours; auto means on a terminal unless NO_COLOR is set, elsewhere if FORCE_COLOR is set; UNSPOOL_THEME=light"
        " is for light backgrounds",
        OUTPUT,
    ),
    Option(
        "--show-reasoning",
        "print the model's reasoning on stderr, even if that is not a terminal",
        OUTPUT,
        sets="reasoning",
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
        "-R, --hide-reasoning",
        "do not show the model's reasoning; it is still saved",
        OUTPUT,
        sets="reasoning",
        const="hide",
    ),
    QUIET_OPTION,
    Option("-v, --verbose", "print requests and how they ended on stderr", OUTPUT),
)


class TimeOptions(Options):
    """How long an answer may take."""

    timeout: float | None = None
    idle_timeout: float | None = None
    connect_timeout: float | None = None

    def limits(self, target: Target) -> Limits:
        """The times as a client takes them: those of the command line, else those of the server's profile, else the usual ones."""
        route = target.network
        connect, idle, total = (
            (route.connect_timeout, route.idle_timeout, route.timeout) if route is not None else (None, None, None)
        )
        return Limits(
            self.connect_timeout or connect or CONNECT_TIMEOUT,
            self.idle_timeout or idle or IDLE_TIMEOUT,
            self.timeout or total,
        )


TIME_OPTIONS = (
    Option(
        "--timeout TIME",
        "time limit for the complete answer, such as 90 or 5m (default: none)",
        LIMITS,
        type=seconds,
    ),
    Option("--idle-timeout TIME", f"time limit without any data (default: {IDLE_TIMEOUT:g} s)", LIMITS, type=seconds),
    Option("--connect-timeout TIME", f"time limit to connect (default: {CONNECT_TIMEOUT:g} s)", LIMITS, type=seconds),
)


class LimitOptions(TimeOptions):
    """How long an answer may take, and how often it is tried."""

    retries: int = DEFAULT_RETRIES


LIMIT_OPTIONS = (
    *TIME_OPTIONS,
    Option("--retries N", "retry up to N times before the answer begins (default: {default})", LIMITS, type=count),
)
