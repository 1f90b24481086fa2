"""Reading prompts line by line: from a pipe or a file, or at a terminal that knows no sequences."""

from __future__ import annotations

import os

from unspool.cli.chat import entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.cli.chat.keyboard import Keyboard
    from unspool.terminal.output import Output


class Lines:
    """Prompts from standard input, one a line, unless a line continues (`entry.continued`). Blank lines are skipped.

    ``screen`` is where to ask for them, None where nobody is asked.
    """

    def __init__(self, screen: Output | None, keyboard: Keyboard) -> None:
        self._screen = screen
        self._keyboard = keyboard
        self._data = b""
        self._is_over = False

    def read(self) -> str | None:
        """Return the next prompt, None at the end. Raises KeyboardInterrupt at Ctrl-C, OSError."""
        # The terminal itself echoes here, and takes characters back.
        self._keyboard.restore()
        try:
            return self._read()
        except KeyboardInterrupt:
            if self._screen is not None:
                self._screen.write("\n")
            raise
        finally:
            self._keyboard.quieten()

    def type_ahead(self, typed: bytes, *, held: bool) -> None:
        """Take what was typed while nobody read. It cannot be changed any more, so it is not held back either."""
        data = self._data + typed.replace(b"\r", b"\n")
        # Ctrl-D at the beginning of a line is the end, as it is for a terminal that reads lines itself; elsewhere it ends nothing.
        while (at := data.find(b"\x04")) >= 0:
            if at == 0 or data[at - 1 : at] == b"\n":
                data = data[:at]
                self._is_over = True
            else:
                data = data[:at] + data[at + 1 :]
        self._data = data

    def _read(self) -> str | None:
        text = ""
        while (line := self._line("  " if text else "> ")) is not None:
            text += line
            more = entry.continued(text)
            if more is not None:
                text = more
            elif text.strip():
                return text
        return text if text.strip() else None

    def _line(self, prompt: str) -> str | None:
        if self._screen is not None:
            # What was typed ahead has not been echoed.
            self._screen.write(prompt + self._screen.safe(self._data.decode("utf-8", "replace").partition("\n")[0]))
            if b"\n" in self._data:
                self._screen.write("\n")
        pieces = [self._data]
        while b"\n" not in pieces[-1] and not self._is_over:
            chunk = os.read(0, 1 << 16)
            self._is_over = not chunk
            pieces.append(chunk)
        data = b"".join(pieces)
        if not data:
            return None
        line, _, self._data = data.partition(b"\n")
        return line.decode("utf-8", "replace").removesuffix("\r")
