"""The gateway beside nginx, 50 streams at the pace of a model: the CPU of a token.

nginx passes the same stream on unbuffered and keeps nothing. The load's own CPU is not counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import environments
from bench.process import Unmeasurable
from bench.report import Budget, Row
from bench.setting import Setting, attempt

_STREAMS = 50
_RATE = 50
_TOKENS = 400
_PATIENCE = 60.0

_NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
    uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass {url}; proxy_http_version 1.1; proxy_buffering off; proxy_set_header Connection "";
        }}
    }}
}}
"""


def measure(setting: Setting) -> Iterator[Row]:
    """Yield the cost of a token through the gateway and through nginx, one after the other."""
    n = setting.count(_TOKENS)
    nginx, why = attempt(lambda: _cost(setting, n, _nginx(setting)))
    ours = _cost(setting, n, _unspool(setting))
    yield Row("a token, kept, one viewer", ours, "nginx, kept nowhere", nginx, "us", Budget("ratio", 2.0), why)


def _cost(setting: Setting, n: int, started: tuple[Sequence[str], int]) -> float:
    """CPU seconds of a token through a server that this command starts at this port."""
    command, port = started
    with subprocess.Popen(
        command, env=setting.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            wait_for(port)
            # The first stream loads what is loaded late.
            asyncio.run(load(port, 1, 5))
            before = cpu(process.pid)
            tokens = asyncio.run(load(port, _STREAMS, n))
            return (cpu(process.pid) - before) / tokens
        finally:
            process.terminate()


def _unspool(setting: Setting) -> tuple[Sequence[str], int]:
    port = free_port()
    command = [str(environments.unspool() / "unspool"), "serve", "--upstream", f"{setting.url}/v1", "--port", str(port)]
    return [*command, "--store", str(setting.home / "gateway")], port


def _nginx(setting: Setting) -> tuple[Sequence[str], int]:
    path = shutil.which("nginx", path=f"{os.defpath}:/usr/sbin:/usr/local/sbin")
    if path is None:
        raise Unmeasurable("nginx is not installed")
    port = free_port()
    file = setting.home / "nginx.conf"
    file.write_text(_NGINX.format(folder=setting.home, port=port, url=setting.url))
    return [path, "-c", str(file)], port


async def load(port: int, streams: int, n: int, rate: float = _RATE) -> int:
    """Ask for so many answers at once; returns the tokens that came."""
    return sum(await asyncio.gather(*(_stream(port, n, rate) for _ in range(streams))))


async def _stream(port: int, n: int, rate: float) -> int:
    body = json.dumps(
        {"model": f"n={n},rate={rate:g}", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    ).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer no-key\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )
    tokens = 0
    while data := await reader.read(1 << 16):
        tokens += data.count(b"data: {")
    writer.close()
    if tokens < n:
        raise Unmeasurable(f"{tokens} of {n} tokens came")
    return tokens


def cpu(pid: int) -> float:
    """CPU seconds of a process and those below it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return own + sum(cpu(int(child)) for child in children)


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def wait_for(port: int) -> None:
    """Wait until somebody listens at a port."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    raise Unmeasurable("the server did not start")
