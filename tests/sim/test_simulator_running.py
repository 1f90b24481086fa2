"""Starting and stopping: threads, sockets and signals."""

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from urllib.parse import urlsplit

import pytest

from support.waiting import PATIENCE, until
from unspool.sim import connection, running
from unspool.sim.faults import middleware
from unspool.sim.proxy import Proxy
from unspool.sim.running import Simulator, serve
from unspool.sim.simulator import SimulatorSettings, app

SLOW = SimulatorSettings(itl=60)
ASK = json.dumps({"model": "m", "input": "Hi", "stream": True})


def open_stream(url):
    """Ask for a stream and read it up to the first token, which is sent without delay."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=PATIENCE)
    connection.request("POST", "/v1/responses", ASK)
    response = connection.getresponse()
    while b"output_text.delta" not in response.readline():
        pass
    return connection, response


def run_python(code, *arguments):
    """Start a Python program in which every warning is an error."""
    command = (sys.executable, "-X", "dev", "-W", "error", "-c", code, *arguments)
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_no_thread_is_left_after_stop():
    before = threading.active_count()
    with Simulator() as simulator:
        assert threading.active_count() == before + 1
        assert simulator.url
    assert threading.active_count() == before
    assert simulator.url == ""


def test_the_port_is_closed_after_stop():
    with Simulator() as simulator:
        address = urlsplit(simulator.url)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address.hostname, address.port))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="open files are counted in /proc")
def test_no_descriptor_is_left_after_stop():
    with Simulator():
        pass
    before = len(os.listdir("/proc/self/fd"))
    with Simulator() as simulator:
        connection, _ = open_stream(simulator.url)
        connection.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_it_can_be_started_again():
    simulator = Simulator()
    for _ in range(2):
        simulator.start()
        simulator.stop()
    simulator.stop()


def test_other_tasks_go_on_while_it_starts_and_stops_in_an_asyncio_program():
    async def program():
        others = []

        async def other():
            while True:
                others.append(1)
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        async with Simulator() as simulator, Proxy(simulator.url) as proxy:
            assert simulator.url
            assert proxy.url
            started = len(others)
        task.cancel()
        return started, len(others), simulator.url

    started, ended, url = asyncio.run(program())
    assert 1 < started < ended - 1
    assert url == ""


def test_it_cannot_be_started_twice_at_once():
    with Simulator() as simulator, pytest.raises(RuntimeError, match="already running"):
        simulator.start()


def test_stopping_cuts_an_open_stream():
    with Simulator(SLOW) as simulator:
        connection, response = open_stream(simulator.url)
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        response.read()
    connection.close()


def test_stopping_does_not_wait_for_an_unstreamed_answer():
    with Simulator(SLOW) as simulator:
        address = urlsplit(simulator.url)
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=PATIENCE)
        connection.request("POST", "/v1/responses", json.dumps({"model": "m", "input": "Hi"}))
        until(lambda: simulator.requests)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        connection.getresponse()
    connection.close()


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_ends_when_its_client_hangs_up(monkeypatch, stream):
    ended = threading.Event()

    def watched(*given):
        answer = app(*given)

        async def watch(scope, receive, send):
            await answer(scope, receive, send)
            ended.set()

        return watch

    monkeypatch.setattr(running, "app", watched)
    with Simulator(SimulatorSettings(ttft=60)) as simulator:
        address = urlsplit(simulator.url)
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=PATIENCE)
        connection.request("POST", "/v1/responses", json.dumps({"model": "m", "input": "Hi", "stream": stream}))
        connection.close()
        assert ended.wait(PATIENCE)


def test_nothing_is_left_to_warn_about_in_development_mode():
    code = """
import http.client
from unspool.sim.running import Simulator
from unspool.sim.simulator import SimulatorSettings
with Simulator(SimulatorSettings(itl=60)) as simulator:
    host = simulator.url.split("/")[2]
    connection = http.client.HTTPConnection(host)
    connection.request("POST", "/v1/responses", '{"model":"m","input":"Hi","stream":true}')
    connection.getresponse().readline()
    connection.close()
    idle = http.client.HTTPConnection(host)
    idle.request("GET", "/v1/models")
    idle.getresponse().read()
idle.close()
"""
    program = run_python(code)
    assert program.communicate(timeout=PATIENCE) == ("", "")
    assert program.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_returns_the_signal_that_stopped_it(number):
    code = """
import sys
from unspool.sim.running import serve
sys.exit(serve(on_ready=lambda url: print(url, flush=True)))
"""
    with run_python(code) as program:
        url = program.stdout.readline().strip()
        connection, _ = open_stream(url)
        program.send_signal(number)
        _, stderr = program.communicate(timeout=PATIENCE)
        connection.close()
    assert (stderr, program.returncode) == ("", number)


def test_serve_says_when_its_port_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        serve(port=taken.getsockname()[1])


def test_nothing_else_in_the_package_imports_the_server():
    code = """
import sys, pkgutil, importlib, unspool
for module in pkgutil.walk_packages(unspool.__path__, "unspool."):
    if not module.name.startswith(("unspool.sim", "unspool.__main__")):
        importlib.import_module(module.name)
print(sorted({"starlette", "uvicorn", "unspool.sim.simulator"} & set(sys.modules)))
"""
    with run_python(code) as program:
        assert program.communicate(timeout=PATIENCE) == ("[]\n", "")


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST /v1/responses HTTP/1.1\r\nHost",
        b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /v1/models HTTP",
    ],
    ids=["nothing", "half a head", "half a second head"],
)
def test_a_client_that_does_not_send_its_head_in_time_is_cut(sent, monkeypatch):
    monkeypatch.setattr(connection, "HEAD_TIMEOUT", 0.05)
    with Simulator() as simulator:
        address = urlsplit(simulator.url)
        with socket.create_connection((address.hostname, address.port), timeout=PATIENCE) as connected:
            connected.sendall(sent)
            try:
                while connected.recv(1 << 16):
                    pass
            except ConnectionResetError:
                pass


def test_a_body_that_does_not_come_in_time_is_refused(monkeypatch):
    monkeypatch.setattr(middleware, "BODY_TIMEOUT", 0.05)
    with Simulator() as simulator:
        address = urlsplit(simulator.url)
        with socket.create_connection((address.hostname, address.port), timeout=PATIENCE) as connected:
            connected.sendall(b"POST /v1/responses HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n{")
            received = b""
            while piece := connected.recv(1 << 16):
                received += piece
    assert received.startswith(b"HTTP/1.1 408 ")


def test_no_advice_of_the_http_server_is_logged(caplog):
    with Simulator() as simulator:
        address = urlsplit(simulator.url)
        for request in (
            b"nonsense\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: upgrade, close\r\n\r\n",
        ):
            with socket.create_connection((address.hostname, address.port), timeout=PATIENCE) as connected:
                connected.sendall(request)
                while connected.recv(1 << 16):
                    pass
    assert caplog.records == []
