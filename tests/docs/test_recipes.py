"""The recipes for frameworks stream in the real server of each, and stop when the reader leaves."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from client.reading import finish, piece
from support.server import Connection, Server, sends
from support.waiting import PATIENCE, until
from support.wire import DONE, SSE_HEAD

from .pages import DOCS, blocks

pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="the documentation is not beside the tests")

WSGI = """
import socketserver
from wsgiref.simple_server import WSGIServer, make_server
class Threaded(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True
with make_server("127.0.0.1", 0, recipe.{app}, Threaded) as server:
    print(server.server_port, flush=True)
    server.serve_forever()
"""
ASGI = """
import socket, uvicorn
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
uvicorn.Server(uvicorn.Config(recipe.{app}, log_level="warning")).run([listener])
"""


def recipe(word: str) -> str:
    """The recipe of the library's page that imports this."""
    (found,) = (block.text for block in blocks(DOCS / "how-to" / "library.md", "python") if word in block.text)
    return found


class Gate:
    """A server's script that sends a piece and, when `opened`, the rest."""

    def __init__(self) -> None:
        self.opened = threading.Event()

    def __call__(self, connection: Connection) -> None:
        connection.send(SSE_HEAD, piece("Hel"))
        assert self.opened.wait(PATIENCE)
        connection.send(piece("lo"), finish(), DONE)


def endless(connection: Connection) -> None:
    """Send pieces until the client leaves."""
    connection.send(SSE_HEAD)
    while not connection.is_gone():
        connection.send(piece("more "))
        time.sleep(0.005)
    connection.hung_up.set()


def environ(home: Path, server: Server) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "VIRTUAL_ENV", "PYTHONPATH") if name in os.environ}
    given = {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "sk-0123456789", "UNSPOOL_MODEL": "m"}
    return {**kept, **given, "HOME": str(home)}


@contextlib.contextmanager
def serving(program: str, served: str, home: Path, server: Server) -> Iterator[int]:
    """Run the program in the server that ``served`` begins; yields its port."""
    (home / "recipe.py").write_text(program)
    (home / "serve.py").write_text(f"import recipe\n{served}")
    command = [sys.executable, "-W", "error::DeprecationWarning:recipe", "serve.py"]
    with (
        (home / "log").open("w") as log,
        subprocess.Popen(
            command, cwd=home, env=environ(home, server), stdout=subprocess.PIPE, stderr=log, text=True
        ) as child,
    ):
        try:
            assert child.stdout is not None
            line = child.stdout.readline()
            assert line, (home / "log").read_text()
            yield int(line)
        finally:
            child.kill()


def read_to(connected: socket.socket, mark: bytes) -> bytes:
    had = b""
    while mark not in had:
        data = connected.recv(1 << 16)
        assert data, had
        had += data
    return had


@pytest.mark.parametrize(
    ("word", "served", "path"),
    [
        pytest.param("from fastapi", ASGI.format(app="app"), "/ask", id="fastapi"),
        pytest.param("from flask", WSGI.format(app="app"), "/ask", id="flask"),
        pytest.param("from django", WSGI.format(app="application"), "/ask", id="django in wsgi"),
        pytest.param("from django", ASGI.format(app="asgi_application"), "/ask-async", id="django in asgi"),
    ],
)
def test_a_view_streams_each_piece_and_stops_when_its_reader_leaves(
    word: str, served: str, path: str, tmp_path: Path
) -> None:
    pytest.importorskip(word.removeprefix("from "))
    gate = Gate()
    request = f"GET {path}?question=hi HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    with Server(gate, endless) as server, serving(recipe(word), served, tmp_path, server) as port:
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as reader:
            reader.sendall(request)
            read_to(reader, b"Hel")  # while the answer is still being made
            gate.opened.set()
            read_to(reader, b"lo")
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as reader:
            reader.sendall(request)
            read_to(reader, b"more")
        until(lambda: len(server.requests) == 2 and server.requests[1].hung_up.is_set(), "the end of the second stream")
        until(lambda: outcomes(tmp_path) == ["cancelled", "complete"], "the end of the journals")


def outcomes(home: Path) -> list[str]:
    """How the streams in this home's journals have ended."""
    kept = home.glob(".local/state/unspool/streams/*.sse")
    return sorted(re.findall(r'"outcome": ?"(\w+)"', "".join(one.read_text() for one in kept)))


CELERY = """
import os, sys
from celery.signals import worker_process_init
import recipe

@worker_process_init.connect
def note(**_):
    open("pid.new", "w").write(str(os.getpid()))
    os.rename("pid.new", "pid")

for folder in ("queue", "control", "results"):
    os.makedirs(folder, exist_ok=True)
recipe.app.conf.update(
    broker_url="filesystem://",
    broker_transport_options={"data_folder_in": "queue", "data_folder_out": "queue", "control_folder": "control"},
    result_backend="file://results",
)
recipe.ask.default_retry_delay = 0
if sys.argv[1:] == ["work"]:
    recipe.app.worker_main(["worker", "--pool=prefork", "--concurrency=1", "--without-gossip", "--without-mingle"])
else:
    print(recipe.ask.delay("hi").get(timeout=120, interval=0.05))
"""


def test_a_task_whose_soft_limit_strikes_is_tried_again_and_continues_the_answer(tmp_path: Path) -> None:
    pytest.importorskip("celery")
    (tmp_path / "recipe.py").write_text(recipe("from celery"))
    (tmp_path / "tasks.py").write_text(CELERY)

    def strike(connection: Connection) -> None:
        connection.send(SSE_HEAD, piece("Hel"))
        kept = tmp_path / ".local" / "state" / "unspool" / "streams"
        until(lambda: [one for one in kept.glob("*.sse") if "Hel" in one.read_text()], "the first piece")
        # What the parent of the pool sends when the soft limit has passed.
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGUSR1)
        assert connection.wait_closed()

    with Server(strike, sends(SSE_HEAD, piece("lo"), finish(), DONE)) as server, (tmp_path / "log").open("w") as log:
        common = {"cwd": tmp_path, "env": environ(tmp_path, server), "text": True}
        worker = subprocess.Popen([sys.executable, "tasks.py", "work"], stdout=log, stderr=log, **common)
        try:
            asked = subprocess.run([sys.executable, "tasks.py"], capture_output=True, **common)
        finally:
            worker.terminate()
            worker.wait()
    assert asked.stdout == "Hello\n", asked.stderr + (tmp_path / "log").read_text()
    assert outcomes(tmp_path) == ["cancelled", "complete"]


def test_the_cell_runs_in_a_jupyter_kernel_and_so_does_what_has_no_async(tmp_path: Path) -> None:
    pytest.importorskip("ipykernel")
    from jupyter_client.manager import start_new_kernel

    cell = next(one for one in blocks(DOCS / "how-to" / "library.md", "python") if one.text.startswith("async with"))
    sync = "print(unspool.stream('What is Python?').read())"
    with Server(sends(SSE_HEAD, piece("Hel"), piece("lo"), finish(), DONE)) as server:
        manager, client = start_new_kernel(env=environ(tmp_path, server), cwd=str(tmp_path))
        printed: list[str] = []
        try:
            for code in ("import unspool", cell.text, sync):
                done = client.execute_interactive(
                    code, timeout=PATIENCE, output_hook=lambda one: printed.append(one["content"].get("text", ""))
                )
                assert done["content"]["status"] == "ok", done["content"]
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
    assert "".join(printed) == "HelloHello\n"
