"""How one answer came in time, measured from its journal and drawn."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from unspool.api.deltas import Reasoning, Refusal, Text, ToolCallDelta, apart
from unspool.cli.options import dates
from unspool.client.load.percentiles import Distribution
from unspool.client.pace import Pace
from unspool.journal import folder, ulid
from unspool.journal.blocks import Request
from unspool.journal.replay import Replay
from unspool.shape import VERSION
from unspool.terminal.safety import one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.journal.reader import Reader
    from unspool.jsontext import JsonObject

# A pause is a stall when it is this many times as long as the usual one (the median), and at least so many seconds.
_STALL, _LEAST_STALL = 10, 0.5
_MOST_STALLS = 5
_PIECES = (Text, Refusal, Reasoning, ToolCallDelta)
_BLOCKS, _ASCII = " ▁▂▃▄▅▆▇█", " .:-=+*#@"


@dataclass(slots=True)
class Timeline:
    """When the pieces of an answer came, in seconds since its request. Pieces of one read came at the same time."""

    id: str
    model: str
    where: str
    outcome: str
    finish_reason: str | None
    attempts: int
    total: float | None
    pace: Pace
    rate: tuple[float, str] | None
    # The times at which anything came, with the number of pieces.
    arrivals: list[tuple[float, int]] = field(default_factory=list)

    @property
    def gaps(self) -> list[tuple[float, float]]:
        """The pauses between arrivals: when each began, and how long it was."""
        times = [at for at, _ in self.arrivals]
        return [(before, after - before) for before, after in pairwise(times)]

    @property
    def stalls(self) -> list[tuple[float, float]]:
        """The longest of the pauses that are much longer than usual, in their order in time."""
        gaps = self.gaps
        if not gaps:
            return []
        usual = sorted(length for _, length in gaps)[len(gaps) // 2]
        stalls = [gap for gap in gaps if gap[1] >= max(_LEAST_STALL, _STALL * usual)]
        return sorted(sorted(stalls, key=lambda gap: -gap[1])[:_MOST_STALLS])


def read(journal: Reader) -> Timeline:
    """Measure what a journal holds."""
    replay, pace = Replay(journal), Pace()
    arrivals: list[tuple[float, int]] = []
    for deltas, _, at in replay.turns():
        pace.feed(at, deltas)
        if pieces := sum(type(one) in _PIECES for one in apart(deltas)):
            arrivals.append((at, pieces))
    request, decoder, ending = replay.request or Request(), replay.decoder, replay.ending
    return Timeline(
        id=folder.id_of(journal.path),
        model=(decoder.model if decoder is not None else None) or request.model,
        where=f"{request.profile} ({request.api})",
        outcome=ending.outcome,
        finish_reason=ending.finish_reason,
        attempts=replay.attempts,
        total=replay.ended_at if replay.ended_at is not None else pace.last_piece,
        pace=pace,
        rate=pace.rate(decoder.usage if decoder is not None else None),
        arrivals=arrivals,
    )


def drawn(line: Timeline, columns: int, *, has_blocks: bool) -> list[str]:
    """Return the timeline as lines of at most so many columns."""
    pace = line.pace
    attempts = f", {line.attempts} attempts" if line.attempts > 1 else ""
    when = dates.shown(ulid.milliseconds(line.id)) if ulid.is_ulid(line.id) else ""
    lines = [
        one_line(
            f"{ulid.short(line.id)}  {when}  {line.model} at {line.where}: {line.outcome.replace('_', ' ')}{attempts}"
        )
    ]
    firsts = [
        f"{name} {seconds(at)}"
        for name, at in (
            ("first event", pace.first_event),
            ("first reasoning", pace.first_reasoning),
            ("first text", pace.first_text),
            ("end", line.total),
        )
        if at is not None
    ]
    lines.append(", ".join(firsts) or "nothing came")
    if not line.arrivals:
        return lines
    speed = f"{line.rate[0]:,.1f} {line.rate[1]}/s, " if line.rate is not None else ""
    gaps = Distribution(length for _, length in line.gaps)
    pauses = ""
    if line.gaps:
        longest = max(length for _, length in line.gaps)
        pauses = f"; pauses {seconds(gaps.percentile(50))} (p50), {seconds(gaps.percentile(95))} (p95), {seconds(longest)} (longest)"
    lines += [f"{speed}{pace.pieces:,} pieces{pauses}", ""]
    width = max(20, min(columns, 100))
    total = max(line.total or 0.0, line.arrivals[-1][0]) or 1e-9
    lines.append(_row(line.arrivals, total, width, _BLOCKS if has_blocks else _ASCII))
    middle, end = seconds(total / 2), seconds(total)
    lines.append(f"{'0':<{width // 2}}{middle:<{width - width // 2 - len(end)}}{end}")
    lines += [f"stall of {seconds(length)} after {seconds(at)}" for at, length in line.stalls]
    return lines


def _row(arrivals: list[tuple[float, int]], total: float, width: int, marks: str) -> str:
    """Pieces over time: the higher a mark, the more came."""
    counts = [0] * width
    for at, pieces in arrivals:
        counts[min(width - 1, int(at / total * width))] += pieces
    most = max(counts)
    top = len(marks) - 1
    row = "".join(marks[max(1, round(count / most * top)) if count else 0] for count in counts)
    waited = len(row) - len(row.lstrip(" "))
    # Nothing had come yet: that is not the same as a pause.
    return "·" * waited + row[waited:] if marks is _BLOCKS else "_" * waited + row[waited:]


def as_json(line: Timeline) -> JsonObject:
    """Return the timeline for a program."""
    pace, gaps = line.pace, Distribution(length for _, length in line.gaps)
    return {
        "object": "unspool.timeline",
        "version": VERSION,
        "id": line.id,
        "model": line.model,
        "outcome": line.outcome,
        "finish_reason": line.finish_reason,
        "attempts": line.attempts,
        "first_event": pace.first_event,
        "first_reasoning": pace.first_reasoning,
        "first_text": pace.first_text,
        "total": line.total,
        "pieces": pace.pieces,
        "rate": round(line.rate[0], 1) if line.rate is not None else None,
        "rate_unit": line.rate[1] if line.rate is not None else None,
        "gaps": summed(gaps),
        "stalls": [{"at": at, "seconds": round(length, 3)} for at, length in line.stalls],
        "arrivals": [{"at": at, "pieces": pieces} for at, pieces in line.arrivals],
    }


def summed(times: Distribution) -> JsonObject:
    """Return the sums of a distribution for a program, without its buckets."""
    return {name: value for name, value in times.as_json().items() if name != "buckets"}


def seconds(time: float) -> str:
    """Return a time for a person."""
    return f"{time * 1000:.0f} ms" if time < 1 else f"{time:.2f} s"
