"""What Prometheus reads: counts and times of streams, over all workers. Needs the extra ``unspool[metrics]``.

Each worker writes its numbers to files in a folder of the gateway's (the multiprocess mode of prometheus-client), and the parent process
serves their sums on a listener of its own, which is on loopback.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from unspool import Error
from unspool.serve.store import StreamInfo

if TYPE_CHECKING:
    from prometheus_client import Counter, Gauge, Histogram

_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)


class Metrics:
    """The numbers of one worker. Nothing is counted per event: what a token costs must not grow by it."""

    def __init__(self) -> None:
        from prometheus_client import Counter, Gauge, Histogram

        self._running: Gauge = Gauge("unspool_streams_running", "Streams running", multiprocess_mode="livesum")
        self._viewers: Gauge = Gauge("unspool_viewers", "Clients that read a stream", multiprocess_mode="livesum")
        self._ended: Counter = Counter("unspool_streams", "Streams that ended", ["endpoint", "outcome"])
        self._ttft: Histogram = Histogram(
            "unspool_ttft_seconds", "Time to the first event", ["endpoint"], buckets=_BUCKETS
        )
        self._itl: Histogram = Histogram(
            "unspool_inter_token_seconds",
            "Mean time between output tokens of a stream",
            ["endpoint"],
            buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0),
        )
        self._tokens: Counter = Counter("unspool_tokens", "Tokens", ["direction"])
        self._requests: Counter = Counter("unspool_requests", "Requests", ["method", "status"])

    def began(self) -> None:
        """A stream began."""
        self._running.inc()

    def ended(self, info: StreamInfo) -> None:
        """A stream ended."""
        self._running.dec()
        self._ended.labels(info.endpoint, info.state).inc()
        if info.ttft is not None:
            self._ttft.labels(info.endpoint).observe(info.ttft)
        if info.ttft is not None and info.ended is not None and (info.output_tokens or 0) > 1:
            seconds = max(0.0, info.ended - info.created - info.ttft)
            self._itl.labels(info.endpoint).observe(seconds / ((info.output_tokens or 2) - 1))
        self._tokens.labels("input").inc(info.input_tokens or 0)
        self._tokens.labels("output").inc(info.output_tokens or 0)

    def viewer(self, change: int) -> None:
        """A viewer came (1) or left (-1)."""
        self._viewers.inc(change)

    def request(self, method: str, status: int) -> None:
        """A request was answered."""
        self._requests.labels(method if method in ("GET", "POST", "DELETE") else "other", status).inc()


def prepare(folder: str) -> None:
    """Make the folder of the numbers, before a worker starts. Raises Error without prometheus-client."""
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder, mode=0o700)
    # Read by prometheus-client when it is imported.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    try:
        import prometheus_client  # noqa: F401
    except ImportError:
        raise Error("--metrics needs prometheus-client: pip install 'unspool[metrics]'") from None


def serve(port: int) -> int:
    """Serve the sums of all workers on 127.0.0.1, from a thread. Returns the port. Raises OSError."""
    from prometheus_client import CollectorRegistry, multiprocess, start_http_server

    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)
    server, _ = start_http_server(port, addr="127.0.0.1", registry=registry)
    return int(server.server_port)


def forget(pid: int) -> None:
    """Leave out the gauges of a worker that has ended."""
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(pid)
