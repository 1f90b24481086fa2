"""`-a`, `--at` and `-f`: files in requests, as the server receives them."""

from __future__ import annotations

import base64
import json
import os

import pytest

from support.wire import reply
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
        (["-f", "pictures"], "-f: pictures has no text files"),
        (["-f", "http://127.0.0.1:1/a"], "-f: "),
        (["-a", "empty.png"], "-a: empty.png is empty"),
        (["-f", "empty.png"], "empty.png is empty"),
        (["-a", "odd.bin"], "an unknown type"),
        (["-f", "cat.png"], "cat.png is image/png, and -f takes text: attach it with -a cat.png"),
        (["-f", "odd.bin"], "odd.bin is not UTF-8 text"),
        (["-f", "-", "-a", "-"], "can be read only once"),
        (["-a", "https://x.test/a.mp3"], "download https://x.test/a.mp3 first"),
        (["-a", "https://x.test/a.pdf"], "does not take files by URL"),
        (["--api", "completions", "-a", "cat.png"], "takes only text, not image; use --api chat"),
        (["--api", "responses", "-a", "a.wav"], "the Responses API does not take audio; use --api chat"),
    ],
)
def test_what_cannot_be_sent_is_told_before_anything_is_asked(refused, tmp_path, arguments, words):
    (tmp_path / "empty.png").touch()
    (tmp_path / "odd.bin").write_bytes(b"\xff\0")
    (tmp_path / "cat.png").write_bytes(PNG)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "cat.png").write_bytes(PNG)
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


def test_a_folder_is_its_text_files_by_their_paths(asked, tmp_path):
    for name in ("src/b.py", "src/deep/a.py", "src/.git/config", "src/.hidden"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"text of {name}\n")
    (tmp_path / "src" / "cat.png").write_bytes(PNG)
    said = asked("-f", "src", "Sum up")["messages"][0]["content"]
    assert [line for line in said.splitlines() if line.startswith("File ")] == ["File b.py:", "File deep/a.py:"]
    assert "text of src/deep/a.py" in said


def test_a_folder_of_too_much_is_refused_with_the_limit(refused, tmp_path):
    (tmp_path / "many").mkdir()
    for number in range(201):
        (tmp_path / "many" / f"{number}.txt").write_text("x")
    assert "more than 200 text files or 2 MB of text" in refused("-f", "many", "What?")
    (tmp_path / "large").mkdir()
    (tmp_path / "large" / "a.txt").write_text("x" * (2 << 20) + "x")
    assert "name a smaller folder, or the files" in refused("-f", "large", "What?")


def test_a_url_is_fetched_without_the_key_and_follows_redirects(asked, serve):
    page = reply(200, b"The text of the page.", "text/plain")
    server = serve(reply(302, b"", location="/there"), page)
    said = asked("-f", f"http://127.0.0.1:{server.port}/here", "Sum up")["messages"][0]["content"]
    assert "The text of the page." in said
    assert [request.path for request in server.requests] == ["/here", "/there"]
    assert not any("authorization" in request.headers for request in server.requests)


def test_a_url_that_answers_with_an_error_is_told(refused, serve):
    server = serve(reply(404, b"no"))
    assert "answers with status 404" in refused("-f", f"http://127.0.0.1:{server.port}/x", "What?")


def test_files_that_a_shell_left_among_the_words_are_told(unspool, sim, tmp_path):
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("text")
    done = unspool("--api", "chat", "-f", "a.txt", "b.txt", "Sum up", cwd=tmp_path)
    assert b"b.txt: file names in the prompt" in done.stderr
    done = unspool("--api", "chat", "-f", "a.txt", "-f", "b.txt", "Sum up", cwd=tmp_path)
    assert done.stderr == b""


def test_a_prompt_can_be_written_in_an_editor(unspool, sim, tmp_path):
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nprintf ' and more' >> \"$1\"\n")
    editor.chmod(0o755)
    unspool.env["EDITOR"] = str(editor)
    assert unspool("--edit", "Some words").returncode == 0
    assert "Some words\n and more" in json.dumps(sim.requests[-1].json).replace("\\n", "\n")
    editor.write_text('#!/bin/sh\n: > "$1"\n')
    done = unspool("-e", "Some words")
    assert (done.returncode, b"the prompt is empty" in done.stderr, len(sim.requests)) == (2, True, 1)
