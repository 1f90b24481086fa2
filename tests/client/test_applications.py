"""What applications ask of the library: their own headers and ways to the server, where answers are kept, and what is told."""

from __future__ import annotations

import copy
import logging
import pickle
import socket
import subprocess
import sys
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import unspool
from support.server import Server, sends, then_silence
from support.wire import DONE, SSE_HEAD, error, event, head

from .reading import KEY, WHOLE, finish, piece

pytestmark = pytest.mark.usefixtures("home")


@dataclass
class Step:
    """What an answer is parsed into."""

    text: str
    minutes: int


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
    assert len([one for one in told if "not being saved" in str(one.message)]) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"temperature": "hot"}, "temperature is a number"),
        ({"model": 7}, "model is a str"),
        ({"timeout": -1}, "timeout is -1"),
        ({"ca_file": "/no/such/file"}, "ca_file is '/no/such/file'"),
        ({"headers": {"X-A": "line\nbreak"}}, "X-A"),
        ({"temprature": 1}, "temprature.*temperature"),
        ({"max_tokens": 1.5}, "max_tokens is an int"),
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"n": True}, "n is an int"),
        ({"timeout": float("nan")}, "timeout is nan"),
        ({"check": None}, "check is True or False"),
        ({"headers": {"X-A": 1}}, "headers is a dict of str to str"),
        ({"tools": len}, "tools is a list"),
        ({"attachments": "photo.png"}, "attachments is a list"),
        ({"options": ["a"]}, "options is a dict"),
        ({"journal": 7}, "journal is a path, True or False"),
        ({"journal": ""}, "journal is an empty path"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"client_cert": ("one",)}, "client_cert has 1 files"),
        ({"schema": 5}, "schema is a dict or a class, and not int"),
        ({"observer": 5}, "observer is an unspool.Observer"),
        ({"headers": {"X A": "1"}}, "headers has 'X A'"),
        ({"headers": {"": "1"}}, "headers has ''"),
        ({"headers": {"Content-Length": "5"}}, "headers has 'Content-Length'"),
        ({"headers": {"X-A: 1\r\nX-B": "1"}}, "headers has"),
    ],
)
def test_a_wrong_argument_raises_at_the_call_and_is_named(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises((TypeError, ValueError, unspool.ConfigError), match=words):
        unspool.stream("hi", **{"base_url": "http://127.0.0.1:9/v1", "model": "m", "key": KEY, **arguments})


def test_a_message_that_is_none_is_named() -> None:
    prompt: Any = [{"role": "user", "content": "hi"}, 5]
    with pytest.raises(TypeError, match="a message of the prompt is a dict, and not int"):
        unspool.stream(prompt, base_url="http://127.0.0.1:9/v1", model="m", key=KEY)


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
    told: list[tuple[str, unspool.Observation, str]] = []

    class Watching(unspool.Observer):
        def on_request(self, seen: unspool.Observation) -> None:
            told.append(("request", seen, repr(seen)))

        def on_attempt(self, seen: unspool.Observation) -> None:
            assert (seen.attempt, seen.reason) == (2, "busy")
            told.append(("attempt", seen, repr(seen)))

        def on_end(self, seen: unspool.Observation) -> None:
            told.append(("end", seen, repr(seen)))

    with Server(sends(error(503, "busy")), sends(SSE_HEAD, WHOLE)) as server:
        answer = unspool.stream("a secret prompt", **asked(server, observer=Watching(), query={"token": "abc-12345"}))
        answer.read()
        url = f"{server.url}/chat/completions"
    assert [one[0] for one in told] == ["request", "attempt", "request", "end"]
    (seen,) = {one[1] for one in told}
    assert (seen.id, seen.api, seen.method, seen.url, seen.model) == (answer.id, "chat", "POST", url, "m")
    assert (seen.ending, seen.usage, seen.finish_reasons) == (answer.ending, answer.usage, ("stop",))
    assert (seen.response_id, seen.response_model) == (answer.response_id, answer.model)
    assert seen.first_piece is not None
    assert seen.seconds is not None
    assert 0 <= seen.first_piece <= seen.seconds
    shown = "".join(one[2] for one in told)
    assert [word for word in (KEY, "secret prompt", "Hello", "abc-12345") if word in shown] == []


def test_tracing_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ImportError, match=r"pip install 'unspool\[otel\]'"):
        unspool.Tracing()


def test_what_happens_can_be_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "unspool")
    with Server(sends(SSE_HEAD, WHOLE)) as server:
        unspool.stream("hi", **asked(server, observer=unspool.Logging())).read()
        assert [record.name for record in caplog.records] == ["unspool", "unspool"]
        caplog.clear()
        unspool.stream("hi", **asked(server)).read()
        assert caplog.records == []


def test_a_client_resumes_and_follows_what_is_in_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    rest = piece("lo") + finish() + DONE
    with (
        Server(sends(SSE_HEAD, piece("Hel")), sends(SSE_HEAD, rest)) as server,
        unspool.Client(**asked(server, journal=folder, check=False)) as client,
    ):
        answer = client.stream("hi")
        answer.read()
        id = answer.id or ""
        assert client.follow(id).read() == "Hel"
        assert unspool.follow(id, journal=folder, check=False).read() == "Hel"
        with pytest.raises(unspool.NotFound):
            unspool.follow(id)
        with pytest.raises(unspool.NotFound):
            unspool.resume(id)
        resumed = client.resume(id)
        assert resumed.read() == "Hello"
    assert {path.stem for path in folder.glob("*.sse")} == {id, resumed.id}
    assert unspool.resume(id, journal=folder, key=KEY, check=False).outcome is None


def test_a_clients_key_and_headers_do_not_go_to_another_server_whose_answer_it_continues() -> None:
    headers = {"X-Secret": "tok-12345678"}
    with (
        Server(sends(SSE_HEAD, piece("Hel")), sends(SSE_HEAD, piece("lo") + finish() + DONE)) as other,
        Server(sends(SSE_HEAD, piece("Hel")), sends(SSE_HEAD, piece("lo") + finish() + DONE)) as own,
    ):
        cut = unspool.stream("hi", **asked(other, key="sk-other", check=False))
        cut.read()
        with unspool.Client(**asked(own, headers=headers)) as client:
            assert client.resume(cut.id or "").read() == "Hello"
            mine = client.stream("hi", check=False)
            mine.read()
            assert client.resume(mine.id or "").read() == "Hello"
        sent = other.requests[1].head + own.requests[1].head
    assert KEY.encode() not in other.requests[1].head
    assert b"tok-12345678" not in other.requests[1].head
    assert sent.count(KEY.encode()) == 1
    assert own.requests[1].headers["x-secret"] == "tok-12345678"


def test_a_resumed_answer_is_parsed_by_the_schema_that_is_given(tmp_path: Path) -> None:
    def text(value: str) -> bytes:
        return event({"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"content": value}}]})

    with Server(
        sends(SSE_HEAD, text('{"text": "te')), sends(SSE_HEAD, text('a", "minutes": 3}') + finish() + DONE)
    ) as server:
        cut = unspool.stream("hi", **asked(server, check=False, schema=Step))
        cut.read()
        assert unspool.resume(cut.id or "", schema=Step, key=KEY).parse() == Step("tea", 3)


def test_each_of_several_choices_has_its_text_its_calls_and_its_end() -> None:
    def chunk(choice: int, delta: dict[str, Any], reason: str | None = None) -> bytes:
        return event({"id": "c", "model": "m", "choices": [{"index": choice, "delta": delta, "finish_reason": reason}]})

    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    script = [
        chunk(0, {"content": "Hel"}),
        chunk(1, {"content": "Hal"}),
        chunk(2, {"tool_calls": [call]}),
        chunk(0, {"content": "lo"}),
        chunk(1, {"content": "lo"}),
        chunk(0, {}, "stop"),
        chunk(1, {}, "length"),
        chunk(2, {}, "tool_calls"),
    ]
    with Server(sends(SSE_HEAD, *script, DONE)) as server:
        answer = unspool.stream("hi", **asked(server, n=3))
        assert [one.text for one in answer.choices] == ["", "", ""]
        assert answer.read() == "Hello"
    assert [one.text for one in answer.choices] == ["Hello", "Hallo", ""]
    assert [one.finish_reason for one in answer.choices] == ["stop", "length", "tool_calls"]
    assert [[call.name for call in one.tool_calls] for one in answer.choices] == [[], [], ["weather"]]
    assert answer.choices[1].message == {"role": "assistant", "content": "Hallo"}
    assert answer.finish_reason == "stop"
    followed = unspool.follow(answer.id or "", check=False)
    followed.read()
    assert [one.text for one in followed.choices] == ["Hello", "Hallo", ""]


def test_the_network_of_a_profile_counts_for_the_library_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(sends(SSE_HEAD, WHOLE)) as proxy:
        (tmp_path / "config.toml").write_text(
            f"""[profiles.work]\nbase_url = "http://model.test/v1"\nproxy = "http://{proxy.host}"\nneeds_key = false\n"""
        )
        monkeypatch.setenv("UNSPOOL_CONFIG", str(tmp_path / "config.toml"))
        assert unspool.stream("hi", profile="work", model="m", api="chat").read() == "Hello"


def test_the_timeouts_of_a_profile_count_where_no_argument_says_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server(then_silence(SSE_HEAD, piece("Hel"))) as server:
        (tmp_path / "config.toml").write_text(
            f'[profiles.slow]\nbase_url = "{server.url}"\nneeds_key = false\nidle_timeout = "50ms"\ntimeout = 60\n'
        )
        monkeypatch.setenv("UNSPOOL_CONFIG", str(tmp_path / "config.toml"))
        given: dict[str, Any] = {"profile": "slow", "model": "m", "api": "chat"}
        with pytest.raises(unspool.StreamCut, match=r"nothing arrived for 0\.05 s"):
            unspool.stream("hi", **given).read()
        with unspool.Client(**given) as client, pytest.raises(unspool.StreamCut, match=r"nothing arrived for 0\.1 s"):
            client.stream("hi", idle_timeout=0.1).read()
        with pytest.raises(unspool.StreamCut, match=r"0\.2 s allowed"):
            unspool.stream("hi", **given, timeout=0.2, idle_timeout=60).read()
        assert unspool.stream("hi", **given, timeout=None, idle_timeout=60)._limits.total is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"api": "responses", "seed": 1}, 'not support seed; use api="chat"'),
        ({"api": "completions", "tools": [{"name": "f"}]}, 'use api="chat" or api="responses"'),
        ({"attachments": [b"\x00\x01\x02"]}, "has an unknown type.*supported$"),
        ({"model": None}, "model is missing"),
    ],
)
def test_messages_name_arguments_and_not_options_of_the_command(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words) as raised:
        unspool.stream("hi", **{"base_url": "http://127.0.0.1:9/v1", "model": "m", "key": KEY, **arguments})
    assert "--" not in str(raised.value)


def test_a_limit_that_passes_is_named_as_the_argument_is() -> None:
    with Server(then_silence(SSE_HEAD, piece("Hel"))) as server:
        with pytest.raises(unspool.StreamCut, match="idle timeout"):
            unspool.stream("hi", **asked(server, idle_timeout=0.05)).read()
        with pytest.raises(unspool.StreamCut, match="timeout") as raised:
            unspool.stream("hi", **asked(server, timeout=0.05)).read()
    assert "--" not in str(raised.value)


def test_a_base_url_without_its_version_is_hinted_at() -> None:
    with Server(error(404, "Not Found")) as server:
        with pytest.raises(unspool.BadRequest, match="most base URLs end in /v1"):
            unspool.stream("hi", **asked(server, base_url=server.url.removesuffix("/v1"))).read()


FULL_DISK = """
import resource, signal, sys, unspool
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
for _ in range(3):
    answer = unspool.stream("hi", base_url=sys.argv[1], model="m", key="k", api="chat")
    answer.read()
    print(answer.outcome, answer.kept)
"""


def test_a_disk_that_refuses_in_the_middle_of_an_answer_is_told_once() -> None:
    with Server(sends(SSE_HEAD, *[piece("word " * 20)] * 100, finish(), DONE)) as server:
        done = subprocess.run([sys.executable, "-c", FULL_DISK, server.url], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["complete False"] * 3
    assert done.stderr.count("this answer is not being saved: File too large") == 1


def test_an_answer_and_a_client_are_not_copied_but_say_so() -> None:
    with Server(sends(SSE_HEAD, WHOLE)) as server, unspool.Client(**asked(server)) as client:
        answer = client.stream("hi")
        for one in (answer, client):
            for copied in (copy.copy, copy.deepcopy, pickle.dumps):
                with pytest.raises(TypeError, match="cannot be copied or pickled"):
                    copied(one)
        assert answer.read() == "Hello"


@pytest.mark.parametrize("use", [unspool.follow, unspool.resume])
def test_what_has_no_id_is_no_id_of_any_answer(use: Any) -> None:
    with Server(sends(SSE_HEAD, WHOLE)) as server:
        unspool.stream("hi", **asked(server)).read()
        unkept = unspool.stream("hi", **asked(server, journal=False))
        unkept.read()
    with pytest.raises(TypeError, match="id is a str, and not NoneType"):
        use(unkept.id)


def test_the_longest_of_times_is_a_time() -> None:
    with Server(sends(SSE_HEAD, WHOLE)) as server:
        for_ever = dict.fromkeys(("connect_timeout", "idle_timeout", "timeout"), float("inf"))
        assert unspool.stream("hi", **asked(server, **for_ever)).read() == "Hello"
