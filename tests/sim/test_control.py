"""The control over HTTP, and who may reach the simulator: Host, Origin, other machines."""

import json
import socket
from urllib.parse import urlsplit

import pytest

from support.waiting import PATIENCE
from unspool.sim.clock import VirtualClock
from unspool.sim.running import Simulator
from unspool.sim.simulator import SimulatorSettings, app

from .asking import CHAT, said


@pytest.fixture
def sim():
    with Simulator(SimulatorSettings(clock=VirtualClock())) as simulator:
        yield simulator


@pytest.fixture
def control(sim, client_of):
    """Asks the control, and returns the JSON of its answer."""
    client = client_of(sim.url.removesuffix("/v1") + "/_unspool")

    def ask(method, path, body=None, status=200):
        got, _, raw = client.request(method, path, body)
        assert got == status, raw
        return json.loads(raw)

    return ask


def hello(client_of, sim):
    return client_of(sim.url).request("POST", CHAT, {"model": "m", "messages": said("Hello")})


def test_everything_is_set_and_read_over_http(control, sim, client_of):
    assert "/_unspool/answers" in control("GET", "")["paths"]
    control("POST", "/answers", {"when": {"user": "hello"}, "answer": "Hi."})
    assert control("GET", "/unused")["unused"] == ["answer 1 (user='hello'): no request used its answer"]
    control("POST", "/faults", {"script": ["status=503"]})
    assert [hello(client_of, sim)[0] for _ in range(2)] == [503, 200]
    first, second = control("GET", "/requests")["requests"]
    assert (first["answered_by"], second["answered_by"]) == ("fault", "answer 1")
    assert second["messages"] == [{"role": "user", "text": "Hello"}]
    assert control("GET", "/unused")["unused"] == []
    control("PUT", "/answers", {"answers": [{"answer": "Other."}]})
    assert b"Other." in hello(client_of, sim)[2]
    control("DELETE", "/answers")
    assert b"simulator" in hello(client_of, sim)[2]
    control("POST", "/reset")
    assert control("GET", "/requests")["requests"] == []


def test_the_clock_is_advanced_over_http(control, sim):
    before = sim.requests
    assert before == []
    assert control("POST", "/clock", {"advance": 30})["now"] == 1_800_000_030.0
    assert "in seconds" in control("POST", "/clock", {"advance": -1}, status=400)["error"]["message"]


def test_the_machine_s_clock_cannot_be_advanced(client_of):
    with Simulator() as simulator:
        control = client_of(simulator.url.removesuffix("/v1") + "/_unspool")
        assert "--virtual-clock" in control.error("POST", "/clock", {"advance": 1})[1]["message"]


def test_reset_goes_back_to_the_answers_of_the_file(tmp_path, client_of):
    path = tmp_path / "answers.json"
    path.write_text(json.dumps([{"sequence": ["One."]}]))
    with Simulator(SimulatorSettings(answers=path)) as simulator:
        control = client_of(simulator.url.removesuffix("/v1") + "/_unspool")
        for _ in range(2):
            control.request("POST", "/answers", {"answer": "Two."})
            assert [b"One." in hello(client_of, simulator)[2], b"Two." in hello(client_of, simulator)[2]] == [
                True,
                True,
            ]
            control.request("POST", "/reset")


@pytest.mark.parametrize(("method", "path"), [("GET", "/nothing"), ("DELETE", "/requests")])
def test_what_is_not_there_names_what_is(control, method, path):
    told = control(method, path, status=404 if path == "/nothing" else 405)
    assert "/_unspool/answers" in told["error"]["message"]


def send(url, head, body=b""):
    """The status and the headers of an answer to a request as it is written here."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=PATIENCE) as connected:
        connected.sendall(head.encode() + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        received = b""
        while piece := connected.recv(1 << 16):
            received += piece
    first, *lines = received.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    return int(first.split()[1]), {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1:80", 200), ("localhost", 200), ("[::1]:5", 200), ("app.localhost", 200), ("evil.example", 403)],
)
def test_a_loopback_address_answers_to_the_names_of_its_machine(sim, host, status):
    assert send(sim.url, f"GET /v1/models HTTP/1.1\r\nHost: {host}\r\n")[0] == status


@pytest.mark.parametrize(
    ("origins", "origin", "status"),
    [
        ((), "http://localhost:5173", 200),
        ((), "http://127.0.0.1:3000", 200),
        ((), "https://evil.example", 403),
        (["https://app.example"], "https://app.example", 200),
        (["*"], "https://evil.example", 200),
        ((), "null", 403),
    ],
)
def test_pages_of_this_machine_and_of_named_origins_may_ask(origins, origin, status):
    with Simulator(SimulatorSettings(origins=origins)) as simulator:
        head = f"Host: localhost\r\nOrigin: {origin}\r\n"
        got, headers = send(simulator.url, f"GET /v1/models HTTP/1.1\r\n{head}")
        assert (got, headers.get("access-control-allow-origin")) == (status, origin if status == 200 else None)
        preflight = "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization\r\n"
        got, headers = send(simulator.url, f"OPTIONS /v1/responses HTTP/1.1\r\n{head}{preflight}")
        if status == 200:
            assert (got, headers["access-control-allow-headers"]) == (204, "authorization")
        else:
            assert got == 403


@pytest.mark.parametrize(("allowed", "status"), [(None, 403), (True, 200), (False, 403)])
def test_the_control_is_off_on_other_addresses_unless_it_is_asked_for(allowed, status):
    import asyncio

    application = app(SimulatorSettings(control=allowed))
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/_unspool",
        "headers": [(b"host", b"sim.internal")],
        "server": ("10.0.0.5", 80),
        "query_string": b"",
    }
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    asyncio.run(application(scope, receive, send))
    assert sent[0]["status"] == status
