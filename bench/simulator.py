"""The simulator beside aimock: CPU a token, memory and pace at 100, 400 and 1,000 streams of a token each 20 ms, and the start.

aimock is the one of tests/node: ``npm ci`` there. Both answer from a script, as a test would have them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.process import Unmeasurable
from bench.report import Row
from bench.setting import Setting

_STREAMS = (100, 400, 1_000)
_EACH = 0.02
_TOKENS = 100
_NODE = Path(__file__).parent.parent / "tests" / "node"
_LINE = b'"content"'


def measure(setting: Setting) -> Iterator[Row]:
    """Load both with the same streams, one after the other."""
    modules = Path(os.environ.get("UNSPOOL_NODE_MODULES") or _NODE / "node_modules")
    aimock = modules / ".bin" / "llmock"
    if shutil.which("node") is None or not aimock.exists():
        raise Unmeasurable(f"there is no aimock in {modules}: run `npm ci` in tests/node")
    tokens = _TOKENS // 2 if setting.quick else _TOKENS
    with tempfile.TemporaryDirectory(prefix="unspool-bench-") as name:
        folder = Path(name)
        text = [f"word{number} " for number in range(tokens)]
        ours, theirs = folder / "answers.json", folder / "fixtures.json"
        ours.write_text(json.dumps([{"answer": {"text": text}}]))
        # aimock cuts its text by characters: so many of them that each is one of these words.
        words = "".join(f"{word:<8.8}" for word in text)
        theirs.write_text(json.dumps({"fixtures": [{"match": {"endpoint": "chat"}, "response": {"content": words}}]}))
        unspool = [sys.executable, "-m", "unspool", "sim", "--ttft", "0", "--itl", "20ms", "--answers", str(ours)]
        rival = [str(aimock), "-f", str(theirs), "-l", "20", "-c", "8", "--log-level", "silent"]
        for streams in _STREAMS:
            own, other = (_load(command, streams, tokens) for command in (unspool, rival))
            for what, unit, mine, his in zip(
                ("CPU a token", "memory", "pace, late by"), ("us", "bytes", "s"), own, other, strict=True
            ):
                yield Row(f"simulator, {streams} streams: {what}", mine, "aimock", his, unit)
        own_start, other_start = (min(_start(command) for _ in range(3)) for command in (unspool, rival))
        yield Row("simulator, from its start to the first answer", own_start, "aimock", other_start, "s")


@contextlib.contextmanager
def _running(command: list[str]) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    process = subprocess.Popen([*command, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                asyncio.run(_ask(port))
                break
            except OSError as error:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise Unmeasurable(f"{command[0]} does not answer") from error
                time.sleep(0.002)
        yield process, port
    finally:
        process.terminate()
        process.wait()


def _start(command: list[str]) -> float:
    begun = time.monotonic()
    with _running([*command, *(("--itl", "0") if "unspool" in command else ("-l", "0"))]):
        return time.monotonic() - begun


def _load(command: list[str], streams: int, tokens: int) -> tuple[float, float, float]:
    """CPU seconds a token, bytes of memory, and the seconds by which a stream took longer than its tokens should."""
    with _running(command) as (process, port):
        before = _cpu(process.pid)

        async def ask_all() -> list[tuple[int, float]]:
            return await asyncio.gather(*(_ask(port) for _ in range(streams)))

        answers = asyncio.run(ask_all())
        spent = _cpu(process.pid) - before
        memory = _memory(process.pid)
    if any(count < tokens for count, _ in answers):
        raise Unmeasurable(f"{command[0]} sent {min(count for count, _ in answers)} of {tokens} tokens")
    late = sorted(took - _EACH * (tokens - 1) for _, took in answers)
    return spent / sum(count for count, _ in answers), memory, late[len(late) // 2]


async def _ask(port: int) -> tuple[int, float]:
    """Ask for a stream; return its events with content, and the seconds from the first of them to the last."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode() + body)
    count, first, last = 0, 0.0, 0.0
    while data := await reader.read(1 << 16):
        if found := data.count(_LINE):
            last = time.monotonic()
            first = first or last
            count += found
    writer.close()
    return count, last - first


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(pid: int) -> float:
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024.0
