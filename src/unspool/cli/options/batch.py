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
    dry_run: bool = False
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
    "stream the answers to a file of prompts",
    lambda options: commands.run.run(options),
    RunOptions,
    (
        MODEL_OPTION,
        SYSTEM_OPTION,
        TEMPERATURE_OPTION,
        MAX_TOKENS_OPTION,
        OTHER_OPTION,
        SCHEMA_OPTIONS[0],
        Option("--dry-run", "show the first request, without the key, and how many there are; send nothing", _HOW),
        Option(
            "--concurrency N",
            "the most streams at once (default: {default}); fewer while the server says that there are too many",
            _HOW,
            type=positive,
        ),
        Option("--ordered", "print the results in the order of the lines, not as they come", _HOW),
        Option(
            "--shard I/N",
            "ask only the lines of shard I of N, counted from 0: N commands, on one machine or on many, ask all lines once",
            _HOW,
            type=shard,
        ),
        Option("--merge", "ask nothing; print the results of all shards in the order of the lines", _HOW),
        Option("--status", "ask nothing; print how many lines of each shard are answered", _HOW),
        Option(
            "--name NAME",
            "the name of the run, under which its answers are kept (default: the file's name and digits of its path)",
            _HOW,
            type=run_name,
        ),
        Option("--anew", "ask again for lines that have an answer", _HOW, sets="again"),
        Option("-q, --quiet", "print only errors on stderr", _HOW),
        Option("-v, --verbose", "print on stderr how each line ended that has no answer", _HOW),
        *SERVER_OPTIONS,
        *LIMIT_OPTIONS,
    ),
    (
        Words(
            "file",
            "FILE",
            "a file with a JSON object a line; - for standard input",
            least=1,
            missing="name one file of prompts, or - for standard input",
        ),
    ),
    description="Stream many answers at once, each into its own journal, and print a JSON object for each. After it was stopped or killed,"
    " the same command continues: what has an answer is not asked again.",
    examples="""\
unspool run prompts.jsonl > results.jsonl
unspool run batch.jsonl --concurrency 50 --ordered > results.jsonl
unspool run prompts.jsonl --shard 0/4 > part-0.jsonl
unspool run prompts.jsonl --merge > results.jsonl
unspool run prompts.jsonl -P ollama -m llama3.2 -s "Answer in one word"\
""",
    epilog='A line is {"prompt": "What is Python?"}, or a request of OpenAI\'s Batch API: {"custom_id": "1", "url":'
    ' "/v1/chat/completions", "body": {…}}. The options of the model apply where a line says nothing else.',
    excess="name one file of prompts, or - for standard input",
)

BENCH = Command(
    "bench",
    "put load on a server and measure its streams",
    lambda options: commands.bench.run(options),
    BenchOptions,
    (
        Option(
            "--requests N",
            f"the requests to send (default: {REQUESTS}, or as many as fit in --duration)",
            _LOAD,
            type=positive,
        ),
        Option(
            "--concurrency N",
            f"the streams at a time (default: {CONCURRENCY}; with --rate no bound)",
            _LOAD,
            type=positive,
        ),
        Option("--duration TIME", "send requests for this long, then wait for those that run", _LOAD, type=seconds),
        Option(
            "--rate N",
            "send this many requests a second whatever the server does (an open loop), and measure each from when it was due",
            _LOAD,
            type=rate,
        ),
        Option("--poisson", "with --rate: at random, as independent people come", _LOAD),
        Option("--warm-up N", "requests that are sent first and not measured (default: {default})", _LOAD, type=count),
        MODEL_OPTION,
        Option(
            "-p, --prompt TEXT...",
            f"what to ask; several are asked in turn (default: {PROMPT!r})",
            "model",
            sets="prompts",
        ),
        Option("--prompts FILE", "a file with a prompt in each line", "model", sets="prompts_file"),
        SYSTEM_OPTION,
        MAX_TOKENS_OPTION,
        OTHER_OPTION,
        *SERVER_OPTIONS,
        Option("--json", "print all measurements as one JSON object", OUTPUT),
        QUIET_OPTION,
        *TIME_OPTIONS,
        Option(
            "--retries N",
            "further attempts before an answer begins (default: {default}, since a retry hides what is measured)",
            LIMITS,
            type=count,
        ),
    ),
    (Words("url", "URL", "the base URL of the server, the same as --base-url"),),
    description="Put load on a server and measure its streams. Every request is paid for where requests cost money.",
    examples="""\
unspool bench --sim --concurrency 100 --requests 1000
unspool bench http://127.0.0.1:8000/v1 -m llama --concurrency 50 --requests 500
unspool bench -P groq -m llama-3.3-70b --rate 5 --poisson --duration 1m
unspool bench http://127.0.0.1:8000/v1 -m llama --json > today.json\
""",
    excess="it takes one URL; a prompt goes after -p",
)

COMMANDS = (RUN, BENCH)
