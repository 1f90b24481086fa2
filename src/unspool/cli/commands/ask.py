"""``unspool ask``, which is ``unspool`` alone: a prompt in, an answer on stdout as it arrives."""

from __future__ import annotations

import os

from unspool import outcome
from unspool.cli import formats
from unspool.cli.access import lacks_key, missing_key, whom_to_ask, with_headers, with_model, with_simulator
from unspool.cli.display import Display
from unspool.cli.options import UsageError
from unspool.cli.prompt import as_text, build
from unspool.cli.signals import Signals
from unspool.cli.streaming import report, shows_reasoning, stream, wanted_stats
from unspool.client.answer import Answer
from unspool.client.exchange import Exchange
from unspool.client.http.transport import Reactor
from unspool.terminal.output import Notes, Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from unspool.api.prompt import Prompt
    from unspool.cli.formats import View
    from unspool.cli.options.ask import AskOptions
    from unspool.cli.prompt.conversation import History
    from unspool.cli.prompt.templating import Filling
    from unspool.cli.tools.sources import RunnableTool
    from unspool.config import Settings
    from unspool.config.target import Target


def run(options: AskOptions) -> int:
    """Ask, and return the exit code."""
    notes = Notes(Output(2), quiet=options.quiet)
    if options.edit:
        options = _edited(options)
    if options.detach:
        from unspool.cli import detach

        return detach.begin(lambda started: _begin(options, notes, started), options, notes)
    return _begin(options, notes, None)


def _edited(options: AskOptions) -> AskOptions:
    """The options with the prompt that is written in an editor. Raises UsageError."""
    from unspool.cli.chat import external

    try:
        text = external.compose(as_text(" ".join(options.prompt)))
    except external.NoEditor as error:
        raise UsageError(str(error)) from error
    if not text.strip():
        raise UsageError("the prompt is empty; nothing was sent")
    return options.replace(prompt=[text])


def _begin(options: AskOptions, notes: Notes, started: Callable[[str], None] | None) -> int:
    filling = None
    if options.save is not None or options.template or options.params:
        from unspool.cli.prompt import templating

        try:
            if options.save is not None:
                return templating.save(options.save, options, notes)
            options, filling = templating.apply(options)
        except ValueError as error:
            raise UsageError(str(error)) from error

    def announce(url: str) -> None:
        notes.line(f"the answer comes from the built-in simulator ({url}), not from a model")

    if options.continues or options.cid or options.name:
        from unspool.cli.prompt import conversation

        options = conversation.chosen(options, notes)
    return with_simulator(options, lambda options: _ask(options, notes, filling, started), announce)


def _ask(options: AskOptions, notes: Notes, filling: Filling | None, started: Callable[[str], None] | None) -> int:
    from unspool.config.settings import load

    settings = load()
    options = options.configured(settings)
    target, history = whom(options, settings)
    view = formats.of_answer(options)
    keyless = lacks_key(target) and not options.dry_run
    if not keyless:
        target = with_model(target, use_proxy=not options.sim, looks=not options.dry_run)
    elif options.prompt or os.isatty(0):
        # Nobody should type a prompt, or wait for one, only to read that it cannot be asked. The other arguments are checked first.
        options = options.replace(prompt=options.prompt or ["?"], no_stdin=True)
    prompt = build(options, target, notes, history, filling)
    tools: dict[str, RunnableTool] = {}
    if options.functions or options.run_tools:
        from unspool.cli.tools import sources

        tools = sources.find(options, settings)
        prompt = sources.offered(prompt, tools, target)
    if options.dry_run:
        from unspool.cli.prompt import dry_run

        return dry_run.show(Exchange(target, prompt, journal=None))
    if keyless:
        return _no_key(target, view, notes)
    for warning in target.warnings:
        notes.line(warning)

    from unspool.config.paths import streams_dir
    from unspool.journal.writer import Writer

    def begin(prompt: Prompt, parent: str | None) -> Exchange:
        nonlocal started
        journal = Writer(None if options.no_log else streams_dir(), sync=settings.sync)
        exchange = Exchange(
            target,
            prompt,
            journal=journal,
            retries=options.retries,
            parent=parent,
            pid=os.getpid(),
            use_proxy=not options.sim,
            tool_sources=list(dict.fromkeys(tool.source.name for tool in tools.values())) or None,
        )
        if started is not None:
            # The request is in the journal by now, and nothing is sent before that is certain: nobody else will see the answer.
            journal.sync()
            if journal.trouble is not None:
                raise UsageError(f"--detach needs a journal, and {journal.trouble}")
            started(journal.id)
            started = None
        if options.name:
            from unspool.cli.prompt import conversation

            conversation.call(options.name, exchange, notes)
        if options.verbose:
            kept = f", stream {journal.id}" if journal.path is not None else ""
            notes.line(f"POST {exchange.url.partition('?')[0]} model {prompt.model}{kept}")
        return exchange

    parent = history.parent if history is not None else None
    if tools:
        from unspool.cli.tools.loop import ToolLoop
        from unspool.cli.tools.running import Runner

        return ToolLoop(Runner(tools, options), options, notes, view, begin, detached=started is not None).ask(
            prompt, parent
        )
    display = Display(notes, view, shows_reasoning=shows_reasoning(options, notes))
    with Signals(display) as signals:
        needs_journal = started is not None
        exchange = begin(prompt, parent)
        with Answer(exchange, options.limits(target), reactor=Reactor(may_fork=False), keep_text=False) as answer:
            ending = stream(answer, display, signals, wanted_stats(options), needs_journal=needs_journal)
            report(answer, ending, display, verbose=options.verbose)
    return ending.exit_code


def whom(options: AskOptions, settings: Settings) -> tuple[Target, History | None]:
    """Where to ask, and the conversation to continue. Raises UsageError, ConfigError."""
    target = whom_to_ask(options, options.model, settings)
    if not (options.continues or options.cid):
        return target, None
    from unspool.cli.prompt import conversation

    history = conversation.of(options, settings)
    return target if history.target is None else with_headers(history.target, options), history


def _no_key(target: Target, view: View, notes: Notes) -> int:
    ending = outcome.Ending(outcome.UNAUTHORIZED, missing_key(target))
    # A program that reads JSON gets the ending as well.
    view(Output(1)).close(ending, None)
    notes.line(ending.message, always=True)
    return ending.exit_code
