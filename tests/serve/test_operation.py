"""The gateway in operation: TLS, metrics, retention, upstream's limits, and a proxy in front."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import trustme

from support.waiting import PATIENCE, until
from unspool.sim.running import Simulator

from .gateways import CHAT, Running, events
from .test_gateway_life import workers

KEY = {"Authorization": "Bearer sk-alice"}


@contextlib.contextmanager
def serving(*options: str) -> Iterator[str]:
    """``unspool serve`` with these options; its base URL."""
    command = [sys.executable, "-m", "unspool", "serve", "--port", "0", *options]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert child.stdout is not None
    try:
        yield child.stdout.readline().strip()
    finally:
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=PATIENCE)


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    return authority


def test_streams_come_over_tls_with_the_certificate_that_was_named(authority: trustme.CA, tmp_path: Path) -> None:
    files = ("--cert", str(tmp_path / "cert.pem"), "--key", str(tmp_path / "key.pem"))
    with serving("--sim", "--store", str(tmp_path / "g"), *files) as url:
        assert url.startswith("https://")
        response = requests.post(
            f"{url}/chat/completions",
            json=CHAT,
            headers=KEY,
            stream=True,
            timeout=PATIENCE,
            verify=str(tmp_path / "ca.pem"),
        )
        assert events(response)[-1].data == "[DONE]"


def test_metrics_count_what_ended_on_a_listener_of_their_own(tmp_path: Path) -> None:
    pytest.importorskip("prometheus_client")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with serving("--sim", "--store", str(tmp_path / "g"), "--workers", "2", "--metrics", str(port)) as url:
        events(requests.post(f"{url}/chat/completions", json=CHAT, headers=KEY, stream=True, timeout=PATIENCE))
        assert requests.get(url.removesuffix("/v1") + "/metrics", headers=KEY, timeout=PATIENCE).status_code == 404

        def counted() -> bool:
            text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE).text
            return 'unspool_streams_total{endpoint="chat",outcome="complete"} 1.0' in text

        until(counted)


def test_a_stream_is_removed_when_its_time_is_over(tmp_path: Path) -> None:
    with Simulator() as simulator, Running(simulator.url, tmp_path / "g", keep=0.5) as gateway:
        response = gateway.ask()
        id = response.headers["X-Unspool-Id"]
        events(response)
        until(lambda: gateway.get(f"/streams/{id}").status_code == 410)
        assert (
            gateway.get(f"/streams/{id}", headers={"Last-Event-ID": f"{id[-8:]}-0-3"}).json()["error"]["code"] == "gone"
        )
        assert gateway.get(f"/streams/{id}", headers={"Authorization": "Bearer sk-bob"}).status_code == 404
        assert gateway.get("/streams").json()["data"] == []
        assert not (tmp_path / "g/streams" / f"{id}.sse").exists()


def test_the_oldest_streams_are_removed_when_they_are_too_many_bytes(tmp_path: Path) -> None:
    with Simulator() as simulator, Running(simulator.url, tmp_path / "g", keep_bytes=1) as gateway:
        first = gateway.ask()
        events(first)
        until(lambda: gateway.get(f"/streams/{first.headers['X-Unspool-Id']}").status_code == 410)


def test_upstreams_brake_holds_for_its_key_and_model_alone(tmp_path: Path) -> None:
    with Simulator() as simulator, Running(simulator.url, tmp_path / "g") as gateway:
        simulator.script("status=429,retry-after:30")
        assert gateway.ask().status_code == 429
        until(lambda: gateway.ask().headers.get("X-Unspool-Id") is None)
        asked = len(simulator.requests)
        refused = gateway.ask()
        assert refused.status_code == 429
        assert 0 < int(refused.headers["Retry-After"]) <= 30
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        assert len(simulator.requests) == asked
        assert gateway.ask({**CHAT, "model": "gpt-5.4"}).status_code == 200
        assert gateway.ask(headers={"Authorization": "Bearer sk-bob"}).status_code == 200


NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
    uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
    server {{
        listen 127.0.0.1:{port} ssl http2;
        ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
        location /v1/ {{
            proxy_pass {upstream};
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_read_timeout 1h;
        }}
    }}
}}
"""
CADDY = """
{{
    admin off
    auto_https disable_redirects
    storage file_system {folder}/caddy-storage
}}
https://127.0.0.1:{port} {{
    tls {folder}/cert.pem {folder}/key.pem
    reverse_proxy {host}
}}
"""


@contextlib.contextmanager
def in_front(program: str, upstream: str, folder: Path) -> Iterator[str]:
    """nginx or Caddy before a gateway, with TLS and HTTP/2. The nginx configuration buffers but for X-Accel-Buffering."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    root = upstream.removesuffix("/v1")
    template = NGINX if program == "nginx" else CADDY
    file = folder / program
    file.write_text(template.format(folder=folder, port=port, upstream=root, host=root.partition("//")[2]))
    command = (
        [path, "-c", str(file)]
        if program == "nginx"
        else [path, "run", "--config", str(file), "--adapter", "caddyfile"]
    )
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: _listens(port))
        yield f"https://127.0.0.1:{port}/v1"
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(PATIENCE)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


@pytest.mark.parametrize("program", ["nginx", "caddy"])
def test_behind_a_proxy_events_come_one_by_one_over_http_2(program: str, authority: trustme.CA, tmp_path: Path) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    with (
        Simulator() as simulator,
        workers(simulator.url, tmp_path / "g", 1) as (upstream, _),
        in_front(program, upstream, tmp_path) as url,
    ):
        # The answer stops in the middle: what came before must have been passed on by then.
        simulator.script("stall=5")
        arguments = ["-sN", "--http2", "--cacert", str(tmp_path / "ca.pem"), "-D", str(tmp_path / "head")]
        arguments += ["-H", "Authorization: Bearer sk-alice", "-H", "Content-Type: application/json"]
        child = subprocess.Popen(
            [curl, *arguments, "-d", json.dumps(CHAT), f"{url}/chat/completions"], stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        seen = [line for line in (child.stdout.readline() for _ in range(15)) if line.startswith(b"data: ")]
        child.kill()
        child.communicate()
        assert len(seen) >= 3
        head = (tmp_path / "head").read_text()
        assert head.startswith("HTTP/2 200")
        assert "x-unspool-id" in head.lower()
