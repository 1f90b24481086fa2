"""A format around another one: it has a say in what is shown, and leaves all else to the one inside."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Around:
    """Is what the format inside is, but for what its class and the names with an underscore say."""

    def __init__(self, format: Any) -> None:
        self._format = format

    def __getattr__(self, name: str) -> Any:
        # What else formats can do, and whether this one can.
        return getattr(self._format, name)

    def __setattr__(self, name: str, value: Any) -> None:
        # What formats are told from outside is meant for the one inside.
        if name[0] == "_" or hasattr(type(self), name):
            super().__setattr__(name, value)
        else:
            setattr(self._format, name, value)
