"""``unspool resume``: the rest of an answer that was cut."""

from __future__ import annotations

import os

from unspool import outcome
from unspool.cli import formats
from unspool.cli.access import SIMULATOR, check, simulator
from unspool.cli.commands.show import show
from unspool.cli.display import Display
from unspool.cli.formats.joined import Joined
from unspool.cli.options import CommandError, dates
from unspool.cli.signals import Signals
from unspool.cli.streaming import report, shows_reasoning, stream, wanted_stats
from unspool.client.answer import Answer
from unspool.client.http.transport import Reactor
from unspool.client.resume import kept
from unspool.config.paths import streams_dir
from unspool.config.settings import load, resolve
from unspool.journal import folder, summary, ulid
from unspool.terminal.output import Notes, Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from unspool.cli.options.kept import ResumeOptions
    from unspool.client.exchange import Exchange
    from unspool.client.resume.kept import Resumed
    from unspool.config import Settings
    from unspool.config.target import Target
    from unspool.journal.summary import Summary

# How an answer ended that has a rest.
_CUT = (outcome.CUT, outcome.INTERRUPTED, outcome.SERVER_ERROR, outcome.CANCELLED, outcome.CLOSED, outcome.LENGTH)
# How many of the newest answers are looked through for one of them.
_MOST = 200


def run(options: ResumeOptions) -> int:
    """Print the saved part of an answer and the rest, and return how that ended."""
    notes = Notes(Output(2), quiet=options.quiet)
    settings = load()
    try:
        path = folder.locate(streams_dir(), options.id) if options.id else _last_cut(notes)
        return _resume(path, options.configured(settings), settings, notes)
    except ValueError as error:  # NoJournal and Damage among them
        raise CommandError(str(error)) from error


def _last_cut(notes: Notes) -> str:
    """The file of the last answer that was cut and that nothing continues yet, which is named; else the last one. Raises NotFound."""
    streams = streams_dir()
    newest = folder.newest(streams)
    continued: set[str | None] = set()
    for id in reversed(folder.ids(streams)[-_MOST:]):
        path = folder.path_of(streams, id)
        try:
            one = summary.read(path)
        except (OSError, summary.NoJournal):  # removed a moment ago, or not ours
            continue
        if id == newest and one.outcome == outcome.RUNNING:
            break
        if not one.body:  # its command died before it had asked
            continue
        if (one.outcome in _CUT or has_open_calls(one)) and id not in continued:
            when = dates.shown(ulid.milliseconds(id))
            notes.line(f"resuming {ulid.short(id)} of {when}, the last answer that was cut off")
            return path
        continued.add(one.parent)
    return folder.path_of(streams, newest)


def _resume(path: str, options: ResumeOptions, settings: Settings, notes: Notes) -> int:
    one = kept.read(path, settings)
    short = ulid.short(one.id)
    if one.outcome == outcome.RUNNING:
        raise CommandError(f"{short} is still running; to follow it: unspool attach {short}")
    if kept.is_complete(one) and not has_open_calls(one):
        why = "" if one.outcome == outcome.COMPLETE else f" ({one.outcome})"
        notes.line(f"{short} is complete already{why}")
        return show(one.path, options, notes)
    if not one.body:
        raise CommandError(f"{short} has no saved request, so it cannot be sent again")
    if one.profile != SIMULATOR:
        return _ask(one, kept.target_of(one, options.key, settings), options, settings, notes)
    # The simulator that began the answer ended with its command.
    with simulator() as running:
        target = resolve(base_url=running.url, model=one.model, api=one.api, settings=settings).replace(name=SIMULATOR)
        return _ask(one, target, options, settings, notes)


def _ask(one: Summary, target: Target, options: ResumeOptions, settings: Settings, notes: Notes) -> int:
    check(target, notes)
    if one.tool_sources:
        return _in_loop(one, target, options, settings, notes)
    found = kept.resume(
        one, target, settings, retries=options.retries, pid=os.getpid(), use_proxy=target.name != SIMULATOR
    )
    if found.exchange.ending is not None:
        return show(one.path, options, notes)
    code = _stream(found, options, notes)
    short = ulid.short(one.id)
    if code == outcome.EXIT_CODES[outcome.UNREACHABLE] and not found.is_same:
        notes.line(f"nothing arrived; the saved part is unchanged; to try again: unspool resume {short}", always=True)
    return code


def has_open_calls(one: Summary) -> bool:
    """Whether an answer calls tools that the command was to run, and ended before the model had their results."""
    return bool(one.tool_sources and one.tool_calls) and one.outcome == outcome.COMPLETE


def _in_loop(one: Summary, target: Target, options: ResumeOptions, settings: Settings, notes: Notes) -> int:
    """Continue a conversation whose tools the command runs."""
    from unspool.api.prompt import Prompt
    from unspool.cli.tools import sources
    from unspool.cli.tools.loop import ToolLoop, prompt_of
    from unspool.cli.tools.running import Runner
    from unspool.client.exchange import Exchange
    from unspool.client.facts import Messages
    from unspool.journal.writer import Writer

    def begin(prompt: Prompt, parent: str | None) -> Exchange:
        journal = Writer(streams_dir(), sync=settings.sync)
        return Exchange(
            target,
            prompt,
            journal=journal,
            retries=options.retries,
            parent=parent,
            pid=os.getpid(),
            tool_sources=one.tool_sources,
        )

    runner = Runner(sources.of_sources(one.tool_sources, settings), options)
    loop = ToolLoop(runner, options, notes, formats.choose(options), begin)
    if has_open_calls(one):
        return loop.continue_after(one).exit_code
    found = kept.resume(one, target, settings, retries=options.retries, pid=os.getpid())
    if found.exchange.ending is not None:
        return show(one.path, options, notes)
    return loop.continue_with(prompt_of(one, Messages(one.messages)), found.exchange, show_kept(found)).exit_code


def _stream(found: Resumed, options: ResumeOptions, notes: Notes) -> int:
    """Show the saved part and the rest. Returns the exit code."""
    display = Display(notes, formats.choose(options), shows_reasoning=shows_reasoning(options, notes))
    with (
        Signals(display) as signals,
        Answer(
            found.exchange, options.limits(found.exchange.target), reactor=Reactor(may_fork=False), keep_text=False
        ) as answer,
    ):
        show_kept(found)(display)
        stats = wanted_stats(options)
        ending = stream(answer, display, signals, stats)
        report(answer, ending, display, verbose=options.verbose)
    return ending.exit_code


def show_kept(found: Resumed) -> Callable[[Display], None]:
    """What shows the kept part of an answer, says what follows, and makes the display continue from there."""

    def show(display: Display) -> None:
        for deltas, events, at in found.turns:
            display.look_for_text(deltas)
            display.format.show(deltas, events, at)
        if found.turns and not found.is_same:
            words = "asked the server to complete this text" if found.seam is None else "asked the model to continue"
            if (journal := found.exchange.journal) is not None:
                words += f"; saved as {ulid.short(journal.id)}"
            display.note(words)
        if found.seam is not None:
            display.format = Joined(display.format, found.seam)

    return show
