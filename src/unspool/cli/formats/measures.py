"""What a load test has measured, as a table for people and as JSON."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.cli.options.batch import BenchOptions
    from unspool.client.load import Measures, Schedule
    from unspool.client.load.percentiles import Distribution
    from unspool.config.target import Target
    from unspool.jsontext import JsonObject
    from unspool.sim.subprocess_simulator import SubprocessSimulator
    from unspool.terminal.output import Output

# Rows of a histogram, and kinds of errors that are listed.
_ROWS = 10
_TOLD_ERRORS = 5


def progress(measures: Measures, schedule: Schedule) -> str:
    of = f" of {schedule.requests:,}" if schedule.requests is not None else ""
    failed = f", {measures.failed:,} failed" if measures.failed else ""
    return (
        f"unspool: {measures.elapsed:.0f} s: {measures.ended:,}{of} ended{failed}, {measures.under_way:,} running,"
        f" {measures.events / measures.elapsed if measures.elapsed else 0:,.0f} events per second"
    )


def report(
    stdout: Output, target: Target, schedule: Schedule, measures: Measures, simulator: SubprocessSimulator | None
) -> str:
    from unspool.terminal.abilities import shows_utf8
    from unspool.terminal.bars import bars
    from unspool.terminal.safety import one_line
    from unspool.terminal.size import size_of

    elapsed = measures.elapsed or 1e-9
    lines = [
        f"{one_line(target.base_url)}, {target.api}, {one_line(target.model or '')}: {_described(schedule)}; {measures.elapsed:.1f} s",
        "",
        _row(
            "answers",
            f"{measures.whole:,} complete, {measures.failed:,} failed",
            f"{measures.whole / elapsed:,.1f} per second",
        ),
        *(
            [_row("", f"{measures.unfinished:,} given up", "because the test was stopped early")]
            if measures.unfinished
            else []
        ),
        _row("streams", f"at most {measures.most_under_way:,} at once", ""),
        _row(
            "tokens",
            f"{measures.tokens:,}" + ("" if measures.tokens_are_counted else " pieces of text"),
            f"{measures.tokens / elapsed:,.0f} per second; {measures.rates.percentile(50):,.1f} in one stream (p50)",
        ),
    ]
    for (ended, message), times_met in measures.messages.most_common(_TOLD_ERRORS):
        lines.append(_row(ended, f"{times_met:,}", one_line(message)))
    lines += ["", f"{'':<16}" + "".join(f"{head:>10}" for head in ("p50", "p90", "p95", "p99", "max", "mean"))]
    rows = [("first token", measures.ttft), ("between tokens", measures.gaps), ("for each token", measures.per_token)]
    rows.append(("complete answer", measures.total))
    if schedule.rate is not None:
        rows.append(("sent late by", measures.late))
    for name, times in rows:
        values = [*(times.percentile(one) for one in (50, 90, 95, 99)), times.most, times.mean]
        lines.append(f"{name:<16}" + "".join(f"{_time(value) if times.count else '-':>10}" for value in values))
    columns = min(size_of(stdout.fd)[0], 120) - 1
    for name, times in (("first token", measures.ttft), ("between tokens", measures.gaps)):
        if times.count:
            lines += ["", name, *bars(_histogram(times), columns, ascii=not shows_utf8(os.environ))]
    lag = measures.lag
    each = f", {measures.cpu / measures.events * 1e6:.0f} µs per event" if measures.events else ""
    lines += [
        "",
        f"unspool itself used {measures.cpu_share:.0%} of a core{each}; an event waited"
        f" {_time(lag.percentile(50))} for it (p50), {_time(lag.percentile(99))} (p99)",
    ]
    if simulator is not None and measures.events:
        lines.append(
            f"the simulator used {simulator.cpu / elapsed:.0%} of a core, {simulator.cpu / measures.events * 1e6:.0f} µs per event"
        )
    return stdout.safe("".join(line + "\n" for line in lines))


def _row(name: str, first: str, second: str) -> str:
    return f"{name:<16}{first:<28}{second}".rstrip()


def _described(schedule: Schedule) -> str:
    if schedule.rate is None:
        return f"{schedule.concurrency:,} at a time (closed loop: a slow server gets fewer requests)"
    how = "at random" if schedule.poisson else "evenly"
    return f"{schedule.rate:g} per second {how} (open loop: measured from the scheduled start)"


def warnings(measures: Measures) -> list[str]:
    if not measures.bottleneck:
        return []
    gaps, first = measures.share_of(measures.gaps), measures.share_of(measures.ttft)
    share = f"{gaps:.0%} of the time between tokens and {first:.0%} of the time to the first one (p50) was spent waiting here"
    if measures.bottleneck == "cpu":
        took = f"it took {measures.cpu_share:.0%} of its core"
        return [f"unspool itself was the bottleneck: {took}, and {share}; use fewer streams, or several machines"]
    return [f"other programs on this machine slowed unspool down: {share}; measure on a less busy machine"]


def _histogram(times: Distribution) -> list[tuple[str, int]]:
    """Rows of equal width up to the 99th percentile, and one for what is above."""
    low, high = times.least, times.percentile(99)
    # No row is narrower than what is known of a time.
    rows_wanted = min(int((high - low) / (0.01 * high)), _ROWS) if high else 0
    if not rows_wanted:
        return [(_time(high), times.count)]
    step = (high - low) / rows_wanted
    edges = [low + step * place for place in range(rows_wanted + 1)]
    above = [times.count, *(times.above(edge) for edge in edges[1:])]
    rows = [
        (f"{_time(start)} to {_time(end)}", more - less)
        for start, end, more, less in zip(edges, edges[1:], above, above[1:], strict=False)
    ]
    return [*rows, (f"{_time(high)} to {_time(times.most)}", above[-1])] if above[-1] else rows


def _time(seconds: float) -> str:
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.{1 if seconds < 0.1 else 0}f} ms"
    return f"{seconds:.{2 if seconds < 100 else 0}f} s"


def as_json(
    options: BenchOptions,
    target: Target,
    schedule: Schedule,
    measures: Measures,
    begun: str,
    simulator: SubprocessSimulator | None,
) -> JsonObject:
    import platform

    from unspool import __version__
    from unspool.client.http.curl import pycurl

    elapsed = measures.elapsed or 1e-9
    found: JsonObject = {
        "object": "unspool.bench",
        "version": 1,
        "time": begun,
        "versions": {
            "unspool": __version__,
            "libcurl": pycurl.version,
            "python": platform.python_version(),
            "system": platform.platform(),
        },
        "target": {
            "base_url": target.base_url,
            "profile": target.name,
            "api": target.api,
            "model": target.model,
            "simulator": simulator is not None,
        },
        "schedule": {
            "loop": "closed" if schedule.rate is None else "open",
            "concurrency": schedule.concurrency,
            "requests": schedule.requests,
            "duration": schedule.duration,
            "rate": schedule.rate,
            "poisson": schedule.poisson,
            "warm_up": options.warm_up,
            "retries": options.retries,
            "max_tokens": options.max_tokens,
        },
        "elapsed": round(measures.elapsed, 6),
        "requests": {
            "started": measures.started,
            "ended": measures.ended,
            "whole": measures.whole,
            "failed": measures.failed,
            "unfinished": measures.unfinished,
            "retries": measures.retries,
            "most_at_once": measures.most_under_way,
        },
        "outcomes": dict(measures.outcomes),
        "errors": [
            {"outcome": ended, "message": message, "count": times}
            for (ended, message), times in measures.messages.most_common()
        ],
        "tokens": {"count": measures.tokens, "counted_by_server": measures.tokens_are_counted},
        "events": measures.events,
        "per_second": {
            "requests": round(measures.whole / elapsed, 3),
            "tokens": round(measures.tokens / elapsed, 3),
            "events": round(measures.events / elapsed, 3),
        },
        "ttft": measures.ttft.as_json(),
        "inter_token": measures.gaps.as_json(),
        "per_token": measures.per_token.as_json(),
        "total": measures.total.as_json(),
        "late": measures.late.as_json(),
        "stream_tokens_per_second": measures.rates.as_json(),
        "client": {
            "cpu": round(measures.cpu, 6),
            "cpu_share": round(measures.cpu_share, 4),
            "cpu_per_event": round(measures.cpu / measures.events, 9) if measures.events else None,
            "lag": measures.lag.as_json(),
            "share_of_ttft": round(measures.share_of(measures.ttft), 4),
            "share_of_inter_token": round(measures.share_of(measures.gaps), 4),
            "bottleneck": measures.bottleneck or None,
        },
    }
    if simulator is not None:
        each = round(simulator.cpu / measures.events, 9) if measures.events else None
        found["simulator"] = {"cpu": round(simulator.cpu, 6), "cpu_per_event": each}
    return found
