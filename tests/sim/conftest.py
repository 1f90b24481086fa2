"""One simulator for the tests of this room, with a stopped clock, and a client that knows nothing but HTTP and JSON."""

from __future__ import annotations

import http.client
import json
from urllib.parse import urlsplit

import pytest

from support.waiting import PATIENCE, until
from unspool.sim.running import Simulator
from unspool.sim.simulator import SimulatorSettings
from unspool.sse import Decoder

NOON = 1_800_000_000.0


class Client:
    """Asks a simulator over HTTP."""

    def __init__(self, url: str) -> None:
        self.url = url

    def request(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Send a request; a body that is not bytes is sent as JSON. Returns the status, the headers and the body."""
        address = urlsplit(self.url)
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=PATIENCE)
        try:
            raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
            connection.request(method, address.path + path, raw, headers)
            response = connection.getresponse()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        finally:
            connection.close()

    def post(self, path: str, **body: object) -> dict:
        """The answer as one object."""
        status, headers, raw = self.request("POST", path, body)
        assert (status, headers["content-type"]) == (200, "application/json")
        return json.loads(raw)

    def events(self, path: str, **body: object) -> list:
        """The answer as a stream's events."""
        status, headers, raw = self.request("POST", path, {"stream": True, **body})
        assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        return Decoder().feed(raw)

    def chunks(self, path: str, **body: object) -> list[dict]:
        """The JSON of a completions or chat stream, which has to end in [DONE] and in nothing else."""
        *chunks, done = self.events(path, **body)
        assert done.data == "[DONE]"
        return [json.loads(chunk.data) for chunk in chunks]

    def error(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, dict]:
        """The status and the error of a refused request."""
        status, _, raw = self.request(method, path, body, **headers)
        return status, json.loads(raw)["error"]


@pytest.fixture(scope="session")
def simulator():
    with Simulator(SimulatorSettings(clock=lambda: NOON)) as simulator:
        yield simulator


@pytest.fixture(scope="session")
def client(simulator):
    return Client(simulator.url)


@pytest.fixture
def sdk(simulator):
    """The openai package's client for the simulator."""
    openai = pytest.importorskip("openai")
    # Set here, so that no proxy or key of the environment takes part.
    http_client = openai.DefaultHttpxClient(trust_env=False)
    with openai.OpenAI(base_url=simulator.url, api_key="sk-test", max_retries=0, http_client=http_client) as sdk:
        yield sdk


@pytest.fixture(scope="session")
def client_of():
    """Makes a client for a simulator that a test runs itself."""
    return Client


@pytest.fixture(scope="session")
def eventually():
    return until
