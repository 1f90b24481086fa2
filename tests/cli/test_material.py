"""`-a`, `--at` and `-f`: files in requests, as the server receives them."""

from __future__ import annotations

import base64
import json
import os

import pytest

from unspool.sim.running import Simulator

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
PNG_URL = "data:image/png;base64," + base64.b64encode(PNG).decode()


@pytest.fixture
def sim(unspool):
    with Simulator() as simulator:
        unspool.env |= {"OPENAI_BASE_URL": simulator.url, "OPENAI_API_KEY": "sk-0123456789", "UNSPOOL_MODEL": "sim-1"}
        yield simulator


@pytest.fixture
def asked(unspool, sim, tmp_path):
    """Asks in the folder of the test, and returns the body that came to the server."""

    def ask(*arguments: str, api: str = "chat", input: bytes | None = None) -> dict:
        done = unspool("-q", "--api", api, *arguments, cwd=tmp_path, input=input)
        assert (done.returncode, done.stderr) == (0, b"")
        return sim.requests[-1].json

    return ask


@pytest.fixture
def refused(unspool, sim, tmp_path):
    """Asks in vain, and returns what is said about it."""

    def ask(*arguments: str, api: str = "chat", input: bytes | None = None) -> str:
        done = unspool("-q", "--api", api, *arguments, cwd=tmp_path, input=input)
        assert (done.returncode, done.stdout) == (2, b"")
        assert sim.requests == []
        assert unspool.journals() == []
        words = done.stderr.decode()
        assert words.count("\n") == 1
        return words

    return ask


def test_an_image_follows_the_words_for_both_endpoints(asked, tmp_path):
    (tmp_path / "cat").write_bytes(PNG)
    assert asked("-a", "cat", "What is this?")["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": PNG_URL}},
            ],
        }
    ]
    parts = asked("-a", "cat", "-a", "https://x.test/a.png", "What?", api="responses")["input"][0]["content"]
    assert [part["type"] for part in parts] == ["input_text", "input_image", "input_image"]
    assert [part.get("image_url") for part in parts] == [None, PNG_URL, "https://x.test/a.png"]


def test_an_attachment_can_be_piped_in_and_needs_no_words(asked):
    assert asked("-a", "-", input=PNG)["messages"][0]["content"] == [
        {"type": "image_url", "image_url": {"url": PNG_URL}}
    ]


def test_a_text_is_said_before_the_prompt_whichever_way_it_is_given(asked, tmp_path):
    (tmp_path / "a.txt").write_text("one\n")
    document = "File a.txt:\n```\none\n```\n\nSum up in 5 tokens"
    for flag in ("-f", "-a"):
        assert asked(flag, "a.txt", "Sum up in 5 tokens")["messages"][0]["content"] == document
        assert asked(flag, "a.txt", "Sum up in 5 tokens", api="completions")["prompt"] == document
    twice = asked("-f", "a.txt", "-f", "-", "Sum up", input=b"two")["messages"][0]["content"]
    assert twice == "File a.txt:\n```\none\n```\n\nFile standard input:\n```\ntwo\n```\n\nSum up"


def test_what_is_piped_in_still_comes_right_before_the_words(asked, tmp_path):
    (tmp_path / "a.txt").write_text("one\n")
    said = asked("-f", "a.txt", "Sum up", input=b"piped\n")["messages"][0]["content"]
    assert said.endswith("```\n\npiped\n\nSum up")


def test_a_type_can_be_said(asked, tmp_path):
    (tmp_path / "scan").write_bytes(b"no magic \xff")
    body = asked("--at", "scan", "application/pdf", "Read it")
    assert body["messages"][0]["content"][1]["file"]["file_data"].startswith("data:application/pdf;base64,")


def test_an_attachment_goes_with_one_piece_too(asked, tmp_path):
    (tmp_path / "cat.png").write_bytes(PNG)
    body = asked("--no-stream", "-o", "seed", "1", "-a", "cat.png", "What?")
    assert (body["stream"], body["seed"], len(body["messages"][0]["content"])) == (False, 1, 2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-a", "missing.png"], "-a: missing.png cannot be read: No such file"),
        (["-f", "missing.txt"], "missing.txt cannot be read: No such file"),
        (["-f", "."], "cannot be read: Is a directory"),
        (["-a", "empty.png"], "-a: empty.png is empty"),
        (["-f", "empty.png"], "empty.png is empty"),
        (["-a", "odd.bin"], "no known type"),
        (["-f", "cat.png"], "cat.png is image/png, and -f takes text: attach it with -a cat.png"),
        (["-f", "odd.bin"], "odd.bin is not UTF-8 text"),
        (["-f", "-", "-a", "-"], "can be read only once"),
        (["-f", "https://x.test/a"], "curl -s https://x.test/a | unspool -f -"),
        (["-a", "https://x.test/a.mp3"], "download https://x.test/a.mp3 first"),
        (["-a", "https://x.test/a.pdf"], "takes no file by its URL"),
        (["--api", "completions", "-a", "cat.png"], "takes text only, and no image; use --api chat"),
        (["--api", "responses", "-a", "a.wav"], "the Responses API takes no audio; use --api chat"),
    ],
)
def test_what_cannot_be_sent_is_told_before_anything_is_asked(refused, tmp_path, arguments, words):
    (tmp_path / "empty.png").touch()
    (tmp_path / "odd.bin").write_bytes(b"\xff\0")
    (tmp_path / "cat.png").write_bytes(PNG)
    (tmp_path / "a.wav").write_bytes(b"RIFF\0\0\0\0WAVE")
    assert words in refused(*arguments, "What?")


@pytest.mark.parametrize(
    ("arguments", "piped", "words"),
    [
        (["What?"], "Grüße".encode("latin-1"), "standard input is not UTF-8 text (line 1, byte 3); convert it first"),
        (["What?"], PNG, "standard input is not UTF-8 text"),
        (["What?"], "hi".encode("utf-16-le"), "standard input has NUL bytes"),
        ([os.fsdecode(b"a\xffb")], b"", "the prompt is not UTF-8 text"),
        (["-f", "latin.txt", "What?"], b"", "latin.txt is not UTF-8 text (line 1, byte 3)"),
        (["--schema", "latin.json", "What?"], b"", "latin.json is not UTF-8 text"),
        (["--tool", "latin.json", "What?"], b"", "latin.json is not UTF-8 text"),
    ],
)
def test_input_that_is_not_utf8_is_refused_wherever_it_comes_from(refused, tmp_path, arguments, piped, words):
    for name in ("latin.txt", "latin.json"):
        (tmp_path / name).write_bytes("Grüße".encode("latin-1"))
    assert words in refused(*arguments, input=piped)


def test_what_is_too_large_is_refused_without_being_read(refused, tmp_path):
    with open(tmp_path / "huge.png", "wb") as file:
        file.truncate(60 << 20)
    assert "at most 50 MB" in refused("-a", "huge.png", "What?")


# In the journal


def test_an_attachment_is_kept_whole_so_that_the_conversation_goes_on_with_it(unspool, sim, asked, tmp_path):
    data = b"\x89PNG\r\n\x1a\n" + os.urandom(10_000_000)
    (tmp_path / "big.png").write_bytes(data)
    first = asked("-a", "big.png", "What is this in 5 tokens?")["messages"][0]
    # The file is not looked at again.
    (tmp_path / "big.png").unlink()
    messages = asked("-c", "And this in 3 tokens?")["messages"]
    assert messages[0] == first
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]


def test_history_shows_that_there_was_an_image_and_not_its_bytes(unspool, asked, tmp_path):
    (tmp_path / "cat.png").write_bytes(PNG)
    asked("-a", "cat.png", "What is this in 5 tokens?")
    for command in ("log", "export"):
        printed = unspool(command).stdout.decode()
        assert "What is this in 5 tokens?[image]" in printed
        assert "base64" not in printed
    exported = unspool("export", "--format", "json").stdout.decode()
    assert PNG_URL in exported


def test_a_conversation_moves_with_its_image_to_the_other_endpoint(asked, tmp_path):
    (tmp_path / "cat.png").write_bytes(PNG)
    asked("-a", "cat.png", "What in 5 tokens?", api="responses")
    content = asked("-c", "-m", "sim-1", "More in 3 tokens")["messages"][0]["content"]
    assert content[1] == {"type": "image_url", "image_url": {"url": PNG_URL, "detail": "auto"}}


def test_a_person_is_spared_the_bytes_in_a_dry_run_and_a_program_is_not(unspool, sim, tmp_path):
    (tmp_path / "cat.png").write_bytes(PNG)
    arguments = ("--dry-run", "-q", "-a", str(tmp_path / "cat.png"), "What?")
    assert PNG_URL in unspool(*arguments).stdout.decode()
    shown = unspool.on_terminal(*arguments).output.decode()
    assert PNG_URL not in shown
    assert "data:image/png;base64,iVBOR" in shown


def test_a_kept_request_says_what_was_attached(unspool, asked, tmp_path):
    (tmp_path / "cat.png").write_bytes(PNG)
    asked("-a", "cat.png", "What in 5 tokens?")
    line = next(line for line in unspool.journal().splitlines() if line.startswith("data: "))
    assert json.loads(line[6:])["body"]["messages"][0]["content"][1]["image_url"]["url"] == PNG_URL
