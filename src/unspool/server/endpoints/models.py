"""``GET /v1/models``: the names a client may choose from. The endpoints answer to any other name too."""

from __future__ import annotations

from typing import Any

from unspool.server.errors import RequestError

PATH = "/models"

# One of the simulator's own, and the ones that programs written for OpenAI most often ask for.
_NAMES = ("sim-1", "gpt-5.4-mini", "gpt-5.4", "gpt-4o-mini", "gpt-3.5-turbo-instruct")

# Fixed, since the list does not change: the first second of 2026.
_CREATED = 1767225600


def listing() -> dict[str, Any]:
    """All models."""
    return {"object": "list", "data": [_model(name) for name in _NAMES]}


def one(name: str) -> dict[str, Any]:
    """The model of that name. Raises RequestError (404) when it is not in the list."""
    if name not in _NAMES:
        raise RequestError(
            f"The model '{name}' does not exist or you do not have access to it.",
            status=404,
            param="model",
            code="model_not_found",
        )
    return _model(name)


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": _CREATED, "owned_by": "unspool"}
