"""Tests of somebody else's project, run by a pytest of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from support.waiting import PATIENCE

PLUGIN = "unspool.sim.pytest_plugin"
# A tree that is on the path but not installed has no entry points.
INSTALLED = any(entry.value == PLUGIN for entry in metadata.entry_points(group="pytest11", name="unspool"))


def run_pytest(
    folder: Path, test: str, *arguments: str, plugins: tuple[str, ...] = (PLUGIN,), **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run a test file that has this text. Only these plugins are loaded: all that are installed here take a second."""
    (folder / "test_mine.py").write_text(test)
    named = [word for plugin in plugins for word in ("-p", plugin)]
    options = ("-q", "-p", "no:cacheprovider", "-W", "error", "--strict-markers", *named, *arguments, str(folder))
    # Nothing of the environment of these tests, whose proxies and keys would take part.
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1" if plugins else "",
    }
    return subprocess.run(
        (sys.executable, "-m", "pytest", *options),
        cwd=folder,
        env={**environment, **environ},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
