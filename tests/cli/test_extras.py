"""What an answer has besides text: citations, pictures, sound."""

from __future__ import annotations

import base64

import pytest

from support.wire import end, event, head, piece, start
from unspool.terminal.cells import byte_count

PNG = b"\x89PNG\r\n\x1a\n" + bytes(2000)


def _chunk(**delta):
    return event({"id": "r1", "model": "m-1", "choices": [{"index": 0, "delta": delta}]})


def _ask(unspool, server, *arguments, cwd=None):
    return unspool("--base-url", server.url, "--api", "chat", "-m", "m", *arguments, "hi", cwd=cwd)


def test_citations_are_listed_once_each_after_the_answer(unspool, serve):
    cited = {"type": "url_citation", "url_citation": {"url": "https://a.example/x", "title": "A page"}}
    answer = piece("chat", "Yes.") + _chunk(annotations=[cited, cited])
    done = _ask(unspool, serve(head() + start("chat") + answer + end("chat")))
    assert (done.returncode, done.stdout) == (0, b"Yes.\n")
    assert done.stderr.count(b"A page: https://a.example/x") == 1


def test_a_picture_is_saved_in_a_file_that_is_named(unspool, serve, tmp_path):
    url = "data:image/png;base64," + base64.b64encode(PNG).decode()
    answer = _chunk(images=[{"type": "image_url", "image_url": {"url": url}}])
    done = _ask(unspool, serve(head() + start("chat") + answer + end("chat")), cwd=tmp_path)
    [path] = tmp_path.glob("unspool-*.png")
    assert path.read_bytes() == PNG
    assert f"saved ./{path.name}, 2.0 kB".encode() in done.stderr
    assert b"empty" not in done.stderr


def test_sound_is_saved_and_its_words_are_the_text(unspool, serve, tmp_path):
    sound = [b"RIFF\x00\x00\x00\x00WAVEfmt ", b"more"]
    answer = b"".join(_chunk(audio={"id": "a", "data": base64.b64encode(one).decode()}) for one in sound)
    answer += _chunk(audio={"transcript": "Hello."})
    done = _ask(unspool, serve(head() + start("chat") + answer + end("chat")), cwd=tmp_path)
    assert done.stdout == b"Hello.\n"
    [path] = tmp_path.glob("unspool-*.wav")
    assert path.read_bytes() == b"".join(sound)


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 bytes"), (999, "999 bytes"), (5_700_000, "5.7 MB"), (999_960, "1.0 MB"), (1500, "1.5 kB")],
)
def test_sizes_are_for_people(count, shown):
    assert byte_count(count) == shown
