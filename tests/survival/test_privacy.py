"""What is kept is its owner's alone, and no secret is in it, wherever the secret came from and whoever repeats it."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path

import pytest

from support import background as acts
from support.background import BackgroundServer, rest
from support.server import Connection, Server
from support.waiting import PATIENCE
from support.wire import SSE_HEAD, end, piece

from .processes import Home

FLAG = "sk-flag-0123456789abcdef"
ENVIRONMENT = "sk-env-0123456789abcdef"
STORED = "sk-stored-0123456789abcdef"
COMMANDED = "sk-commanded-0123456789abcdef"
HEADER = "header-secret-0123456789"
QUERY = "query-secret-0123456789"
PROXY = "proxy-secret-0123456789"
SECRETS = (FLAG, ENVIRONMENT, STORED, COMMANDED, HEADER, QUERY, PROXY)


def kept(home: Home) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in home.state.rglob("*") if path.is_file()}


def assert_no_secret(home: Home, *results) -> None:
    # The catalogue as well, which listing and searching make.
    results = (*results, home("log"), home("search", "secret"), home("last"), home("export"))
    files = kept(home)
    assert any(path.suffix == ".sse" for path in files)
    for secret in SECRETS:
        for path, content in files.items():
            assert secret.encode() not in content, path
        for result in results:
            assert secret.encode() not in result.stdout + result.stderr


def modes(home: Home) -> None:
    for path in [home.state, *home.state.rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), (path, oct(mode))


def echo(connection: Connection) -> None:
    """Refuse, and repeat all that was said."""
    said = f"{connection.path} {connection.headers}"
    connection.reply(
        401, {"error": {"message": said, "code": said, "type": said, "param": said}}, x_request_id=said[:900]
    )


def answer(connection: Connection) -> None:
    connection.send(SSE_HEAD, piece("chat", "Hello."), end("chat"))
    connection.close()


def profile(home: Home, url: str, more: str = "") -> None:
    Path(home.env["UNSPOOL_CONFIG"]).write_text(
        f"""
        [profiles.mine]
        base_url = "{url}"
        api = "chat"
        model = "m"
        headers = {{ X-Token = "${{HEADER_SECRET}}" }}
        query = {{ token = "${{QUERY_SECRET}}" }}
        {more}
        """
    )
    home.env |= {"HEADER_SECRET": HEADER, "QUERY_SECRET": QUERY}


@pytest.mark.parametrize("play", [echo, answer], ids=["refused", "answered"])
@pytest.mark.parametrize("source", ["flag", "environment", "file", "command", "none"])
def test_no_secret_is_kept(home: Home, source: str, play) -> None:
    with Server(play) as stage:
        more, arguments = "needs_key = false", ["-P", "mine", "hi"]
        if source == "flag":
            arguments += ["--key", FLAG]
        elif source == "environment":
            more = 'key_env = "MY_KEY"'
            home.env["MY_KEY"] = ENVIRONMENT
        elif source == "command":
            more = f'key_cmd = ["echo", "{COMMANDED}"]'
        profile(home, stage.url, more)
        if source == "file":
            child = home.start("keys", "set", "mine", stdin=-1)
            child.communicate(STORED.encode(), timeout=PATIENCE)
        asked = home(*arguments, "-v", "--retries", "0")
        sent = " ".join(f"{request.path} {request.headers}" for request in stage.requests)
        assert HEADER in sent
        assert QUERY in sent
        assert any(key in sent for key in (FLAG, ENVIRONMENT, STORED, COMMANDED)) == (source != "none")
        resumed = home("resume", *(["--key", FLAG] if source == "flag" else []))
    assert asked.returncode == (3 if play is echo else 0)
    assert_no_secret(home, asked, resumed)


@pytest.mark.parametrize("status", [407, 502])
def test_no_password_of_a_proxy_is_kept(home: Home, status: int) -> None:
    with Server(
        lambda connection: connection.reply(status, {"error": {"message": f"No, {connection.headers}"}})
    ) as stage:
        authority = stage.url.removeprefix("http://").removesuffix("/v1")
        for scheme in ("http", "https"):
            home.env[f"{scheme}_proxy"] = f"http://me:{PROXY}@{authority}"
            asked = home("--base-url", f"{scheme}://api.invalid/v1", "-m", "m", "--retries", "0", "-v", "hi")
            assert asked.returncode in (5, 6)
            assert_no_secret(home, asked)
    refused = home("--base-url", "http://api.invalid/v1", "-m", "m", "--retries", "0", "hi")
    assert refused.returncode == 6
    assert_no_secret(home, refused)


def test_a_url_with_a_password_is_not_asked_and_not_kept(home: Home) -> None:
    refused = home("--base-url", f"http://me:{QUERY}@127.0.0.1:1/v1", "-m", "m", "hi")
    assert refused.returncode == 1
    assert QUERY.encode() not in refused.stdout + refused.stderr
    assert kept(home) == {}


def test_what_is_kept_is_its_owners_alone(home: Home) -> None:
    """After it was made, after a resume went on with it or began another, and with the catalogue."""
    anyone = {"prepare": lambda: os.umask(0)}
    with BackgroundServer(rest) as server:
        server.again = ()
        child = home.start("--base-url", server.url, "--api", "responses", "--background", "-m", "m", "hi", **anyone)
        assert child.stdout is not None
        os.read(child.stdout.fileno(), 1)
        modes(home)
        child.kill()
        child.wait()
        server.again = (rest,)
        assert home("resume", **anyone).returncode == 0
        modes(home)
        server.again = (acts.status(401),)
        assert (
            home("--base-url", server.url, "--api", "responses", "-m", "m", "--timeout", "1", "hi", **anyone).returncode
            == 7
        )
        home("resume", "--timeout", "1", **anyone)
        home("log", **anyone)
        home("search", "word1", **anyone)
    assert len(home.journals()) == 3
    assert len(kept(home)) > 3
    modes(home)


def test_without_a_log_nothing_is_left(home: Home) -> None:
    with Server(answer) as stage:
        assert home("-n", "--base-url", stage.url, "-m", "m", "hi").stdout == b"Hello.\n"
    with Server(
        lambda connection: (connection.send(SSE_HEAD, piece("chat", "Hel")), connection.wait_closed())[0]
    ) as stage:
        child = home.start("-n", "--base-url", stage.url, "-m", "m", "hi")
        assert child.stdout is not None
        os.read(child.stdout.fileno(), 1)
        child.send_signal(signal.SIGINT)
        assert child.wait(PATIENCE) == 130
    assert not home.state.exists()
