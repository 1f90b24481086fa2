"""``unspool run``: a file of prompts, many at a time, which goes on where it stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time

from unspool import outcome
from unspool.batch import results
from unspool.batch.ledger import Busy, Ledger
from unspool.batch.lines import Lines, Unreadable
from unspool.batch.runner import Runner, exit_code_of
from unspool.cli.access import ask_simulator, lacks_key, missing_key, whom_to_ask
from unspool.cli.options import Option, scan
from unspool.cli.options.flags import LIMIT_OPTIONS, SERVER_OPTIONS, number, positive
from unspool.client.aio import AsyncAnswer
from unspool.client.answer import Limits
from unspool.client.exchange import Exchange
from unspool.client.throttle import Throttle
from unspool.config import paths, settings
from unspool.journal import summary
from unspool.journal.writer import Writer
from unspool.jsontext import dumps
from unspool.terminal.output import Notes, Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from unspool.batch.lines import Line
    from unspool.config import Settings
    from unspool.config.target import Target
    from unspool.journal.summary import Summary

EXAMPLES = """\
  unspool run prompts.jsonl > results.jsonl
  unspool run batch.jsonl --concurrency 50 --ordered > results.jsonl
  unspool run prompts.jsonl -P ollama -m llama3.2 -s "Answer in one word"

A line is {"prompt": "What is Python?"} or a request of OpenAI's Batch API: {"custom_id": "1", "url": "/v1/chat/completions", "body": {…}}.\
"""

_CONCURRENCY = 8
# A run has time, and an answer that was refused at first is still wanted.
_RETRIES = 8
# How often the progress is shown, in seconds.
_FRAME = 0.2

_MODEL = "what to ask for, where a line does not say"
_HOW = "how to run"

OPTIONS = (
    Option(("-m", "--model"), "value", "the model", group=_MODEL, metavar="MODEL"),
    Option(("-s", "--system"), "value", "the instruction that precedes each prompt", group=_MODEL, metavar="TEXT"),
    Option(("--temperature",), "value", "0 for the likeliest words", group=_MODEL, metavar="N", type=number),
    Option(("--max-tokens",), "value", "the most tokens an answer may have", group=_MODEL, metavar="N", type=positive),
    Option(
        ("--concurrency",),
        "value",
        f"the most streams at once (default: {_CONCURRENCY}); fewer while the server says that there are too many",
        group=_HOW,
        metavar="N",
        type=positive,
        default=_CONCURRENCY,
    ),
    Option(("--ordered",), "flag", "print the results in the order of the lines, not as they come", group=_HOW),
    Option(("--anew",), "flag", "ask again for what is answered already", group=_HOW),
    *SERVER_OPTIONS,
    Option(("-q", "--quiet"), "flag", "say nothing on stderr but errors", group=_HOW),
    Option(("-v", "--verbose"), "flag", "say on stderr how each line ended that was not answered", group=_HOW),
    *(one.replace(default=_RETRIES) if one.dest == "retries" else one for one in LIMIT_OPTIONS),
)


def run(name: str, argv: list[str]) -> int:
    """Ask for every line of a file that has no answer yet, and print all results."""
    arguments = scan(OPTIONS, argv, "file")
    if arguments is None or len(arguments["file"]) != 1:
        from unspool.cli.options.parser import build, read

        parser = build(
            "unspool run",
            OPTIONS,
            rest="file",
            metavar="FILE",
            rest_help="a file with a JSON object a line; - for standard input",
            examples=EXAMPLES,
            description=(
                "Stream many answers at once, each into a journal of its own, and print a JSON object for each. Stopped or killed, the "
                "same command goes on where it stopped: what has an answer is not asked again."
            ),
        )
        arguments = read(parser, argv)
        if len(arguments["file"]) != 1:
            parser.error("name one file of prompts, or - for standard input")
    notes = Notes(Output(2), quiet=arguments["quiet"])
    try:
        if not arguments["sim"]:
            return _run(arguments, notes)
        from unspool.sim.running import Simulator

        with Simulator() as simulator:
            ask_simulator(arguments, simulator.url)
            return _run(arguments, notes)
    except Unreadable as error:
        for line in str(error).split("\n"):
            notes.line(f"{arguments['file'][0]}: {line}", always=True)
        notes.line("nothing was asked", always=True)
        return outcome.USAGE_EXIT_CODE


def _run(arguments: dict[str, Any], notes: Notes) -> int:
    configuration = settings.load()
    target = whom_to_ask(arguments, configuration)
    if lacks_key(target):
        notes.line(missing_key(target), always=True)
        return outcome.EXIT_CODES[outcome.UNAUTHORIZED]
    for warning in target.warnings:
        notes.line(warning)
    named = arguments["file"][0]
    try:
        content = _content(named)
    except OSError as error:
        notes.line(f"cannot read {named}: {error.strerror}", always=True)
        return outcome.USAGE_EXIT_CODE
    fields = {name: arguments[name] for name in ("model", "system", "temperature", "max_tokens")}
    # All of it is read before anything is asked: a mistake in the last line should not come to light after an hour.
    place = "simulator" if arguments["sim"] else ""
    total = sum(1 for _ in Lines(target, fields, place=place).read(content))
    try:
        ledger = Ledger(
            os.path.join(paths.state_dir(), "runs"),
            "-" if named == "-" else os.path.realpath(named),
            anew=arguments["anew"],
        )
    except Busy:
        notes.line(f"{named} is being run by another process", always=True)
        return outcome.EXIT_CODES[outcome.ERROR]
    try:
        lines = Lines(target, fields, place=place).read(content)
        work = _Run(arguments, notes, target, configuration, ledger, total)
        return asyncio.run(work.run(lines))
    finally:
        ledger.close()


def _content(name: str) -> list[bytes]:
    if name == "-":
        return sys.stdin.buffer.read().splitlines()
    with open(name, "rb") as file:
        return file.read().splitlines()


class _Run:
    """One run: what is printed, counted and told while the runner keeps the streams under way."""

    def __init__(
        self,
        arguments: dict[str, Any],
        notes: Notes,
        target: Target,
        configuration: Settings,
        ledger: Ledger,
        total: int,
    ) -> None:
        self._notes = notes
        self._target = target
        self._sync = configuration.sync
        self._ledger = ledger
        self._total = total
        self._verbose = arguments["verbose"]
        self._retries = arguments["retries"]
        self._use_proxy = not arguments["sim"]
        self._limits = Limits(arguments["connect_timeout"], arguments["idle_timeout"], arguments["timeout"])
        self._stdout = Output(1)
        self._folder = paths.streams_dir()
        self._throttle = Throttle(arguments["concurrency"])
        self._runner = Runner(self._throttle, self._ask, self._ended)
        self._began = time.monotonic()
        self._kept = 0
        self._answered = 0
        self._failed: dict[str, int] = {}
        self._codes: list[int] = []
        self._signal = 0
        # With --ordered: the results that wait for their turn, and the lines whose turn it is, in order.
        self._waiting: dict[int, tuple[Line, Summary]] | None = {} if arguments["ordered"] else None
        self._turns: list[int] = []
        self._next = 0

    async def run(self, lines: Iterator[Line]) -> int:
        """Run the lines and return the exit code."""
        loop = asyncio.get_running_loop()
        for one in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(one) is not signal.SIG_IGN:
                loop.add_signal_handler(one, self._stop, one)
        frames = loop.create_task(self._show_progress()) if self._notes.is_tty else None
        try:
            await self._runner.run(self._unanswered(lines))
        except BrokenPipeError:
            return outcome.EXIT_CODES[outcome.CLOSED]
        finally:
            if frames is not None:
                frames.cancel()
            self._notes.clear()
        self._notes.line(self._summary())
        if self._signal:
            return 128 + self._signal
        return exit_code_of(self._codes)

    def _unanswered(self, lines: Iterator[Line]) -> Iterator[Line]:
        """The lines to ask for. The others' results are printed on the way."""
        for line in lines:
            self._turns.append(line.number)
            told = results.kept(self._folder, self._ledger.streams(line.key))
            if told is None:
                yield line
            else:
                self._kept += 1
                self._print(line, told)

    def _ask(self, line: Line) -> AsyncAnswer:
        journal = Writer(self._folder, sync=self._sync)
        if journal.trouble is None:
            self._ledger.begin(line.key, journal.id)
        exchange = Exchange(
            self._target,
            line.prompt,
            journal=journal,
            api_name=line.api,
            body=line.body,
            retries=self._retries,
            pid=os.getpid(),
            use_proxy=self._use_proxy,
            throttle=self._throttle,
        )
        return AsyncAnswer(exchange, self._limits, check=False)

    def _ended(self, line: Line, answer: AsyncAnswer) -> None:
        """Print the result of a line."""
        journal = answer.exchange.journal
        assert journal is not None
        if journal.trouble is None and journal.path is not None:
            told = summary.read(journal.path)
        else:
            self._notes.line(f"line {line.number}: {journal.trouble}; a second run would ask for it again", always=True)
            told = results.unkept(journal.id, answer)
        if told.outcome in results.ANSWERED:
            self._answered += 1
        else:
            self._failed[told.outcome] = self._failed.get(told.outcome, 0) + 1
            ending = answer.ending
            self._codes.append(ending.exit_code if ending is not None else 1)
            if self._verbose and ending is not None:
                self._notes.line(f"line {line.number}: {outcome.sentence(ending, None)}")
        self._print(line, told)

    def _print(self, line: Line, told: Summary) -> None:
        if self._waiting is None:
            self._put(line, told)
            return
        self._waiting[line.number] = (line, told)
        while self._next < len(self._turns) and (ready := self._waiting.pop(self._turns[self._next], None)):
            self._next += 1
            self._put(*ready)

    def _put(self, line: Line, told: Summary) -> None:
        self._stdout.write(self._stdout.safe(dumps(results.result(line, told)) + "\n"))

    def _stop(self, number: int) -> None:
        if self._signal:
            os._exit(128 + number)
        self._signal = number
        self._runner.stop()

    async def _show_progress(self) -> None:
        while True:
            self._notes.passing(self._progress())
            await asyncio.sleep(_FRAME)

    def _progress(self) -> str:
        done = self._kept + self._answered
        failed = sum(self._failed.values())
        parts = [f"{done} of {self._total} answered"]
        if failed:
            parts.append(f"{failed} failed")
        parts.append(f"{self._runner.progress.under_way} under way")
        elapsed = time.monotonic() - self._began
        if elapsed > 1:
            parts.append(f"{self._runner.progress.tokens / elapsed:.0f} tokens/s")
        ended = self._answered + failed
        if ended:
            parts.append(f"{clock((self._total - self._kept - ended) * elapsed / ended)} left")
        if (pause := self._throttle.paused_for) > 0:
            parts.append(f"the server's rate limit pauses for {clock(pause)}")
        return ", ".join(parts)

    def _summary(self) -> str:
        elapsed = time.monotonic() - self._began
        parts = [f"{self._answered + self._kept} of {self._total} answered"]
        if self._kept:
            parts.append(f"{self._kept} of them before")
        if self._failed:
            each = ", ".join(f"{count} {word}" for word, count in sorted(self._failed.items()))
            parts.append(f"{sum(self._failed.values())} failed ({each})")
        parts.append(f"{self._runner.progress.tokens} tokens in {clock(elapsed)}")
        words = ", ".join(parts)
        if self._signal or self._failed:
            return f"{'stopped: ' if self._signal else ''}{words}; the same command asks for the rest"
        return words


def clock(seconds: float) -> str:
    """A time for a person: 4 s, 2m 05s, 1h 10m."""
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole} s"
    minutes, whole = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}m {whole:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02d}m"
