"""What a user's program may write, for type checkers: it is checked and never run."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, assert_type

import unspool
from unspool import Answer, AsyncAnswer, Delta, Messages, StreamCut, StreamError, Text, ToolCall, Usage


@dataclass
class Recipe:
    name: str
    steps: list[str]


class Place(TypedDict):
    city: str


def weather(city: str) -> str:
    """Say how the weather is."""
    return f"sunny in {city}"


def one_thread() -> None:
    with unspool.stream("Hi", model="m", temperature=0.5, stop=["x"], options={"a": 1}) as answer:
        for piece in answer:
            assert_type(piece, str)
    assert_type(answer.text, str)
    assert_type(answer.outcome, str | None)
    assert_type(answer.usage, Usage | None)
    assert_type(answer.id, str | None)
    assert_type(answer.finish_reason, str | None)
    assert_type(answer.request_id, str | None)
    assert_type(answer.refusal, str | None)
    assert_type(answer.tool_calls, list[ToolCall])
    assert_type(answer.read(), str)
    assert_type(answer.message, dict[str, Any])
    assert_type(answer.reply("And?", {"role": "user", "content": "x"}), Messages)
    for delta in answer.deltas():
        assert_type(delta, Delta)
        match delta:
            case Text(text, choice):
                assert_type(text, str)
                assert_type(choice, int)
            case ToolCall(name=name):
                assert_type(name, str)
                assert_type(delta.parsed(), dict[str, Any])
            case _:
                pass
    for event in answer.events():
        assert_type(event, unspool.sse.Event)
        assert_type(event.data, str)
    unspool.stream(
        answer.reply(*(call.result(weather(**call.parsed())) for call in answer.tool_calls)), tools=[weather]
    )
    unspool.stream([{"role": "user", "content": "Hi"}], attachments=[Path("a.png"), b"", "https://example.org/a.png"])


def objects() -> None:
    answer = unspool.stream("Tea?", schema=Recipe)
    assert_type(answer, Answer[Recipe])
    for partial in answer.partials():
        print(partial["name"])
    assert_type(answer.parsed, Recipe)
    assert_type(answer.parse(), Recipe)
    assert_type(unspool.stream("Where?", schema=Place).parse(), Place)
    assert_type(unspool.stream("Tea?", schema={"type": "object"}).parse(), Any)


def clients() -> None:
    with unspool.Client(model="m", system="Be brief.", profile="openai", idle_timeout=10) as client:
        assert_type(client.stream("Hi", schema=Recipe).parse().steps, list[str])
        show(client.stream("Hi"))
    assert_type(unspool.resume("7F3K", check=False).read(), str)
    with unspool.follow("7F3K", after=3) as followed:
        assert_type(followed.read(), str)
        assert_type(followed.last_id, int)


def show(answer: Answer) -> None:
    """An answer of whatever type."""
    print(answer.parse())


async def in_asyncio() -> None:
    async with unspool.astream("Hi", model="m") as answer:
        async for piece in answer:
            assert_type(piece, str)
        async for delta in answer.deltas():
            assert_type(delta, Delta)
        async for event in answer.events():
            assert_type(event, unspool.sse.Event)
    async with unspool.AsyncClient(model="m") as client:
        recipe = client.stream("Tea?", schema=Recipe)
        assert_type(recipe, AsyncAnswer[Recipe])
        async for partial in recipe.partials():
            print(partial)
        assert_type(await recipe.parse(), Recipe)
        assert_type(await asyncio.gather(client.stream("a").read(), client.stream("b").read()), tuple[str, str])
    assert_type(await unspool.aresume("7F3K").read(), str)
    assert_type(await unspool.afollow("7F3K").read(), str)
    relay = unspool.Relay(abandon_after=30)
    assert_type(relay.start(unspool.astream("Hi")), str)
    response = await relay.response("id", "12")
    assert_type(response.status, int)
    assert_type(response.headers, dict[str, str])


def errors() -> None:
    try:
        one_thread()
    except StreamCut as error:
        assert_type(error.id, str | None)
    except unspool.RateLimited as error:
        assert_type(error.retry_after, float | None)
        assert_type(error.status, int | None)
    except StreamError as error:
        assert_type(error.outcome, str)
    except unspool.InvalidOutput as error:
        assert_type(error.text, str)
    except (unspool.ConfigError, unspool.NotFound, unspool.Busy, unspool.Error):
        pass
