"""What one asks with: the arguments of every function that begins a stream, with their defaults, and the stream they make."""

from __future__ import annotations

from unspool.api.prompt import Prompt
from unspool.client.exchange import Exchange
from unspool.client.limits import CONNECT_TIMEOUT, IDLE_TIMEOUT, Limits
from unspool.client.retry import DEFAULT_RETRIES
from unspool.config import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, TypedDict

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

    class Options(Reading, total=False):
        """What `unspool.stream` takes beside the prompt and the schema; its docstring says what each is."""

        model: str | None
        system: str | None
        attachments: Iterable[str | bytes | os.PathLike[str]] | None
        tools: Iterable[dict[str, Any] | Callable[..., Any]] | None
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
        journal: bool


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
    "store": False,
    "journal": True,
}
#: What says where a request goes, and as whom.
PLACES = ("profile", "base_url", "key", "api")
_SAMPLING = ("temperature", "top_p", "max_tokens", "stop", "seed", "n", "store", "tool_choice")


def checked(name: str, given: Mapping[str, Any], known: Mapping[str, Any] = DEFAULTS) -> Mapping[str, Any]:
    """Return the arguments given to the function of that name. Raises TypeError for one that it does not take."""
    for argument in given:
        if argument not in known:
            from unspool.config import nearest

            raise TypeError(f"{name}() takes no argument {argument!r}{nearest(argument, known)}")
    return given


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
    made = Exchange(target, prompt, journal=None, retries=arguments["retries"])
    if arguments["journal"]:
        from unspool.config import paths
        from unspool.journal.writer import Writer

        made.begin(Writer(paths.streams_dir(), sync=settings.sync), parent=getattr(asked, "parent", None))
    return made


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
