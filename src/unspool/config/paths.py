"""Where unspool keeps its files.

======================  ==================================  ====================================
what                    on Linux and other Unix             said otherwise by
======================  ==================================  ====================================
journals                ``~/.local/state/unspool``          ``UNSPOOL_HOME``, ``XDG_STATE_HOME``
the configuration file  ``~/.config/unspool/config.toml``   ``UNSPOOL_CONFIG``, ``XDG_CONFIG_HOME``
the key file            ``~/.config/unspool/keys``          ``XDG_CONFIG_HOME``
templates               ``~/.config/unspool/templates``     ``XDG_CONFIG_HOME``
======================  ==================================  ====================================

macOS and Windows have their own folders. The key file does not follow ``UNSPOOL_CONFIG``: that may point into a project that
is shared with others. Nothing is created here.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def state_dir(environ: Mapping[str, str] = os.environ) -> str:
    """The folder of the journals."""
    return environ.get("UNSPOOL_HOME") or _folder(environ, "XDG_STATE_HOME", ".local/state")


def streams_dir(environ: Mapping[str, str] = os.environ) -> str:
    """The folder that holds a journal for each stream."""
    return os.path.join(state_dir(environ), "streams")


def runs_dir(environ: Mapping[str, str] = os.environ) -> str:
    """The folder that holds a folder for each run of a file of prompts."""
    return os.path.join(state_dir(environ), "runs")


def config_dir(environ: Mapping[str, str] = os.environ) -> str:
    """The folder of the configuration file and the key file."""
    return _folder(environ, "XDG_CONFIG_HOME", ".config")


def config_file(environ: Mapping[str, str] = os.environ) -> str:
    """The configuration file, whether or not it exists."""
    return environ.get("UNSPOOL_CONFIG") or os.path.join(config_dir(environ), "config.toml")


def keys_file(environ: Mapping[str, str] = os.environ) -> str:
    """The key file, whether or not it exists."""
    return os.path.join(config_dir(environ), "keys")


def templates_dir(environ: Mapping[str, str] = os.environ) -> str:
    """The folder that holds a file for each template."""
    return os.path.join(config_dir(environ), "templates")


def _folder(environ: Mapping[str, str], variable: str, default: str) -> str:
    if sys.platform in ("darwin", "win32"):
        # Imported only where it is needed: it costs more than the rest of this package.
        import platformdirs

        if variable == "XDG_STATE_HOME":
            return platformdirs.user_state_dir("unspool", appauthor=False)
        return platformdirs.user_config_dir("unspool", appauthor=False)
    # XDG Base Directory Specification: "All paths set in these environment variables must be absolute. If an implementation
    # encounters a relative path in any of these variables it should consider the path invalid and ignore it."
    base = environ.get(variable, "")
    if not base.startswith("/"):
        base = os.path.join(environ.get("HOME") or os.path.expanduser("~"), default)
    return os.path.join(base, "unspool")
