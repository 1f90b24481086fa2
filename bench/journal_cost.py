"""What keeping a journal costs, for each event: the CPU time of a stream with it and without.

    python bench/journal_cost.py [EVENTS]

A server in another process sends 100,000 events as fast as they are taken, each in an HTTP chunk of its own, many to a network
read; and then again at a pace at which each is a read, and so a write, by itself. Each case is a process of its own, run five times
by turns; the least of the five is told, for whatever else the machine does only ever adds. It all takes about a minute.
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
    "without a journal": None,
    "sync = never": "never",
    "sync = interval": "interval",
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


def run(url: str, journal: bool) -> None:
    """Read one stream, and print the CPU seconds that took, and how many reads it was."""
    import unspool

    reads = 0
    with unspool.stream("hi", base_url=url, model="m", api="chat", key="k", journal=journal) as answer:
        begun = _cpu()
        while answer.ending is None:
            reads += bool(answer.step())
    assert answer.outcome == "complete", answer.ending
    print(json.dumps([_cpu() - begun, reads]))


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def measure(url: str, sync: str | None) -> list[float]:
    """Run one case in a process and a home of its own; returns what `run` prints."""
    with tempfile.TemporaryDirectory() as home:
        config = f"{home}/config.toml"
        with open(config, "w") as file:
            file.write(f'sync = "{sync}"\n' if sync else "")
        told = subprocess.run(
            [sys.executable, __file__, "run", url, str(int(sync is not None))],
            env={**os.environ, "UNSPOOL_HOME": home, "UNSPOOL_CONFIG": config, "no_proxy": "127.0.0.1"},
            stdout=subprocess.PIPE,
            check=True,
        )
    return list(json.loads(told.stdout))


def main(events: int) -> None:
    for count, one_by_one in ((events, False), (events // 5, True)):
        server = subprocess.Popen(
            [sys.executable, __file__, "serve", str(count), str(int(one_by_one))], stdout=subprocess.PIPE, text=True
        )
        assert server.stdout is not None
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
        try:
            turns = [[measure(url, sync) for sync in CASES.values()] for _ in range(ROUNDS)]
        finally:
            server.kill()
            server.wait()
        best = [min(case) for case in zip(*turns, strict=True)]
        print(f"{count:,} events, {'one' if one_by_one else 'many'} to a read")
        for name, (seconds, reads) in zip(CASES, best, strict=True):
            more = f", +{(seconds - best[0][0]) / count * 1e6:.2f}" if CASES[name] else ""
            print(f"  {name:18} {seconds / count * 1e6:6.2f} µs of CPU for each event{more} ({reads:,.0f} reads)")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", events, one_by_one]:
            serve(int(events), one_by_one == "1")
        case ["run", url, journal]:
            run(url, journal == "1")
        case arguments:
            main(int((arguments or ["100000"])[0]))
