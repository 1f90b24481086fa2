"""For all tests: how many run at once, and how much they try; what a shell left in the way of signals is undone, which processes that tests start inherit."""

from __future__ import annotations

import os
import signal

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--exhaustive", action="store_true", help="run also what is exhaustive and long: `make test-all`")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--exhaustive"):
        os.environ["UNSPOOL_TEST_EXHAUSTIVE"] = "1"  # read by support.effort, when the first test module is imported


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--exhaustive"):
        return
    left_out = [item for item in items if item.get_closest_marker("exhaustive")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("exhaustive")]


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
