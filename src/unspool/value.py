"""Records with equality, a repr and pattern matching, without imports.

Importing ``dataclasses`` or ``typing`` executes more instructions than a short answer does, and the command starts once for every
answer. Elsewhere ``@dataclass(slots=True)`` is preferred.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Value:
    """Base of small immutable-by-convention records: a subclass names its fields in ``__slots__`` and sets them in ``__init__``.

    Two values are equal when their class and all their fields are equal. One that
    sets ``__match_args__`` to its slots can be taken apart by ``match``; where the two differ, the former are its fields.
    """

    __slots__: tuple[str, ...] = ()
    __match_args__: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self._fields())

    def __hash__(self) -> int:
        return hash((type(self), *(getattr(self, name) for name in self._fields())))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._fields())
        return f"{type(self).__name__}({fields})"

    def replace(self, **changes: Any) -> Any:
        """Return a copy in which the named fields are changed."""
        fields = {name: getattr(self, name) for name in self._fields()}
        fields.update(changes)
        return type(self)(**fields)

    def _fields(self) -> tuple[str, ...]:
        return self.__match_args__ or self.__slots__
