"""``unspool stats``: how an answer came in time, or sums over many."""

from __future__ import annotations

import os

from unspool.cli import timeline, totals
from unspool.cli.viewing import locate, streams_in
from unspool.config.settings import load
from unspool.journal import folder, summary, ulid
from unspool.journal.reader import Reader
from unspool.jsontext import dumps
from unspool.terminal.abilities import shows_utf8
from unspool.terminal.output import Notes, Output
from unspool.terminal.size import size_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.cli.options.kept import StatsOptions
    from unspool.jsontext import JsonObject


def run(options: StatsOptions) -> int:
    """Show the timeline of one answer, or sums where a filter is given. Returns the exit code."""
    blocks = shows_utf8(os.environ)
    stdout = Output(1)
    columns = size_of(stdout.fd)[0] - 1
    value: JsonObject
    if options.id is None and (
        options.since is not None or options.model or options.outcome or options.run or options.all
    ):
        found = _sum(options, Notes(Output(2)))
        lines, value = totals.drawn(found, columns, has_blocks=blocks), totals.as_json(found)
    else:
        with Reader(locate(options.id)) as journal:
            line = timeline.read(journal)
        lines, value = timeline.drawn(line, columns, has_blocks=blocks), timeline.as_json(line)
    stdout.write(stdout.safe(dumps(value) + "\n" if options.json else "".join(line + "\n" for line in lines)))
    return 0


def _sum(options: StatsOptions, notes: Notes) -> totals.Totals:
    """Read the journals that the options ask for."""
    kept = streams_in(options.run)
    first = ulid.earliest(options.since) if options.since is not None else ""
    found = totals.Totals(load().prices)
    ids = [id for id in folder.ids(kept) if id >= first]
    for number, id in enumerate(ids):
        if number % 100 == 0:
            notes.passing(f"reading {len(ids):,} answers, {100 * number // len(ids)} %")
        try:
            one = summary.read(folder.path_of(kept, id))
        except (OSError, ValueError):
            continue  # removed a moment ago, or no journal
        if options.model in one.model and (not options.outcome or one.outcome in options.outcome):
            found.add(one)
    notes.clear()
    return found
