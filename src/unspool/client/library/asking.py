"""What one asks with: the arguments of every function that begins a stream, with their defaults, and the stream they make."""

from __future__ import annotations

import os

from unspool.api.prompt import Prompt
from unspool.client.exchange import Exchange
from unspool.client.limits import CONNECT_TIMEOUT, DEFAULT_RETRIES, IDLE_TIMEOUT, Limits
from unspool.config import ConfigError
from unspool.config.target import Route

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, TypedDict

    from unspool.client.observing import Observer
    from unspool.config import Settings
    from unspool.config.target import Target

    #: What a prompt may be: a text, or messages as in Chat Completions.
    Asking = str | Sequence[Mapping[str, Any]]

    class Reading(TypedDict, total=False):
        """How an answer is read, whoever asked for it."""

        key: str | None
        retries: int
        connect_timeout: float
        timeout: float | None
        idle_timeout: float
        check: bool

    class AskOptions(Reading, total=False):
        """What `unspool.converse` takes beside the prompt and its tools; the docstring of `unspool.stream` says what each is."""

        model: str | None
        system: str | None
        attachments: Iterable[str | bytes | os.PathLike[str]] | None
        tool_choice: str | dict[str, Any] | None
        temperature: float | None
        top_p: float | None
        max_tokens: int | None
        stop: str | list[str] | None
        seed: int | None
        n: int | None
        store: bool
        options: dict[str, Any] | None
        api: str | None
        profile: str | None
        base_url: str | None
        journal: bool | str | os.PathLike[str]
        headers: Mapping[str, str] | None
        query: Mapping[str, str] | None
        ca_file: str | os.PathLike[str] | None
        client_cert: str | os.PathLike[str] | tuple[str, str] | None
        proxy: str | None
        unix_socket: str | os.PathLike[str] | None
        config: bool
        observer: Observer | None

    class Options(AskOptions, total=False):
        """What `unspool.stream` takes beside the prompt and the schema."""

        tools: Iterable[dict[str, Any] | Callable[..., Any]] | None


READING: dict[str, Any] = {
    "key": None,
    "retries": DEFAULT_RETRIES,
    "connect_timeout": CONNECT_TIMEOUT,
    "timeout": None,
    "idle_timeout": IDLE_TIMEOUT,
    "check": True,
}
#: Every argument and its default.
DEFAULTS: dict[str, Any] = {
    **READING,
    **dict.fromkeys(("model", "system", "attachments", "tools", "tool_choice", "schema")),
    **dict.fromkeys(("temperature", "top_p", "max_tokens", "stop", "seed", "n", "options")),
    **dict.fromkeys(("api", "profile", "base_url")),
    **dict.fromkeys(("headers", "query", "ca_file", "client_cert", "proxy", "unix_socket", "observer")),
    "store": False,
    "journal": True,
    "config": True,
}
#: What says where a request goes, and as whom.
PLACES = ("profile", "base_url", "key", "api")
_TEXTS = ("model", "system", "profile", "base_url", "key", "api", "proxy")
_NUMBERS = ("temperature", "top_p", "max_tokens", "n", "seed", "retries", "timeout", "idle_timeout", "connect_timeout")
_SAMPLING = ("temperature", "top_p", "max_tokens", "stop", "seed", "n", "store", "tool_choice")


def checked(name: str, given: Mapping[str, Any], known: Mapping[str, Any] = DEFAULTS) -> Mapping[str, Any]:
    """Return the arguments given to the function of that name. Raises TypeError for one that it does not take."""
    for argument in given:
        if argument not in known:
            from unspool.config import nearest

            raise TypeError(f"{name}() takes no argument {argument!r}{nearest(argument, known)}")
        value = given[argument]
        if argument in _TEXTS and not (value is None or isinstance(value, str)):
            raise TypeError(f"{argument} is a str, and not {type(value).__name__}")
        if argument in _NUMBERS and value is not None and (type(value) is bool or not isinstance(value, int | float)):
            raise TypeError(f"{argument} is a number, and not {type(value).__name__}")
        if argument in ("retries", "timeout", "idle_timeout", "connect_timeout") and value is not None and value < 0:
            raise ValueError(f"{argument} is {value}, and cannot be negative")
    return given


def settings_for(arguments: Mapping[str, Any]) -> Settings:
    """The settings that a call needs: those of the configuration file, unless ``config`` is False.

    A file that cannot be used does not matter to a call that says itself where it goes and with which key.
    """
    from unspool.config.settings import defaults, load

    if not arguments["config"]:
        return defaults()
    try:
        return load()
    except ConfigError:
        if arguments["base_url"] is None or arguments["key"] is None or arguments["profile"] is not None:
            raise
        return defaults()


def _route_of(arguments: Mapping[str, Any]) -> Route:
    """The way to the server, as the arguments describe it. Raises ValueError for a file that is not there."""
    cert = arguments["client_cert"]
    cert, key = cert if isinstance(cert, tuple) else (cert, None)
    files = {"ca_file": arguments["ca_file"], "client_cert": cert, "client_key": key}
    paths = {name: None if path is None else os.fspath(path) for name, path in files.items()}
    for name, path in paths.items():
        if path is not None and not os.path.isfile(path):
            raise ValueError(f"{name} is {path!r}, and there is no such file")
    socket = arguments["unix_socket"]
    return Route(**paths, proxy=arguments["proxy"], unix_socket=None if socket is None else os.fspath(socket))


def limits_of(arguments: Mapping[str, Any]) -> Limits:
    """The limits that the arguments set."""
    return Limits(arguments["connect_timeout"], arguments["idle_timeout"], arguments["timeout"])


def exchange(asked: Asking, arguments: Mapping[str, Any], target: Target, settings: Settings) -> Exchange:
    """The stream that asks this of an endpoint, with a value for every argument. Raises ValueError, TypeError and ConfigError."""
    model = arguments["model"] or target.model
    if not model:
        raise ValueError(f"name a model: the profile {target.name!r} has no default one")
    if target.needs_key and not target.key:
        raise ConfigError(f"no API key for {target.name}: {target.key_hint}")
    system = arguments["system"]
    prompt = Prompt(
        _messages(asked, arguments["attachments"]),
        model,
        system=getattr(asked, "system", None) if system is None else system,
        options=arguments["options"],
        **{name: arguments[name] for name in _SAMPLING},
    )
    if arguments["tools"] is not None:
        from unspool.client.library.tools import described

        prompt.tools = described(arguments["tools"])
    if arguments["schema"] is not None:
        from unspool.client.library import schema

        prompt.schema = schema.schema_of(arguments["schema"])
        prompt.schema_name = schema.name_of(arguments["schema"])
    if arguments["headers"] or arguments["query"]:
        target = target.replace(
            headers={**target.headers, **_clean(arguments["headers"])},
            query={**target.query, **(arguments["query"] or {})},
        )
    made = Exchange(target, prompt, journal=None, retries=arguments["retries"], route=_route_of(arguments))
    made.observer = arguments["observer"]
    folder = arguments["journal"]
    if folder:
        from unspool.config import paths
        from unspool.journal.writer import Writer

        journal = Writer(paths.streams_dir() if folder is True else os.fspath(folder), sync=settings.sync)
        if journal.trouble is not None:
            import warnings

            # Once for each place, as warnings are: a program that asks a thousand times is told once.
            warnings.warn(f"unspool: {journal.trouble}; journal=False says that this is meant", stacklevel=4)
        made.begin(journal, parent=getattr(asked, "parent", None))
    return made


def _clean(headers: Mapping[str, str] | None) -> dict[str, str]:
    from unspool.config.target import clean

    return {name: clean(value, f"the header {name}") for name, value in (headers or {}).items()}


def _messages(asked: Asking, attachments: Iterable[str | bytes | os.PathLike[str]] | None) -> list[dict[str, Any]]:
    if isinstance(asked, str):
        messages: list[dict[str, Any]] = [{"role": "user", "content": asked}]
    else:
        messages = [dict(one) for one in asked]
    parts = []
    if attachments is not None:
        from unspool.client.library.attachment import part

        if isinstance(attachments, str | bytes):
            raise TypeError("attachments is a list, also of one")
        parts = [part(one) for one in attachments]
    if parts:
        last = messages[-1] if messages else {}
        if last.get("role") != "user":
            raise ValueError("attachments belong to what the user says, and the last message is not the user's")
        content = last["content"]
        text = [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
        last["content"] = parts + text
    return messages
