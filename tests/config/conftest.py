"""A home of its own for each test."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The configuration folder, which does not exist yet."""
    return tmp_path / "config" / "unspool"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment that says where the configuration folder is, and nothing else."""
    return {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config"), "PATH": "/usr/bin:/bin"}
