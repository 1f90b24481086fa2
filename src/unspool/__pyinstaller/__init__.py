"""What PyInstaller has to know of unspool: it finds this package by an entry point."""

from __future__ import annotations


def hook_dirs() -> list[str]:
    """The folders with hooks."""
    return list(__path__)
