"""Requests that make no stream: passed on to upstream as they are, both ways, for callers who may.

Where callers have tokens, upstream knows one key for all of them. So what upstream keeps (files, conversations, responses …) is its
obtainer's alone: an id that an owner did not obtain here is not found, in paths, bodies and lists.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from urllib.parse import quote

from unspool.jsontext import dumps, from_json, parse
from unspool.serve.headers import downstream_headers, upstream_headers
from unspool.serve.http import Headers, Request
from unspool.serve.owners import Owner, Owners, Refused, Token
from unspool.serve.store import Store
from unspool.serve.upstream import Upstream, fault_of, read_all

# What upstream keeps under ids, whatever these look like. Elsewhere a part of a path with a digit is an id.
_KEPT = ("chat/completions", "files", "conversations", "responses", "batches", "vector_stores")
# Paths below these that are no ids.
_ACTIONS = ("/responses/input_tokens", "/responses/compact")
# Fields of a body that name what upstream keeps: one thing, and several.
_NAMES_ONE = (
    *("file_id", "input_file_id", "training_file", "validation_file", "vector_store_id"),
    *("container", "container_id", "skill_id"),
)
_NAMES_SEVERAL = ("file_ids", "vector_store_ids")
# Objects with an ``id`` that name one: an answer in sound, a voice.
_NAMES_BY_ID = ("audio", "voice")
# Fields that decide what a request may do. A server that compares names without their case would read others for them.
_DECISIVE = ("model", "previous_response_id", "conversation")
# Fields of an object by which upstream tells of others that it made of it.
_MADE = ("output_file_id", "error_file_id", "result_file_id")


#: What a caller hears where upstream's own words can show a part of the gateway's key.
REFUSED_KEY = "Upstream rejects the gateway's key."


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
        if token is not None and not _may_reach(token, request.method, below):
            raise Refused(404, f"There is nothing at {below[:200]} for this token.", "not_found")
        body = await request.body(self._body_bytes) if request.method in ("POST", "PUT", "PATCH") else None
        if self._owners.uses_tokens:
            await self._check_path(below, owner)
            if body:
                if "json" in (request.header("content-type") or ""):
                    check_json(body)
                await self.check_body(parse(body), owner)
        headers = upstream_headers(request.headers, with_account=not self._owners.uses_tokens)
        call = self._upstream.call(request.method, self._upstream.url(quote(below), query_of(request)), headers, body)
        try:
            if not await call.head():
                fault = fault_of(call)
                raise Refused(
                    502, fault.message if fault is not None else "Upstream sent nothing.", "upstream_unreachable"
                )
            passed = [*without_length(downstream_headers(call.headers)), *cors]
            if call.status in (401, 403) and self._owners.uses_tokens:
                raise Refused(502, REFUSED_KEY, "upstream_unauthorized")
            if request.method == "HEAD":
                return await request.respond(call.status, passed)
            if token is not None and call.status == 200 and "json" in call.headers.get("content-type", ""):
                data = await read_all(call, self._body_bytes)
                return await request.respond(call.status, passed, await self._seen(owner, request.method, below, data))
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
        """Raise Refused where a body names a model that its token may not use, or what its owner did not obtain here."""
        if isinstance(body, dict):
            model = body.get("model")
            if owner.token is not None and model is not None and not owner.token.allows_model(str(model)):
                raise Refused(403, f"This token may not use the model {str(model)[:100]!r}.", "model_not_allowed")
            for name in body:
                if name not in _DECISIVE and name.lower() in _DECISIVE:
                    raise Refused(400, f"Write {name.lower()} for {name[:60]!r}.", "invalid_json")
            prompt = body.get("prompt")
            if owner.token is not None and isinstance(prompt, dict):
                # Made at upstream's site: nobody obtains one here.
                prompt_id = str(prompt.get("id"))
                if not owner.token.allows_path(f"/prompts/{prompt_id}"):
                    raise Refused(404, f"There is no prompt {prompt_id[:100]!r} for this token.", "not_found")
            for name in ("previous_response_id", "conversation"):
                value = body.get(name)
                id = value.get("id") if isinstance(value, dict) else value
                if isinstance(id, str) and not await self._store.owns_object(id, owner.id):
                    raise Refused(404, f"There is no {name} {id[:100]!r}.", "not_found")
        for id in _ids(body):
            if not await self._store.owns_object(id, owner.id):
                raise Refused(404, f"There is no {id[:100]!r} here.", "not_found")

    async def _check_path(self, below: str, owner: Owner) -> None:
        if any(character in below for character in "%;?#"):
            # A server behind might decode it once more, to another path. No id has one of them.
            raise Refused(404, f"There is nothing at {below[:200]}.", "not_found")
        if below.startswith("/models/"):
            model = below.removeprefix("/models/")
            if owner.token is not None and not owner.token.allows_model(model):
                raise Refused(404, f"There is no model {model[:100]!r} for this token.", "not_found")
        elif (id := _id_in(below)) is not None and not await self._store.owns_object(id, owner.id):
            raise Refused(404, f"There is no {id[:100]!r} here.", "not_found")

    async def _seen(self, owner: Owner, method: str, below: str, data: bytes) -> bytes:
        """What of a JSON answer a token may see; remembers which objects it obtained."""
        value = parse(data)
        if not isinstance(value, dict):
            return data
        listed = value.get("data")
        if below == "/models" and owner.token is not None and isinstance(listed, list):
            allows = owner.token.allows_model
            models = [one for one in listed if isinstance(one, dict) and allows(str(one.get("id")))]
            return dumps({**value, "data": models}).encode()
        if method == "GET" and isinstance(listed, list) and not below.startswith("/models/") and not _id_in(below):
            own = [one for one in listed if isinstance(one, dict) and await self._owns(one.get("id"), owner)]
            # Where upstream's page begins and ends would name what others have.
            ends = {"first_id": own[0]["id"], "last_id": own[-1]["id"]} if own else {"first_id": None, "last_id": None}
            return dumps({**value, "data": own, **ends}).encode()
        for name in ("id", *_MADE):
            if isinstance(value.get(name), str):
                await self._store.own_object(value[name], owner.id)
        await self.own_items(value, owner)
        return data

    async def own_sounds(self, completion: dict[str, object], owner: Owner) -> None:
        """Record the answers in sound of a chat completion, or of a chunk of one, which later requests may refer to."""
        choices = completion.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            for name in ("message", "delta"):
                message = choice.get(name) if isinstance(choice, dict) else None
                audio = message.get("audio") if isinstance(message, dict) else None
                if isinstance(audio, dict) and isinstance(audio.get("id"), str):
                    await self._store.own_object(audio["id"], owner.id)

    async def own_items(self, response: dict[str, object], owner: Owner) -> None:
        """Record the parts of a response, which later requests may refer to."""
        output = response.get("output")
        for item in output if isinstance(output, list) else ():
            if isinstance(item, dict) and isinstance(item.get("id"), str):
                await self._store.own_object(item["id"], owner.id)

    async def _owns(self, id: object, owner: Owner) -> bool:
        return isinstance(id, str) and await self._store.owns_object(id, owner.id)


def _may_reach(token: Token, method: str, below: str) -> bool:
    """Whether a token may ask this of upstream: models, embeddings, its own responses, and what its ``paths`` say."""
    reads = method in ("GET", "HEAD")
    return (
        token.allows_path(below)
        or (reads and (below == "/models" or below.startswith("/models/")))
        or (method == "POST" and below == "/embeddings")
        or below.startswith("/responses/")
    )


def _id_in(below: str) -> str | None:
    """The first id in a path; what follows is a part of what it names."""
    if below in _ACTIONS:
        return None
    for kind in _KEPT:
        if below.startswith(f"/{kind}/"):
            return below.removeprefix(f"/{kind}/").partition("/")[0]
    return next((one for one in below.split("/")[2:] if any(map(str.isdigit, one))), None)


def query_of(request: Request) -> str:
    """The query of a request as it came."""
    return request.target.partition("?")[2]


def without_length(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers without those that say how long the body is, or how it is cut."""
    return [one for one in headers if one[0] not in (b"content-length", b"transfer-encoding")]


def check_json(body: bytes) -> None:
    """Raise Refused for a body that upstream may read otherwise than it is checked here: what is not strictly JSON, or names a field twice."""
    try:
        from_json(body, catch_duplicate_keys=True)
    except ValueError:
        raise Refused(400, "The body is not JSON, or has a field twice.", "invalid_json") from None


def _is_reference(item: dict[str, object]) -> bool:
    """Whether an item of a request names a part of an earlier response instead of repeating it. It may leave out its type."""
    if item.get("type") == "reasoning":
        return not item.get("encrypted_content")
    return item.get("type") == "item_reference" or item.keys() <= {"id", "type"}


def _ids(value: object) -> Iterator[str]:
    """Yield the ids of what upstream keeps that a body names, wherever they stand."""
    if isinstance(value, dict):
        for name, one in value.items():
            if name in _NAMES_ONE and isinstance(one, str):
                yield one
            elif name in _NAMES_SEVERAL and isinstance(one, list):
                yield from (id for id in one if isinstance(id, str))
            elif name != "metadata":
                if name in _NAMES_BY_ID and isinstance(one, dict) and isinstance(id := one.get("id"), str):
                    yield id
                yield from _ids(one)
    elif isinstance(value, list):
        for one in value:
            if isinstance(one, dict) and _is_reference(one):
                if isinstance(id := one.get("id"), str):
                    yield id
            else:
                yield from _ids(one)
