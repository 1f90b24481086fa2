"""An answer that comes all at once: what programs are told of it is told piece by piece all the same."""

from __future__ import annotations

import json

from support.wire import stream

WORDS = [f"w{number} " for number in range(150)]


def test_each_piece_has_its_line_and_is_counted(unspool, serve) -> None:
    server = serve(stream("chat", *WORDS))
    done = unspool("--base-url", server.url, "--api", "chat", "-m", "m", "--json", "--stats", "json", "hi")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["text"] for line in lines if line["type"] == "text"] == WORDS
    assert [line["pieces"] for line in lines if line["type"] == "stats"] == [len(WORDS)]
