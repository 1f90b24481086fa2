"""Totals over saved answers: how they ended, how fast they came, and what they took."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from unspool.cli.timeline import seconds, summed
from unspool.client.load.percentiles import Distribution
from unspool.journal import ulid
from unspool.shape import VERSION
from unspool.terminal.bars import bars
from unspool.terminal.safety import one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.config.file import Price
    from unspool.journal.summary import Summary
    from unspool.jsontext import JsonObject


@dataclass(slots=True)
class Tokens:
    """The tokens of some answers. ``uncounted`` are the answers whose server counted none."""

    answers: int = 0
    input: int = 0
    output: int = 0
    uncounted: int = 0
    #: What those of models with a price cost, None where no model has one.
    cost: float | None = None

    def add(self, one: Summary, price: Price | None) -> None:
        """Add those of one answer."""
        self.answers += 1
        if one.usage is None:
            self.uncounted += 1
            return
        if price is not None:
            self.cost = (self.cost or 0.0) + price.cost(one.usage)
        self.input += one.usage.input_tokens or 0
        self.output += one.usage.output_tokens or 0

    def as_json(self) -> JsonObject:
        """Return them for a program."""
        return {
            "answers": self.answers,
            "input_tokens": self.input,
            "output_tokens": self.output,
            "uncounted": self.uncounted,
            "cost": self.cost,
        }


@dataclass(slots=True)
class Totals:
    """What `add` was given, summed up. Days are local ones. ``prices`` are those of models."""

    prices: dict[str, Price] = field(default_factory=dict)
    all: Tokens = field(default_factory=Tokens)
    outcomes: Counter[str] = field(default_factory=Counter)
    models: dict[str, Tokens] = field(default_factory=dict)
    days: dict[str, Tokens] = field(default_factory=dict)
    ttft: Distribution = field(default_factory=Distribution)
    rates: Distribution = field(default_factory=Distribution)

    def add(self, one: Summary) -> None:
        """Add an answer."""
        price = self.prices.get(one.response_model or "") or self.prices.get(one.model)
        day = time.strftime("%Y-%m-%d", time.localtime(ulid.milliseconds(one.id) / 1000))
        for tokens in (
            self.all,
            self.models.setdefault(one.response_model or one.model, Tokens()),
            self.days.setdefault(day, Tokens()),
        ):
            tokens.add(one, price)
        self.outcomes[one.outcome] += 1
        if one.ttft is None:
            return
        self.ttft.add(one.ttft)
        output = one.usage.output_tokens if one.usage is not None else None
        if output and one.duration is not None and one.duration > one.ttft:
            self.rates.add(output / (one.duration - one.ttft))


def drawn(totals: Totals, columns: int, *, has_blocks: bool) -> list[str]:
    """Return the sums as lines of at most so many columns."""
    all = totals.all
    uncounted = f"; no token counts in {all.uncounted:,} of them" if all.uncounted else ""
    cost = f", cost {all.cost:,.4f}" if all.cost is not None else ""
    lines = [f"{all.answers:,} answers, {all.input:,} tokens in, {all.output:,} out{cost}{uncounted}"]
    for name, times, shown in (
        ("first token", totals.ttft, seconds),
        ("speed", totals.rates, lambda rate: f"{rate:,.1f} tokens/s"),
    ):
        if times.count:
            lines.append(f"{name}: {shown(times.percentile(50))} (p50), {shown(times.percentile(95))} (p95)")
    ended = [(word.replace("_", " "), count) for word, count in totals.outcomes.most_common()]
    models = sorted(totals.models.items(), key=lambda item: -item[1].output)
    width = max(20, min(columns, 100))
    for title, rows in (
        ("how they ended", ended),
        ("tokens out, by model", [(one_line(name)[:40] or "(no name)", one.output) for name, one in models]),
        ("tokens out, by day", [(day, one.output) for day, one in sorted(totals.days.items())]),
    ):
        lines += ["", title, *bars(rows, width, ascii=not has_blocks)]
    return lines


def as_json(totals: Totals) -> JsonObject:
    """Return the sums for a program."""
    return {
        "object": "unspool.totals",
        "version": VERSION,
        **totals.all.as_json(),
        "outcomes": dict(totals.outcomes),
        "ttft": summed(totals.ttft),
        "tokens_per_second": summed(totals.rates),
        "models": {name: one.as_json() for name, one in sorted(totals.models.items())},
        "days": {day: one.as_json() for day, one in sorted(totals.days.items())},
    }
