"""pycurl: its compiled core without the Python package around it, and callbacks that let no exception escape into it.

The core alone is a shortcut for speed. ``import pycurl`` copies a thousand names and imports the package's asyncio half, asyncio with it: 74 million
instructions (callgrind, Python 3.11), where all of this command's own work for a short answer has a budget of 72 million. Whoever imports
pycurl after this, `unspool.client.loop` among them, gets the complete package, around the same core; tests/client/test_pycurl.py
compares the two.

Its functions are bound when they are first called, as those of ordinary programs are (dlopen(3), RTLD_LAZY). Python asks for all at once, which
for libcurl and the 18 libraries below it takes five million instructions more.

A signal's handler (SIGALRM, Celery's soft limit, pytest-timeout, Ctrl-C) runs in the main thread between any two steps of Python code, the
first step of a callback included, and what it raises cannot pass through libcurl's C code: pycurl prints it and makes it an error of the
transfer, so that the program would see a cut stream instead of its own exception. Here it is caught, and raised again as soon as libcurl has returned.
Two ways catch it. A callback that is a generator's ``send`` resumes inside the generator's ``try``, so that nothing escapes. libcurl's
socket callback has four arguments, which ``send`` cannot take: what escapes from that one arrives at `sys.excepthook`, which is ours
while the main thread calls libcurl.
"""

from __future__ import annotations

import os
import sys
from _thread import get_ident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import TracebackType
    from typing import Any


def _core() -> Any:
    if "pycurl" in sys.modules:
        return sys.modules["pycurl"]
    spec = next(filter(None, (finder.find_spec("pycurl", None) for finder in sys.meta_path)), None)
    if spec is None or spec.submodule_search_locations is None:  # not installed, or a version that is its own core
        import pycurl

        return pycurl
    package = type(sys)("pycurl")
    package.__path__ = spec.submodule_search_locations
    stand_ins = {"pycurl": package}
    if "datetime" not in sys.modules:
        # The core needs one class of it, a compiled one. Up to Python 3.11 the module around that is 2,600 lines of Python that
        # end in replacing themselves by it.
        try:
            import _datetime  # type: ignore[import-not-found, unused-ignore]

            stand_ins["datetime"] = _datetime
        except ImportError:  # not CPython
            pass
    sys.modules.update(stand_ins)
    flags = sys.getdlopenflags() if hasattr(sys, "getdlopenflags") else None
    try:
        if flags is not None:
            sys.setdlopenflags(flags & ~os.RTLD_NOW | os.RTLD_LAZY)
        # A plain import statement, which packagers see (PyInstaller, modulegraph).
        import pycurl._pycurl as core
    finally:
        if flags is not None:
            sys.setdlopenflags(flags)
        for name in stand_ins:
            del sys.modules[name]
    return core


pycurl = _core()

#: What has been caught and is to be raised. Only the main thread runs signal handlers, so there is one list.
caught: list[BaseException] = []


def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Take what escaped from libcurl's socket callback; stands for `sys.excepthook` while libcurl runs."""
    if trace is not None and trace.tb_frame.f_code.co_name == "_on_socket":
        caught.append(error)
    else:
        sys.__excepthook__(kind, error, trace)


def calling(call: Callable[..., object], *arguments: object) -> None:
    """Call something that calls libcurl, and with that our callbacks."""
    threading = sys.modules.get("threading")
    if threading is not None and threading.main_thread().ident != get_ident():
        call(*arguments)  # no handler runs here, and the hook is every thread's
        return
    before, sys.excepthook = sys.excepthook, hook
    try:
        call(*arguments)
    finally:
        sys.excepthook = before


def again() -> None:
    """Raise what was caught."""
    if caught:
        error = caught[0]
        caught.clear()
        try:
            raise error
        finally:
            del error  # or it and this frame keep each other, and the answer with them


def guarded(take: Callable[[Any], Any], failed: object) -> Callable[[Any], Any]:
    """Return a callback of one argument that calls ``take`` and lets nothing escape; it returns ``failed`` when something was caught."""
    loop = _guard(take, failed)
    next(loop)
    return loop.send


def _guard(take: Callable[[Any], Any], failed: object) -> Generator[Any, Any, None]:
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
