"""Clients that others wrote, on tapes: what they make of an answer is what they made of it when it was recorded."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from support.effort import spread
from support.waiting import PATIENCE
from unspool.journal import record as records
from unspool.journal.writer import Writer
from unspool.sim.faults.table import HEADER
from unspool.sse import Event, Events

from .wire import ASKS, PATHS

MESSAGES = ASKS["chat"]["messages"]
FAULTS = (
    "",
    "comments",
    "one-byte; line-ends=cr",
    "gzip",
    "cut=7",
    "cut=7,reset",
    "cut=9,clean",
    "error=6,nested",
    "status=429",
)


def with_openai(url, fault=""):
    openai = pytest.importorskip("openai")
    headers = {HEADER: fault} if fault else {}
    network = openai.DefaultHttpxClient(trust_env=False)
    pieces = []
    with openai.OpenAI(base_url=url, api_key="sk-0123456789ab", max_retries=0, http_client=network) as sdk:
        try:
            for chunk in sdk.chat.completions.create(
                model="m-1", messages=MESSAGES, max_tokens=24, stream=True, extra_headers=headers
            ):
                pieces += [choice.delta.content for choice in chunk.choices]
        except (openai.OpenAIError, json.JSONDecodeError) as error:
            pieces.append(f"{type(error).__name__}: {error}")
    return pieces


def with_openai_responses(url, fault=""):
    openai = pytest.importorskip("openai")
    headers = {HEADER: fault} if fault else {}
    network = openai.DefaultHttpxClient(trust_env=False)
    events = []
    with openai.OpenAI(base_url=url, api_key="sk-0123456789ab", max_retries=0, http_client=network) as sdk:
        try:
            with sdk.responses.stream(
                model="m-1", input="Hello", max_output_tokens=24, extra_headers=headers
            ) as stream:
                events += [event.to_json() for event in stream]
        except Exception as error:
            events.append(f"{type(error).__name__}: {error}")
    return events


def with_requests(url, fault=""):
    requests, sseclient = pytest.importorskip("requests"), pytest.importorskip("sseclient")
    headers = {HEADER: fault} if fault else {}
    found = []
    with requests.Session() as session:
        session.trust_env = False
        with session.post(
            url + PATHS["chat"], json=ASKS["chat"], headers=headers, stream=True, timeout=PATIENCE
        ) as answer:
            found += [answer.status_code, answer.reason, answer.headers["x-request-id"] if answer.ok else answer.text]
            try:
                found += [(event.event, event.data, event.id) for event in sseclient.SSEClient(answer).events()]
            except requests.RequestException as error:
                found.append(type(error).__name__)
    return found


def with_curl(url, fault=""):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    options = ["-H", f"{HEADER}: {fault}"] if fault else []
    data = json.dumps(ASKS["chat"])
    command = ["curl", "-q", "-sSN", "--noproxy", "*", *options, "-H", "Content-Type: application/json", "-d", data]
    done = subprocess.run([*command, url + PATHS["chat"]], capture_output=True, timeout=PATIENCE)
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("fault", "client"), spread(FAULTS, [with_openai, with_openai_responses, with_requests, with_curl])
)
def test_it_makes_the_same_of_a_tape(client, fault, simulator, record, play, ended):
    with record(simulator.url) as recorder:
        first = client(recorder.url, fault)
        ended(1)
    with play() as player:
        assert client(player.url) == first


@pytest.mark.parametrize("client", [with_openai, with_requests, with_curl])
def test_the_journal_of_an_answer_is_whole_to_it(client, simulator, folder, play, tmp_path):
    """Written as unspool writes it; the framing is made anew."""
    import unspool
    from unspool.config.paths import streams_dir

    asked = {"model": "m-1", "max_tokens": 24, "check": False}
    with unspool.stream(MESSAGES, api="chat", base_url=simulator.url, key="k" * 9, **asked) as answer:
        text = "".join(answer)
    folder.mkdir()
    shutil.copy(f"{streams_dir()}/{answer.id}.sse", folder / "one.sse")
    with play(tape_match="last-message") as player:
        found = client(player.url)
    if client is with_openai:
        assert "".join(filter(None, found)) == text
    elif client is with_requests:
        assert found[-1][1] == "[DONE]"
    else:
        assert (found[0], found[1].endswith(b"data: [DONE]\n\n")) == (0, True)


def test_ids_and_names_of_events_are_on_the_wire_again(folder, play):
    from .wire import ask

    folder.mkdir()
    writer = Writer.create(str(folder / "one.sse"))
    writer.own(records.REQUEST, json.dumps({"api": "responses", "url": "", "model": "m", "body": ASKS["responses"]}))
    events = [Event("response.created", "{}", "a"), Event("message", "two\nlines", "a"), Event("x", "", "b")]
    writer.events(Events.of(events), 0.0)
    writer.own(records.END, '{"outcome":"complete","at":0}')
    writer.close()
    with play() as player:
        answer = ask(player.url, "/responses", ASKS["responses"])
    assert [chunk.split(b"\r\n", 1)[1] for chunk in answer.chunks[:-1]] == [
        b"id: a\nevent: response.created\ndata: {}\n\n\r\n",
        b"data: two\ndata: lines\n\n\r\n",
        b"id: b\nevent: x\ndata: \n\n\r\n",
    ]
    assert answer.chunks[-1] == b"0\r\n\r\n"
