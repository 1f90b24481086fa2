"""Take the pictures of the documentation: real commands at a terminal, as SVG.

    python tools/pictures.py              all of them, into docs/pictures
    python tools/pictures.py answer       those of one scene

Each scene runs commands in a pseudo-terminal, against a server of this program that says what is written below, and draws the screen
of an emulator. Nothing is drawn that was not on the screen.
"""

from __future__ import annotations

import contextlib
import fcntl
import http.server
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pyte
from pyte.screens import Char

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "pictures"

# Seconds after which a scene is given up.
_PATIENCE = 30.0
# Seconds without output after which a screen is taken for finished. A line that waits changes about as often.
_REST = 0.08
_SEQUENCE = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]")

# --- What is said -----------------------------------------------------------------------------------------------------------------

_TIDES = """\
# Why there are two tides a day

The Moon pulls the water **nearest to it** more than the Earth's centre, and the centre more than the water on the *far side*. So the sea \
bulges at both ends, and the Earth turns under the two bulges.

- **Spring tides** come when Sun and Moon pull in one line
- **Neap tides** come a week later
  - they are weaker by about a half

```python
def height(hours: float, range_m: float = 4.0) -> float:
    # One high water every 12 h 25 min, half a lunar day.
    return range_m / 2 * cos(2 * pi * hours / 12.42)
```

| Place             | Range  | What is special      |
|:------------------|-------:|:---------------------|
| Bay of Fundy      | 16.3 m | the largest there is |
| Mont-Saint-Michel | 14 m   | the sea *outruns* `you` |
| Mediterranean     | 0.3 m  | hardly any |

More of it in [the NOAA's lessons](https://oceanservice.noaa.gov/education/).
"""
_PLAIN = """\
A stream that stops is not a complete answer. The protocol has its own end, and a stream without it was **cut**: \
by a proxy, by a server that restarted, by a train in a tunnel. What arrived is in the journal, and the rest can be requested.
"""
_MONAD = "A **monad** is a way to chain computations that carry something along: a possible failure, a state, a list of results.\n"
_FRENCH = "Une **monade** enchaîne des calculs qui portent quelque chose : un échec possible, un état, une liste.\n"


@dataclass
class Reply:
    """What the server says to one request: a text, ``thoughts`` before it, after ``silence`` seconds; ``cut`` after so many tokens."""

    text: str
    thoughts: str = ""
    silence: float = 0.0
    cut: int | None = None


@dataclass
class Step:
    """A command, what is typed at it (each text once its cue is shown), and what is waited for if not for its end."""

    command: str
    typed: Sequence[tuple[str, str]] = ()
    until: str = ""


@dataclass
class Scene:
    """A picture: what is done at a terminal of this size, and what the server says meanwhile."""

    steps: Sequence[Step]
    replies: Sequence[Reply] = ()
    columns: int = 84
    lines: int = 60
    environ: dict[str, str] = field(default_factory=dict)


SCENES = {
    "answer": Scene([Step('unspool "Why are there two tides a day?"')], [Reply(_TIDES)]),
    "resume": Scene(
        [
            Step('unspool "What does it mean that a stream was cut?"; echo "exit $?"'),
            Step("unspool resume {id}"),
        ],
        [Reply(_PLAIN, cut=36), Reply(_PLAIN[_PLAIN.index("by a proxy") :])],
        columns=96,
    ),
    "waiting": Scene(
        [Step('unspool -m gpt-5.4 "Prove that there are infinitely many primes"', until="3 s")],
        [Reply("Euclid.", silence=20.0)],
    ),
    "reasoning": Scene(
        [Step('unspool -u "Is 91 a prime number?"')],
        [Reply("No: 91 = 7 × 13.\n", thoughts="It is odd, and 9 + 1 is not divisible by 3. 7 × 13 = 91.")],
    ),
    "chat": Scene(
        [
            Step(
                "unspool chat",
                typed=[
                    (">", "What is a monad?\r"),
                    ("list of results", ""),
                    (">", "And in French?\r"),
                    ("une liste", ""),
                    (">", "/mod"),
                ],
                until="/mod",
            )
        ],
        [Reply(_MONAD), Reply(_FRENCH)],
        lines=24,
    ),
}

# --- The server -------------------------------------------------------------------------------------------------------------------


def _pieces(text: str) -> Iterator[str]:
    """A text in pieces about as large as tokens."""
    for at in range(0, len(text), 4):
        yield text[at : at + 4]


class _Handler(http.server.BaseHTTPRequestHandler):
    replies: Iterator[Reply]

    def do_GET(self) -> None:
        self._send(
            json.dumps({"object": "list", "data": [{"id": "gpt-5.4-mini", "object": "model"}]}), "application/json"
        )

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        reply = next(self.replies, Reply("Hello!"))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.flush()
        time.sleep(reply.silence)
        for number, piece in enumerate(_pieces(reply.text)):
            if number == 0:
                for thought in _pieces(reply.thoughts):
                    self._event({"delta": {"reasoning_content": thought}})
            if number == reply.cut:
                return
            self._event({"delta": {"content": piece}})
        self._event({"delta": {}, "finish_reason": "stop"})
        usage = {
            "prompt_tokens": 14,
            "completion_tokens": len(reply.text) // 4,
            "total_tokens": 14 + len(reply.text) // 4,
        }
        self._event(None, usage=usage)
        self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, choice: dict[str, Any] | None, **more: Any) -> None:
        choices = [] if choice is None else [{"index": 0, "finish_reason": None, **choice}]
        value = {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "model": "gpt-5.4-mini",
            "choices": choices,
            **more,
        }
        self.wfile.write(b"data: " + json.dumps(value).encode() + b"\n\n")
        self.wfile.flush()

    def _send(self, body: str, type: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that has seen enough goes away


@contextlib.contextmanager
def _server(replies: Sequence[Reply]) -> Iterator[str]:
    handler = type("Handler", (_Handler,), {"replies": iter(replies)})
    with _Server(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        finally:
            server.shutdown()


# --- The terminal -----------------------------------------------------------------------------------------------------------------


class _Screen(pyte.Screen):
    """pyte's screen, which has no dim text; nothing here blinks, so that stands for it."""

    def __init__(self, columns: int, lines: int, answer: Any) -> None:
        super().__init__(columns, lines)
        self._answer = answer

    def select_graphic_rendition(self, *attributes: int, **private: Any) -> None:
        if private:
            return
        if 38 not in attributes and 48 not in attributes:  # a colour by its number may be number 2
            attributes = tuple(5 if one == 2 else one for one in attributes)
        super().select_graphic_rendition(*attributes, *((25,) if 22 in attributes else ()))

    def write_process_input(self, data: str) -> None:
        self._answer(data.encode())


class Stage:
    """A terminal, and someone who types commands at it."""

    def __init__(self, scene: Scene, environ: dict[str, str], home: Path) -> None:
        self._ours, self._theirs = pty.openpty()
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, struct.pack("HHHH", scene.lines, scene.columns, 0, 0))
        self.screen = _Screen(scene.columns, scene.lines, lambda data: os.write(self._ours, data))
        self._stream = pyte.ByteStream(self.screen)
        self._environ = environ
        self._home = home
        self._unseen = b""

    def close(self) -> None:
        os.close(self._ours)
        os.close(self._theirs)

    def do(self, step: Step) -> None:
        """Run a command to its end, or to where it is waited for."""
        command = step.command.format(id=self._newest()) if "{id}" in step.command else step.command
        self._feed(f"\x1b[32m$\x1b[0m {command}\r\n".encode())
        child = subprocess.Popen(
            ["bash", "-c", command],
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            env=self._environ,
            cwd=self._home,
            preexec_fn=self._own_the_terminal,
        )
        try:
            self._unseen = b""
            for cue, text in step.typed:
                self._read(child, cue)
                os.write(self._ours, text.encode())
            self._read(child, step.until)
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()

    def _read(self, child: subprocess.Popen[bytes], cue: str) -> None:
        """Read until a cue is shown, after those before it, and the screen has come to rest; without one to the end."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            found = self._unseen.find(cue.encode()) if cue else -1
            if found >= 0:
                self._unseen = self._unseen[found + len(cue.encode()) :]
                while self._take(_REST):
                    pass
                return
            if not self._take(_REST) and not cue and child.poll() is not None:
                return
        raise TimeoutError(f"{cue or 'the end'} did not come:\n{self._unseen!r}\n" + "\n".join(self.screen.display))

    def _take(self, seconds: float) -> bool:
        if not select.select([self._ours], [], [], seconds)[0]:
            return False
        data = os.read(self._ours, 1 << 16)
        self._unseen += _SEQUENCE.sub(b"", data)
        self._feed(data)
        return True

    def _feed(self, data: bytes) -> None:
        for mark in (b"\x1b[?2026h", b"\x1b[?2026l"):  # pyte writes out what it does not know
            data = data.replace(mark, b"")
        self._stream.feed(data)

    def _newest(self) -> str:
        return max((self._home / "state" / "streams").glob("*.sse")).stem[-6:]

    def _own_the_terminal(self) -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def take(scene: Scene, theme: str) -> _Screen:
    """Play a scene at a terminal of this theme; return the screen."""
    with tempfile.TemporaryDirectory() as folder, _server(scene.replies) as url:
        home = Path(folder)
        (home / "bin").mkdir()
        program = home / "bin" / "unspool"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m unspool "$@"\n')
        program.chmod(0o755)
        (home / "config" / "unspool").mkdir(parents=True)
        (home / "config" / "unspool" / "config.toml").write_text(
            f'[profiles.openai]\nbase_url = "{url}"\napi = "chat"\nneeds_key = false\n'
        )
        environ = {
            "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "HOME": folder,
            "UNSPOOL_HOME": str(home / "state"),
            "XDG_CONFIG_HOME": str(home / "config"),
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "VTE_VERSION": "7600",  # a terminal with links
            "UNSPOOL_THEME": theme,
            "OPENAI_API_KEY": "sk-0123456789",
            **scene.environ,
        }
        stage = Stage(scene, environ, home)
        try:
            for step in scene.steps:
                stage.do(step)
            return stage.screen
        finally:
            stage.close()


# --- The drawing ------------------------------------------------------------------------------------------------------------------

_NAMES = ("black", "red", "green", "brown", "blue", "magenta", "cyan", "white")
_PALETTES = {
    "dark": {
        "background": "#0d1117",
        "default": "#d6dde5",
        **dict(
            zip(
                _NAMES,
                ("#484f58", "#ff7b72", "#3fb950", "#d29922", "#58a6ff", "#bc8cff", "#39c5cf", "#b1bac4"),
                strict=True,
            )
        ),
        **dict(
            zip(
                ("bright" + name for name in _NAMES),
                ("#7d8590", "#ffa198", "#7ee787", "#e3b341", "#79c0ff", "#d2a8ff", "#56d4dd", "#ffffff"),
                strict=True,
            )
        ),
    },
    "light": {
        "background": "#ffffff",
        "default": "#1f2328",
        **dict(
            zip(
                _NAMES,
                ("#24292f", "#cf222e", "#116329", "#8a5a00", "#0969da", "#8250df", "#1b7c83", "#6e7781"),
                strict=True,
            )
        ),
        **dict(
            zip(
                ("bright" + name for name in _NAMES),
                ("#6e7781", "#a40e26", "#1a7f37", "#633c01", "#218bff", "#a475f9", "#3192aa", "#8c959f"),
                strict=True,
            )
        ),
    },
}
_CELL, _ROW, _SIZE, _BASE = 8.4, 19, 14, 14
_MARGIN = 18
_FONTS = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono','Noto Sans Mono CJK JP',monospace"
# Lines of tables are drawn, for letters of fonts leave gaps between rows: to which sides of the cell's centre each goes.
_BOXES = {"─": "lr", "│": "ud", "┌": "rd", "┐": "ld", "└": "ru", "┘": "lu", "├": "udr", "┤": "udl", "┬": "lrd", "┴": "lru", "┼": "lrud", "╭": "rd", "╮": "ld", "╰": "ru", "╯": "lu"}  # fmt: skip


def draw(screen: pyte.Screen, theme: str, title: str) -> str:
    """The screen as an SVG."""
    palette = _PALETTES[theme]
    rows = [list(_cells(screen.buffer[y], screen.columns)) for y in range(screen.lines)]
    while rows and all(char.data == " " and char.bg == "default" and not char.reverse for _, char in rows[-1]):
        rows.pop()
    width = screen.columns * _CELL + 2 * _MARGIN
    height = len(rows) * _ROW + 2 * _MARGIN
    used: dict[str, str] = {}
    body = [piece for y, row in enumerate(rows) for piece in _row(row, y, palette, used)]
    styles = "".join(f".{name}{{{rule}}}" for rule, name in used.items())
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height}" viewBox="0 0 {width:g} {height}" role="img">\n'
        f"<title>{escape(title)}</title>\n"
        f"<style>text{{font:{_SIZE}px {_FONTS};white-space:pre;fill:{palette['default']}}}{styles}</style>\n"
        f'<rect x=".5" y=".5" width="{width - 1:g}" height="{height - 1}" rx="8" fill="{palette["background"]}" stroke="#8888" />\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )


def _cells(line: Any, columns: int) -> Iterator[tuple[int, Char]]:
    for x in range(columns):
        if line[x].data:  # the cell beside a wide letter has nothing
            yield x, line[x]


def _row(row: list[tuple[int, Char]], y: int, palette: dict[str, str], used: dict[str, str]) -> Iterator[str]:
    top = _MARGIN + y * _ROW
    at = 0
    while at < len(row):
        x, first = row[at]
        end = at + 1
        if not _stands_alone(row, at):
            while (
                end < len(row)
                and row[end][1]._replace(data="") == first._replace(data="")
                and not _stands_alone(row, end)
            ):
                end += 1
        text = "".join(char.data for _, char in row[at:end])
        after = row[end][0] if end < len(row) else x + len(text)
        left, wide = _MARGIN + x * _CELL, (after - x) * _CELL
        fill, back = _colours(first, palette)
        if back is not None:
            yield f'<rect x="{left:g}" y="{top}" width="{wide:g}" height="{_ROW}" fill="{back}"/>'
        if text in _BOXES:
            faint = ' opacity=".6"' if first.blink else ""
            yield f'<path d="{_box(text, left, top)}" stroke="{fill}"{faint}/>'
        elif text.strip() or first.underscore or first.strikethrough:
            stripped = text if first.underscore or first.strikethrough else text.rstrip(" ")
            name = _style(first, fill, palette, used)
            length = f' textLength="{len(stripped) * _CELL:g}"' if len(stripped) > 1 and stripped.isprintable() else ""
            kind = f' class="{name}"' if name else ""
            yield f'<text x="{left:g}" y="{top + _BASE}"{length}{kind}>{escape(stripped)}</text>'
        at = end


def _stands_alone(row: list[tuple[int, Char]], at: int) -> bool:
    """Whether a cell is placed by itself: a wide one, one of several characters, a line of a table."""
    x, char = row[at]
    wide = at + 1 < len(row) and row[at + 1][0] > x + 1
    return wide or len(char.data) > 1 or char.data in _BOXES


def _colours(char: Char, palette: dict[str, str]) -> tuple[str, str | None]:
    fill = palette.get(char.fg, f"#{char.fg}" if len(char.fg) == 6 else palette["default"])
    back = None if char.bg == "default" else palette.get(char.bg, f"#{char.bg}")
    return (back or palette["background"], fill) if char.reverse else (fill, back)


def _style(char: Char, fill: str, palette: dict[str, str], used: dict[str, str]) -> str:
    lines = [name for name, on in (("underline", char.underscore), ("line-through", char.strikethrough)) if on]
    rule = ";".join(
        part
        for part, on in (
            (f"fill:{fill}", fill != palette["default"]),
            ("font-weight:bold", char.bold),
            ("font-style:italic", char.italics),
            (f"text-decoration:{' '.join(lines)}", bool(lines)),
            ("opacity:.6", char.blink),
        )
        if on
    )
    return used.setdefault(rule, f"s{len(used)}") if rule else ""


def _box(mark: str, left: float, top: float) -> str:
    x, y = left + _CELL / 2, top + _ROW / 2
    ends = {"l": (left, y), "r": (left + _CELL, y), "u": (x, top), "d": (x, top + _ROW)}
    return "".join(f"M{x:g} {y:g}L{ends[side][0]:g} {ends[side][1]:g}" for side in _BOXES[mark])


def main(names: Sequence[str]) -> int:
    """Take the pictures of these scenes, or of all."""
    unknown = [name for name in names if name not in SCENES]
    if unknown:
        print(f"no scene {unknown[0]}; there are {', '.join(SCENES)}", file=sys.stderr)
        return 2
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in names or SCENES:
        for theme in _PALETTES:
            scene = SCENES[name]
            title = "; ".join(step.command for step in scene.steps)
            path = FOLDER / f"{name}-{theme}.svg"
            path.write_text(draw(take(scene, theme), theme, title), "utf-8")
            print(f"{path.relative_to(ROOT)}  {path.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
