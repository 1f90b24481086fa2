"""The server that a command asks, and what to say about the model and the key for it."""

from __future__ import annotations

from unspool.cli.options import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from unspool.config import Settings
    from unspool.config.target import Target


def whom_to_ask(arguments: dict[str, Any], settings: Settings | None = None) -> Target:
    """Where to ask, by the options of `unspool.cli.options.flags` and a model. Raises ConfigError."""
    from unspool.config.settings import resolve

    names = ("profile", "base_url", "key", "model", "api")
    return resolve(settings=settings, **{name: arguments[name] for name in names})


def ask_simulator(arguments: dict[str, Any], url: str) -> None:
    """Have the options mean the built-in simulator at this URL, whatever profile they name."""
    arguments.update(base_url=url, profile=None, model=arguments["model"] or "sim-1")


def check_model(target: Target) -> None:
    """Raise UsageError where nobody has said which model to ask."""
    if not target.model:
        raise UsageError(
            f"name a model with -m, for {target.name} has no default one; unspool models lists what it has"
        )


def lacks_key(target: Target) -> bool:
    """Whether asking is no use, for the server wants a key and there is none."""
    return target.needs_key and not target.key


def missing_key(target: Target) -> str:
    """Say that there is no key, and the ways to give one or to do without."""
    return (
        f"no API key for {target.name}: {target.key_hint}, or ask the built-in simulator, which needs none, with --sim"
    )


def key_advice(target: Target) -> str:
    """Say how to give a key that the server takes, after it has taken none or not this one."""
    return f"to give {'another' if target.key else 'a'} key, {target.key_hint}"
