"""Measures an answer for ``-u`` and ``--stats``, and copies it for ``--copy``."""

from __future__ import annotations

from unspool import outcome
from unspool.api.deltas import Refusal, Text
from unspool.client.pace import Pace
from unspool.jsontext import dumps
from unspool.shape import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from unspool.api.decoder import Decoder
    from unspool.api.deltas import Delta
    from unspool.cli.display import Display
    from unspool.cli.formats import Format
    from unspool.jsontext import JsonObject
    from unspool.outcome import Ending


class Stats:
    """Measures what arrives, live or from a journal, and reports the measurements at the end.

    ``facts`` is None until `end` was called.
    """

    def __init__(self, *, usage: bool, stats: str | None, copy: bool) -> None:
        self.facts: JsonObject | None = None
        self._pace = Pace()
        self._usage = usage
        self._stats = stats
        # Whether the format shows the facts itself.
        self._is_shown = False
        self._texts: list[str] | None = [] if copy else None

    def feed(self, deltas: Sequence[Delta], at: float) -> None:
        """Take what arrived together."""
        self._pace.feed(at, deltas)
        if self._texts is not None:
            self._texts += [
                one.text for one in deltas if (type(one) is Text or type(one) is Refusal) and one.choice == 0
            ]

    def end(
        self,
        decoder: Decoder | None,
        ending: Ending,
        *,
        total: float | None,
        attempts: int,
        id: str | None,
        format: Format,
    ) -> None:
        """Sum up before the format is closed, since the JSON formats print the sums."""
        pace, usage = self._pace, decoder.usage if decoder is not None else None
        rate = pace.rate(usage)
        self.facts = {
            "type": "stats",
            "version": VERSION,
            "id": id,
            "outcome": ending.outcome,
            "model": decoder.model if decoder is not None else None,
            "attempts": attempts,
            "input_tokens": usage.input_tokens if usage is not None else None,
            "output_tokens": usage.output_tokens if usage is not None else None,
            "cached_tokens": usage.cached_tokens if usage is not None else None,
            "reasoning_tokens": usage.reasoning_tokens if usage is not None else None,
            "first_event": _seconds(pace.first_event),
            "first_reasoning": _seconds(pace.first_reasoning),
            "first_text": _seconds(pace.first_text),
            "total": _seconds(total),
            "pieces": pace.pieces,
            "longest_stall": _seconds(pace.longest_stall),
            "rate": round(rate[0], 1) if rate is not None else None,
            "rate_unit": rate[1] if rate is not None else None,
        }
        self._is_shown = bool(self._stats) and format.take_stats(self.facts)

    def tell(self, ending: Ending, display: Display) -> str:
        """Report the measurements and copy the answer, after the format is closed. Returns why copying failed, "" where it did not."""
        if self.facts is not None and not self._is_shown:
            if self._stats == "json":
                # A program asked for it: print it also where notes are not printed.
                display.notes.write(display.notes.output.safe(dumps(self.facts) + "\n"))
            elif self._stats:
                display.note(f"{_counted(self.facts)}; {_timed(self.facts)}", always=True)
            elif self._usage:
                display.note(_counted(self.facts), always=True)
        return "" if self._texts is None else self._copy(ending, display)

    def _copy(self, ending: Ending, display: Display) -> str:
        from unspool.terminal import clipboard

        if ending.outcome != outcome.COMPLETE:
            display.note("nothing was copied, because the answer is not complete", always=True)
            return ""
        code = display.format.code()
        text = "".join(self._texts or ()) if code is None else code
        if not text:
            display.note(f"nothing was copied: the answer has no {'text' if code is None else 'code'}", always=True)
            return ""
        terminal = next((one for one in (display.notes.output, display.stdout) if one.is_tty), None)
        try:
            means = clipboard.copy(text, terminal)
        except clipboard.NoClipboard as error:
            return f"not copied: {error}"
        what = "answer" if code is None else "code block"
        display.note(f"copied the {what}, {len(text):,} characters, by {means}")
        return ""


def _seconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _counted(facts: JsonObject) -> str:
    """The model, the server's token counts, the time and the speed."""
    parts = [facts["model"] or "a model without a name"]
    for name, detail, word in (("input", "cached", "in"), ("output", "reasoning", "out")):
        number, within = facts[f"{name}_tokens"], facts[f"{detail}_tokens"]
        if number is not None:
            parts.append(f"{number:,} tokens {word}" + (f" ({within:,} {detail})" if within else ""))
    if facts["input_tokens"] is None and facts["output_tokens"] is None:
        parts.append("tokens not counted by the server")
    if facts["total"] is not None:
        parts.append(f"{facts['total']:.2f} s")
    if facts["rate"] is not None:
        parts.append(f"{facts['rate']:,} {facts['rate_unit']}/s")
    return ", ".join(parts)


def _timed(facts: JsonObject) -> str:
    """When the answer came, and how it ended."""
    parts = [
        f"{words} {facts[name]:.3f} s"
        for name, words in (
            ("first_event", "first event after"),
            ("first_reasoning", "first reasoning after"),
            ("first_text", "first text after"),
            ("longest_stall", "longest stall"),
        )
        if facts[name] is not None
    ]
    parts.append(f"{facts['attempts']} attempt{'s' if facts['attempts'] > 1 else ''}")
    parts.append(facts["outcome"].replace("_", " "))
    if facts["id"]:
        parts.append(facts["id"][-6:])
    return ", ".join(parts)
