"""``unspool run`` and ``unspool bench``, which ask many times, as data."""

from __future__ import annotations

from unspool.batch.parts import Shard, run_name, shard
from unspool.cli import commands
from unspool.cli.options import Command, Option, Words, count, positive, rate, seconds
from unspool.cli.options.shared import (
    LIMIT_OPTIONS,
    LIMITS,
    MAX_TOKENS_OPTION,
    MODEL_OPTION,
    OTHER_OPTION,
    OUTPUT,
    QUIET_OPTION,
    SCHEMA_OPTIONS,
    SERVER_OPTIONS,
    SYSTEM_OPTION,
    TEMPERATURE_OPTION,
    TEMPLATE_OPTIONS,
    TIME_OPTIONS,
    LimitOptions,
    ServerOptions,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_HOW = "how to run"
_LOAD = "load"
#: What ``bench`` does where nothing else is said.
CONCURRENCY = 10
REQUESTS = 100
PROMPT = "Tell me a story in 100 tokens."


class RunOptions(ServerOptions, LimitOptions):
    """The options of ``unspool run``."""

    model: str | None = None
    system: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    options: Sequence[tuple[str, str]] = ()
    schema: str | None = None
    template: str | None = None
    params: Sequence[tuple[str, str]] = ()
    dry_run: bool = False
    patience: float = 300.0
    concurrency: int = 8
    ordered: bool = False
    again: bool = False
    quiet: bool = False
    verbose: bool = False
    # A run has time, and an answer that was refused at first is still wanted.
    retries: int = 8
    shard: Shard = Shard()
    merge: bool = False
    status: bool = False
    name: str = ""
    file: str = ""


class BenchOptions(ServerOptions, LimitOptions):
    """The options of ``unspool bench``."""

    requests: int | None = None
    concurrency: int | None = None
    duration: float | None = None
    rate: float | None = None
    poisson: bool = False
    warm_up: int = 0
    model: str | None = None
    prompts: Sequence[str] = ()
    prompts_file: str | None = None
    system: str | None = None
    max_tokens: int | None = None
    options: Sequence[tuple[str, str]] = ()
    json: bool = False
    quiet: bool = False
    retries: int = 0
    url: str | None = None


RUN = Command(
    "run",
    "answer a file of prompts, many at once",
    lambda options: commands.run.run(options),
    RunOptions,
    (
        MODEL_OPTION,
        SYSTEM_OPTION,
        TEMPERATURE_OPTION,
        MAX_TOKENS_OPTION,
        OTHER_OPTION,
        SCHEMA_OPTIONS[0],
        *TEMPLATE_OPTIONS,
        Option("--dry-run", "print the first request, without the key, and their number; send nothing", _HOW),
        Option(
            "--concurrency N",
            "maximum number of streams at once (default: {default}); reduced while the server reports too many requests",
            _HOW,
            type=positive,
        ),
        Option("--ordered", "print the results in the order of the input, not as they finish", _HOW),
        Option(
            "--shard I/N",
            "process only shard I of N, counted from 0; run N commands, on one machine or several, to process every line once",
            _HOW,
            type=shard,
        ),
        Option("--merge", "send nothing; print the results of all shards in the order of the input", _HOW),
        Option("--status", "send nothing; print how many lines of each shard are answered", _HOW),
        Option(
            "--name NAME",
            "the name under which the answers are saved (default: the file's name and digits from its path)",
            _HOW,
            type=run_name,
        ),
        Option(
            "--patience TIME",
            "stop when the server that answered before has been unreachable for so long (default: {default} s)",
            _HOW,
            type=seconds,
        ),
        Option("--fresh", "send answered lines again too", _HOW, sets="again"),
        Option("-q, --quiet", "print only errors on stderr", _HOW),
        Option("-v, --verbose", "print on stderr why each unanswered line failed", _HOW),
        *SERVER_OPTIONS,
        *LIMIT_OPTIONS,
    ),
    (
        Words(
            "file",
            "FILE",
            "a file with one JSON object per line; - for stdin",
            least=1,
            missing="name one file of prompts, or - for stdin",
        ),
    ),
    description="Stream many answers at once, save each one, and print a JSON object per answer. If the run is stopped or killed, the same command"
    " continues it: answered lines are not sent again.",
    examples="""\
unspool run prompts.jsonl > results.jsonl
unspool run batch.jsonl --concurrency 50 --ordered > results.jsonl
unspool run prompts.jsonl --shard 0/4 > part-0.jsonl
unspool run prompts.jsonl --merge > results.jsonl
unspool run prompts.jsonl -P ollama -m llama3.2 -s "Answer in one word"\
""",
    epilog='A line is {"prompt": "What is Python?"}, or a request of OpenAI\'s Batch API: {"custom_id": "1", "url":'
    ' "/v1/chat/completions", "body": {…}}. Model options on the command line apply unless a line sets the field itself.',
    excess="name one file of prompts, or - for stdin",
)

BENCH = Command(
    "bench",
    "load-test a server and measure its streams",
    lambda options: commands.bench.run(options),
    BenchOptions,
    (
        Option(
            "--requests N",
            f"number of requests (default: {REQUESTS}, or as many as fit in --duration)",
            _LOAD,
            type=positive,
        ),
        Option(
            "--concurrency N",
            f"number of streams at once (default: {CONCURRENCY}; unlimited with --rate)",
            _LOAD,
            type=positive,
        ),
        Option(
            "--duration TIME", "send requests for this long, then wait for those still running", _LOAD, type=seconds
        ),
        Option(
            "--rate N",
            "start N requests per second, however slow the server is (open loop), and measure each from its scheduled start",
            _LOAD,
            type=rate,
        ),
        Option("--poisson", "with --rate: start requests at random intervals, as independent users do", _LOAD),
        Option("--warm-up N", "send N requests first that are not measured (default: {default})", _LOAD, type=count),
        MODEL_OPTION,
        Option(
            "-p, --prompt TEXT...",
            f"the prompt; repeatable, used in turn (default: {PROMPT!r})",
            "model",
            sets="prompts",
        ),
        Option("--prompts FILE", "a file with one prompt per line", "model", sets="prompts_file"),
        SYSTEM_OPTION,
        MAX_TOKENS_OPTION,
        OTHER_OPTION,
        *SERVER_OPTIONS,
        Option("--json", "print all measurements as one JSON object", OUTPUT),
        QUIET_OPTION,
        *TIME_OPTIONS,
        Option(
            "--retries N",
            "retry up to N times before an answer begins (default: {default}, because retries distort the measurement)",
            LIMITS,
            type=count,
        ),
    ),
    (Words("url", "URL", "the base URL of the server, the same as --base-url"),),
    description="Load-test a server and measure its streams. If the server charges for requests, you pay for every one.",
    examples="""\
unspool bench --sim --concurrency 100 --requests 1000
unspool bench http://127.0.0.1:8000/v1 -m llama --concurrency 50 --requests 500
unspool bench -P groq -m llama-3.3-70b --rate 5 --poisson --duration 1m
unspool bench http://127.0.0.1:8000/v1 -m llama --json > today.json\
""",
    excess="it takes one URL; a prompt goes after -p",
)

COMMANDS = (RUN, BENCH)
