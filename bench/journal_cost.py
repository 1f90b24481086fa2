"""What keeping a journal costs, for each event: the CPU time of a stream with it and without.

    python bench/journal_cost.py [EVENTS]

A server in another process sends 100,000 events as fast as they are taken, each in an HTTP chunk of its own, many to a network
read; and then again at a pace at which each is a read, and so a write, by itself. Each case is a process of its own, run five times
by turns; the least of the five is told, for whatever else the machine does only ever adds.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time

ROUNDS = 5
CASES = {
    "without a journal": {"journal": False},
    "sync = never": {"journal": True, "sync": "never"},
    "sync = interval": {"journal": True, "sync": "interval"},
}


def chunk(value: object) -> bytes:
    data = f"data: {json.dumps(value, separators=(',', ':'))}\n\n".encode()
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(delta: dict[str, str], finish: str | None = None) -> bytes:
    """A chunk as OpenAI sends them."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    head = {"id": "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG", "object": "chat.completion.chunk", "created": 1741570283}
    return chunk({**head, "model": "gpt-5.4-mini", "system_fingerprint": "fp_fc9f1d7035", "choices": [choice]})


def serve(events: int, one_by_one: bool) -> None:
    """Answer every request with so many events, after saying on stdout where."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        one = event({"content": " token"})
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while b"\r\n\r\n" not in connection.recv(1 << 16):
                    pass
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                )
                for _ in range(events if one_by_one else events // 100):
                    connection.sendall(one if one_by_one else one * 100)
                    if one_by_one:
                        due = time.perf_counter() + 0.00015
                        while time.perf_counter() < due:
                            pass
                connection.sendall(event({}, "stop") + b"0\r\n\r\n")


def run(url: str, journal: bool, sync: str = "interval") -> None:
    """Read one stream, and print the CPU seconds that took, and how many reads it was."""
    import unspool
    from unspool.journal import writer

    create, reads = writer.Writer, 0

    class Counted(create):  # type: ignore[misc, valid-type]
        def __init__(self, folder: str | None) -> None:
            super().__init__(folder, sync=sync)

    writer.Writer = Counted  # type: ignore[misc]
    with unspool.stream("hi", base_url=url, model="m", api="chat", key="k", journal=journal) as answer:
        begun = _cpu()
        while answer.ending is None:
            reads += bool(answer.step())
    assert answer.outcome == "complete", answer.ending
    print(json.dumps([_cpu() - begun, reads]))


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main(events: int) -> None:
    for one_by_one in (False, True):
        count = events if not one_by_one else events // 5
        server = subprocess.Popen(
            [sys.executable, __file__, "serve", str(count), str(int(one_by_one))], stdout=subprocess.PIPE, text=True
        )
        assert server.stdout is not None
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
        best: dict[str, list[float]] = {}
        try:
            for _ in range(ROUNDS):
                for name, case in CASES.items():
                    with tempfile.TemporaryDirectory() as home:
                        told = subprocess.run(
                            [sys.executable, __file__, "run", url, json.dumps(case)],
                            env={
                                **os.environ,
                                "UNSPOOL_HOME": home,
                                "UNSPOOL_CONFIG": os.devnull,
                                "no_proxy": "127.0.0.1",
                            },
                            capture_output=True,
                            text=True,
                            check=True,
                        )
                    best[name] = min(best.get(name, [9e9, 0]), json.loads(told.stdout))
        finally:
            server.kill()
            server.wait()
        bare = best["without a journal"][0]
        print(f"{count:,} events, {'one' if one_by_one else 'many'} to a read")
        for name, (seconds, reads) in best.items():
            each = seconds / count * 1e6
            more = f", +{(seconds - bare) / count * 1e6:.2f}" if name != "without a journal" else ""
            print(f"  {name:18} {each:6.2f} µs of CPU for each event{more} ({reads:,.0f} reads)")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", events, one_by_one]:
            serve(int(events), one_by_one == "1")
        case ["run", url, case]:
            run(url, **json.loads(case))
        case arguments:
            main(int((arguments or ["100000"])[0]))
