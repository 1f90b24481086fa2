"""Requests that make no stream: passed on to upstream as they are, both ways, for callers who may.

Where callers have tokens, upstream knows one key for all of them. So what upstream keeps (files, conversations, responses …) is its
obtainer's alone: an id that an owner did not obtain here is not found, in paths, bodies and lists.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from urllib.parse import quote

from unspool.jsontext import dumps, parse
from unspool.serve.headers import downstream_headers, upstream_headers
from unspool.serve.http import Headers, Request
from unspool.serve.owners import Owner, Owners, Refused
from unspool.serve.store import Store
from unspool.serve.upstream import Upstream, fault_of, read_all

# What every token may reach besides; the rest as its ``paths`` say.
_EVERYBODYS = ("/models", "/embeddings", "/responses", "/chat/completions", "/completions")
# What upstream keeps under ids, as the first part of their paths.
_KEPT = ("files", "conversations", "responses", "batches", "vector_stores")
# Fields that name one file, and several.
_FILE, _FILES = ("file_id", "input_file_id"), "file_ids"


class Passage:
    """Passes requests on to upstream."""

    def __init__(self, store: Store, upstream: Upstream, owners: Owners, body_bytes: int) -> None:
        self._store = store
        self._upstream = upstream
        self._owners = owners
        self._body_bytes = body_bytes

    async def handle(self, request: Request, owner: Owner, below: str, cors: Headers) -> None:
        """Pass a request on, and its answer back. Raises Refused."""
        token = owner.token
        if (
            token is not None
            and below not in _EVERYBODYS
            and not below.startswith("/models/")
            and not token.allows_path(below)
        ):
            raise Refused(404, f"There is nothing at {below[:200]} for this token.", "not_found")
        body = await request.body(self._body_bytes) if request.method in ("POST", "PUT", "PATCH") else None
        if self._owners.uses_tokens:
            await self._check_path(below, owner)
            if body:
                await self.check_body(parse(body), owner)
        headers = upstream_headers(request.headers, pass_authorization=not self._owners.uses_tokens)
        call = self._upstream.call(request.method, self._upstream.url(quote(below), query_of(request)), headers, body)
        try:
            if not await call.head():
                fault = fault_of(call)
                raise Refused(
                    502, fault.message if fault is not None else "Upstream sent nothing.", "upstream_unreachable"
                )
            passed = [*without_length(downstream_headers(call.headers)), *cors]
            if call.status in (401, 403) and self._owners.uses_tokens:
                raise Refused(502, "Upstream refuses the gateway's key.", "upstream_unauthorized")
            if (
                token is not None
                and call.status == 200
                and (below == "/models" or "json" in call.headers.get("content-type", ""))
            ):
                data = await read_all(call, self._body_bytes)
                return await request.respond(call.status, passed, await self._seen(owner, below, data))
            response = request.stream(call.status, passed)
            gone = asyncio.ensure_future(request.gone())
            try:
                while data := await call.read():
                    response.write(data)
                    await response.drained()
                    if gone.done():
                        return
            finally:
                gone.cancel()
            if call.fault is not None:
                response.abort()
            else:
                response.end()
        finally:
            call.leave() if call.fault is None else call.stop()

    async def check_body(self, body: object, owner: Owner) -> None:
        """Raise Refused where a body names what its owner did not obtain here."""
        if isinstance(body, dict):
            for name in ("previous_response_id", "conversation"):
                value = body.get(name)
                id = value.get("id") if isinstance(value, dict) else value
                if isinstance(id, str) and not await self._store.owns_object(id, owner.id):
                    raise Refused(404, f"There is no {name} {id[:100]!r}.", "not_found")
        for id in _file_ids(body):
            if not await self._store.owns_object(id, owner.id):
                raise Refused(404, f"There is no file {id[:100]!r}.", "not_found")

    async def _check_path(self, below: str, owner: Owner) -> None:
        kind, *ids = below.strip("/").split("/")
        if kind in _KEPT and ids and not await self._store.owns_object(ids[0], owner.id):
            raise Refused(404, f"There is no {ids[0][:100]!r} here.", "not_found")

    async def _seen(self, owner: Owner, below: str, data: bytes) -> bytes:
        """What of a JSON answer a token may see; remembers which objects it obtained."""
        value = parse(data)
        if not isinstance(value, dict):
            return data
        listed = value.get("data")
        if below == "/models" and owner.token is not None and isinstance(listed, list):
            allows = owner.token.allows_model
            models = [one for one in listed if isinstance(one, dict) and allows(str(one.get("id")))]
            return dumps({**value, "data": models}).encode()
        if below.strip("/") in _KEPT and isinstance(listed, list):
            own = [one for one in listed if isinstance(one, dict) and await self._owns(one.get("id"), owner)]
            # Where a page begins and ends would name what others have.
            return dumps({**value, "data": own, "first_id": None, "last_id": None}).encode()
        if isinstance(value.get("id"), str):
            await self._store.own_object(value["id"], owner.id)
        return data

    async def _owns(self, id: object, owner: Owner) -> bool:
        return isinstance(id, str) and await self._store.owns_object(id, owner.id)


def query_of(request: Request) -> str:
    """The query of a request as it came."""
    return request.target.partition("?")[2]


def without_length(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers without those that say how long the body is, or how it is cut."""
    return [one for one in headers if one[0] not in (b"content-length", b"transfer-encoding")]


def _file_ids(value: object) -> Iterator[str]:
    """Yield the ids of files that a body names, wherever they stand."""
    if isinstance(value, dict):
        for name, one in value.items():
            if name in _FILE and isinstance(one, str):
                yield one
            elif name == _FILES and isinstance(one, list):
                yield from (id for id in one if isinstance(id, str))
            elif name != "metadata":
                yield from _file_ids(one)
    elif isinstance(value, list):
        for one in value:
            yield from _file_ids(one)
