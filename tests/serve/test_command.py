"""``unspool serve`` as a command: it starts, serves, drains, and refuses what is unsafe."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from support import wire
from support.server import Server, then_silence
from support.waiting import until
from unspool.serve.owners import hash_token, new_token, read_tokens
from unspool.sim.running import Simulator

from .gateways import CHAT, PATIENCE, Running, events


@pytest.fixture
def silent() -> Iterator[Server]:
    """An upstream that begins an answer and says nothing more."""
    with Server(then_silence(wire.SSE_HEAD + wire.start("chat") + wire.piece("chat", "Hi"))) as server:
        yield server


COMMAND = [sys.executable, "-m", "unspool", "serve"]


def test_it_prints_its_url_serves_and_ends_with_0_after_sigterm(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [*COMMAND, "--sim", "--port", "0", "--workers", "2", "--store", str(tmp_path / "g"), "--logs", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    url = child.stdout.readline().strip()
    response = requests.post(f"{url}/chat/completions", json=CHAT, stream=True, timeout=PATIENCE)
    assert events(response)[-1].data == "[DONE]"
    child.send_signal(signal.SIGTERM)
    _, logs = child.communicate(timeout=PATIENCE)
    assert child.returncode == 0
    assert '"outcome": "complete"' in logs
    assert "What is Python?" not in logs


def test_a_terminal_is_told_of_the_page_and_a_token_that_opens_it_and_a_log_is_not(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 400))
    arguments = [*COMMAND, "--sim", "--port", "0", "--store", str(tmp_path / "g")]
    child = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    said = b""
    while (found := re.search(rb"in a browser: (\S+) with the token (\S+)\r\n", said)) is None:
        assert select.select([ours], [], [], PATIENCE)[0], said
        said += os.read(ours, 4096)
    page, token = (one.decode() for one in found.groups())
    opened = requests.post(f"{page}session", json={"key": token}, timeout=PATIENCE)
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=PATIENCE)
    os.close(ours)
    assert opened.status_code == 204
    child = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline()
    child.send_signal(signal.SIGTERM)
    assert "token" not in child.communicate(timeout=PATIENCE)[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--sim", "--host", "0.0.0.0"], "--tokens FILE"),
        (["--sim", "--upstream", "http://127.0.0.1:9/v1"], "name the server with one of"),
        (["--upstream", "http://127.0.0.1:9/v1", "--cert", "x"], "--cert and --key"),
        (["--upstream", "http://127.0.0.1:9/v1", "--keep-bytes", "lots"], "500M or 20G"),
    ],
)
def test_what_is_unsafe_or_makes_no_sense_is_refused(arguments: list[str], words: str) -> None:
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 2
    assert words in done.stderr


def test_a_new_token_can_be_used_as_it_is_printed(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "--new-token", "app"], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    (tmp_path / "tokens.toml").write_text(done.stdout)
    [token] = read_tokens(str(tmp_path / "tokens.toml"))
    assert token.name == "app"
    assert hash_token(done.stdout.split()[1]) == f"sha256:{token.digest.hex()}"


def test_callers_with_tokens_are_kept_apart_and_limited(tmp_path: Path) -> None:
    alice, bob = new_token(), new_token()
    file = tmp_path / "tokens.toml"
    entries = (
        f'[[token]]\nname = "alice"\nhash = "{hash_token(alice)}"\nmodels = ["gpt-5*"]\ntrusted = true\n',
        f'[[token]]\nname = "bob"\nhash = "{hash_token(bob)}"\nadmin = true\n',
    )
    file.write_text("".join(entries))
    with Simulator() as simulator, Running(simulator.url, tmp_path / "g", key="sk-gateway", tokens=file) as gateway:
        mine = {"Authorization": f"Bearer {alice}"}
        response = gateway.ask(headers=mine)
        events(response)
        id = response.headers["X-Unspool-Id"]
        assert simulator.requests[-1].headers["authorization"] == "Bearer sk-gateway"
        assert gateway.ask(headers={"Authorization": "Bearer wrong"}).status_code == 401
        assert gateway.ask({**CHAT, "model": "gpt-4.1"}, headers=mine).status_code == 403
        user = {**mine, "X-Unspool-User": "u1"}
        assert gateway.get(f"/streams/{id}", headers=user).status_code == 404
        assert gateway.get(f"/streams/{id}", headers={"Authorization": f"Bearer {bob}"}).status_code == 200
        assert gateway.get("/files", headers=mine).status_code == 404
        assert gateway.get("/responses/resp_of_somebody", headers=mine).status_code == 404
        models = [one["id"] for one in gateway.get("/models", headers=mine).json()["data"]]
        assert models
        assert all(one.startswith("gpt-5") for one in models)
        file.write_text(entries[1])
        gateway.loop.call_soon_threadsafe(gateway.worker.reload)
        while gateway.get("/streams", headers=mine).status_code != 401:
            pass


def test_sighup_reads_the_tokens_again_in_every_worker(silent: Server, tmp_path: Path) -> None:
    file = tmp_path / "tokens.toml"
    old, new = new_token(), new_token()
    entry = '[[token]]\nname = "{}"\nhash = "{}"\n'
    file.write_text(entry.format("old", hash_token(old)))
    arguments = ["--upstream", silent.url, "--port", "0", "--workers", "2", "--tokens", str(file)]
    child = subprocess.Popen(
        [*COMMAND, *arguments, "--store", str(tmp_path / "g"), "--drain", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OPENAI_API_KEY": "sk-gateway"},
        text=True,
    )
    assert child.stdout is not None
    url = child.stdout.readline().strip()

    def ask(token: str) -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"}
        return requests.post(f"{url}/chat/completions", json=CHAT, headers=headers, stream=True, timeout=PATIENCE)

    try:
        running = ask(old)
        assert running.status_code == 200
        file.write_text(entry.format("new", hash_token(new)))
        child.send_signal(signal.SIGHUP)
        # A viewer whose token is gone is ended, in whichever worker it is.
        with pytest.raises(requests.RequestException):
            events(running)
        until(lambda: ask(old).status_code == 401 and ask(new).status_code == 200)
        file.write_text("not TOML")
        child.send_signal(signal.SIGHUP)
        assert [ask(new).status_code for _ in range(4)] == [200] * 4
    finally:
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=PATIENCE)
    assert child.returncode == 0


def test_each_request_has_an_audit_line_without_content(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [*COMMAND, "--sim", "--port", "0", "--store", str(tmp_path / "g"), "--logs", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    url = child.stdout.readline().strip()
    key = {"Authorization": "Bearer sk-secret-of-alice"}
    body = {"model": "gpt-5.4-mini", "input": "What is Python?", "stream": True}
    asked = requests.post(f"{url}/responses", json=body, headers=key, stream=True, timeout=PATIENCE)
    id = asked.headers["X-Unspool-Id"]
    events(asked)
    events(requests.get(f"{url}/streams/{id}", headers=key, stream=True, timeout=PATIENCE))
    requests.get(f"{url}/streams/x?after=secret", timeout=PATIENCE)
    child.send_signal(signal.SIGTERM)
    _, logs = child.communicate(timeout=PATIENCE)
    lines = [json.loads(line) for line in logs.splitlines() if line.startswith("{")]
    posted, read, refused = [one for one in lines if one["event"] == "request"]
    [ended] = [one for one in lines if one["event"] == "stream"]
    for one in lines:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", one["time"])
    assert (posted["method"], posted["path"], posted["status"]) == ("POST", "/v1/responses", 200)
    assert (read["method"], read["path"], read["status"]) == ("GET", f"/v1/streams/{id}", 200)
    assert posted["stream"] == read["stream"] == ended["stream"] == id
    assert posted["owner"] == read["owner"] == ended["owner"]
    assert refused["status"] == 404
    assert (ended["model"], ended["outcome"]) == ("gpt-5.4-mini", "complete")
    assert ended["output_tokens"] > 0
    for secret in ("sk-secret", "Python", "after=secret"):
        assert secret not in logs


def test_the_timeouts_of_a_profile_count(silent: Server, tmp_path: Path) -> None:
    for name, line in (("idle", "idle_timeout = 1"), ("total", "timeout = 1")):
        config = tmp_path / name / "unspool" / "config.toml"
        config.parent.mkdir(parents=True)
        config.write_text(f'[profiles.slow]\nbase_url = "{silent.url}"\nneeds_key = false\n{line}\n')
        child = subprocess.Popen(
            [*COMMAND, "-P", "slow", "--port", "0", "--store", str(tmp_path / f"g-{name}")],
            stdout=subprocess.PIPE,
            env={**os.environ, "XDG_CONFIG_HOME": str(tmp_path / name)},
            text=True,
        )
        assert child.stdout is not None
        url = child.stdout.readline().strip()
        found = events(requests.post(f"{url}/chat/completions", json=CHAT, stream=True, timeout=PATIENCE))
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=PATIENCE)
        error = json.loads(found[-1].data)["error"]
        assert (error["code"], "1 s" in error["message"]) == ("cut", True)
