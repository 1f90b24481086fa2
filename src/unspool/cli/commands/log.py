"""``unspool log`` and ``unspool search``: lists and searches the kept answers."""

from __future__ import annotations

import os

from unspool.cli.options import UsageError, dates
from unspool.cli.viewing import streams_in
from unspool.journal import folder, fulltext, summary, ulid
from unspool.journal.catalogue import Catalogue, Entry, Filter, Hit
from unspool.jsontext import dumps
from unspool.terminal.cells import cells, clip, pad
from unspool.terminal.output import Notes, Output
from unspool.terminal.safety import one_line
from unspool.terminal.size import size_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    from unspool.cli.options.kept import FilterOptions, LogOptions, SearchOptions
    from unspool.jsontext import JsonObject

    One = TypeVar("One")

# The least a text is worth showing in, in columns.
_NARROWEST = 12
_WIDEST_MODEL = 24


def log(options: LogOptions) -> int:
    """List the kept answers, and return the exit code."""
    if options.conversations:
        if options.run or options.path or options.id or options.names_server:
            raise UsageError(
                "--conversations lists those of this machine outside runs, by -n, --model, --outcome and --since"
            )
        from unspool.cli.commands import conversations

        return conversations.show(options)
    if options.names_server:
        if options.run:
            raise UsageError("--run works for runs on this machine, not at a gateway")
        from unspool.cli import gateway

        return gateway.log(options)
    kept = streams_in(options.run)
    if options.path:
        Output(1).write((folder.locate(kept, options.id) if options.id else kept) + "\n")
        return 0
    if options.id:
        raise UsageError("ID needs --path; to print an answer: unspool show ID")
    notes = Notes(Output(2))
    filter = filter_of(options)
    with Catalogue(kept, tell=progress(notes)) as catalogue:
        entries = catalogue.entries(filter)
        tell_skipped(catalogue, notes)
    stdout = Output(1)
    if options.json:
        put(stdout, entries, lambda one: _json(kept, one, {}))
    elif stdout.is_tty:
        layout = Layout(entries, size_of(stdout.fd)[0])
        put(stdout, entries, lambda one: layout.line(one, layout.words(one)))
    else:
        put(stdout, entries, lambda one: _row(one, one.answer))
    return 0


def search(options: SearchOptions) -> int:
    """Find kept answers, and return the exit code."""
    notes = Notes(Output(2))
    filter = filter_of(options)
    kept = streams_in(options.run)
    try:
        with Catalogue(kept, tell=progress(notes)) as catalogue:
            hits = catalogue.search(list(options.words), filter)
            tell_skipped(catalogue, notes)
    except fulltext.NoWords as error:
        raise UsageError(str(error)) from error
    stdout = Output(1)
    if options.json:
        put(stdout, hits, lambda one: _json(kept, one.entry, {"snippet": one.snippet, "hits": one.hits}))
    elif stdout.is_tty:
        layout = Layout([one.entry for one in hits], size_of(stdout.fd)[0])
        put(stdout, hits, lambda one: layout.line(one.entry, _around(one, layout.left), width_known=True))
    else:
        put(stdout, hits, lambda one: _row(one.entry, one.snippet))
    return 0 if hits else 1


def filter_of(options: FilterOptions) -> Filter:
    """What the options ask the catalogue for."""
    return Filter(options.count or None, options.model, options.outcome, options.since)


def progress(notes: Notes) -> Callable[[int, int], None]:
    """What shows how far the catalogue is."""
    return lambda done, all: notes.passing(f"indexing {all:,} answers, {100 * done // all} %")


def tell_skipped(catalogue: Catalogue, notes: Notes) -> None:
    """Say which journals could not be read."""
    notes.clear()
    skipped = catalogue.skipped
    if skipped:
        some = ", ".join(f"{name} ({reason})" for name, reason in sorted(skipped.items())[:3])
        more = f" and {len(skipped) - 3} more" if len(skipped) > 3 else ""
        notes.line(one_line(f"skipped files in {catalogue.folder}: {some}{more}"))


def put(stdout: Output, ones: Sequence[One], line: Callable[[One], str]) -> None:
    """Print a line for each of these."""
    # A hundred lines at a time: a reader gets the first ones at once, and ten thousand do not take ten thousand writes.
    for start in range(0, len(ones), 100):
        stdout.write("".join([line(one) for one in ones[start : start + 100]]))


def _row(entry: Entry, last: str) -> str:
    """One line for a program."""
    time = dates.exact(ulid.milliseconds(entry.id))
    fields = (entry.id, time, entry.outcome, entry.model, entry.prompt, last)
    return "\t".join(map(one_line, fields)) + "\n"


def _json(kept: str, entry: Entry, more: JsonObject) -> str:
    try:
        one = summary.read(folder.path_of(kept, entry.id))
    except (OSError, ValueError):
        return ""  # removed a moment ago
    return dumps({**describe(one), **more}) + "\n"


def describe(one: summary.Summary) -> JsonObject:
    """A summary as a JSON object, with the fields of ``--format json``; ``model`` is the one that was asked for."""
    from unspool import shape

    calls = [shape.describe(call) for call in one.tool_calls]
    usage = shape.describe(one.usage) if one.usage is not None else None
    for part in [*calls, usage or {}]:
        part.pop("type", None)
    return {
        "version": shape.VERSION,
        "id": one.id,
        "time": one.time,
        "parent": one.parent,
        "api": one.api,
        "profile": one.profile,
        "url": one.url,
        "model": one.model,
        "response_model": one.response_model,
        "response_id": one.response_id,
        "system": one.system,
        "messages": one.messages,
        "prompt": one.question,
        "text": one.text,
        "choices": one.texts,
        "reasoning": one.reasoning,
        "refusal": one.refusal,
        "tool_calls": calls,
        "usage": usage,
        "outcome": one.outcome,
        "finish_reason": one.finish_reason,
        "message": one.message or None,
        "status": one.failure.status if one.failure is not None else None,
        "code": one.failure.code if one.failure is not None else None,
        "request_id": one.request_id,
        "attempts": one.attempts,
        "ttft": one.ttft,
        "duration": one.duration,
        "bytes": one.size,
        "damaged_at": one.damage.offset if one.damage is not None else None,
    }


class Layout:
    """Lines that fit a terminal: id, time, outcome, model, and in the ``left`` columns what was said."""

    def __init__(self, entries: Sequence[Entry], most: int) -> None:
        self._most = most
        self._outcome = max([len(clip(one_line(one.outcome), 12)) for one in entries], default=0)
        self._model = 0
        widest = max([len(one.model) for one in entries], default=0)
        fixed = 6 + 2 + 16 + 2 + self._outcome + 2
        # Narrow terminals leave out the model: the text says more.
        room = most - fixed - 2 - _NARROWEST
        if room >= _NARROWEST:
            self._model = min(widest, _WIDEST_MODEL, max(_NARROWEST, room // 2))
        self.left = most - fixed - (self._model + 2 if self._model else 0)

    def words(self, entry: Entry) -> str:
        """The first words of prompt and answer. The prompt may take half, and more if the answer leaves it."""
        answer = one_line(entry.answer)
        half = max((self.left - 3) // 2, self.left - 3 - len(answer))
        prompt = clip(one_line(entry.prompt), half)
        return f"{prompt} → {answer}" if answer else prompt

    def line(self, entry: Entry, said: str, *, width_known: bool = False) -> str:
        """One line for a person."""
        parts = [
            ulid.short(entry.id),
            dates.shown(ulid.milliseconds(entry.id)),
            pad(clip(one_line(entry.outcome), 12), self._outcome),
        ]
        if self._model:
            parts.append(pad(clip(one_line(entry.model), self._model), self._model))
        head = "  ".join(parts)
        if self.left < _NARROWEST:
            return clip(head, self._most) + "\n"
        return f"{head}  {said if width_known else clip(said, self.left)}".rstrip() + "\n"


def _around(hit: Hit, most: int) -> str:
    """The words around the first hit in this many columns, with the hits that are in them made bold."""
    first = hit.hits[0][0] if hit.hits else 0
    start = max(0, first - most // 3)
    text = "…" + hit.snippet[start + 1 :] if start else hit.snippet
    styled = os.environ.get("TERM") != "dumb"
    pieces = []
    at = start
    left = most
    for begin, end in [*hit.hits, (len(hit.snippet), len(hit.snippet))]:
        for piece, bold in ((text[at - start : begin - start], False), (text[begin - start : end - start], True)):
            # Blanks at the ends of a piece are between words of the text.
            safe = " " * piece[:1].isspace() + one_line(piece) + " " * (piece[-1:].isspace() and bool(piece.strip()))
            shown = clip(safe, left)
            left -= cells(shown)
            pieces.append(f"\x1b[1m{shown}\x1b[22m" if bold and shown and styled else shown)
            if shown != safe or left <= 0:
                return "".join(pieces)
        at = end
    return "".join(pieces)
