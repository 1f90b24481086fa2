"""Files that are replaced in one step."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from unspool.config.replacing import replace

if TYPE_CHECKING:
    from pathlib import Path


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_file_is_its_owners_alone_and_so_are_its_folders(tmp_path: Path) -> None:
    replace(str(tmp_path / "a" / "b" / "file"), b"new")
    assert (tmp_path / "a" / "b" / "file").read_bytes() == b"new"
    assert mode_of(tmp_path / "a" / "b" / "file") == 0o600
    assert mode_of(tmp_path / "a" / "b") == 0o700


def test_the_old_files_mode_stays_unless_another_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o644)
    replace(str(path), b"new")
    assert (path.read_bytes(), mode_of(path)) == (b"new", 0o644)
    replace(str(path), b"newer", 0o600)
    assert (path.read_bytes(), mode_of(path)) == (b"newer", 0o600)


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    replace(str(tmp_path / "link"), b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


@pytest.mark.parametrize("call", ["fsync", "chmod", "replace"])
def test_a_failure_at_any_step_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left"):
        replace(str(path), b"new")
    assert os.listdir(tmp_path) == ["file"]
    assert path.read_bytes() == b"old"
