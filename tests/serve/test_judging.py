"""The end of a stream whose producer was lost: upstream's own where its last event is in the log, else none."""

from __future__ import annotations

import pytest

from support.wire import end, piece, start
from unspool.serve.judging import end_in_log
from unspool.serve.store import EVENT, Entry
from unspool.sse import Decoder

FAILED = b'data: {"error":{"message":"Overloaded.","type":"server_error"}}\n\n'
BROKEN = b"data: {broken\n\n"


def entries(data: bytes) -> list[Entry]:
    return [
        Entry(position, EVENT, 0.0, type=one.type, data=one.data.encode())
        for position, one in enumerate(Decoder().feed(data), 1)
    ]


@pytest.mark.parametrize("api", ["responses", "chat", "completions"])
def test_upstreams_end_is_the_streams(api: str) -> None:
    found = end_in_log(api, entries(start(api) + piece(api, "Py") + end(api)))
    assert found is not None
    assert (found.outcome, found.upstream) == ("complete", True)


@pytest.mark.parametrize("api", ["chat", "completions"])
def test_an_error_that_upstream_sent_last_is_an_end_that_viewers_have_seen(api: str) -> None:
    found = end_in_log(api, entries(start(api) + piece(api, "Py") + FAILED))
    assert found is not None
    assert (found.outcome, found.upstream, found.message) == ("server_error", True, "Overloaded.")


@pytest.mark.parametrize("api", ["responses", "chat", "completions"])
@pytest.mark.parametrize("last", [b"", BROKEN])
def test_what_is_no_end_leaves_the_stream_interrupted(api: str, last: bytes) -> None:
    assert end_in_log(api, entries(start(api) + piece(api, "Py") + last)) is None
