"""The key file: private, whole at every moment, and never quoted."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.effort import rounds
from unspool.config import ConfigError
from unspool.config.keys import exposure_warning, key_names, read_key, remove_key, store_key

posix_only = pytest.mark.skipif(os.name != "posix", reason="modes and links are POSIX's")

names = st.from_regex(r"[a-zé0-9.:-]{1,12}", fullmatch=True)
secrets = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=30)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@given(st.dictionaries(names, secrets, max_size=5))
@settings(max_examples=rounds(30), deadline=None)
def test_every_key_that_was_stored_is_read_back(keys: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        environ = {"HOME": folder, "XDG_CONFIG_HOME": folder}
        for name, key in keys.items():
            store_key(name, "replaced", environ)
            store_key(name, f"  {key}\n", environ)
        assert {name: read_key(name, environ) for name in key_names(environ)} == keys
        for name in keys:
            assert remove_key(name, environ)
        assert key_names(environ) == []


def test_without_a_file_there_are_no_keys(environ: dict[str, str], folder: Path) -> None:
    assert read_key("openai", environ) is None
    assert key_names(environ) == []
    assert not remove_key("openai", environ)
    assert not folder.exists()


@posix_only
def test_file_and_folder_are_private_from_the_start(environ: dict[str, str], folder: Path) -> None:
    previous = os.umask(0)
    try:
        store_key("openai", "sk-1", environ)
    finally:
        os.umask(previous)
    assert mode(folder) == 0o700
    assert mode(folder / "keys") == 0o600
    assert mode(folder / "keys.lock") == 0o600
    assert exposure_warning(environ) is None


@posix_only
def test_a_file_that_others_can_read_is_warned_of_until_it_is_written_again(
    environ: dict[str, str], folder: Path
) -> None:
    store_key("openai", "sk-1", environ)
    (folder / "keys").chmod(0o644)
    warning = exposure_warning(environ)
    assert warning is not None
    assert "chmod 600" in warning
    assert "sk-1" not in warning
    store_key("groq", "gsk-1", environ)
    assert exposure_warning(environ) is None


def test_remarks_and_empty_lines_survive_a_change(environ: dict[str, str], folder: Path) -> None:
    folder.mkdir(parents=True)
    remarks = b"# work \xe2\x80\xa8 \xff\n\n"
    (folder / "keys").write_bytes(remarks + b"openai = old\n  # groq = unused\nlocalhost:8000=k=1\n")
    store_key("openai", "new", environ)
    assert (folder / "keys").read_bytes() == remarks + b"  # groq = unused\nlocalhost:8000=k=1\nopenai = new\n"
    assert read_key("localhost:8000", environ) == "k=1"


def test_nothing_but_the_file_and_its_lock_is_left_behind(environ: dict[str, str], folder: Path) -> None:
    store_key("openai", "sk-1", environ)
    remove_key("openai", environ)
    assert sorted(path.name for path in folder.iterdir()) == ["keys", "keys.lock"]


@posix_only
def test_a_symbolic_link_stays_and_its_target_changes(environ: dict[str, str], folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "dotfiles" / "unspool-keys"
    target.parent.mkdir()
    target.write_text("groq = gsk-1\n")
    folder.mkdir(parents=True)
    (folder / "keys").symlink_to(target)
    store_key("openai", "sk-1", environ)
    assert (folder / "keys").is_symlink()
    assert target.read_text() == "groq = gsk-1\nopenai = sk-1\n"
    assert mode(target) == 0o600


@posix_only
def test_a_link_that_leads_nowhere_ever_is_an_error_for_a_person(environ: dict[str, str], folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "keys").symlink_to("keys")
    with pytest.raises(ConfigError, match="cannot read"):
        read_key("openai", environ)


def test_writers_at_the_same_moment_lose_no_key(environ: dict[str, str]) -> None:
    program = (
        "import sys, os; from unspool.config.keys import store_key; sys.stdin.read()\n"
        "for number in range(20): store_key(f'{sys.argv[1]}{number}', 'sk-1', os.environ)"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", program, name], stdin=subprocess.PIPE, env=environ) for name in "abc"
    ]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.close()  # go
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert sorted(key_names(environ)) == sorted(f"{name}{number}" for name in "abc" for number in range(20))


@pytest.mark.parametrize(
    "line",
    [
        b"hunter2",
        b"openai hunter2",
        b"= hunter2",
        b"openai =",
        b"open ai = hunter2",
        b"openai = hunter2\x1b[31m",
        b"openai = hunter2\xff",
        b"openai = hunt\x00er2",
        b"groq = hunter2",
    ],
)
def test_a_damaged_line_is_named_by_its_number_and_never_quoted(
    environ: dict[str, str], folder: Path, line: bytes
) -> None:
    folder.mkdir(parents=True)
    damaged = b"# keys\ngroq = gsk-1\n" + line + b"\n"
    (folder / "keys").write_bytes(damaged)
    for attempt in (
        lambda: read_key("openai", environ),
        lambda: store_key("openai", "sk-2", environ),
        lambda: remove_key("groq", environ),
    ):
        with pytest.raises(ConfigError, match=r"keys, line 3: ") as raised:
            attempt()
        assert "hunter2" not in str(raised.value)
        assert "gsk-1" not in str(raised.value)
    assert (folder / "keys").read_bytes() == damaged


@pytest.mark.parametrize("key", ["", " \n", "sk-1\nsk-2", "sk-\x7f", "sk-é"])
def test_a_key_that_no_header_can_carry_is_not_stored(environ: dict[str, str], folder: Path, key: str) -> None:
    with pytest.raises(ConfigError) as raised:
        store_key("openai", key, environ)
    assert "sk-" not in str(raised.value)
    assert not folder.exists()


@pytest.mark.parametrize("name", ["", "a b", "a=b", "#a", "a\nb", "\ud800"])
def test_a_name_that_the_file_cannot_hold_is_refused(environ: dict[str, str], name: str) -> None:
    with pytest.raises(ConfigError, match="a name has no white space"):
        store_key(name, "sk-1", environ)
