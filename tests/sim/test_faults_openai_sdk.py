"""Faults and dialects against a client that others wrote: the openai package does with them what it is known to do."""

import json

import pytest

openai = pytest.importorskip("openai")

from unspool.sim.faults.dialects import TABLE  # noqa: E402
from unspool.sim.running import Simulator  # noqa: E402
from unspool.sim.simulator import SimulatorSettings  # noqa: E402

MESSAGES = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def simulator():
    with Simulator() as simulator:
        yield simulator


def sdk_of(simulator, retries=0):
    http_client = openai.DefaultHttpxClient(trust_env=False)
    return openai.OpenAI(base_url=simulator.url, api_key="sk-test", max_retries=retries, http_client=http_client)


@pytest.fixture
def chat(simulator):
    """Streams a chat under a fault, and gives the text, or the exception that ended it."""
    with sdk_of(simulator) as sdk:

        def chat(fault):
            text = ""
            try:
                headers = {"X-Unspool-Fault": fault}
                with sdk.chat.completions.create(
                    model="m", messages=MESSAGES, stream=True, extra_headers=headers
                ) as stream:
                    for chunk in stream:
                        text += "".join(choice.delta.content or "" for choice in chunk.choices or ())
            except (openai.OpenAIError, json.JSONDecodeError) as error:
                return type(error).__name__
            return text

        yield chat


def test_what_it_takes_for_a_whole_answer(chat):
    whole = chat("")
    harmless = ("comments", "no-space", "line-ends=cr", "one-byte", "done=off", "no-finish", "done=more", "gzip")
    assert [fault for fault in harmless if chat(fault) != whole] == []


def test_what_it_loses_without_a_word(chat):
    whole = chat("")
    for fault in ("cut=7,clean", "empty", "html", "json-error", "unstreamed"):
        text = chat(fault)
        assert text != whole, fault
        assert whole.startswith(text), fault


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("cut=7", "APIConnectionError"),
        ("cut=7,reset", "APIConnectionError"),
        ("hang-up", "APIConnectionError"),
        ("malformed=4", "JSONDecodeError"),
        ("pings=empty", "JSONDecodeError"),
        ("retry-line=3000", "JSONDecodeError"),
        ("error=4", "APIError"),
        ("quota", "RateLimitError"),
        ("status=401", "AuthenticationError"),
        ("status=503", "InternalServerError"),
    ],
)
def test_what_it_raises(chat, fault, error):
    assert chat(fault) == error


def test_it_gets_through_a_script_with_its_retries():
    with (
        Simulator(SimulatorSettings(script=["rate-limit=10ms", "hang-up", ""])) as simulator,
        sdk_of(simulator, 2) as sdk,
    ):
        with sdk.chat.completions.create(model="m", messages=MESSAGES, stream=True) as stream:
            assert len(list(stream)) > 3
        assert [received.faults for received in simulator.requests] == ["rate-limit=10ms", "hang-up", ""]


@pytest.mark.parametrize("dialect", TABLE, ids=lambda dialect: dialect.name)
def test_it_reads_the_text_of_every_dialect(chat, dialect):
    text = ""
    with Simulator(SimulatorSettings(dialect=dialect.name)) as simulator, sdk_of(simulator) as sdk:
        with sdk.chat.completions.create(model="m", messages=MESSAGES, stream=True) as stream:
            for chunk in stream:
                for choice in chunk.choices:
                    content = getattr(choice.delta, "content", None)
                    # An array at Mistral, whose thoughts are parts of it.
                    text += content if isinstance(content, str) else ""
    assert text == chat("")
