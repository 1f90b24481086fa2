"""Where files go."""

from __future__ import annotations

import sys

import platformdirs
import pytest

from unspool.config import paths

posix_only = pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="XDG folders are for other systems")


@posix_only
def test_without_variables_the_folders_are_under_the_home() -> None:
    environ = {"HOME": "/home/ada"}
    assert paths.state_dir(environ) == "/home/ada/.local/state/unspool"
    assert paths.config_file(environ) == "/home/ada/.config/unspool/config.toml"
    assert paths.keys_file(environ) == "/home/ada/.config/unspool/keys"


@posix_only
def test_xdg_variables_move_the_folders() -> None:
    environ = {"HOME": "/home/ada", "XDG_STATE_HOME": "/s", "XDG_CONFIG_HOME": "/c"}
    assert paths.state_dir(environ) == "/s/unspool"
    assert paths.config_file(environ) == "/c/unspool/config.toml"


@posix_only
@pytest.mark.parametrize("value", ["", "relative/folder", "~/state"])
def test_an_xdg_variable_that_is_not_absolute_is_ignored(value: str) -> None:
    environ = {"HOME": "/home/ada", "XDG_STATE_HOME": value}
    assert paths.state_dir(environ) == "/home/ada/.local/state/unspool"


@posix_only
def test_the_folders_are_those_of_platformdirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("XDG_STATE_HOME", "/s")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("UNSPOOL_HOME", raising=False)
    assert paths.state_dir() == platformdirs.user_state_dir("unspool")
    assert paths.config_dir() == platformdirs.user_config_dir("unspool")


def test_the_key_file_does_not_follow_a_configuration_file_elsewhere() -> None:
    environ = {"HOME": "/home/ada", "UNSPOOL_CONFIG": "/project/unspool.toml", "UNSPOOL_HOME": "/journals"}
    assert paths.config_file(environ) == "/project/unspool.toml"
    assert paths.state_dir(environ) == "/journals"
    assert not paths.keys_file(environ).startswith("/project")
