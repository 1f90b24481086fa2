"""``unspool ask`` as data."""

from __future__ import annotations

from unspool.cli import commands
from unspool.cli.options import Command, Option, Words
from unspool.cli.options.shared import (
    ATTACHMENT_TYPE_OPTION,
    FILE_OPTIONS,
    LIMIT_OPTIONS,
    MODEL,
    MODEL_OPTIONS,
    OUTPUT,
    OUTPUT_OPTIONS,
    PROMPT,
    SCHEMA_OPTIONS,
    SERVER_OPTIONS,
    TOOL_OPTIONS,
    TOOL_RUN_OPTIONS,
    TOOL_SOURCE_OPTIONS,
    LimitOptions,
    OutputOptions,
    PromptOptions,
    ServerOptions,
    ToolRunOptions,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class AskOptions(PromptOptions, ToolRunOptions, ServerOptions, OutputOptions, LimitOptions):
    """The options of ``unspool ask``."""

    functions: Sequence[str] = ()
    run_tools: Sequence[str] = ()
    continues: bool = False
    cid: str | None = None
    name: str | None = None
    template: str | None = None
    params: Sequence[tuple[str, str]] = ()
    save: str | None = None
    no_log: bool = False
    detach: bool = False
    dry_run: bool = False
    edit: bool = False


CONVERSATION_OPTIONS = (
    Option(
        "-c, --continue",
        "continue the last conversation, or the one whose name comes first in the prompt, with its model and server unless others"
        " are named",
        PROMPT,
        sets="continues",
    ),
    Option("--cid ID", "continue the conversation of this answer", PROMPT),
    Option(
        "--name NAME", "continue the conversation of this name, or begin it; with -c or --cid: name that one", PROMPT
    ),
)
SERVER_SIDE_OPTIONS = (
    Option(
        "--background",
        "let OpenAI keep generating when the connection breaks, so that the answer can be resumed; implies --store, and the first"
        " token comes later",
        MODEL,
    ),
    Option("--store", "let the server keep the answer", MODEL),
    Option("--no-stream", "ask for the answer in one piece", MODEL),
)
NO_LOG_OPTION = Option("-n, --no-log", "keep the answer in memory only, until the command ends", OUTPUT)

ASK = Command(
    "ask",
    "stream an answer; the default",
    lambda options: commands.ask.run(options),
    AskOptions,
    (
        *MODEL_OPTIONS,
        *FILE_OPTIONS,
        *CONVERSATION_OPTIONS,
        Option("-t, --template NAME", "a prompt kept with --save, or in a TOML file", PROMPT),
        Option("-p, --param NAME VALUE", "the value of a template's parameter", PROMPT, sets="params"),
        *SCHEMA_OPTIONS,
        *OUTPUT_OPTIONS,
        NO_LOG_OPTION,
        Option(
            "-d, --detach",
            "print the id of the answer and let it run in the background, independent of this terminal",
            OUTPUT,
        ),
        Option("--dry-run", "show the request, without the key, and do not send it", OUTPUT),
        *SERVER_OPTIONS,
        ATTACHMENT_TYPE_OPTION,
        *TOOL_OPTIONS,
        *TOOL_SOURCE_OPTIONS,
        *TOOL_RUN_OPTIONS,
        Option("-e, --edit", "write the prompt in $VISUAL or $EDITOR", PROMPT),
        Option("--no-stdin", "do not read standard input", PROMPT),
        Option(
            "--save NAME",
            "keep this command line as a template instead of asking; $input stands for the later prompt, $name for a parameter",
            PROMPT,
        ),
        *SERVER_SIDE_OPTIONS,
        *LIMIT_OPTIONS,
    ),
    (Words("prompt", "PROMPT", "what to ask; the words are joined, and follow standard input", most=None),),
    description="Stream an answer from the OpenAI API, or from any server that speaks it, and keep every token."
    ' `unspool ask "…"` is the same as `unspool "…"`.',
    examples="""\
unspool "What is Python?"
unspool -m gpt-5.4-mini -s "Answer in one sentence" "Why is the sky blue?"
git diff | unspool "Write a commit message for this"
unspool -a photo.jpg "What is this?"          images, PDF, sound; -f for text
unspool --schema "name, age int" "Invent a person"
unspool -x "A shell script that prints the largest files here" > largest.sh
unspool -P ollama -m llama3.2 "Hello"
unspool --sim "Hello"                         no key, no network
unspool --api completions -m gpt-3.5-turbo-instruct --max-tokens 100 --temperature 0 "What is Python?"\
""",
    epilog="A prompt that begins with the name of a command goes after -- or after: unspool ask",
)


COMMANDS = (ASK,)
