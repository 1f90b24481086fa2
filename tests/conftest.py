"""For all tests: how many run at once; and what a shell left in the way of signals is undone, which processes that tests start inherit."""

from __future__ import annotations

import os
import signal

import pytest


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """What ``-n auto`` means: two workers for each processor, for half of the time a test waits."""
    return 2 * (os.cpu_count() or 1)


# nohup ignores the one, a shell without job control the other for what it runs in the background.
for _number, _handler in (
    (getattr(signal, "SIGHUP", None), signal.SIG_DFL),
    (signal.SIGINT, signal.default_int_handler),
):
    if _number is not None and signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)
