"""Records with equality, a repr and pattern matching, without imports.

Importing ``dataclasses`` or ``typing`` executes more instructions than a short answer does, and the command starts once for every
answer. `Fields` is for records that exist a few times, `Value` for those that exist by the thousand: its instances are created four
times as fast. Off the way of an answer ``@dataclass(slots=True)`` is preferred.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, ClassVar, Self, dataclass_transform
else:

    def dataclass_transform(**_):
        return lambda cls: cls


#: The default of a field that is a dictionary. It is shared, so nothing may change it.
EMPTY: dict[str, Any] = {}


class Value:
    """Base of small immutable-by-convention records: a subclass names its fields in ``__slots__`` and sets them in ``__init__``.

    Two values are equal when their class and all their fields are equal. One that sets ``__match_args__`` to its slots can be taken
    apart by ``match``; where the two differ, the former are its fields.
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

    def replace(self, **changes: object) -> Self:
        """Return a copy in which the named fields are changed."""
        return type(self)(**{**{name: getattr(self, name) for name in self._fields()}, **changes})

    @classmethod
    def _fields(cls) -> tuple[str, ...]:
        return cls.__match_args__ or cls.__slots__


@dataclass_transform()
class Fields(Value):
    """Base of records like dataclasses: a subclass annotates its fields as class attributes, whose values are the defaults.

    Type checkers check how they are created, as they do for dataclasses. A field without a default that is not given is missing.
    """

    # No slots: a slot cannot have a default, and classes with slots cannot be combined.

    def __init__(self, *values: object, **named: object) -> None:
        # Names are not checked here, since type checkers do that and options are created by the dozen at each start.
        fields = self.__dict__
        if values:
            fields.update(zip(self._fields(), values, strict=False))
        fields.update(named)

    @classmethod
    def field_names(cls) -> tuple[str, ...]:
        """The names of all fields, those of the base classes first."""
        # Found when they are first wanted: most of the classes at an ordinary start are never asked.
        if "_names" not in cls.__dict__:
            names: dict[str, None] = {}
            for base in reversed(cls.__mro__[: cls.__mro__.index(Fields)]):
                names |= dict.fromkeys(base.__dict__.get("__annotations__", ()))  # noqa: RUF063 (inspect costs too much)
            cls._names = tuple(names)
        return cls._names

    _names: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def _fields(cls) -> tuple[str, ...]:
        return cls.field_names()

    def given(self, names: Iterable[str]) -> list[str]:
        """Return those of the names that were given a value."""
        return [name for name in names if name in self.__dict__]

    def replace(self, **changes: object) -> Self:
        """Return a copy in which the named fields are changed."""
        return type(self)(**{**self.__dict__, **changes})
