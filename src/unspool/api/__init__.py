"""The three text endpoints of the OpenAI API: prompt to request body, events to deltas, error body to failure. No I/O.

Each endpoint is a module with the same three names: ``PATH``, ``build(prompt)`` and ``Decoder``.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

#: The endpoints by the names that ``--api`` takes.
NAMES = ("responses", "chat", "completions")


def endpoint(name: str) -> ModuleType:
    """Return the module of an endpoint; ValueError names the three when there is none of that name."""
    if name not in NAMES:
        raise ValueError(f"no API called {name!r}: use responses, chat or completions")
    # Imported by name so that a run pays for the one endpoint it uses.
    return __import__(f"unspool.api.{name}", fromlist=["Decoder"])
