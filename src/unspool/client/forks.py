"""What happens to streams when their process forks: the child leaves all of them alone.

After a fork the child has copies of the parent's objects and descriptors. Closing a copied TLS or HTTP/2 connection would send its goodbye on
the parent's connection, and ending a copied stream would write its end into the parent's journal. So in the child every living object that
`watch` was given is told by its ``_after_fork``, before any of the program's own code runs there, and `never_free` keeps what must not be destroyed.
"""

from __future__ import annotations

import os
from _weakref import ref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Inherited(Protocol):
        """Something that a child must not use."""

        def _after_fork(self) -> None:
            """Called in the child: give up what belongs to the parent, without touching it."""


# weakref's own sets cost more to import than all of this, and a callback in Python could be struck by a signal's handler.
_living: set[ref[Inherited]] = set()


def watch(one: Inherited) -> None:
    """Tell this object in the child, after a fork, as long as it lives."""
    _living.add(ref(one, _living.discard))


def never_free(one: object) -> None:
    """Keep an object from being destroyed, also at the end of the interpreter, where modules are cleared."""
    from ctypes import py_object, pythonapi

    pythonapi.Py_IncRef(py_object(one))


def _in_child() -> None:
    for reference in list(_living):
        one = reference()
        if one is not None:
            one._after_fork()
    _living.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
