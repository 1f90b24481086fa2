"""Exceptions that strike while libcurl calls back into Python, where they cannot pass through its C code.

A signal's handler (SIGALRM, Celery's soft limit, pytest-timeout, Ctrl-C) runs in the main thread between any two steps of Python code, the first step of
a callback included. pycurl prints what a callback raises and makes it an error of the transfer, so that the program would see a cut stream instead of its own
exception. Here it is caught, and raised again as soon as libcurl has returned.

Two ways catch it. A callback that is a generator's ``send`` resumes inside the generator's ``try``, so that nothing escapes. libcurl's socket callback has four arguments, which
``send`` cannot take: what escapes from that one arrives at `sys.excepthook`, which is ours while libcurl runs.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import TracebackType
    from typing import Any

#: What has been caught and is to be raised. Only the main thread runs signal handlers, so there is one list.
caught: list[BaseException] = []


def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Take what escaped from libcurl's socket callback; stands for `sys.excepthook` while libcurl runs."""
    if trace is not None and trace.tb_frame.f_code.co_name == "_on_socket":
        caught.append(error)
    else:
        sys.__excepthook__(kind, error, trace)


def again() -> None:
    """Raise what was caught."""
    if caught:
        error = caught[0]
        caught.clear()
        raise error


def guarded(take: Callable[[Any], Any], failed: Any) -> Callable[[Any], Any]:
    """Return a callback of one argument that calls ``take`` and lets nothing escape; it returns ``failed`` when something was caught."""
    loop = _guard(take, failed)
    next(loop)
    return loop.send


def _guard(take: Callable[[Any], Any], failed: Any) -> Generator[Any, Any, None]:
    answer: Any = None
    while True:
        try:
            # The inner loop's jump back is inside of the try too: that is where signals are handled.
            while True:
                answer = take((yield answer))
        except GeneratorExit:
            raise
        except BaseException as error:
            caught.append(error)
            answer = failed
