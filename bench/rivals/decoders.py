"""Event stream decoders over a file of events: ``decoders.py DECODER FILE SIZE EVENTS``, SIZE being a chunk's in bytes, 0 for one event.

Prints the least CPU seconds of several times. Each decoder counts the events as it gives them out; each runs where it is installed.
"""

import sys
import time
from collections.abc import Iterable

_TIMES = 5


def unspool(chunks: Iterable[bytes]) -> int:
    from unspool.sse import Decoder

    feed = Decoder().feed
    seen = 0
    for chunk in chunks:
        for _event in feed(chunk):
            seen += 1
    return seen


def openai(chunks: Iterable[bytes]) -> int:
    from openai._streaming import SSEDecoder

    seen = 0
    for _event in SSEDecoder().iter_bytes(iter(chunks)):
        seen += 1
    return seen


def sseclient(chunks: Iterable[bytes]) -> int:
    from sseclient import SSEClient

    seen = 0
    for _event in SSEClient(chunks).events():
        seen += 1
    return seen


def httpx_sse(chunks: Iterable[bytes]) -> int:
    # Its two decoders joined as EventSource.iter_sse joins them, with httpx's way from bytes to text, but without the cost of
    # an httpx response between.
    import codecs

    from httpx_sse._decoders import SSEDecoder, SSELineDecoder

    to_text = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
    to_lines = SSELineDecoder().decode
    to_event = SSEDecoder().decode
    seen = 0
    for chunk in chunks:
        for line in to_lines(to_text(chunk)):
            if to_event(line) is not None:
                seen += 1
    return seen


def main(decoder: str, path: str, size: int, events: int) -> None:
    with open(path, "rb") as file:
        stream = file.read()
    if size:
        chunks = [stream[at : at + size] for at in range(0, len(stream), size)]
    else:
        chunks = [event + b"\n\n" for event in stream.split(b"\n\n")[:-1]]
    taken = []
    for _ in range(_TIMES):
        before = time.process_time()
        seen = globals()[decoder](chunks)
        taken.append(time.process_time() - before)
        assert seen == events, seen
    print(min(taken))


main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
