"""The commands for answers that are kept, as data."""

from __future__ import annotations

from unspool.cli import commands
from unspool.cli.options import Command, Option, Options, Words, count, moment, speed
from unspool.cli.options.shared import (
    ADDRESS_OPTIONS,
    FORMAT_OPTIONS,
    ID_HELP,
    LIMIT_OPTIONS,
    OUTPUT,
    OUTPUT_OPTIONS,
    QUIET_OPTION,
    RENDERING_OPTIONS,
    TOOL_RUN_OPTIONS,
    AddressOptions,
    LimitOptions,
    OutputOptions,
    RenderingOptions,
    ToolRunOptions,
)
from unspool.outcome import EXIT_CODES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

#: The options of commands that show an answer from its journal.
VIEW_OPTIONS = (
    *FORMAT_OPTIONS,
    Option("--sse", "the same as --format sse: the server's own events", OUTPUT, sets="format", const="sse"),
    *RENDERING_OPTIONS,
    QUIET_OPTION,
)


class LastOptions(RenderingOptions):
    """The options of ``unspool last``."""


class ShowOptions(RenderingOptions):
    """The options of ``unspool show``."""

    id: str | None = None


class ReplayOptions(ShowOptions):
    """The options of ``unspool replay``."""

    speed: float = 1.0


class ResumeOptions(OutputOptions, ToolRunOptions, LimitOptions):
    """The options of ``unspool resume``."""

    id: str | None = None
    key: str | None = None


class FilterOptions(Options):
    """Which answers to list."""

    count: int = 20
    model: str = ""
    outcome: Sequence[str] = ()
    since: int | None = None
    run: str | None = None
    json: bool = False


class LogOptions(FilterOptions, AddressOptions):
    """The options of ``unspool log``."""

    conversations: bool = False
    path: bool = False
    id: str | None = None


class RenameOptions(Options):
    """The options of ``unspool rename``."""

    conversation: str = ""
    name: str = ""


class SearchOptions(FilterOptions):
    """The options of ``unspool search``."""

    words: Sequence[str] = ()


class StatsOptions(Options):
    """The options of ``unspool stats``."""

    model: str = ""
    outcome: Sequence[str] = ()
    since: int | None = None
    run: str | None = None
    all: bool = False
    json: bool = False
    id: str | None = None


class ExportOptions(Options):
    """The options of ``unspool export``."""

    format: str = "markdown"
    id: str | None = None


class RemoveOptions(Options):
    """The options of ``unspool rm``."""

    yes: bool = False
    ids: Sequence[str] = ()


class PruneOptions(Options):
    """The options of ``unspool prune``."""

    older_than: int | None = None
    keep: int | None = None
    dry_run: bool = False
    yes: bool = False


_WHICH = (
    Option("--model NAME", "only answers of models whose name contains this"),
    Option(f"--outcome {'|'.join(tuple(EXIT_CODES))}...", "only answers that ended so; repeatable"),
    Option("--since TIME", "only answers since then: 2h, 3d, today, 2026-11-01", type=moment),
    Option(
        "--run NAME",
        "the answers of a run: its name, the beginning of it, or its file (default: all answers outside runs)",
    ),
)
_FILTERS = (
    Option("-n, --count N", "the most answers to list, 0 for all (default: {default})", type=count),
    *_WHICH,
    Option("--json", "a JSON object a line, with all that is known of an answer"),
)
_COLUMNS = (
    "The newest comes first. A terminal gets lines that fit it. A pipe or file gets six columns, separated by tabs: the full id, the"
    " time, the outcome, the model, the first words of the prompt, {}."
)
_YES = Option("-f, -y, --yes", "do not ask; without a terminal nothing is asked anyway")
_RENAMED = "which one, and what shall it be called? unspool rename CONVERSATION NAME"
_REMOVED = "Exits with 1 if something was not removed, because it could not be or because you answered no."

COMMANDS = (
    Command(
        "last",
        "print the last answer again",
        lambda options: commands.show.last(options),
        LastOptions,
        VIEW_OPTIONS,
        description="Print the last answer again; the exit code is the one it had.",
        examples="unspool last\nunspool last --sse",
        excess="unspool last takes no ID: use unspool show ID",
    ),
    Command(
        "show",
        "print any answer again",
        lambda options: commands.show.run(options),
        ShowOptions,
        VIEW_OPTIONS,
        (Words("id", "ID", f"{ID_HELP}, or the file of a journal (default: the last answer)"),),
        description="Print an answer again; the exit code is the one it had.",
        examples="unspool show 7F3K9Q\nunspool show 7F3K9Q --json",
        excess="one ID at a time",
    ),
    Command(
        "replay",
        "play an answer again, with its timing",
        lambda options: commands.replay.run(options),
        ReplayOptions,
        (
            Option("--speed N", "how many times as fast as it came, or max (default: {default})", type=speed),
            *VIEW_OPTIONS,
        ),
        (Words("id", "ID", f"{ID_HELP}, or the file of a journal (default: the last answer)"),),
        description="Play an answer again as it came, with its timing. The exit code is the one it had.",
        examples="unspool replay 7F3K9Q\nunspool replay 7F3K9Q --speed 10\nunspool replay tapes/0001-chat-hello.sse --json",
        excess="one ID at a time",
    ),
    Command(
        "resume",
        "get the rest of an answer that was cut",
        lambda options: commands.resume.run(options),
        ResumeOptions,
        (
            Option("--key KEY", "the API key, where the profile has none"),
            *OUTPUT_OPTIONS,
            *TOOL_RUN_OPTIONS,
            *LIMIT_OPTIONS,
        ),
        (Words("id", "ID", f"{ID_HELP} (default: the last answer that was cut)"),),
        description="Print what is kept of a cut answer, and the rest of it. A background response, or a stream that a"
        " gateway keeps, continues where it broke, and is the same answer. For anything else the model is asked to continue, in a new stream, and stderr says so. Where the command ran tools, calls that have"
        " finished are not run again.",
        examples="unspool resume\nunspool resume 7F3K9Q > answer.md",
        excess="one ID at a time",
    ),
    Command(
        "log",
        "list the kept answers",
        lambda options: commands.log.log(options),
        LogOptions,
        (
            *_FILTERS,
            Option(
                "--conversations", "list conversations, each with its name, the number of its answers and the last one"
            ),
            Option("--path", "print the folder of the journals, or the file of the answer ID"),
            *ADDRESS_OPTIONS,
        ),
        (Words("id", "ID", f"with --path: {ID_HELP}"),),
        description="List the kept answers: those of this machine, or with --base-url or -P your streams at a gateway.",
        examples="""\
unspool log
unspool log -n 0 --since today --outcome cut
unspool log --run prompts.jsonl --outcome cut
unspool log --conversations
unspool log --json | jq -r 'select(.usage) | [.id, .usage.output_tokens] | @tsv'
less "$(unspool log --path 7F3K9Q)"\
""",
        epilog=_COLUMNS.format("the first words of the answer")
        + " Of conversations: the full id of the last answer, its time, the number of answers, the name, the model, the first words of the"
        " first prompt and of the last answer. Of a gateway's streams: the full id, the time, the outcome or running, the model, the endpoint, the output tokens.",
        excess="one ID at a time",
    ),
    Command(
        "rename",
        "name a conversation",
        lambda options: commands.conversations.rename(options),
        RenameOptions,
        (),
        (
            Words("conversation", "CONVERSATION", "its name, or an ID of its last answer", least=1, missing=_RENAMED),
            Words("name", "NAME", "the new name", least=1, missing=_RENAMED),
        ),
        description="Name a conversation, or give it another name. `unspool -c NAME` continues it. Where a command takes an ID, the name"
        " stands for the last answer of its conversation.",
        examples="unspool rename 7F3K9Q rome\nunspool rename rome italy",
        excess="it takes a conversation and a name; to ask it as a prompt: unspool ask …",
    ),
    Command(
        "search",
        "find kept answers by their words",
        lambda options: commands.log.search(options),
        SearchOptions,
        _FILTERS,
        (
            Words(
                "words",
                "WORD",
                "what to find",
                least=1,
                most=None,
                missing='name the words to find, such as: unspool search "event stream"',
            ),
        ),
        description="Find kept answers by words of the prompt or of the answer.",
        examples="""\
unspool search python
unspool search event stream          both words, in any order
unspool search "event stream"        the phrase
unspool search 'stream*'             words that begin so
unspool search 流式 --since 30d       a part of a text without blanks\
""",
        epilog=f"{_COLUMNS.format('the words around the hit')}\n\nCase and diacritics do not matter. Exits with 1 when nothing is found.",
    ),
    Command(
        "stats",
        "show the timing of an answer, or sums over many",
        lambda options: commands.stats.run(options),
        StatsOptions,
        (*_WHICH, Option("--all", "sum up all kept answers"), Option("--json", "the same as a JSON object")),
        (Words("id", "ID", f"{ID_HELP}, or the file of a journal (default: the last answer)"),),
        description="Show how an answer came in time: the first token, the pauses, the stalls. With a filter or --all: sums over answers, how"
        " they ended, how fast they came, and their tokens by model and day.",
        examples="""\
unspool stats
unspool stats 7F3K9Q
unspool stats --since 7d
unspool stats --run prompts.jsonl
unspool stats --all --json | jq .models\
""",
        excess="one ID at a time",
    ),
    Command(
        "export",
        "print a conversation as Markdown or JSON",
        lambda options: commands.export.run(options),
        ExportOptions,
        (
            Option("--json", "the same as --format json", sets="format", const="json"),
            Option("--format markdown|json", "the form of the output"),
        ),
        (Words("id", "ID", f"{ID_HELP} (default: the last one)"),),
        description="Print a complete conversation: the last one, or the one of the answer ID up to that answer.",
        examples="""\
unspool export > answer.md
unspool export 7F3K9Q
unspool export --json 7F3K9Q | jq -r '.streams[].text'\
""",
        epilog="An answer that is not complete is marked.",
        excess="one ID at a time",
    ),
    Command(
        "rm",
        "remove kept answers",
        lambda options: commands.remove.rm(options),
        RemoveOptions,
        (_YES,),
        (
            Words(
                "ids",
                "ID",
                ID_HELP,
                least=1,
                most=None,
                missing="which one? Give a part of its id (unspool log lists them)",
            ),
        ),
        description="Remove kept answers: their journals, and all their words in the catalogue. The name of a conversation stands for all its"
        " answers.",
        examples="unspool rm 7F3K9Q\nunspool rm -f 7F3K9Q 2BXW4M",
        epilog=_REMOVED,
    ),
    Command(
        "prune",
        "remove old answers",
        lambda options: commands.remove.prune(options),
        PruneOptions,
        (
            Option("--older-than TIME", "remove answers older than this: 90d, 12h, 2026-11-01", type=moment),
            Option(
                "--keep N",
                "remove all but the N newest; with --older-than: keep these, however old they are",
                type=count,
            ),
            Option("--dry-run", "say what would be removed, and remove nothing"),
            _YES,
        ),
        description="Remove old answers. Those that are still being written stay.",
        examples="""\
unspool prune --older-than 90d
unspool prune --keep 1000
unspool prune --older-than 90d --keep 100 --dry-run\
""",
        epilog=_REMOVED,
        excess="it takes options only; to remove one answer: unspool rm ID",
    ),
)
