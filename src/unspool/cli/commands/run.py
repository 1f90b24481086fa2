"""``unspool run``: answer a file of prompts, many at once, and continue an interrupted run."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time

from unspool import outcome
from unspool.batch import parts, results
from unspool.batch.ledger import Busy, Ledger
from unspool.batch.lines import FIELDS, Lines, Unreadable
from unspool.batch.runner import Runner, exit_code_of
from unspool.cli import parts as merging
from unspool.cli.access import check, whom_to_ask, with_simulator
from unspool.cli.options import CommandError, UsageError, value_of
from unspool.client.aio import AsyncAnswer
from unspool.client.exchange import Exchange
from unspool.client.throttle import Throttle
from unspool.config import ConfigError, paths, settings, templates
from unspool.journal import summary
from unspool.journal.writer import Writer
from unspool.jsontext import dumps
from unspool.terminal.output import Notes, Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from unspool.batch.lines import Line, Preset
    from unspool.cli.options.batch import RunOptions
    from unspool.config import Settings
    from unspool.config.target import Target
    from unspool.config.templates import Template
    from unspool.journal.summary import Summary
    from unspool.jsontext import JsonObject

# Outcomes of the first line after which no other is asked.
_HOPELESS = (outcome.UNREACHABLE, outcome.UNAUTHORIZED)
# How often the progress is shown, in seconds.
_FRAME = 0.2


def run(options: RunOptions) -> int:
    """Ask for every line of a file that has no answer yet, and print all results."""
    try:
        return with_simulator(options, _run)
    except Unreadable as error:
        notes = Notes(Output(2))
        for line in str(error).split("\n"):
            notes.line(f"{options.file}: {line}", always=True)
        notes.line("nothing was sent", always=True)
        return outcome.USAGE_EXIT_CODE


def _run(options: RunOptions) -> int:
    notes = Notes(Output(2), quiet=options.quiet)
    configuration = settings.load()
    presets = _Presets(options, notes)
    options = presets.options
    reads_only = options.merge or options.status
    # Their lines are found by the text, so that no option of the shards, such as the model, need be repeated.
    target = whom_to_ask(options, options.model or ("any" if reads_only else None), configuration)
    named = options.file
    if sum((options.merge, options.status, options.shard.count > 1)) > 1:
        raise UsageError("--merge and --status cover all shards: give only one of --shard, --merge and --status")
    try:
        content = _content(named)
    except OSError as error:
        raise UsageError(f"cannot read {named}: {error.strerror}") from error
    if not (options.dry_run or reads_only):
        check(target, notes)
    fields = _defaults(options)
    folder = os.path.join(paths.runs_dir(), options.name or parts.default_name(named))
    # All of it is read before anything is asked: a mistake in the last line should not come to light after an hour.
    place = "simulator" if options.sim else ""

    def read() -> Iterator[Line]:
        return Lines(target, fields, preset=presets, place=place).read(content)

    total = sum(options.shard.has(one) for one in read())
    if options.dry_run:
        return _dry_run(next(filter(options.shard.has, read()), None), total, target, notes)
    if options.merge:
        return merging.merge(folder, named, read(), notes)
    if options.status:
        return merging.status(folder, named, read())
    ledger = _ledger(folder, options)
    try:
        if ledger.streams.damaged:
            notes.line(
                f"{ledger.path} is damaged: {ledger.streams.damaged} of its lines cannot be read; what they recorded is sent again",
                always=True,
            )
        lines = filter(options.shard.has, read())
        work = _Run(options, notes, target, configuration, ledger, total)
        return asyncio.run(work.run(lines))
    finally:
        ledger.close()


class _Presets:
    """The templates that ``-t`` and lines name, each read once. ``options`` are those of the command line with the server of ``-t``'s.

    Raises UsageError and ConfigError for what is wrong with that one.
    """

    def __init__(self, options: RunOptions, notes: Notes) -> None:
        self._notes = notes
        self._params = dict(options.params)
        self._known: dict[str | None, Preset | None] = {None: None}
        if options.template:
            template = templates.read(options.template)
            template.check(self._params)
            try:
                self._known[None] = self._made(template)
            except ValueError as error:
                raise UsageError(str(error)) from error
            if not (options.names_server or options.sim):
                api = options.api or template.fields.get("api")
                options = options.replace(profile=template.fields.get("profile"), api=api)
        self.options = options

    def __call__(self, name: str | None) -> Preset | None:
        """The template of this name, or of the lines that name none. Raises ValueError."""
        if name not in self._known:
            assert name is not None
            try:
                # A name, and no file: a file of prompts may be somebody else's.
                template = templates.read_file(templates.read_path(name))
            except ConfigError as error:
                raise ValueError(str(error)) from error
            if "profile" in template.fields and not (self.options.names_server or self.options.sim):
                raise ValueError(
                    f"the template {name} names a server, but all lines of a run go to one server: name it with -P or -t"
                )
            self._known[name] = self._made(template)
        return self._known[name]

    def _made(self, template: Template) -> Preset:
        from unspool.cli.prompt import templating

        return templating.for_lines(template, self._params, self._notes)


def _ledger(folder: str, options: RunOptions) -> Ledger:
    """Open the ledger of the shard. Raises CommandError where another process has it, or the run has another number of shards."""
    shard = options.shard
    path = os.path.join(folder, shard.file_name)
    is_new = not os.path.exists(path)
    try:
        ledger = Ledger(path, fresh=options.again)
    except Busy as error:
        what = options.file if shard.count == 1 else f"shard {shard} of {options.file}"
        raise CommandError(f"{what} is being run by another process") from error
    # After it is made: of two shards that begin at once, at least one sees the other.
    try:
        parts.parts_in(folder)
    except parts.PartsError as error:
        if is_new:
            os.unlink(path)
        ledger.close()
        raise CommandError(f"{error}; give the same N as before, or --name another for a new run") from error
    return ledger


def _defaults(options: RunOptions) -> JsonObject:
    """The fields of a prompt that lines need not repeat. Raises UsageError."""
    fields: JsonObject = {
        "model": options.model,
        "system": options.system,
        "temperature": options.temperature,
        "max_tokens": options.max_tokens,
    }
    more = {key: value_of(value) for key, value in options.options}
    fields.update({name: more.pop(name) for name in FIELDS if name in more})
    fields["options"] = more
    if options.schema is not None:
        from unspool.cli.prompt.material import read_schema

        try:
            fields["schema"] = read_schema(options.schema)
        except ValueError as error:
            raise UsageError(str(error)) from error
    return fields


def _dry_run(first: Line | None, total: int, target: Target, notes: Notes) -> int:
    """Show the first request, and say how many there are."""
    notes.line(f"{total} {'request' if total == 1 else 'requests'}; none was sent")
    if first is None:
        return 0
    from unspool.cli.prompt import dry_run

    return dry_run.show(Exchange(target, first.prompt, journal=None, api_name=first.api, body=first.body))


def _content(name: str) -> list[bytes]:
    if name == "-":
        return sys.stdin.buffer.read().splitlines()
    with open(name, "rb") as file:
        return file.read().splitlines()


class _Run:
    """One run: prints, counts and reports while the runner keeps the streams running."""

    def __init__(
        self, options: RunOptions, notes: Notes, target: Target, configuration: Settings, ledger: Ledger, total: int
    ) -> None:
        self._notes = notes
        self._target = target
        self._sync = configuration.sync
        self._ledger = ledger
        self._total = total
        self._verbose = options.verbose
        self._retries = options.retries
        self._use_proxy = not options.sim
        self._limits = options.limits(target)
        self._stdout = Output(1)
        self._folder = parts.streams_of(os.path.dirname(ledger.path))
        self._throttle = Throttle(options.concurrency)
        self._runner = Runner(self._throttle, self._ask, self._ended, self._troubled)
        self._began = time.monotonic()
        self._kept = 0
        self._prices = configuration.prices
        self._cost = 0.0
        self._answered = 0
        # By outcome: how many, and what was said of the first.
        self._failed: dict[str, int] = {}
        self._examples: dict[str, str] = {}
        self._has_told = False
        self._hopeless = ""
        self._patience = options.patience
        # Since when every line that ended could not reach the server, None while that is not so.
        self._lost_since: float | None = None
        self._codes: list[int] = []
        self._signal = 0
        # With --ordered: the results that wait for their turn, and the lines whose turn it is, in order.
        self._waiting: dict[int, tuple[Line, Summary]] | None = {} if options.ordered else None
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
        if self._hopeless:
            return outcome.EXIT_CODES[self._hopeless]
        return exit_code_of(self._codes)

    def _unanswered(self, lines: Iterator[Line]) -> Iterator[Line]:
        """The lines to ask for. The others' results are printed on the way."""
        for line in lines:
            self._turns.append(line.number)
            told = results.kept(self._folder, self._ledger.streams.of(line.key))
            if told is None:
                yield line
            else:
                self._kept += 1
                self._print(line, told)

    def _ask(self, line: Line) -> AsyncAnswer:
        journal = Writer(self._folder, sync=self._sync)
        if journal.warning:
            self._notes.line(journal.warning, always=True)
        if journal.trouble is None:
            self._ledger.begin(line, journal.id)
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
            self._notes.line(f"line {line.number}: {journal.trouble}; a second run would send it again", always=True)
            told = results.unkept(journal.id, answer)
        price = self._prices.get(told.response_model or "") or self._prices.get(line.prompt.model)
        if price is not None and told.usage is not None:
            self._cost += price.cost(told.usage)
        if told.outcome != outcome.UNREACHABLE:
            self._lost_since = None
        if told.outcome in results.ANSWERED:
            self._answered += 1
        else:
            self._failed[told.outcome] = self._failed.get(told.outcome, 0) + 1
            self._examples.setdefault(told.outcome, f"line {line.number}: {told.message or told.outcome}")
            if self._is_hopeless(told.outcome) and not self._hopeless:
                self._hopeless = told.outcome
                self._runner.stop()
            ending = answer.ending
            self._codes.append(ending.exit_code if ending is not None else 1)
            if self._verbose and ending is not None:
                self._notes.line(f"line {line.number}: {outcome.sentence(ending, None)}")
        self._print(line, told)

    def _is_hopeless(self, ended: str) -> bool:
        """Whether the next line would fare no better than the one that has ended so."""
        if ended in _HOPELESS and not self._answered:
            return True
        if ended == outcome.UNREACHABLE:
            # A server that is restarted costs a few lines; one that is gone would cost each line its retries.
            self._lost_since = self._lost_since or time.monotonic()
            return time.monotonic() - self._lost_since >= self._patience
        return False

    def _troubled(self, line: Line, why: str) -> None:
        """Say why a line is asked for again: the first time, and where there is no status line that shows it."""
        if not self._has_told and not self._notes.is_tty:
            self._has_told = True
            self._notes.line(f"line {line.number} is sent again: {why}")

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
        parts.append(f"{self._runner.progress.under_way} running")
        elapsed = time.monotonic() - self._began
        if elapsed > 1:
            parts.append(f"{self._runner.progress.tokens / elapsed:.0f} tokens/s{self._spent()}")
        ended = self._answered + failed
        if ended:
            parts.append(f"{clock((self._total - self._kept - ended) * elapsed / ended)} left")
        if self._runner.progress.trouble:
            parts.append(f"retrying: {self._runner.progress.trouble}")
        if (pause := self._throttle.paused_for) > 0:
            parts.append(f"the server's rate limit pauses for {clock(pause)}")
        return ", ".join(parts)

    def _spent(self) -> str:
        """What the answers cost so far, "" where no model has a price."""
        return f", cost {self._cost:,.4f}" if self._prices else ""

    def _summary(self) -> str:
        elapsed = time.monotonic() - self._began
        parts = [f"{self._answered + self._kept} of {self._total} answered"]
        if self._kept:
            parts.append(f"{self._kept} of them before")
        if self._failed:
            each = ", ".join(f"{count} {word}" for word, count in sorted(self._failed.items()))
            parts.append(f"{sum(self._failed.values())} failed ({each})")
        parts.append(f"{self._runner.progress.tokens} tokens in {clock(elapsed)}{self._spent()}")
        words = ", ".join(parts)
        for word, example in sorted(self._examples.items()):
            words += f"; {word}: {example}" if len(self._examples) > 1 else f"; {example}"
        if self._hopeless:
            why = (
                f"the server was unreachable for {clock(self._patience)}"
                if self._answered
                else "no line could be answered"
            )
            return f"stopped, since {why}: {words}; run the same command again for the rest"
        if self._signal or self._failed:
            return f"{'stopped: ' if self._signal else ''}{words}; run the same command again for the rest"
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
