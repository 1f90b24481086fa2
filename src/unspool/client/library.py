"""The public functions: a prompt in, a streamed answer out."""

from __future__ import annotations

from unspool.api.prompt import Prompt
from unspool.client.answer import IDLE_TIMEOUT, Answer, Limits
from unspool.client.exchange import Exchange
from unspool.client.retry import DEFAULT_RETRIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from unspool.client.aio import AsyncAnswer


def stream(
    prompt: str | list[dict[str, Any]],
    *,
    model: str | None = None,
    system: str | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    max_tokens: int | None = None,
    stop: str | list[str] | None = None,
    seed: int | None = None,
    n: int | None = None,
    options: dict[str, Any] | None = None,
    store: bool = False,
    api: str | None = None,
    profile: str | None = None,
    base_url: str | None = None,
    key: str | None = None,
    journal: bool = True,
    retries: int = DEFAULT_RETRIES,
    timeout: float | None = None,
    idle_timeout: float = IDLE_TIMEOUT,
    check: bool = True,
) -> Answer:
    """Ask a model and return its answer as it streams.

    ``prompt`` is a text, or messages as in Chat Completions. ``model``, ``api`` ("responses", "chat" or "completions"),
    ``profile``, ``base_url`` and ``key`` default to the configuration and the environment, as for the command. ``options``
    are sent to the server as they are. The answer is kept in a journal unless ``journal`` is False. ``retries`` counts the
    further attempts before the first event. ``timeout`` bounds the whole answer and ``idle_timeout`` the silence between
    two bytes, in seconds. ``check=False`` leaves it to you to look at ``answer.outcome``.

    Raises ValueError for arguments that do not go together, and `unspool.config.ConfigError` for a configuration
    that cannot be used. The network's errors are raised while iterating: see `Answer`.
    """
    exchange = _exchange(locals())
    return Answer(exchange, Limits(idle=idle_timeout, total=timeout), check=check)


def astream(
    prompt: str | list[dict[str, Any]],
    *,
    model: str | None = None,
    system: str | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    max_tokens: int | None = None,
    stop: str | list[str] | None = None,
    seed: int | None = None,
    n: int | None = None,
    options: dict[str, Any] | None = None,
    store: bool = False,
    api: str | None = None,
    profile: str | None = None,
    base_url: str | None = None,
    key: str | None = None,
    journal: bool = True,
    retries: int = DEFAULT_RETRIES,
    timeout: float | None = None,
    idle_timeout: float = IDLE_TIMEOUT,
    check: bool = True,
) -> AsyncAnswer:
    """Ask a model and return its answer as it streams, for asyncio. The arguments are those of `stream`."""
    from unspool.client.aio import AsyncAnswer

    exchange = _exchange(locals())
    return AsyncAnswer(exchange, Limits(idle=idle_timeout, total=timeout), check=check)


def _exchange(arguments: dict[str, Any]) -> Exchange:
    from unspool.config import paths
    from unspool.config.settings import load, resolve
    from unspool.journal.writer import Writer

    settings = load()
    places = {name: arguments[name] for name in ("profile", "base_url", "key", "model", "api")}
    endpoint = resolve(**places, settings=settings)
    model = arguments["model"] or endpoint.model
    if not model:
        raise ValueError(f"name a model: the profile {endpoint.name!r} has no default one")
    names = ("system", "temperature", "top_p", "max_tokens", "stop", "seed", "n", "store", "options")
    prompt = Prompt(arguments["prompt"], model, **{name: arguments[name] for name in names})
    return Exchange(
        endpoint,
        prompt,
        journal=Writer(paths.streams_dir(), sync=settings.sync) if arguments["journal"] else None,
        retries=arguments["retries"],
    )
