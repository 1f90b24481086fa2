"""Node and the packages of tests/node, for tests that run JavaScript."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

NODE = Path(__file__).parents[1] / "node"


def modules(*packages: str) -> Path:
    """Where npm has put these packages: in $UNSPOOL_NODE_MODULES, or by `npm ci` in tests/node. Skips the test without them."""
    folder = Path(os.environ.get("UNSPOOL_NODE_MODULES") or NODE / "node_modules")
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    for package in packages:
        if not (folder / package).is_dir():
            pytest.skip(f"no {package} in {folder}: run `npm ci` in tests/node, or set UNSPOOL_NODE_MODULES")
    return folder


def run(folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder that has the packages beside it."""
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "HOME": str(folder), "CI": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
