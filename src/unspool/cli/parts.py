"""``unspool run --merge`` and ``--status``: the results of all parts of a run, and how many there are."""

from __future__ import annotations

from unspool import outcome
from unspool.batch import parts, results
from unspool.batch.runner import exit_code_of
from unspool.cli.options import CommandError
from unspool.jsontext import dumps
from unspool.terminal.output import Notes, Output
from unspool.terminal.safety import one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from unspool.batch.lines import Line
    from unspool.batch.parts import Shard


def merge(folder: str, file: str, lines: Iterable[Line], notes: Notes) -> int:
    """Print the results of the lines in their order, from all parts. Returns the exit code. Raises CommandError."""
    there = _parts(folder, file)
    if missing := parts.missing_from(there):
        raise CommandError(
            f"{_named(missing)} of {file} {'is' if len(missing) == 1 else 'are'} missing in {folder};"
            f" unspool run {file} --shard {missing[0]} runs it; copy the files of a part that ran on another machine into that folder"
        )
    streams, journals = parts.streams_in(folder, there), parts.streams_of(folder)
    stdout = Output(1)
    codes = []
    total = 0
    without: dict[Shard, int] = {}
    for line in lines:
        total += 1
        told = results.kept(journals, streams.of(line.text_key), failed=True)
        if told is None or told.outcome == outcome.RUNNING:
            shard = next(one for one in there if one.has(line))
            without[shard] = without.get(shard, 0) + 1
            continue
        if told.outcome not in results.ANSWERED:
            codes.append(outcome.EXIT_CODES[told.outcome])
        stdout.write(stdout.safe(dumps(results.result(line, told)) + "\n"))
    absent = sum(without.values())
    words = f"{total - absent - len(codes)} of {total} answered"
    if codes:
        words += f", {len(codes)} failed"
    if absent:
        words += f", {absent} without a result: {_named(sorted(without))} must finish first"
    notes.line(one_line(words), always=bool(absent))
    return 1 if absent else exit_code_of(codes)


def status(folder: str, file: str, lines: Iterable[Line]) -> int:
    """Print how far each part is, and all of them. Returns 0 when every line is answered, else 1. Raises CommandError."""
    there = _parts(folder, file)
    streams, journals = parts.streams_in(folder, there), parts.streams_of(folder)
    shards = sorted([*there, *parts.missing_from(there)])
    # For each shard, lines by outcome; "" for those that were not asked.
    counts: list[dict[str, int]] = [{} for _ in shards]
    for line in lines:
        told = results.kept(journals, streams.of(line.text_key), failed=True)
        word = "" if told is None else told.outcome
        found = counts[next(one.index for one in shards if one.has(line))]
        found[word] = found.get(word, 0) + 1
    stdout = Output(1)
    all: dict[str, int] = {}
    for shard, found in zip(shards, counts, strict=True):
        if len(shards) > 1:
            where = "" if shard in there else "; it is missing here"
            stdout.write(f"{shard}: {_counted(found)}{where}\n")
        for word, count in found.items():
            all[word] = all.get(word, 0) + count
    stdout.write(f"all: {_counted(all)}\n" if len(shards) > 1 else f"{_counted(all)}\n")
    return 0 if all.keys() <= results.ANSWERED else 1


def _parts(folder: str, file: str) -> list[Shard]:
    try:
        there = parts.parts_in(folder)
    except parts.PartsError as error:
        raise CommandError(str(error)) from error
    if not there:
        raise CommandError(f"no part of {file} is in {folder}; if the run has another name, give --name NAME")
    return there


def _named(shards: list[Shard]) -> str:
    some = ", ".join(map(str, shards[:10])) + (", …" if len(shards) > 10 else "")
    return f"shard {some}" if len(shards) == 1 else f"shards {some}"


def _counted(found: dict[str, int]) -> str:
    total = sum(found.values())
    answered = sum(count for word, count in found.items() if word in results.ANSWERED)
    words = [f"{answered} of {total} answered"]
    if under_way := found.get(outcome.RUNNING):
        words.append(f"{under_way} running")
    failed = {word: n for word, n in sorted(found.items()) if word not in {*results.ANSWERED, outcome.RUNNING, ""}}
    if failed:
        words.append(
            f"{sum(failed.values())} failed ({', '.join(f'{count} {word}' for word, count in failed.items())})"
        )
    if "" in found:
        words.append(f"{found['']} not asked yet")
    return ", ".join(words)
