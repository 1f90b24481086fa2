"""Many streams at once with the openai SDK: ``sdk_many.py STREAMS MODEL EVENTS``. The counterpart of ``ours/many.py``."""

import asyncio
import sys

from openai import AsyncOpenAI


async def main(streams: int, model: str, events: int) -> None:
    counts = [0] * streams

    async def one(i: int) -> None:
        stream = await client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "hi"}], stream=True
        )
        async for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                counts[i] += 1

    async with AsyncOpenAI(max_retries=0) as client:
        await asyncio.gather(*map(one, range(streams)))
    assert set(counts) == {events}, counts


asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
