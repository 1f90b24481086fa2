"""Many streams at once with ``unspool.astream``: ``many.py STREAMS MODEL EVENTS [journal]``.

Prints the fewest and the most events that any stream had received when half of all had come, and the descriptors left open.
"""

import asyncio
import json
import os
import sys

import unspool


async def main(streams: int, model: str, events: int, journal: bool) -> None:
    counts = [0] * streams
    halfway: list[int] = []
    received = 0

    async def one(i: int) -> None:
        nonlocal received
        async with unspool.astream("hi", model=model, api="chat", journal=journal) as answer:
            async for _piece in answer:
                counts[i] += 1
                received += 1
                if received == streams * events // 2:
                    halfway.extend((min(counts), max(counts)))

    open_before = len(os.listdir("/dev/fd"))
    await asyncio.gather(*map(one, range(streams)))
    assert set(counts) == {events}, counts
    print(json.dumps({"halfway": halfway, "left_open": len(os.listdir("/dev/fd")) - open_before}))


asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), "journal" in sys.argv))
