"""The clipboard: by a tool of this machine, or by the terminal (OSC 52), which also works over SSH.

This is not pyperclip, which has neither OSC 52 nor a time limit, and does not notice SSH.

The terminal gets base64 of the text, so that no text can end the sequence early.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from unspool.terminal.output import Output

# Bytes of base64: the longest that terminals with a limit are known to take (hterm, and xterm of old).
_LONGEST_BASE64 = 74_994
# Seconds that a tool may take. Those of X11 and Wayland leave a process behind that keeps the text, and return at once.
_PATIENCE = 5.0


class NoClipboard(Exception):
    """No clipboard is available; the message lists the tools that were tried."""


def copy(text: str, terminal: Output | None, environment: Mapping[str, str] = os.environ) -> str:
    """Put a text on the clipboard and return the name of the tool. If no tool can be used, write to ``terminal``.

    Raises NoClipboard.
    """
    refused = []
    for command in _tools(environment):
        trouble = _run(command, text)
        if not trouble:
            return command[0]
        refused.append(f"{command[0]}: {trouble}")
    if terminal is not None and _takes_osc52(environment):
        from base64 import b64encode

        data = b64encode(text.encode("utf-8", "replace")).decode()
        if len(data) > _LONGEST_BASE64:
            raise NoClipboard(f"{len(data) * 3 // 4:,} bytes are more than a terminal takes for its clipboard (56,000)")
        terminal.write(f"\x1b]52;c;{data}\x1b\\")
        return "the terminal, if it allows that (OSC 52)"
    if refused:
        raise NoClipboard("; ".join(refused))
    raise NoClipboard(
        "there is no clipboard here: no wl-copy, xclip, xsel or pbcopy, and no terminal that could pass it on"
    )


def _tools(environment: Mapping[str, str]) -> list[tuple[str, ...]]:
    """The commands that are here and have a clipboard to write to, the best first."""
    from shutil import which

    path = environment.get("PATH", os.defpath)
    tools: list[tuple[str, ...]] = []
    if environment.get("WAYLAND_DISPLAY"):
        tools.append(("wl-copy",))
    if environment.get("DISPLAY"):
        tools += [("xclip", "-selection", "clipboard"), ("xsel", "--clipboard", "--input")]
    # Somebody who is logged in from afar sits at another machine's clipboard, which only a forwarded display reaches.
    if not environment.get("SSH_CONNECTION"):
        if sys.platform == "darwin":
            tools.append(("pbcopy",))
        if sys.platform == "win32" or environment.get("WSL_DISTRO_NAME"):
            tools.append(("clip.exe",))
    if environment.get("TMUX"):
        # tmux keeps OSC 52 to itself unless it is configured otherwise; its own buffer it passes on, and pastes with prefix-].
        tools.append(("tmux", "load-buffer", "-w", "-"))
    return [command for command in tools if which(command[0], path=path)]


def _run(command: tuple[str, ...], text: str) -> str:
    """Give a text to a command; return the error, if any."""
    import subprocess

    data = text.encode("utf-16-le" if command[0] == "clip.exe" else "utf-8", "replace")
    try:
        # Processes that it leaves behind must not hold our pipes open, so it gets none; its messages must not reach the terminal.
        done = subprocess.run(
            command, input=data, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=_PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {_PATIENCE:g} s"
    except OSError as error:
        return error.strerror or str(error)
    return f"exit code {done.returncode}" if done.returncode else ""


def _takes_osc52(environment: Mapping[str, str]) -> bool:
    """Whether a terminal may take it. Most do, and those that do not ignore it; none says so without being asked."""
    term = environment.get("TERM", "")
    return (
        term not in ("", "dumb", "linux")
        and not term.startswith("screen")
        and "TMUX" not in environment
        and "STY" not in environment
    )
