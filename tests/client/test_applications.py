"""What applications ask of the library: their own headers and ways to the server, where answers are kept, and what is told."""

from __future__ import annotations

import logging
import os
import socket
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest

import unspool
from support.server import Server, sends
from support.wire import SSE_HEAD, error, head

from .reading import KEY, WHOLE

pytestmark = pytest.mark.usefixtures("home")


def asked(server: Server, **more: Any) -> dict[str, Any]:
    return {"base_url": server.url, "model": "m", "key": KEY, "api": "chat", **more}


def test_headers_and_query_go_with_the_request_and_the_answers_headers_are_told() -> None:
    with Server(sends(head(x_ratelimit_remaining_tokens="99", x_request_id="r1"), WHOLE)) as server:
        answer = unspool.stream("hi", **asked(server, headers={"X-Team": "blue"}, query={"v": "1"}))
        answer.read()
        request = server.requests[0]
    assert request.headers["x-team"] == "blue"
    assert answer.headers["x-ratelimit-remaining-tokens"] == "99"
    assert answer.request_id == "r1"
    assert KEY not in repr(answer)
    assert "complete" in repr(answer)
    assert (answer.id or "") in repr(answer)


def test_a_client_keeps_its_answers_in_a_folder_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "journals" / "mine"
    with Server(sends(SSE_HEAD, WHOLE)) as server, unspool.Client(**asked(server, journal=folder)) as client:
        answer = client.stream("hi")
        answer.read()
        other = client.with_options(journal=False).stream("hi")
        other.read()
    assert [path.stem for path in folder.iterdir()] == [answer.id]
    assert (answer.kept, other.kept) == (True, False)


def test_a_journal_that_cannot_be_kept_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with Server(sends(SSE_HEAD, WHOLE)) as server, warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        for _ in range(3):
            answer = unspool.stream("hi", **asked(server, journal=tmp_path / "file" / "streams"))
            assert answer.read() == "Hello"
            assert not answer.kept
    assert len([one for one in told if "not being kept" in str(one.message)]) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"temperature": "hot"}, "temperature is a number"),
        ({"model": 7}, "model is a str"),
        ({"timeout": -1}, "timeout is -1"),
        ({"ca_file": "/no/such/file"}, "ca_file is '/no/such/file'"),
        ({"headers": {"X-A": "line\nbreak"}}, "X-A"),
        ({"temprature": 1}, "temprature.*temperature"),
    ],
)
def test_a_wrong_argument_raises_at_the_call_and_is_named(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises((TypeError, ValueError, unspool.ConfigError), match=words):
        unspool.stream("hi", **{"base_url": "http://127.0.0.1:9/v1", "model": "m", "key": KEY, **arguments})


def test_a_broken_configuration_does_not_fail_a_call_that_needs_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.toml").write_text("this is [ no TOML")
    monkeypatch.setenv("UNSPOOL_CONFIG", str(tmp_path / "config.toml"))
    with Server(sends(SSE_HEAD, WHOLE)) as server:
        assert unspool.stream("hi", **asked(server)).read() == "Hello"
        with pytest.raises(unspool.ConfigError):
            unspool.stream("hi", base_url=server.url, model="m")
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        assert unspool.stream("hi", model="m", api="chat", config=False).read() == "Hello"


def test_a_unix_socket_is_connected_to(tmp_path: Path) -> None:
    path = tmp_path / "server"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                data = b""
                while b'"Hi there"' not in data:
                    data += connection.recv(65536)
                connection.sendall(SSE_HEAD + WHOLE)

        thread = threading.Thread(target=serve)
        thread.start()
        answer = unspool.stream(
            "Hi there", base_url="http://localhost/v1", model="m", key=KEY, api="chat", unix_socket=path
        )
        assert answer.read() == "Hello"
        thread.join()


def test_a_proxy_that_is_given_is_used_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with Server(sends(SSE_HEAD, WHOLE)) as proxy:
        answer = unspool.stream(
            "hi", base_url="http://model.test/v1", model="m", key=KEY, api="chat", proxy=f"http://{proxy.host}"
        )
        assert answer.read() == "Hello"
        assert unspool.stream("hi", **asked(proxy, proxy="")).read() == "Hello"


def test_an_observer_is_told_of_requests_attempts_and_the_end_and_of_no_secret() -> None:
    told: list[tuple[Any, ...]] = []

    class Watching(unspool.Observer):
        def on_request(self, *arguments: Any) -> None:
            told.append(("request", *arguments))

        def on_attempt(self, *arguments: Any) -> None:
            told.append(("attempt", *arguments))

        def on_end(self, *arguments: Any) -> None:
            told.append(("end", *arguments))

    with Server(sends(error(503, "busy")), sends(SSE_HEAD, WHOLE)) as server:
        answer = unspool.stream("a secret prompt", **asked(server, observer=Watching()))
        answer.read()
    assert [one[0] for one in told] == ["request", "attempt", "request", "end"]
    assert {one[1] for one in told} == {answer.id}
    assert KEY not in repr(told)
    assert "secret prompt" not in repr(told)


def test_what_happens_can_be_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "unspool")
    with Server(sends(SSE_HEAD, WHOLE)) as server:
        unspool.stream("hi", **asked(server, observer=unspool.Logging())).read()
        assert [record.name for record in caplog.records] == ["unspool", "unspool"]
        caplog.clear()
        unspool.stream("hi", **asked(server)).read()
        assert caplog.records == []


def test_a_client_resumes_and_follows(tmp_path: Path) -> None:
    with Server(sends(SSE_HEAD, WHOLE)) as server, unspool.Client(**asked(server)) as client:
        answer = client.stream("hi")
        answer.read()
        assert client.follow(answer.id or "").read() == "Hello"
        assert client.resume(answer.id or "").read() == "Hello"
    assert os.path.isdir(tmp_path)
