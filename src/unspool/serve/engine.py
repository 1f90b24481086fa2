"""Connections to Valkey or Redis by URL, and commands that share round trips.

redis-py is imported here alone, and only where a store has such a URL. One `Engine` serves one event loop. Nothing blocks on its
connections: commands that are issued while others are on their way leave together in the next round trip, which is what makes many small
commands cheap.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from unspool import Error
from unspool.serve.store import StoreError

#: What the URL of a store begins with, and redis-py's word for it.
SCHEMES = {
    "valkey": "redis",
    "valkeys": "rediss",
    "redis": "redis",
    "rediss": "rediss",
    "valkey+sentinel": "sentinel",
    "redis+sentinel": "sentinel",
}
PASSWORD_VARIABLE = "UNSPOOL_STORE_PASSWORD"

# Seconds that the engine may take to answer. It answers in less than one millisecond, or it is not there.
_TIMEOUT = 5.0
_CONNECT_TIMEOUT = 2.0
# The oldest that knows everything in use here: Valkey began as Redis 7.2.
_OLDEST = (7, 0)

Argument = str | bytes | int | float


def is_engine(store: str | None) -> bool:
    """Whether a store is named by a URL. Everything else is a folder."""
    return store is not None and "://" in store


class Address:
    """Where the engine is: the parsed URL. Raises Error for one that cannot be used."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme.endswith("+cluster"):
            raise Error(
                "a Cluster cannot be the store: give the URL of one primary (valkey://HOST:PORT/DB), or of sentinels"
            )
        kind = SCHEMES.get(parts.scheme)
        if kind is None:
            raise Error(f"{parts.scheme}:// is not a store; known are a folder and {', '.join(SCHEMES)}://")
        try:
            import redis  # noqa: F401
        except ImportError:
            raise Error(f"{parts.scheme}:// needs redis-py: pip install 'unspool[valkey]'") from None
        self._password = unquote(parts.password or "") or os.environ.get(PASSWORD_VARIABLE) or None
        self._user = unquote(parts.username or "") or None
        self._is_sentinel = kind == "sentinel"
        #: The address as it may be shown.
        host = parts.netloc.rpartition("@")[2]
        self.shown = urlunsplit((parts.scheme, host, parts.path, "", ""))
        self._sentinels: list[tuple[str, int]] = []
        self._options: dict[str, str] = {}
        if not self._is_sentinel:
            self._url = urlunsplit((kind, host, parts.path, parts.query, ""))
            return
        self._service, _, database = parts.path.strip("/").partition("/")
        self._database = database or "0"
        if not self._service or not self._database.isdigit():
            raise Error(f"{self.shown}: expected {parts.scheme}://HOST:PORT,HOST:PORT/SERVICE/DB")
        self._options = dict(parse_qsl(parts.query))
        for one in host.split(","):
            name, _, port = one.rpartition(":") if not one.endswith("]") and ":" in one else (one, "", "26379")
            if not name or not port.isdigit():
                raise Error(f"{self.shown}: {one!r} is not HOST:PORT")
            self._sentinels.append((name.strip("[]"), int(port)))

    def check(self) -> None:
        """Raise Error for options of the URL that are not known. Does not connect."""
        self.blocking_clients()

    def clients(self) -> list[Any]:
        """A client for an event loop, and those of its sentinels. All are to be closed."""
        import redis.asyncio
        import redis.asyncio.retry
        import redis.asyncio.sentinel

        # Who calls decides what is sent again.
        retry = redis.asyncio.retry.Retry(redis.backoff.NoBackoff(), 0)
        return self._connect(redis.asyncio.Redis.from_url, redis.asyncio.sentinel.Sentinel, retry)

    def blocking_clients(self) -> list[Any]:
        """The same for a thread."""
        import redis
        import redis.retry
        import redis.sentinel

        return self._connect(
            redis.Redis.from_url, redis.sentinel.Sentinel, redis.retry.Retry(redis.backoff.NoBackoff(), 0)
        )

    def _connect(self, from_url: Callable[..., Any], sentinel: Callable[..., Any], retry: object) -> list[Any]:
        options: dict[str, object] = {
            "socket_timeout": _TIMEOUT,
            "socket_connect_timeout": _CONNECT_TIMEOUT,
            "socket_keepalive": True,
            "protocol": 2,
            "retry": retry,
            "username": self._user,
            "password": self._password,
        }
        try:
            if not self._is_sentinel:
                client = from_url(self._url, **options)
                # An option of the URL that is not known would be found out only when it connects.
                client.connection_pool.connection_class(**client.connection_pool.connection_kwargs)
                return [client]
            timeouts = {"socket_timeout": _CONNECT_TIMEOUT, "socket_connect_timeout": _CONNECT_TIMEOUT}
            known = sentinel(self._sentinels, sentinel_kwargs=timeouts)
            primary = known.master_for(self._service, db=int(self._database), **{**self._options, **options})
            return [primary, *known.sentinels]
        except (ValueError, TypeError) as error:
            raise Error(f"{self.shown}: the URL cannot be used: {error}") from error


class Script:
    """A Lua script of the engine's, which it knows by its hash after the first call."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    def command(self, keys: Iterable[str], arguments: Iterable[Argument]) -> tuple[Argument, ...]:
        """The command that runs it where the engine knows it."""
        keys = tuple(keys)
        return ("EVALSHA", self.sha, len(keys), *keys, *arguments)


class Engine:
    """Commands of one event loop. All methods raise StoreError when the engine is away, or refuses."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.client, *self._sentinels = address.clients()
        # Replies as they come: what redis-py makes of them depends on its version.
        self.client.response_callbacks = {}
        self._queue: list[tuple[tuple[Argument, ...], asyncio.Future[Any]]] = []
        self._sending: asyncio.Task[None] | None = None

    async def check(self, warn: Callable[[str], None]) -> None:
        """Raise StoreError for an engine that is too old, and warn of settings under which it forgets."""
        lines = (await self("INFO", "everything")).decode("utf-8", "replace").splitlines()
        found = dict(line.split(":", 1) for line in lines if ":" in line)
        name = "valkey" if found.get("server_name") == "valkey" else "redis"
        version = found.get("valkey_version") or found.get("redis_version", "0")
        if tuple(int(one) for one in version.split(".")[:2] if one.isdigit()) < _OLDEST:
            raise StoreError(f"{self.address.shown}: {name} {version} is too old; at least Redis 7.0 or Valkey 7.2")
        if found.get("aof_enabled") != "1":
            warn(f"{self.address.shown} does not write an append-only file: when it is restarted, streams are lost")
        policy = found.get("maxmemory_policy")
        if policy not in (None, "noeviction"):
            warn(
                f"{self.address.shown} removes keys when its memory is full ({policy}): set maxmemory-policy noeviction"
            )

    def __call__(self, *command: Argument) -> Awaitable[Any]:
        """Send a command with the next round trip. Returns its reply."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._queue.append((command, future))
        if self._sending is None or self._sending.done():
            self._sending = loop.create_task(self._send())
        return future

    async def run(self, script: Script, keys: Iterable[str], *arguments: Argument) -> Any:
        """Run a script."""
        keys = tuple(keys)
        try:
            return await self(*script.command(keys, arguments))
        except StoreError as error:
            if not is_unknown_script(error.__cause__):
                raise
        return await self("EVAL", script.source, len(keys), *keys, *arguments)

    async def exchange(self, commands: list[tuple[Argument, ...]]) -> list[Any]:
        """Send these in a round trip of their own. Returns their replies, an exception for each that was refused."""
        import redis

        pipeline = self.client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        try:
            replies: list[Any] = await pipeline.execute(raise_on_error=False)
        except (redis.RedisError, OSError, TimeoutError) as error:
            raise self.failure(error) from error
        return replies

    async def close(self) -> None:
        """Close the connections, after what is on its way."""
        if self._sending is not None:
            await asyncio.gather(self._sending, return_exceptions=True)
        for client in (self.client, *self._sentinels):
            await client.aclose()

    def failure(self, error: BaseException) -> StoreError:
        """What a reply or a connection that failed means, in words."""
        return StoreError(f"{self.address.shown}: {str(error) or type(error).__name__}")

    async def _send(self) -> None:
        while self._queue:
            batch, self._queue = self._queue, []
            try:
                replies = await self.exchange([command for command, _ in batch])
            except StoreError as error:
                replies = [error] * len(batch)
            for (_, future), reply in zip(batch, replies, strict=True):
                if future.done():
                    continue
                if isinstance(reply, StoreError):
                    future.set_exception(reply)
                elif isinstance(reply, Exception):
                    failure = self.failure(reply)
                    failure.__cause__ = reply
                    future.set_exception(failure)
                else:
                    future.set_result(reply)


def is_unknown_script(error: object) -> bool:
    """Whether the engine has not seen a script yet: it is new, or has been restarted."""
    return type(error).__name__ == "NoScriptError"
