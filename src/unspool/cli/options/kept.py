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
    """The options of ``unspool log rename``."""

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
    Option(f"--outcome {'|'.join(tuple(EXIT_CODES))}...", "only answers with this outcome; repeatable"),
    Option("--since TIME", "only answers since then: 2h, 3d, today, 2026-11-01", type=moment),
    Option(
        "--run NAME",
        "only answers of this run: its name, the start of its name, or its file (default: only answers outside runs)",
    ),
)
_FILTERS = (
    Option("-n, --count N", "list at most N answers; 0 lists all (default: {default})", type=count),
    *_WHICH,
    Option("--json", "print one JSON object per line, with everything known about the answer"),
)
_COLUMNS = (
    "The newest answer comes first. On a terminal, lines are cut to its width. In a pipe or file there are six columns, separated by tabs:"
    " the full id, the time, the outcome, the model, the start of the prompt, {}."
)
_YES = Option("-f, -y, --yes", "do not ask for confirmation; it is only asked on a terminal")
_RENAMED = "name the conversation and its new name: unspool log rename CONVERSATION NAME"
_REMOVED = "The exit code is 1 if an answer could not be removed, or if you answered no."

_RENAME = Command(
    "log rename",
    "name or rename a conversation",
    lambda options: commands.conversations.rename(options),
    RenameOptions,
    (),
    (
        Words("conversation", "CONVERSATION", "its name, or the ID of its last answer", least=1, missing=_RENAMED),
        Words("name", "NAME", "the new name", least=1, missing=_RENAMED),
    ),
    description="Name or rename a conversation. `unspool -c NAME` continues it. Where a command takes an ID, the name means the last answer"
    " of the conversation.",
    examples="unspool log rename 7F3K9Q rome\nunspool log rename rome italy",
    excess="it takes a conversation and a name",
)

COMMANDS = (
    Command(
        "last",
        "print the last answer",
        lambda options: commands.show.last(options),
        LastOptions,
        VIEW_OPTIONS,
        description="Print the last answer. The exit code is the one it ended with.",
        examples="unspool last\nunspool last --sse",
        excess="unspool last takes no ID; use: unspool show ID",
    ),
    Command(
        "show",
        "print a saved answer",
        lambda options: commands.show.run(options),
        ShowOptions,
        VIEW_OPTIONS,
        (Words("id", "ID", f"{ID_HELP}, or the file of a journal (default: the last answer)"),),
        description="Print a saved answer. The exit code is the one it ended with.",
        examples="unspool show 7F3K9Q\nunspool show 7F3K9Q --json",
        excess="one ID at a time",
    ),
    Command(
        "replay",
        "replay an answer with its original timing",
        lambda options: commands.replay.run(options),
        ReplayOptions,
        (
            Option("--speed N", "speed factor, such as 0.5 or 10, or max (default: {default})", type=speed),
            *VIEW_OPTIONS,
        ),
        (Words("id", "ID", f"{ID_HELP}, or the file of a journal (default: the last answer)"),),
        description="Replay an answer with its original timing. The exit code is the one it ended with.",
        examples="unspool replay 7F3K9Q\nunspool replay 7F3K9Q --speed 10\nunspool replay tapes/0001-chat-hello.sse --json",
        excess="one ID at a time",
    ),
    Command(
        "resume",
        "get the rest of an answer that was cut off",
        lambda options: commands.resume.run(options),
        ResumeOptions,
        (
            Option("--key KEY", "the API key, if the profile has none"),
            *OUTPUT_OPTIONS,
            *TOOL_RUN_OPTIONS,
            *LIMIT_OPTIONS,
        ),
        (Words("id", "ID", f"{ID_HELP} (default: the last answer that was cut off)"),),
        description="Print the saved part of an answer that was cut off, then the rest. A background response, or a stream saved by a gateway, continues"
        " where it broke off and stays the same answer. Otherwise the model is asked to continue, in a new stream; stderr reports this. If the"
        " command ran tools, finished calls are not run again.",
        examples="unspool resume\nunspool resume 7F3K9Q > answer.md",
        excess="one ID at a time",
    ),
    Command(
        "log",
        "list saved answers",
        lambda options: commands.log.log(options),
        LogOptions,
        (
            *_FILTERS,
            Option("--conversations", "list conversations: name, number of answers, and the last answer"),
            Option("--path", "print the folder of the journals, or the journal file of ID"),
            *ADDRESS_OPTIONS,
        ),
        (Words("id", "ID", f"with --path: {ID_HELP}"),),
        description="List saved answers: those on this machine or, with --base-url or -P, your streams at a gateway.",
        examples="""\
unspool log
unspool log -n 0 --since today --outcome cut
unspool log --run prompts.jsonl --outcome cut
unspool log --conversations
unspool log --json | jq -r 'select(.usage) | [.id, .usage.output_tokens] | @tsv'
less "$(unspool log --path 7F3K9Q)"\
""",
        epilog=_COLUMNS.format("the start of the answer")
        + " For conversations they are: the full id of the last answer, its time, the number of answers, the name, the model, the start of the"
        " first prompt, the start of the last answer. For a gateway's streams: the full id, the time, the outcome (or running), the model,"
        " the endpoint, the output tokens.",
        excess="one ID at a time",
        actions=(_RENAME,),
    ),
    Command(
        "search",
        "search saved answers",
        lambda options: commands.log.search(options),
        SearchOptions,
        _FILTERS,
        (
            Words(
                "words",
                "WORD",
                "the words to find",
                least=1,
                most=None,
                missing='name the words to find, such as: unspool search "event stream"',
            ),
        ),
        description="Search saved answers for words in the prompt or in the answer.",
        examples="""\
unspool search python
unspool search event stream          both words, in any order
unspool search "event stream"        the phrase
unspool search 'stream*'             words that start with stream
unspool search 流式 --since 30d       part of a text without spaces\
""",
        epilog=f"{_COLUMNS.format('the text around the match')}\n\nCase and diacritics are ignored. The exit code is 1 if nothing is found.",
    ),
    Command(
        "stats",
        "show the timing of an answer, or totals over many",
        lambda options: commands.stats.run(options),
        StatsOptions,
        (*_WHICH, Option("--all", "show totals over all saved answers"), Option("--json", "print a JSON object")),
        (Words("id", "ID", f"{ID_HELP}, or the file of a journal (default: the last answer)"),),
        description="Show the timing of an answer: time to the first token, pauses, stalls. With a filter or --all, show totals over answers: outcomes,"
        " speed, and tokens by model and day.",
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
            Option("--format markdown|json", "the output format"),
        ),
        (Words("id", "ID", f"{ID_HELP} (default: the last one)"),),
        description="Print a conversation: the last one, or the one that contains ID, up to that answer.",
        examples="""\
unspool export > answer.md
unspool export 7F3K9Q
unspool export --json 7F3K9Q | jq -r '.streams[].text'\
""",
        epilog="Incomplete answers are marked.",
        excess="one ID at a time",
    ),
    Command(
        "rm",
        "remove saved answers",
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
                missing="which answer? Give its id, or part of it; unspool log lists them",
            ),
        ),
        description="Remove saved answers: their journals, and their text in the search catalogue. The name of a conversation means all its answers.",
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
                "keep only the N newest; with --older-than, keep these even if they are older",
                type=count,
            ),
            Option("--dry-run", "print what would be removed; remove nothing"),
            _YES,
        ),
        description="Remove old answers. Streams that are still running are not removed.",
        examples="""\
unspool prune --older-than 90d
unspool prune --keep 1000
unspool prune --older-than 90d --keep 100 --dry-run\
""",
        epilog=_REMOVED,
        excess="it takes options only; to remove one answer, use: unspool rm ID",
    ),
)
