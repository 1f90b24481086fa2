"""Nodes of a gateway as processes of their own, over one engine, behind nginx."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from support.waiting import PATIENCE, until

from .engines import free_port

NGINX = shutil.which("nginx", path=f"{os.defpath}:/usr/sbin:/usr/local/sbin")

_CONFIGURATION = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
    uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
    upstream nodes {{ random; {servers} }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://nodes; proxy_http_version 1.1; proxy_buffering off; proxy_set_header Connection "";
            proxy_set_header Host localhost; proxy_read_timeout 60s;
            proxy_next_upstream error http_503 non_idempotent;
        }}
    }}
}}
"""


class Node:
    """``unspool serve`` at a port of its own. Signals reach all of its processes, as the loss of a machine does, but for SIGTERM."""

    def __init__(self, upstream: str, store: str, folder: Path, *options: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/v1"
        secret = folder / "secret"
        secret.write_text("s" * 64)
        self._command = [sys.executable, "-m", "unspool", "serve", "--upstream", upstream, "--store", store]
        self._command += ["--secret", str(secret), "--port", str(self.port), *options]
        self._environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}
        self._log = open(folder / f"node-{self.port}.log", "ab")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            self._command,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
            env=self._environment,
            start_new_session=True,
        )

    def wait_until_ready(self) -> None:
        until(self.is_ready, "a node")

    def is_ready(self) -> bool:
        try:
            return requests.get(f"http://127.0.0.1:{self.port}/readyz", timeout=5).ok
        except requests.RequestException:
            return False

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def terminate(self) -> None:
        """Begin to drain."""
        assert self.process is not None
        self.process.terminate()

    def is_over(self) -> bool:
        assert self.process is not None
        return self.process.poll() is not None

    def start_when_over(self) -> None:
        """Wait until it has drained, and start another in its place."""
        assert self.process is not None
        self.process.wait(PATIENCE)
        self.start()

    def kill(self) -> None:
        """End it as a machine ends that loses its power."""
        if self.process is not None:
            self.signal(signal.SIGKILL)
            self.process.wait()

    def close(self) -> None:
        self.kill()
        self._log.close()


class Nodes:
    """Several nodes, ready, and nginx before them at ``url``."""

    def __init__(self, count: int, upstream: str, store: str, folder: Path, *options: str) -> None:
        if NGINX is None:
            pytest.skip("nginx is not installed")
        folder.mkdir(parents=True, exist_ok=True)
        self.nodes = [Node(upstream, store, folder, *options) for _ in range(count)]
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}/v1"
        servers = " ".join(f"server 127.0.0.1:{node.port} max_fails=0;" for node in self.nodes)
        (folder / "nginx.conf").write_text(_CONFIGURATION.format(folder=folder, port=self._port, servers=servers))
        self._nginx = [NGINX, "-c", str(folder / "nginx.conf")]

    def __enter__(self) -> Nodes:
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.wait_until_ready()
        self._proxy = subprocess.Popen(self._nginx, stderr=subprocess.DEVNULL)
        until(lambda: self._is_up(), "nginx")
        return self

    def __exit__(self, *error: object) -> None:
        self._proxy.terminate()
        self._proxy.wait()
        for node in self.nodes:
            node.close()

    def _is_up(self) -> bool:
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"http://127.0.0.1:{self._port}/healthz", timeout=5).ok
        return False
