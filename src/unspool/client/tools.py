"""Tools that a model may call: Python functions, or what describes one already."""

from __future__ import annotations

from unspool.api.parts import ToolResult

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from unspool.api.deltas import ToolCall

#: What the model gets for a call that had begun when the program died, and is not run again.
INTERRUPTED_CALL = "the program died while this call ran; whether it had an effect is not known"


def tool(function: Callable[..., Any]) -> dict[str, Any]:
    """Return what tells a model of a Python function, as Chat Completions writes it: its name, docstring and parameters.

    Their types are the annotations; ``Annotated[str, "a city"]``, or "Args:" in the docstring, describes one. Raises TypeError
    for a parameter that cannot be given as JSON.

    >>> def weather(city: str, days: int = 1) -> str:
    ...     "The weather to come."
    ...     return "sunny"
    >>> tool(weather)["function"]["parameters"]["required"]
    ['city']
    """
    from unspool.client.schema import parameters_of

    parameters, text = parameters_of(function)
    described: dict[str, Any] = {"name": getattr(function, "__name__", "tool"), "parameters": parameters}
    if text:
        described["description"] = text
    return {"type": "function", "function": described}


def described(tools: Iterable[dict[str, Any] | Callable[..., Any]] | None) -> list[dict[str, Any]] | None:
    """The tools, functions described by `tool`; None where there are none."""
    if tools is None:
        return None
    return [tool(one) if callable(one) else one for one in tools] or None


def result_of(call: ToolCall, value: Any) -> ToolResult:
    """What a tool returned, as the model gets it. Raises TypeError for what is no JSON."""
    return ToolResult(call.id, call.name, call.result(value)["content"])


def failure_of(call: ToolCall, error: Exception) -> ToolResult:
    """An exception of a tool, as the model gets it."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return ToolResult(call.id, call.name, text, True)
