"""A question and its answer in a browser: the answer streams, and continues after a lost connection or a reload.

    pip install unspool
    OPENAI_API_KEY=… uvicorn --app-dir examples/browser app:app

A plain ASGI application without a framework. docs/how-to/web.md has the same for FastAPI, Starlette and Django.
"""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import unquote

import unspool

PAGE = Path(__file__).with_name("page.html").read_bytes()
relay = unspool.Relay()


async def app(scope, receive, send):
    """POST /ask starts an answer and returns its id; an EventSource reads GET /streams/<id>; other paths return the page."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["path"] == "/ask":
        question = json.loads(await body_of(receive))["question"]
        id = relay.start(unspool.astream(question))
        await answer(send, b"application/json", json.dumps({"id": id}).encode())
    elif scope["path"].startswith("/streams/"):
        headers = dict(scope["headers"])
        response = await relay.response(
            unquote(scope["path"].removeprefix("/streams/")), headers.get(b"last-event-id", b"").decode("latin-1")
        )
        await response(scope, receive, send)
    else:
        await answer(send, b"text/html; charset=utf-8", PAGE)


async def lifespan(receive, send):
    """Close the journals of running streams when the server stops."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.shutdown":
            await relay.aclose()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def body_of(receive):
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def answer(send, content_type, body):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", content_type)]})
    await send({"type": "http.response.body", "body": body})
