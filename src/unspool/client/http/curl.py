"""pycurl's compiled core, without the Python package around it.

A shortcut for speed. ``import pycurl`` copies a thousand names and imports the package's asyncio half, asyncio with it: 74 million
instructions (callgrind, Python 3.11), where all of this command's own work for a short answer has a budget of 72 million. Whoever imports
pycurl after this, `unspool.client.loop` among them, gets the complete package, around the same core; tests/client/test_pycurl.py
compares the two.

Its functions are bound when they are first called, as those of ordinary programs are (dlopen(3), RTLD_LAZY). Python asks for all at once, which
for libcurl and the 18 libraries below it takes five million instructions more.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
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
