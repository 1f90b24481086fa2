"""Streams that ask a scripted server, and what comes of them."""

from __future__ import annotations

from typing import Any

from support.server import Server, sends
from support.waiting import PATIENCE
from support.wire import DONE, event
from unspool.api.prompt import Prompt
from unspool.client.aio import AsyncAnswer
from unspool.client.answer import Answer
from unspool.client.exchange import Exchange
from unspool.client.limits import Limits
from unspool.config.target import Target
from unspool.journal.writer import Writer

KEY = "sk-test-0123456789abcdef"


def piece(text: str) -> bytes:
    """A chat event with a piece of text."""
    return event(
        {"id": "c1", "model": "m", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}
    )


def finish(reason: str = "stop") -> bytes:
    """The chat event with the finish reason."""
    return event({"id": "c1", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})


WHOLE = piece("Hel") + piece("lo") + finish() + DONE


def exchange(url: str, **arguments: Any) -> Exchange:
    """A stream to be asked of a server, journalled in memory."""
    target = Target(
        arguments.pop("name", "test"),
        url,
        arguments.pop("api", "chat"),
        key=arguments.pop("key", KEY),
        auth=arguments.pop("auth", "bearer"),
        headers=arguments.pop("headers", {}),
    )
    prompt = Prompt("Hi", "m", **arguments.pop("prompt", {}))
    return Exchange(target, prompt, journal=arguments.pop("journal", None) or Writer(None), **arguments)


def ask(
    url: str,
    *,
    connect: float = 5.0,
    idle: float = PATIENCE,
    total: float | None = None,
    check: bool = False,
    **rest: Any,
) -> Answer:
    """A stream, asked of a server."""
    return Answer(exchange(url, **rest), Limits(connect, idle, total), check=check)


def aask(
    url: str,
    *,
    connect: float = 5.0,
    idle: float = PATIENCE,
    total: float | None = None,
    check: bool = False,
    **rest: Any,
) -> AsyncAnswer:
    """The same for asyncio."""
    return AsyncAnswer(exchange(url, **rest), Limits(connect, idle, total), check=check)


class Ended:
    """What came of a stream that was read to its end."""

    def __init__(self, answer: Answer) -> None:
        with answer:
            self.text = "".join(answer)
            self.answer = answer
        assert answer.ending is not None
        self.outcome = answer.ending.outcome
        self.message = answer.ending.message
        self.ending = answer.ending
        assert answer.exchange.journal is not None
        self.journal = answer.exchange.journal.contents().decode()


def read(url: str, **arguments: Any) -> Ended:
    """Ask and read to the end."""
    return Ended(ask(url, **arguments))


def told(*script: bytes, **arguments: Any) -> Ended:
    """What comes of a server that sends these bytes and closes the connection."""
    with Server(sends(*script)) as server:
        return read(server.url, **arguments)
