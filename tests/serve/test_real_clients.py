"""Clients that other people wrote: each loses its connection after every event, continues, and has the same text as one that lost nothing.

The simulator is asked once for each answer. Clients that are not installed are skipped by name.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sim import node
from support.waiting import PATIENCE
from unspool.sim.running import Simulator
from unspool.sse import Decoder

from .browser import CHROMIUM, Browser, with_chromium
from .cutting import Cutter
from .gateways import Running

QUESTION = "Hi in 20 tokens"
MESSAGES = [{"role": "user", "content": QUESTION}]


@pytest.fixture
def gateway(simulator: Simulator, tmp_path: Path) -> Iterator[Running]:
    with Running(simulator.url, tmp_path / "gateway", retry_ms=1) as running:
        yield running


@pytest.fixture
def text(gateway: Running, simulator: Simulator) -> Iterator[str]:
    """What an uncut client reads; afterwards the simulator must have been asked once more."""
    found = gateway.ask({"model": "m", "messages": MESSAGES}).json()["choices"][0]["message"]["content"]
    before = asks(simulator)
    yield found
    assert asks(simulator) in (before, before + 1)  # a test that is skipped asks nothing


def asks(simulator: Simulator) -> int:
    return sum(one.method == "POST" for one in simulator.requests)


def one_event(number: int, line: str) -> int | None:
    """Every connection for a stream ends after one event."""
    return 1 if "/v1/" in line and "/link" not in line else None


def one_more_each_time() -> Callable[[int, str], int | None]:
    """The first connection ends before the first event, the next ones after one more each."""
    return lambda number, line: number


def by_idempotency_key(text: str, gateway: Running, ask: Callable[[str], str]) -> None:
    """Repeat a request with the same key until its answer is complete: each time it is replayed."""
    with Cutter(gateway.url, one_more_each_time()) as way:
        found, reason = "", None
        while found != text:
            try:
                found = ask(way.url)
            except Exception as error:
                reason = error
            if len(way.requests) > 100:
                raise AssertionError(found) from reason
        assert len(way.requests) > 15


# openai, Python


def test_openai_for_python_takes_up_responses_by_sequence_number(text: str, gateway: Running) -> None:
    openai = pytest.importorskip("openai")
    said, last, id, is_over = "", None, "", False
    with (
        Cutter(gateway.url, one_event) as way,
        openai.OpenAI(base_url=way.url, api_key="sk-alice", max_retries=0) as client,
    ):

        def streams() -> Iterator[Any]:
            yield client.responses.create(model="m", input=QUESTION, stream=True)
            while True:
                yield client.responses.retrieve(id, stream=True, starting_after=last)

        for stream in streams():
            try:
                for event in stream:
                    last = event.sequence_number
                    if event.type == "response.created":
                        id = event.response.id
                    elif event.type == "response.output_text.delta":
                        said += event.delta
                    elif event.type == "response.completed":
                        is_over = True
            except Exception:
                if not id:
                    raise
            if is_over:
                break
        assert len(way.requests) > 20
    assert said == text


@pytest.mark.parametrize("endpoint", ["chat", "completions"])
def test_openai_for_python_attaches_with_an_idempotency_key(endpoint: str, text: str, gateway: Running) -> None:
    openai = pytest.importorskip("openai")

    def ask(url: str) -> str:
        with openai.OpenAI(base_url=url, api_key="sk-alice", max_retries=0) as client:
            more = {"model": "m", "stream": True, "extra_headers": {"Idempotency-Key": "k"}}
            if endpoint == "chat":
                chunks = client.chat.completions.create(messages=MESSAGES, **more)
                return "".join(one.choices[0].delta.content or "" for one in chunks if one.choices)
            chunks = client.completions.create(prompt=QUESTION, max_tokens=400, **more)
            return "".join(one.choices[0].text for one in chunks if one.choices)

    by_idempotency_key(text, gateway, ask)


# JavaScript


def javascript(folder: Path, modules: Path, script: Path, *arguments: str) -> str:
    """What a script prints, with these packages beside it."""
    if not (folder / "node_modules").exists():
        (folder / "node_modules").symlink_to(modules, target_is_directory=True)
    copy = shutil.copy(script, folder)
    done = node.run(folder, "node", "--preserve-symlinks", "--preserve-symlinks-main", copy, *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def link_to(gateway: Running, format: str = "unspool") -> str:
    """A stream has ended; a signed path that reads it."""
    response = gateway.ask({"model": "m", "messages": MESSAGES, "stream": True})
    assert b"[DONE]" in response.content
    id = response.headers["X-Unspool-Id"]
    found = gateway.ask({"format": format}, f"/streams/{id}/link").json()
    return found["path"]  # type: ignore[no-any-return]


def test_openai_for_javascript_takes_up_responses(text: str, gateway: Running, tmp_path: Path) -> None:
    modules = node.modules("openai", "eventsource")
    with Cutter(gateway.url, one_event) as way:
        assert javascript(tmp_path, modules, node.NODE / "gateway.mjs", "openai", way.url) == text
        assert len(way.requests) > 20


def test_eventsource_for_javascript_reads_a_link(text: str, gateway: Running, tmp_path: Path) -> None:
    modules = node.modules("openai", "eventsource")
    link = link_to(gateway)
    with Cutter(gateway.url, one_event) as way:
        assert javascript(tmp_path, modules, node.NODE / "gateway.mjs", "eventsource", way.url, link) == text
        assert len(way.requests) > 15


# Chromium


@with_chromium
def test_chromiums_eventsource_reads_a_link(text: str, gateway: Running) -> None:
    link = link_to(gateway)
    with Cutter(gateway.url, one_event) as way, Browser(CHROMIUM or "") as browser:
        browser.go(way.url.removesuffix("/v1") + "/page/")
        browser.until("document.getElementById('sign-in')?.hidden === false")
        browser.run(f"""
            window.said = ''
            const source = new EventSource({json.dumps(link)})
            source.onmessage = ({{ data }}) => {{
              const delta = JSON.parse(data)
              if (delta.type === 'text') window.said += delta.text
              if (delta.type === 'end') {{ source.close(); window.outcome = delta.outcome }}
            }}
        """)
        assert browser.until("window.outcome") == "complete"
        assert browser.run("window.said") == text
        assert len(way.requests) > 15


# LangChain, llm, curl


def test_langchain_attaches_with_an_idempotency_key(text: str, gateway: Running) -> None:
    langchain_openai = pytest.importorskip("langchain_openai")

    def ask(url: str) -> str:
        model = langchain_openai.ChatOpenAI(
            model="m",
            base_url=url,
            api_key="sk-alice",
            max_retries=0,
            stream_usage=False,
            default_headers={"Idempotency-Key": "k"},
        )
        return "".join(chunk.text for chunk in model.stream(QUESTION))

    by_idempotency_key(text, gateway, ask)


def test_llm_attaches_with_an_idempotency_key(text: str, gateway: Running, tmp_path: Path) -> None:
    pytest.importorskip("llm")

    def ask(url: str) -> str:
        entry = {"model_id": "sim", "model_name": "m", "api_base": url, "headers": {"Idempotency-Key": "k"}}
        (tmp_path / "extra-openai-models.yaml").write_text(json.dumps([entry]))  # JSON is YAML
        done = subprocess.run(
            [sys.executable, "-m", "llm", "-m", "sim", "--no-log", "--key", "sk-alice", QUESTION],
            env={**os.environ, "LLM_USER_PATH": str(tmp_path), "NO_PROXY": "127.0.0.1", "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
        return done.stdout.removesuffix("\n")

    # A process for each cut takes its time: a few.
    with Cutter(gateway.url, lambda number, line: [0, 3, 11][number] if number < 3 else None) as way:
        found = ""
        for _ in range(4):
            try:
                found = ask(way.url)
            except subprocess.CalledProcessError:
                continue
        assert found == text.rstrip("\n")
        assert len(way.requests) == 4


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_continues_by_the_last_id_that_it_has(text: str, gateway: Running) -> None:
    said, last, id = "", "", ""
    with Cutter(gateway.url, one_event) as way:
        for _ in range(200):
            command = ["curl", "-sN", "-i", "--noproxy", "*", "-H", "Authorization: Bearer sk-alice"]
            if id:
                command += ["-H", f"Last-Event-ID: {last}", f"{way.url}/streams/{id}"]
            else:
                body = json.dumps({"model": "m", "messages": MESSAGES, "stream": True})
                command += ["-H", "Content-Type: application/json", "-d", body, f"{way.url}/chat/completions"]
            found = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False).stdout
            head, _, data = found.partition(b"\r\n\r\n")
            if head.startswith(b"HTTP/1.1 204"):
                break
            id = next(line[14:] for line in head.decode().split("\r\n") if line.lower().startswith("x-unspool-id: "))
            for event in Decoder().feed(data):
                last = event.id
                if event.data != "[DONE]":
                    said += "".join(one["delta"].get("content") or "" for one in json.loads(event.data)["choices"])
        assert len(way.requests) > 15
    assert said == text
