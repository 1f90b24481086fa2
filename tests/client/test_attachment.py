"""Files as parts of messages."""

from __future__ import annotations

import base64
import os
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.effort import rounds
from unspool.client.library import attachment
from unspool.client.library.attachment import Unattachable, part

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 8
WAV = b"RIFF\x24\0\0\0WAVEfmt "


@pytest.mark.parametrize(
    ("data", "type"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF87a..", "image/gif"),
        (b"GIF89a..", "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (b"%PDF-1.7\n", "application/pdf"),
        (WAV, "audio/wav"),
        (b"ID3\x04\0", "audio/mpeg"),
        (b"\xff\xfb\x90\0", "audio/mpeg"),
        (b"\xff\xf3\x90\0", "audio/mpeg"),
        (b"fLaC\0\0", "audio/flac"),
        (b"OggS\0\x02", "audio/ogg"),
        (b"\0\0\0\x20ftypM4A \0", "audio/mp4"),
        (b"\0\0\0\x20ftypisom\0", "video/mp4"),
        ("Grüße".encode(), "text/plain"),
        (b"ID3 tags are at the front", "text/plain"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "text/plain"),
        (b"\xef\xbb\xbfwith a mark", "text/plain"),
        (b"\xff\xfeU\0T\0F\0", "text/plain"),
        (b"latin \xe9", ""),
        (b"nul \0", ""),
        (b"PK\x03\x04zip", ""),
        (b"\xff", ""),
    ],
)
def test_a_file_is_known_by_its_first_bytes(data, type):
    assert attachment.sniff(data) == type


def test_an_office_document_is_known_by_its_name_among_archives():
    assert attachment.sniff(b"PK\x03\x04", "a.docx").endswith("wordprocessingml.document")
    assert attachment.sniff(b"hello", "a.docx") == "text/plain"


def test_the_bytes_count_and_not_the_name(tmp_path):
    path = tmp_path / "cat.txt"
    path.write_bytes(PNG)
    url = "data:image/png;base64," + base64.b64encode(PNG).decode()
    assert part(path) == part(str(path)) == part(PNG) == {"type": "image_url", "image_url": {"url": url}}


def test_a_pdf_is_a_file_with_its_name(tmp_path):
    path = tmp_path / "paper.pdf"
    path.write_bytes(b"%PDF-1.7")
    assert part(path)["file"] == {"filename": "paper.pdf", "file_data": "data:application/pdf;base64,JVBERi0xLjc="}


@pytest.mark.parametrize(
    ("data", "type", "format"),
    [(WAV, None, "wav"), (b"\xff\xfb\x90\0", None, "mp3"), (b"fLaC\0", None, "flac"), (b"x", "audio/x-m4a", "m4a")],
)
def test_sound_has_the_names_that_the_api_gives_formats(data, type, format):
    assert part(data, type=type)["input_audio"] == {"data": base64.b64encode(data).decode(), "format": format}


def test_a_text_is_put_between_fences_with_its_name():
    assert part(b"one\r\ntwo", name="a.txt") == {"type": "text", "text": "File a.txt:\n```\none\ntwo\n```\n"}


@settings(max_examples=rounds(100), deadline=None)
@given(st.text(alphabet="`a\n", max_size=40))
def test_no_text_can_close_its_fence(text):
    _, fence, *lines = attachment.document("a", text).split("\n")
    assert lines.pop() == ""
    assert lines.pop() == fence
    assert not any(line.startswith(fence) for line in lines)
    assert "\n".join(lines).rstrip("\n") == text.rstrip("\n")


def test_a_name_cannot_break_out_of_its_line():
    assert attachment.document("a\n```\nevil\x1b", "x").startswith("File a?```?evil?:\n")


def test_a_type_that_is_said_is_taken_at_its_word():
    assert part(b"x", type="image/png")["image_url"]["url"] == "data:image/png;base64,eA=="
    assert part(b"{}", type="application/json; charset=utf-8", name="a")["text"] == "File a:\n```\n{}\n```\n"
    assert part(b"x", type="application/x-thing")["file"]["file_data"] == "data:application/x-thing;base64,eA=="


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "https://x.test/cat.png?w=1.pdf",
            {"type": "image_url", "image_url": {"url": "https://x.test/cat.png?w=1.pdf"}},
        ),
        ("HTTPS://x.test", {"type": "image_url", "image_url": {"url": "HTTPS://x.test"}}),
        ("https://x.test/a.PDF#page=2", {"type": "file", "file": {"file_url": "https://x.test/a.PDF#page=2"}}),
        ("data:image/png;base64,QQ==", {"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ=="}}),
    ],
)
def test_a_url_is_left_to_the_server(url, expected):
    assert part(url) == expected


def test_a_url_is_what_its_type_says_if_one_is_given():
    assert part("https://x.test/get?id=1", type="application/pdf")["file"]["file_url"] == "https://x.test/get?id=1"


@pytest.mark.parametrize("url", ["https://x.test/a.mp3", "https://x.test/notes.md", "data:text/plain,hi"])
def test_what_no_endpoint_fetches_is_refused(url):
    with pytest.raises(Unattachable, match="download"):
        part(url)


def test_what_cannot_be_attached_is_named(tmp_path):
    missing, empty, odd = (tmp_path / name for name in ("missing.png", "empty.png", "odd.bin"))
    empty.touch()
    odd.write_bytes(b"\x80\x81\0")
    for path, words in (
        (missing, "missing.png cannot be read: No such file"),
        (tmp_path, "cannot be read: Is a directory"),
        (empty, "empty.png is empty"),
        (odd, "odd.bin has an unknown type"),
    ):
        with pytest.raises(Unattachable, match=words):
            part(path)
    with pytest.raises(Unattachable, match="not UTF-8 text"):
        part(b"\xff\xfd", type="text/plain")


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "huge.png"
    with open(path, "wb") as file:
        file.truncate(attachment.LARGEST + 1)
    with pytest.raises(Unattachable, match="at most 50 MB"):
        part(path)


def test_a_pipe_that_does_not_end_is_not_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(attachment, "LARGEST", 1 << 20)
    path = tmp_path / "pipe"
    os.mkfifo(path)

    def write() -> None:
        try:
            with open(path, "wb", buffering=0) as pipe:
                while True:
                    pipe.write(b"\0" * 65536)
        except BrokenPipeError:
            pass

    writer = threading.Thread(target=write)
    writer.start()
    with pytest.raises(Unattachable, match="too large"):
        part(path)
    writer.join()
