"""``ps``, ``log``, ``attach`` and ``cancel`` for the streams of a gateway, which ``--base-url`` or ``-P`` names."""

from __future__ import annotations

import time
from collections.abc import Callable

from unspool import outcome
from unspool.cli import formats
from unspool.cli.access import advice, check, with_headers
from unspool.cli.display import Display
from unspool.cli.options import CommandError, UsageError, dates
from unspool.cli.options.kept import LogOptions
from unspool.cli.options.running import AttachOptions, CancelOptions, PsOptions
from unspool.cli.options.shared import AddressOptions
from unspool.cli.signals import Signals
from unspool.cli.streaming import report, shows_reasoning, stream, wanted_stats
from unspool.client import gateway
from unspool.client.answer import Answer
from unspool.client.gateway import GatewayError, GatewayStream
from unspool.client.limits import DEFAULT_RETRIES, Limits
from unspool.config.settings import resolve
from unspool.config.target import Target
from unspool.journal import ulid
from unspool.jsontext import dumps
from unspool.terminal.cells import pad
from unspool.terminal.output import Notes, Output
from unspool.terminal.safety import one_line


def ps(options: PsOptions) -> int:
    """List the owner's streams that run."""

    def work(target: Target, notes: Notes) -> int:
        stdout = Output(1)
        for one in gateway.streams(target):
            if not one.is_running:
                continue
            if options.json:
                stdout.write(_json(one, target))
            else:
                seconds = max(0.0, time.time() - one.created)
                words = f"{ulid.short(one.id)}  {seconds:7.1f} s  {one.model}  {target.base_url}"
                stdout.write(one_line(words) + "\n")
        return 0

    return _at_gateway(options, Notes(Output(2)), work)


def log(options: LogOptions) -> int:
    """List the owner's streams."""
    if options.path or options.id:
        raise UsageError(
            "--path and ID do not work with --base-url or -P: a gateway's streams are not files on this machine"
        )

    def work(target: Target, notes: Notes) -> int:
        stdout = Output(1)
        listed = [one for one in gateway.streams(target) if _is_wanted(one, options)]
        if options.count:
            listed = listed[: options.count]
        if options.json:
            stdout.write("".join(_json(one, target) for one in listed))
        elif stdout.is_tty:
            widths = [max((len(one_line(text)) for text in texts), default=0) for texts in _columns(listed)]
            for one in listed:
                told = (one.state, one.model, one.endpoint)
                columns = "  ".join(pad(one_line(text), width) for text, width in zip(told, widths, strict=True))
                tokens = "" if one.output_tokens is None else f"{one.output_tokens} tokens"
                when = dates.shown(ulid.milliseconds(one.id))
                stdout.write(f"{ulid.short(one.id)}  {when}  {columns}  {tokens}".rstrip() + "\n")
        else:
            for one in listed:
                when = dates.exact(ulid.milliseconds(one.id))
                fields = (one.id, when, one.state, one.model, one.endpoint, str(one.output_tokens or ""))
                stdout.write("\t".join(map(one_line, fields)) + "\n")
        return 0

    return _at_gateway(options, Notes(Output(2)), work)


def cancel(options: CancelOptions) -> int:
    """Stop one of the owner's streams."""

    def work(target: Target, notes: Notes) -> int:
        one = gateway.find(target, options.id)
        short = ulid.short(one.id)
        attach = f"unspool attach{target.flags} {short}"
        if not one.is_running:
            raise CommandError(f"{short} is not running any more ({one.state}); {attach} prints it")
        gateway.cancel(target, one)
        notes.line(f"cancelled; {attach} prints what arrived")
        return 0

    return _at_gateway(options, Notes(Output(2), quiet=options.quiet), work)


def attach(options: AttachOptions) -> int:
    """Follow one of the owner's streams from its beginning to its end, and return its exit code."""
    if options.first:
        raise UsageError("--from works for journals on this machine; a gateway's stream is shown from its beginning")

    def work(target: Target, notes: Notes) -> int:
        one = gateway.find(target, options.id)
        exchange = gateway.viewing(target, one, retries=DEFAULT_RETRIES)
        display = Display(notes, formats.choose(options), shows_reasoning=shows_reasoning(options, notes))
        with Signals(display) as signals, Answer(exchange, Limits(), keep_text=False) as answer:
            ending = stream(answer, display, signals, wanted_stats(options))
            sentence = outcome.sentence(ending, None, advice(ending, target))
            if signals.number:
                again = f"unspool attach{target.flags} {ulid.short(one.id)}"
                sentence = f"detached; the stream continues; to follow it again: {again}"
            report(answer, ending, display, verbose=False, sentence=sentence)
        return ending.exit_code

    return _at_gateway(options, Notes(Output(2), quiet=options.quiet), work)


def _at_gateway(options: AddressOptions, notes: Notes, work: Callable[[Target, Notes], int]) -> int:
    """Do this at the gateway that the options name, and say what went wrong there. Returns the exit code."""
    target = with_headers(resolve(profile=options.profile, base_url=options.base_url, key=options.key), options)
    check(target, notes)
    try:
        return work(target, notes)
    except GatewayError as error:
        sentence = outcome.sentence(error.ending, None, advice(error.ending, target))
        raise CommandError(sentence, error.ending.exit_code) from error


def _is_wanted(one: GatewayStream, options: LogOptions) -> bool:
    return (
        options.model.lower() in one.model.lower()
        and (not options.outcome or one.state in options.outcome)
        and (options.since is None or one.created * 1000 >= options.since)
    )


def _columns(listed: list[GatewayStream]) -> list[list[str]]:
    return [[getattr(one, name) for one in listed] for name in ("state", "model", "endpoint")]


def _json(one: GatewayStream, target: Target) -> str:
    fields: dict[str, object] = {
        "id": one.id,
        "time": dates.exact(ulid.milliseconds(one.id)),
        "url": target.base_url,
        "api": one.endpoint,
        "model": one.model,
        "outcome": one.state,
        "seconds": round((time.time() if one.ended is None else one.ended) - one.created, 3),
        "ttft": one.ttft,
        "usage": {"input_tokens": one.input_tokens, "output_tokens": one.output_tokens},
    }
    return dumps(fields) + "\n"
