"""A Valkey or Redis server for tests, started and ended by them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from support.waiting import PATIENCE, until

SERVER = shutil.which("valkey-server") or shutil.which("redis-server")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


class EngineServer:
    """A server in a folder of its own, with an append-only file. It can be killed, stopped and started again."""

    def __init__(self, folder: Path, *options: str, port: int | None = None) -> None:
        if SERVER is None:
            pytest.skip("neither valkey-server nor redis-server is installed")
        pytest.importorskip("redis")
        self.folder = folder
        self.port = port or free_port()
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"valkey://127.0.0.1:{self.port}/0"

    def __enter__(self) -> EngineServer:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop(signal.SIGKILL)

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        assert SERVER is not None
        listen = () if "--tls-port" in self.options or "--port" in self.options else ("--port", str(self.port))
        command = [SERVER, *listen, "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", ""]
        if "--sentinel" not in self.options:
            command += ["--appendonly", "yes"]
        self.process = subprocess.Popen(
            [*command, *self.options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.folder
        )
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            assert self.process.poll() is None, "the engine did not start"
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGCONT)
                os.kill(self.process.pid, number)
            self.process.wait(PATIENCE)
            self.process = None

    def command(self, *words: str) -> bytes:
        """Send one command in plain text; returns the first bytes of the reply."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as connection:
            connection.sendall(" ".join(words).encode() + b"\r\n")
            return connection.recv(1 << 16)

    def _answers(self) -> bool:
        try:
            if "--tls-port" in self.options:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return True
            return self.command("PING").startswith(b"+PONG")
        except OSError:
            return False


class Sentinel:
    """A sentinel that watches a primary by the name ``main``, and makes a replica the primary soon after that is lost."""

    def __init__(self, folder: Path, primary: EngineServer) -> None:
        self.port = free_port()
        folder.mkdir()
        self._file = folder / "sentinel.conf"
        self._file.write_text(
            f"port {self.port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {primary.port} 1\n"
            "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 5000\n"
        )

    @property
    def url(self) -> str:
        return f"valkey+sentinel://127.0.0.1:{self.port}/main/0"

    def __enter__(self) -> Sentinel:
        assert SERVER is not None
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen([SERVER, str(self._file), "--sentinel"], **quiet)
        until(self._knows_a_replica, "a sentinel that knows its replica")
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()

    def _knows_a_replica(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), PATIENCE) as connection:
            connection.sendall(b"INFO sentinel\r\n")
            return b"status=ok" in (found := connection.recv(1 << 16)) and b"slaves=1" in found
        return False
