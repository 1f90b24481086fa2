"""A home of its own for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from .journals import Kept


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    """An empty home."""
    return Kept(tmp_path / "home")
