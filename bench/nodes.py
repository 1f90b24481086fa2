"""The gateway on many machines: what a token costs nodes and engine together, beside one machine and its folder.

All processes run on this machine. A rate is that of all streams together. The load's own CPU is not counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from bench import environments
from bench.gateway import cpu, free_port, load, wait_for
from bench.process import Unmeasurable
from bench.report import Budget, Row
from bench.setting import Setting

_STREAMS, _RATE, _TOKENS = 50, 50, 400
# Tokens a second of all streams together, where their number grows.
_TOGETHER = 2000
_VIEWERS = 400


def measure(setting: Setting) -> Iterator[Row]:
    """Yield the cost of a token for one node and for three, for few and many streams, and what cancels and viewers cost."""
    engine = shutil.which("valkey-server") or shutil.which("redis-server")
    if engine is None:
        raise Unmeasurable("neither valkey-server nor redis-server is installed")
    n = setting.count(_TOKENS)
    with _Nodes(setting, None, 1) as files:
        folder, _ = files.cost(_STREAMS, n, _RATE)
    with _Nodes(setting, engine, 1) as nodes:
        memory = nodes.engine_memory()
        both, of_engine = nodes.cost(_STREAMS, n, _RATE)
        bytes_each = (nodes.engine_memory() - memory) / (_STREAMS * n)
    beside = "kept in a folder"
    yield Row("a token, one viewer", both, beside, folder, "us", Budget("ratio", 2.5))
    yield Row("of it the engine's", of_engine, unit="us", note=f"{bytes_each:.0f} bytes of its memory a token")
    for streams in (10, 200, 2000):
        for count in (1, 3):
            with _Nodes(setting, engine, count) as nodes:
                rate = _TOGETHER / streams
                both, of_engine = nodes.cost(streams, max(2, round(n * _STREAMS / _RATE * rate / 8)), rate)
            name = f"a token, {streams:,} streams, {count} node{'s' if count > 1 else ''}"
            yield Row(name, both, beside, folder, "us", note=f"the engine: {of_engine * 1e6:.0f} µs")
    with _Nodes(setting, engine, 2) as nodes:
        times = asyncio.run(nodes.cancels(10 if setting.quick else 40))
        note = f"the longest {max(times) * 1000:.0f} ms"
        yield Row("a cancel from another node", statistics.median(times), note=note, budget=Budget("unspool", 0.1))
        each = asyncio.run(nodes.viewers(_VIEWERS))
        yield Row("memory of a viewer of another node's stream", each, unit="bytes", budget=Budget("unspool", 20480))


class _Nodes:
    """Nodes and their engine, running. Without an engine, one node and its folder."""

    def __init__(self, setting: Setting, engine: str | None, count: int) -> None:
        folder = setting.home / f"nodes-{free_port()}"
        folder.mkdir()
        store = str(folder / "streams")
        commands: list[list[str]] = []
        if engine is not None:
            self._engine_port = free_port()
            commands.append([engine, "--port", str(self._engine_port), "--save", "", "--appendonly", "yes"])
            store = f"valkey://127.0.0.1:{self._engine_port}/0"
        secret = folder / "secret"
        secret.write_text("s" * 64)
        self.ports = [free_port() for _ in range(count)]
        serve = [str(environments.unspool() / "unspool"), "serve", "--upstream", f"{setting.url}/v1", "--store", store]
        serve += ["--streams", "10000", *(["--secret", str(secret)] if engine is not None else [])]
        commands += [[*serve, "--port", str(port)] for port in self.ports]
        self._processes: list[subprocess.Popen[bytes]] = []
        for command in commands:
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            self._processes.append(subprocess.Popen(command, cwd=folder, env=setting.environment, **quiet))
            if len(self._processes) == 1 and engine is not None:
                wait_for(self._engine_port)
        self._engine = self._processes[0] if engine is not None else None

    def __enter__(self) -> _Nodes:
        for port in self.ports:
            wait_for(port)
            asyncio.run(load(port, 1, 5))
        return self

    def __exit__(self, *error: object) -> None:
        for process in reversed(self._processes):
            process.terminate()
            process.wait()

    def cost(self, streams: int, n: int, rate: float) -> tuple[float, float]:
        """CPU seconds of a token, in all and of the engine."""

        async def spread() -> int:
            share = streams // len(self.ports)
            shares = [streams - share * (len(self.ports) - 1), *[share] * (len(self.ports) - 1)]
            loads = (load(port, part, n, rate) for port, part in zip(self.ports, shares, strict=True))
            return sum(await asyncio.gather(*loads))

        before, engine_before = self._cpu(), self._engine_cpu()
        tokens = asyncio.run(spread())
        return (self._cpu() - before) / tokens, (self._engine_cpu() - engine_before) / tokens

    async def cancels(self, count: int) -> list[float]:
        """Seconds from a cancel at one node until the viewer at the other has the end."""
        times: list[float] = []
        for _ in range(count):
            reader, writer, id = await _begin(self.ports[0], 100_000)
            began = time.monotonic()
            await _send(self.ports[1], f"POST /v1/streams/{id}/cancel", wait=False)
            while b'"cancelled"' not in await reader.read(1 << 16):
                pass
            times.append(time.monotonic() - began)
            writer.close()
        return times

    async def viewers(self, count: int) -> float:
        """Bytes that a node's memory grows by for each viewer of a quiet stream of another node."""
        _, asked, id = await _begin(self.ports[0], 2, rate=0.01)
        connections = [await _send(self.ports[1], f"GET /v1/streams/{id}") for _ in range(20)]
        before = _memory(self._processes[-1].pid)
        connections += [await _send(self.ports[1], f"GET /v1/streams/{id}") for _ in range(count)]
        after = _memory(self._processes[-1].pid)
        for writer in (asked, *(writer for _, writer in connections)):
            writer.close()
        return (after - before) / count

    def engine_memory(self) -> int:
        """The bytes that the engine uses for what it keeps."""
        with socket.create_connection(("127.0.0.1", self._engine_port)) as connection:
            connection.sendall(b"INFO memory\r\n")
            return int(connection.recv(1 << 16).partition(b"used_memory:")[2].split()[0])

    def _cpu(self) -> float:
        return sum(cpu(process.pid) for process in self._processes)

    def _engine_cpu(self) -> float:
        return cpu(self._engine.pid) if self._engine is not None else 0.0


async def _begin(port: int, n: int, rate: float = 20) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, str]:
    """Ask for an answer; returns once its first token is there."""
    body = {"model": f"n={n},rate={rate:g}", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    reader, writer = await _send(port, "POST /v1/chat/completions", json.dumps(body).encode(), wait=False)
    head = b""
    while b"data: {" not in head:
        head += await reader.read(1 << 16)
    return reader, writer, head.partition(b"x-unspool-id: ")[2].split()[0].decode()


async def _send(
    port: int, line: str, body: bytes = b"", *, wait: bool = True
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"{line} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer no-key\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    if wait:
        await reader.read(1 << 16)
    return reader, writer


def _memory(pid: int) -> int:
    """The bytes of memory of a process and those below it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    with contextlib.suppress(FileNotFoundError):
        [line] = [one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmRSS")]
        return int(line.split()[1]) * 1024 + sum(_memory(int(child)) for child in children)
    return 0
