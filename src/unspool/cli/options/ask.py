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
    TEMPLATE_OPTIONS,
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
        "continue the last conversation, or the one whose name is the first word, with its model and server unless you name"
        " others",
        PROMPT,
        sets="continues",
    ),
    Option("--cid ID", "continue the conversation that this answer is in", PROMPT),
    Option(
        "--name NAME",
        "continue the conversation with this name, or start it; with -c or --cid: give that conversation this name",
        PROMPT,
    ),
)
SERVER_SIDE_OPTIONS = (
    Option(
        "--background",
        "let OpenAI keep generating if the connection breaks, so that the answer can be resumed; implies --store; the first token"
        " comes later",
        MODEL,
    ),
    Option("--store", "let the server store the answer", MODEL),
    Option("--no-stream", "request the answer in one piece, not as a stream", MODEL),
)
NO_LOG_OPTION = Option("-n, --no-log", "do not save the answer: keep it in memory until the command ends", OUTPUT)

ASK = Command(
    "ask",
    "stream an answer; the default",
    lambda options: commands.ask.run(options),
    AskOptions,
    (
        *MODEL_OPTIONS,
        *FILE_OPTIONS,
        *CONVERSATION_OPTIONS,
        *TEMPLATE_OPTIONS,
        *SCHEMA_OPTIONS,
        *OUTPUT_OPTIONS,
        NO_LOG_OPTION,
        Option(
            "-d, --detach",
            "print the answer's id and run in the background, independent of this terminal",
            OUTPUT,
        ),
        Option("--dry-run", "print the request, without the key; do not send it", OUTPUT),
        *SERVER_OPTIONS,
        ATTACHMENT_TYPE_OPTION,
        *TOOL_OPTIONS,
        *TOOL_SOURCE_OPTIONS,
        *TOOL_RUN_OPTIONS,
        Option("-e, --edit", "write the prompt in $VISUAL or $EDITOR", PROMPT),
        Option("--no-stdin", "do not read stdin", PROMPT),
        Option(
            "--save NAME",
            "save this command line as a template instead of asking; $input is replaced by the prompt, $name by a parameter",
            PROMPT,
        ),
        *SERVER_SIDE_OPTIONS,
        *LIMIT_OPTIONS,
    ),
    (Words("prompt", "PROMPT", "what to ask; words are joined with spaces; stdin is put before them", most=None),),
    description="Stream an answer from the OpenAI API, or from a compatible server, and save every token."
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
    epilog="If a prompt begins with the name of a command, write it after -- or after: unspool ask",
)


COMMANDS = (ASK,)
