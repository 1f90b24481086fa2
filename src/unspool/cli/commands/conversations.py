"""``unspool log --conversations`` and ``unspool log rename``: conversations, and what they are called."""

from __future__ import annotations

from unspool.cli.commands.log import Layout, filter_of, progress, put, tell_skipped
from unspool.cli.options import CommandError, UsageError, dates
from unspool.config.paths import streams_dir
from unspool.journal import folder, names, ulid
from unspool.journal.catalogue import Catalogue, Filter
from unspool.jsontext import dumps
from unspool.terminal.cells import pad
from unspool.terminal.output import Notes, Output
from unspool.terminal.safety import one_line
from unspool.terminal.size import size_of
from unspool.value import Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.cli.options.kept import LogOptions, RenameOptions
    from unspool.journal.catalogue import Entry


class Conversation(Fields):
    """One conversation: its ``last`` answer, the ``prompt`` that began it, the number of its ``answers``, and its ``name`` or ""."""

    last: Entry
    prompt: str
    answers: int
    name: str


def show(options: LogOptions) -> int:
    """List the conversations, and return the exit code."""
    kept = streams_dir()
    notes = Notes(Output(2))
    with Catalogue(kept, tell=progress(notes)) as catalogue:
        entries = catalogue.entries(Filter())
        wanted = {one.id for one in catalogue.entries(filter_of(options).replace(most=None))}
        tell_skipped(catalogue, notes)
    found = [one for one in conversations(entries, names.heads(kept)) if one.last.id in wanted]
    found = found[: options.count or None]
    stdout = Output(1)
    if options.json:
        put(stdout, found, lambda one: dumps(_described(one)) + "\n")
    elif stdout.is_tty:
        name = max([len(one.name) for one in found], default=0)
        count = max([len(_answers(one)) for one in found], default=0)
        columns = size_of(stdout.fd)[0] - (name and name + 2) - count - 2
        layout = Layout([one.last for one in found], columns)

        def line(one: Conversation) -> str:
            head = f"{one.name:<{name}}  " if name else ""
            entry = one.last.replace(prompt=one.prompt)
            return f"{head}{pad(_answers(one), count)}  {layout.line(entry, layout.words(entry))}"

        put(stdout, found, line)
    else:
        put(stdout, found, lambda one: "\t".join(map(one_line, _fields(one))) + "\n")
    return 0


def conversations(entries: list[Entry], heads: dict[str, str]) -> list[Conversation]:
    """The conversations that these streams are, the newest first. ``heads`` has the last answers of named ones.

    Each ends with an answer that no other continues. Streams that got no answer, as far as they have ended, are left out.
    """
    answered = {one.id: one for one in entries if one.answer}
    called = {id: name for name, id in heads.items()}
    # A stream without an answer is passed over: what continues it continues what is before it.
    parents = {one.id: one.parent for one in entries}

    def before(id: str) -> str:
        id, seen = parents[id], set[str]()
        while id in parents and id not in answered and id not in seen:
            seen.add(id)
            id = parents[id]
        return id if id in answered else ""

    continued = {before(id) for id in answered}
    found = []
    for one in answered.values():
        if one.id in continued and one.id not in called:
            continue
        chain = [one.id]
        while (parent := before(chain[-1])) and parent not in chain:
            chain.append(parent)
        found.append(Conversation(one, answered[chain[-1]].prompt, len(chain), called.get(one.id, "")))
    return found


def rename(options: RenameOptions) -> int:
    """Name a conversation, and return the exit code."""
    kept = streams_dir()
    old, new = options.conversation, options.name
    try:
        if names.exists(kept, old):
            names.rename(kept, old, new)
        else:
            id = folder.find(kept, old)
            if names.exists(kept, names.checked(new)):
                raise names.Taken(f"another conversation is called {new}")
            names.add(kept, new, id)
    except names.Taken as error:
        raise CommandError(str(error)) from error
    except ValueError as error:
        raise UsageError(str(error)) from error
    Notes(Output(2)).line(f"unspool -c {new} continues this conversation")
    return 0


def _answers(one: Conversation) -> str:
    return f"{one.answers} answer{'s' * (one.answers > 1)}"


def _fields(one: Conversation) -> tuple[str, ...]:
    """What a program gets of a conversation, in columns."""
    time = dates.exact(ulid.milliseconds(one.last.id))
    return one.last.id, time, str(one.answers), one.name, one.last.model, one.prompt, one.last.answer


def _described(one: Conversation) -> dict[str, object]:
    return {
        "id": one.last.id,
        "time": dates.exact(ulid.milliseconds(one.last.id)),
        "name": one.name or None,
        "answers": one.answers,
        "model": one.last.model,
        "outcome": one.last.outcome,
        "prompt": one.prompt,
        "answer": one.last.answer,
    }
