"""What docs/explanation/journal.md promises of the command: nothing is paid for that nobody keeps, and nothing secret is shown or kept."""

from __future__ import annotations

import json
import resource
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from support.server import Connection
from support.waiting import PATIENCE
from support.wire import APIS, DONE, error, event, head, piece, start, stream

from .conftest import Unspool

KEY = "sk-0123456789abcdefghijklmnopqrstuvwxyz"


def ask(url: str, api: str = "chat") -> tuple[str, ...]:
    return ("--base-url", url, "--api", api, "-m", "m-1", "--key", KEY)


def limited(unspool: Unspool, size: int) -> Callable[[], None]:
    """What makes every file of the command end at this size. The compiled files of the package are not to be among them."""
    unspool.env["PYTHONDONTWRITEBYTECODE"] = "1"
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def profile(unspool: Unspool, url: str, **fields: object) -> None:
    """Write a profile called ``work``; its fields are TOML, which JSON is for these."""
    path = Path(unspool.env["XDG_CONFIG_HOME"]) / "unspool" / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    tables = {name: value for name, value in fields.items() if isinstance(value, dict)}
    lines = [f'[profiles.work]\nbase_url = "{url}"\napi = "chat"\nmodel = "m-1"\nneeds_key = false']
    lines += [f"{name} = {json.dumps(value)}" for name, value in fields.items() if name not in tables]
    lines += [
        f"{name} = {{ {', '.join(f'{json.dumps(key)} = {json.dumps(one)}' for key, one in table.items())} }}"
        for name, table in tables.items()
    ]
    path.write_text("\n".join(lines) + "\n")


# Paying for what nobody keeps


def test_a_detached_stream_whose_request_cannot_be_kept_sends_nothing(unspool, serve):
    server = serve(stream("chat", "Python."))
    done = unspool("-d", *ask(server.url), "x" * 200, prepare=limited(unspool, 64))
    assert (done.returncode, done.stdout, server.requests) == (2, b"", [])
    assert b"--detach needs a journal, and this answer is not being saved" in done.stderr


def test_a_detached_stream_stops_when_its_journal_cannot_be_written_any_more(unspool, serve):
    hung_up = threading.Event()

    def script(connection: Connection) -> None:
        # It may hang up before all is sent.
        with suppress(ConnectionError):
            connection.send(head(), start("chat"), *[piece("chat", "x" * 1000) for _ in range(8)])
            if not connection.wait_closed():
                return
        hung_up.set()

    done = unspool("-d", *ask(serve(script).url), "hi", prepare=limited(unspool, 4096))
    assert done.returncode == 0
    assert hung_up.wait(PATIENCE)


@pytest.mark.parametrize("api", APIS)
def test_of_many_that_resume_one_stream_at_once_one_asks_and_the_others_name_it(unspool, serve, api):
    others_are_done = threading.Event()

    def rest(connection: Connection) -> None:
        connection.send(head(), start(api), piece(api, " there"))
        others_are_done.wait(PATIENCE)

    server = serve(head() + start(api) + piece(api, "hi"), rest)
    unspool(*ask(server.url, api), "q")
    (path,) = unspool.journals()
    children = [unspool.start("resume", path.stem, "--key", KEY) for _ in range(4)]
    told = []
    while len(told) < 3:
        for child in children:
            if child.poll() is not None and child not in told:
                told.append(child)
    others_are_done.set()
    (one,) = set(children) - set(told)
    one.wait(PATIENCE)
    assert len(server.requests) == 2
    child_id = max(unspool.journals()).stem
    assert [child.returncode for child in told] == [1, 1, 1]
    assert all(f"being resumed by another process as {child_id[-6:]}".encode() in child.stderr.read() for child in told)


def test_a_run_that_is_damaged_says_so_and_asks_again_only_what_it_has_lost(unspool, serve):
    server = serve(*[stream("chat", f"answer {number}") for number in range(4)])
    prompts = unspool.home / "prompts.jsonl"
    prompts.write_text('{"prompt": "a"}\n{"prompt": "b"}\n')
    unspool("run", *ask(server.url), "--concurrency", "1", str(prompts))
    (ledger,) = (unspool.home / "state" / "runs").glob("*/*.run")
    first, second = ledger.read_bytes().splitlines(keepends=True)
    # A digit of the key becomes another, so that it still looks like one.
    ledger.write_bytes(bytes([first[0] ^ 1]) + first[1:] + second)
    done = unspool("run", *ask(server.url), "--concurrency", "1", str(prompts))
    assert b"1 of its lines cannot be read" in done.stderr
    assert (done.returncode, len(server.requests)) == (0, 3)


def test_a_folder_that_others_can_write_to_is_taken_back_and_that_is_said(unspool, serve):
    unspool.streams.mkdir(parents=True)
    unspool.streams.chmod(0o777)
    done = unspool(*ask(serve(stream("chat", "Python.")).url), "hi")
    assert done.stdout == b"Python.\n" or done.stdout == b"Python."
    assert b"others could write to" in done.stderr
    assert stat.S_IMODE(unspool.streams.stat().st_mode) == 0o700
    assert b"others" not in unspool(*ask(serve(stream("chat", "Python.")).url), "hi").stderr


# Secrets


def test_a_header_whose_value_is_a_word_of_the_journal_changes_nothing_in_it(unspool, serve):
    profile(unspool, serve(stream("chat", "Python.")).url, headers={"X-Answer": "complete", "X-Other": "assistant"})
    assert unspool("-P", "work", "hi").returncode == 0
    assert unspool("last").returncode == 0
    assert '"outcome":"complete"' in unspool.journal()


def test_a_key_that_is_a_common_word_changes_neither_the_model_nor_the_prompt(unspool, serve):
    server = serve(stream("chat", "Python."))
    arguments = ("--base-url", server.url, "--api", "chat", "--key", "lm-studio")
    unspool(*arguments, "-m", "lm-studio-community/qwen", "How do I install lm-studio?")
    unspool("-c", "--key", "lm-studio", "and then?")
    again = server.requests[-1].json
    assert (again["model"], again["messages"][0]["content"]) == (
        "lm-studio-community/qwen",
        "How do I install lm-studio?",
    )


@pytest.mark.parametrize("filling", [960, 975, 990, 995])
def test_a_key_that_an_error_is_cut_within_is_neither_shown_nor_kept(unspool, serve, filling):
    server = serve(error(401, "x" * filling + f" {KEY} is not valid"))
    done = unspool(*ask(server.url), "hi")
    assert done.returncode == 3
    for text in (done.stderr.decode(), unspool.journal()):
        assert KEY[:8] not in text


@pytest.mark.parametrize("escape", [lambda key: key.replace("-", "\\u002d"), lambda key: key.replace("-", "%2D")])
def test_a_key_that_a_server_repeats_escaped_is_neither_shown_nor_kept(unspool, serve, escape):
    # Escaped twice: as JSON by the server, and before that by the proxy whose words it repeats.
    done = unspool(*ask(serve(error(401, f"refused: {escape(KEY)}")).url), "hi")
    for text in (done.stderr.decode(), unspool.journal()):
        assert KEY[3:20] not in text


def test_a_dry_run_shows_no_secret_of_the_request(unspool, serve):
    tools = [
        {
            "type": "mcp",
            "server_url": "https://mcp.example/sse?key=S-2",
            "authorization": "S-3",
            "headers": {"X": "S-4"},
        }
    ]
    profile(unspool, serve().url, headers={"X-Token": "S-0"}, query={"key": "S-1", "api-version": "2024-10-21"})
    options = ("-o", "tools", json.dumps(tools), "-o", "router", '{"api_key":"S-5"}')
    shown = unspool("-P", "work", "--dry-run", *options, "my password: S-9").stdout.decode()
    assert [number for number in range(10) if f"S-{number}" in shown] == [9]
    assert "api-version=2024-10-21" in shown


def test_a_journal_keeps_no_secret_of_the_body_and_a_resume_says_so(unspool, serve):
    server = serve(head() + start("chat") + piece("chat", "half"))
    options = ("-o", "router", '{"api_key":"SECRET-5"}')
    unspool(*ask(server.url), *options, "hi")
    assert server.requests[0].json["router"] == {"api_key": "SECRET-5"}
    assert "SECRET" not in unspool.journal()
    done = unspool("resume", "--key", KEY)
    assert (done.returncode, len(server.requests)) == (1, 1)
    assert b"a secret that is not saved (router.api_key)" in done.stderr


# Bytes that are no event


@pytest.mark.parametrize("cut", ['data: {"choices":[{"index":0,"delta":{"content":" the', "oops: overloaded"])
def test_bytes_that_become_no_event_are_in_the_journal(unspool, serve, cut):
    server = serve(head() + b"warning: half of the workers are down\n\n" + piece("chat", "hi") + cut.encode())
    assert unspool(*ask(server.url), "q").returncode == 7
    (data,) = [line for line in unspool.journal().split("\n") if '"warning: ' in line]
    kept = json.loads(data[6:])["text"].split("\n")
    assert kept == ["warning: half of the workers are down", cut.removeprefix("data: ")]
    assert unspool("last").stdout.strip() == b"hi"


# Numbers


@pytest.mark.parametrize(
    "number", ["NaN", "-Infinity", "1e400", "9" * 5000], ids=["NaN", "infinite", "1e400", "digits"]
)
def test_a_number_that_json_has_no_form_for_crashes_nothing(unspool, serve, number):
    usage = f'"usage":{{"prompt_tokens":1,"completion_tokens":2,"speed":{number}}}'
    last = f'data: {{"id":"c","choices":[{{"index":0,"delta":{{}},"finish_reason":"stop"}}],{usage}}}\n\n'.encode()
    server = serve(head() + event({"id": "c", "choices": [{"index": 0, "delta": {"content": "hi"}}]}) + last + DONE)
    assert unspool(*ask(server.url), "q").returncode == 0
    for command in (("last",), ("last", "--json"), ("log", "--json"), ("export",)):
        done = unspool(*command)
        assert (done.returncode, b"Traceback" in done.stderr, b"hi" in done.stdout) == (0, False, True)
