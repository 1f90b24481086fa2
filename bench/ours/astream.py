"""``unspool.astream`` from the library, doing nothing with what it gets: ``astream.py MODEL CHARACTERS``."""

import asyncio
import sys

import unspool


async def main(model: str, expected: int) -> None:
    seen = 0
    async with unspool.astream("hi", model=model, api="chat", journal=False) as answer:
        async for piece in answer:
            seen += len(piece)
    assert seen == expected, seen


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
