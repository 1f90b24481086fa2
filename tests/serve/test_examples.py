"""The applications in ``examples/`` do what they say: with real browsers, clients and lost connections."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import requests

from sim import node
from support.waiting import PATIENCE
from unspool.sim.running import Simulator
from unspool.sim.simulator import SimulatorSettings
from unspool.sse import Decoder, Event

from .browser import CHROMIUM, Browser, with_chromium
from .cutting import Cutter
from .gateways import Running

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the examples are not beside the tests")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("OPENAI_", "UNSPOOL_")) and "NODE" not in name]:
        monkeypatch.delenv(name)
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "UNSPOOL_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789")
    monkeypatch.setenv("UNSPOOL_MODEL", "sim-1")


@pytest.fixture
def simulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    with Simulator(SimulatorSettings(itl=0.005)) as running:
        monkeypatch.setenv("OPENAI_BASE_URL", running.url)
        yield running


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("example", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["example"] = module
    spec.loader.exec_module(module)
    return module


@contextmanager
def served(app: Any) -> Iterator[str]:
    """The application at a URL, with its lifespan."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=1))
    started = threading.Event()
    startup = server.startup

    async def start(sockets: Any = None) -> None:
        await startup(sockets)
        started.set()

    server.startup = start  # type: ignore[method-assign]
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert started.wait(PATIENCE)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE)


def events(response: requests.Response) -> list[Event]:
    return Decoder().feed(response.content)


def text_of(found: list[Event]) -> str:
    deltas = [json.loads(one.data) for one in found]
    return "".join(one["text"] for one in deltas if one["type"] == "text")


@pytest.fixture
def app(simulator: Simulator) -> Iterator[str]:
    pytest.importorskip("fastapi")
    with served(load(EXAMPLES / "fastapi/app.py").app) as url:
        yield url


def test_fastapi_asks_in_one_call_and_any_viewer_continues_after_any_event(app: str) -> None:
    id = requests.post(f"{app}/answers/", json={"question": "Hi in 30 tokens"}, timeout=PATIENCE).json()["id"]
    complete = events(requests.get(f"{app}/answers/{id}", timeout=PATIENCE))
    assert json.loads(complete[-1].data)["outcome"] == "complete"
    for index, event in enumerate(complete):
        rest = requests.get(f"{app}/answers/{id}", headers={"Last-Event-ID": event.id}, timeout=PATIENCE)
        # Pieces of text that are in the journal already may come as one.
        assert text_of(events(rest)) == text_of(complete[index + 1 :])
    assert len(text_of(complete)) > 50


@pytest.mark.parametrize(
    ("body", "headers", "status", "words"),
    [
        ({"question": ""}, {}, 400, "1 to 4000"),
        ([], {}, 400, "1 to 4000"),
        ({"question": "x" * 5000}, {}, 400, "1 to 4000"),
        ("{", {}, 400, "no JSON"),
        ({"question": "hi"}, {"Content-Type": "text/plain"}, 415, "application/json"),
    ],
)
def test_fastapi_refuses_what_is_no_question_and_what_a_foreign_form_could_send(
    body: Any, headers: dict[str, str], status: int, words: str, app: str
) -> None:
    data = body if isinstance(body, str) else json.dumps(body)
    found = requests.post(
        f"{app}/answers/", data=data, headers={"Content-Type": "application/json", **headers}, timeout=PATIENCE
    )
    assert found.status_code == status
    assert words in found.json()["error"]
    assert requests.get(f"{app}/answers/..%2f..", timeout=PATIENCE).status_code == 404
    assert requests.get(f"{app}/answers/01ARZ3NDEKTSV4RRFFQ69G5FAV", timeout=PATIENCE).status_code == 404


def ask(browser: Browser, url: str, question: str) -> str:
    browser.go(url)
    browser.until("!!document.querySelector('form')?.onsubmit")
    browser.run(f"""
        document.querySelector('input').value = {json.dumps(question)}
        document.querySelector('form').requestSubmit()
    """)
    return browser.until("document.getElementById('answer').textContent")  # type: ignore[no-any-return]


@with_chromium
def test_fastapis_page_continues_after_a_reload_and_stops_at_a_click(app: str) -> None:
    with Browser(CHROMIUM or "") as browser:
        before = ask(browser, app, "Hi in 900 tokens")
        browser.reload()
        after = browser.until("document.getElementById('answer')?.textContent")
        assert after.startswith(before) or before.startswith(after)
        browser.until("document.getElementById('stop').hidden === false")
        browser.run("document.getElementById('stop').click()")
        browser.until("document.getElementById('state').textContent.startsWith('cancelled')")


@with_chromium
def test_fastapis_page_shows_the_complete_answer_over_connections_that_break(app: str) -> None:
    # Every connection for an answer ends after five events.
    way_of = lambda number, line: 5 if line.startswith("GET /answers/") else None  # noqa: E731
    with Cutter(app, way_of) as way, Browser(CHROMIUM or "") as browser:
        ask(browser, way.url, "Hi in 300 tokens")
        browser.until("document.getElementById('state').textContent === 'complete'")
        shown = browser.run("document.getElementById('answer').textContent")
        id = browser.run("location.hash.slice(1)")
        assert shown == text_of(events(requests.get(f"{app}/answers/{id}", timeout=PATIENCE)))
        assert len([head for head in way.requests if head.startswith(f"GET /answers/{id}")]) > 1


def test_the_ai_sdk_continues_a_chat_of_the_node_example_at_every_event(simulator: Simulator, tmp_path: Path) -> None:
    modules = node.modules("ai")
    (tmp_path / "node_modules").symlink_to(modules, target_is_directory=True)
    client = shutil.copy(EXAMPLES / "node-chat/chat.mjs", tmp_path)
    with Running(simulator.url, tmp_path / "gateway") as gateway:
        environment = {**os.environ, "GATEWAY": gateway.url, "PORT": "0", "MODEL": "sim-1"}
        command = ["node", str(EXAMPLES / "node-chat/server.mjs")]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                url = server.stdout.readline().strip()

                def talk(url: str, chat: str) -> dict[str, Any]:
                    flags = ("--preserve-symlinks", "--preserve-symlinks-main")
                    done = node.run(tmp_path, "node", *flags, client, url, "Hi in 20 tokens", chat)
                    assert done.returncode == 0, done.stderr
                    return json.loads(done.stdout)  # type: ignore[no-any-return]

                whole = talk(url, "whole")
                assert (whole["status"], whole["messages"], whole["role"]) == ("ready", 2, "assistant")
                before = len(simulator.requests)
                # Each connection brings one event more than the one before it.
                with Cutter(url, lambda number, line: number + 2) as way:
                    cut = talk(way.url, "cut")
                assert cut.pop("cuts") > 10
                assert {**cut, "cuts": 0} == whole
                assert len(simulator.requests) == before + 1
            finally:
                server.terminate()
