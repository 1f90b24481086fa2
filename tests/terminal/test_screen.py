"""What a person sees in the end, on an emulated terminal with its scrollback: the same streamed as whole."""

from __future__ import annotations

import os
import re

import pyte
import pytest

from unspool.terminal.markdown.document import Markdown
from unspool.terminal.output import Output
from unspool.terminal.page import Page
from unspool.terminal.sequences import OURS

from .documents import DOCUMENTS, HOSTILE

_ENVIRONMENT = {"TERM": "xterm-256color"}


class Terminal:
    """A terminal of some size: an output that draws on a screen, and remembers what was written."""

    def __init__(self, columns, rows):
        self.size = (columns, rows)
        self.screen = pyte.HistoryScreen(columns, rows, history=5000, ratio=1)
        # What the driver of a terminal does to line ends.
        self.screen.set_mode(pyte.modes.LNM)
        self._stream = pyte.Stream(self.screen)
        self._read, write = os.pipe()
        os.set_blocking(self._read, False)
        self.output = Output(write)
        self.output.is_tty = True
        self.writes = []

    def draw(self):
        """Take what was written, as one write or several."""
        try:
            data = os.read(self._read, 1 << 20)
        except BlockingIOError:
            return ""
        text = data.decode()
        self.writes.append(text)
        # pyte stops drawing at what has no width and is no combining mark (joiners, presentation selectors), and gives the two
        # halves of a flag two cells each.
        self._stream.feed(
            re.sub("\x1b\\[\\?2026[hl]|\x1b\\]8;[^\x1b]*\x1b\\\\|[\u200b-\u200d\ufe0f\U0001f1e6-\U0001f1ff]", "", text)
        )
        return text

    def shown(self):
        """The lines of the scrollback and the screen, without those below the cursor."""
        columns = self.screen.columns
        lines = [*self.screen.history.top, *(self.screen.buffer[row] for row in range(self.screen.cursor.y + 1))]
        texts = ["".join(line[column].data for column in range(columns)).rstrip() for line in lines]
        while texts and not texts[-1]:
            texts.pop()
        return texts

    def close(self):
        os.close(self._read)
        os.close(self.output.fd)


class _Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def terminals():
    made = []

    def make(columns=80, rows=24):
        made.append(Terminal(columns, rows))
        return made[-1]

    yield make
    for one in made:
        one.close()


def _page(terminal, clock=None, environment=_ENVIRONMENT):
    return Page(terminal.output, environment=environment, clock=clock or _Clock(), size=lambda: terminal.size)


def _show(terminal, text, sizes, environment=_ENVIRONMENT):
    """Show a text in pieces, each of them in a frame of its own."""
    clock = _Clock()
    page = _page(terminal, clock, environment)
    at = number = 0
    while at < len(text):
        size = sizes[number % len(sizes)]
        page.write(text[at : at + size])
        clock.now += 1
        page.tick()
        terminal.draw()
        at, number = at + size, number + 1
    page.close()
    terminal.draw()
    return terminal


@pytest.mark.parametrize("columns", [24, 80])
@pytest.mark.parametrize("rows", [5, 24])
@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_streamed_answer_ends_as_a_whole_one(terminals, name, columns, rows):
    text = DOCUMENTS[name]
    whole = _show(terminals(columns, rows), text, [len(text) or 1]).shown()
    for sizes in ([3], [11, 1, 40]):
        assert _show(terminals(columns, rows), text, sizes).shown() == whole


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_line_that_stays_is_never_touched(terminals, name):
    """The cursor goes up over live rows only, and those are fewer than the screen has."""
    terminal = terminals(40, 8)
    _show(terminal, DOCUMENTS[name], [5])
    for text in terminal.writes:
        ups = [int(count) for count in re.findall(r"\x1b\[(\d+)A", text)]
        assert sum(ups) <= 6
        assert "\x1b[2J" not in text
        assert text.count("\x1b[?2026h") == text.count("\x1b[?2026l") <= 1


@pytest.mark.parametrize("name", HOSTILE)
def test_only_our_own_sequences_are_written(terminals, name):
    terminal = terminals(30, 6)
    _show(terminal, HOSTILE[name] * 3, [1], {**_ENVIRONMENT, "WT_SESSION": "x"})
    for text in terminal.writes:
        rest = OURS.sub("", text).replace("\r", "")
        assert not [mark for mark in rest if (ord(mark) < 0x20 and mark != "\n") or 0x7F <= ord(mark) < 0xA0]


def test_each_frame_is_one_write(terminals, monkeypatch):
    terminal = terminals()
    written = []
    monkeypatch.setattr(terminal.output, "write", written.append)
    clock = _Clock()
    page = _page(terminal, clock)
    for piece in ("# Title\n\n", "Some *words*", " and\n\n- an item\n", "- another"):
        before = len(written)
        page.write(piece)
        clock.now += 1
        page.tick()
        assert len(written) <= before + 1


def test_the_first_piece_is_shown_at_once_and_the_others_with_the_next_frame(terminals):
    terminal, clock = terminals(), _Clock()
    page = _page(terminal, clock)
    assert page.due() is None
    page.write("one")
    assert terminal.draw() == "one"
    page.write(" two")
    assert terminal.draw() == ""
    assert 0 < page.due() <= 1 / 30
    clock.now += page.due()
    page.tick()
    assert terminal.draw() == " two"
    assert page.due() is None


def test_prose_that_goes_on_costs_its_own_bytes(terminals):
    terminal = terminals()
    text = "Plain words of an answer that go on and on without a mark. " * 30
    _show(terminal, text, [4])
    assert sum(map(len, terminal.writes)) <= 1.3 * len(text)


def test_a_note_in_between_stands_on_lines_of_its_own(terminals):
    terminal, clock = terminals(), _Clock()
    page = _page(terminal, clock)
    page.write("Some words")
    page.step_aside()
    terminal.output.write("a note\n")
    clock.now += 1
    page.tick()
    page.write(" and more\n")
    page.close()
    terminal.draw()
    assert terminal.shown() == ["a note", "Some words and more"]


def test_after_somebody_else_has_written_what_is_not_final_is_shown_again_below(terminals):
    terminal, clock = terminals(), _Clock()
    page = _page(terminal, clock)
    page.write("Title\n=====\n\nSome words")
    terminal.draw()
    terminal.output.write("^Z\n[1]+  Stopped\n$ fg\n")
    page.start_anew()
    clock.now += 1
    page.tick()
    page.write(" and more\n")
    page.close()
    terminal.draw()
    shown = [line for line in terminal.shown() if line]
    assert shown[0] == "Title"
    assert shown[-4:] == ["Some words^Z", "[1]+  Stopped", "$ fg", "Some words and more"]


@pytest.mark.parametrize("to", [(60, 24), (120, 24), (80, 10), (30, 5), (80, 2)])
def test_after_a_resize_nothing_is_lost(terminals, to):
    """The emulator cuts lines where a terminal would reflow them, so what is looked for are the words that were out before."""
    terminal, clock = terminals(), _Clock()
    page = _page(terminal, clock)
    page.write("# Title\n\nfirst\n\nlast words")
    terminal.draw()
    terminal.size = to
    terminal.screen.resize(lines=to[1], columns=to[0])
    page.write(" and the rest of them\n\nend\n")
    clock.now += 1
    page.tick()
    page.close()
    terminal.draw()
    shown = " ".join(terminal.shown())
    for word in ("last words and the rest", "end"):
        assert word in shown
    if to[1] > 5:
        assert "Title" in shown
        assert "first" in shown


def test_a_dumb_terminal_and_a_pipe_get_lines_and_no_cursor_movement(terminals):
    for environment in ({"TERM": "dumb"}, {}):
        terminal = terminals()
        _show(terminal, DOCUMENTS["answer"], [3], environment)
        assert "\x1b" not in "".join(terminal.writes)
    terminal = terminals()
    terminal.output.is_tty = False
    _show(terminal, DOCUMENTS["answer"], [3], {**_ENVIRONMENT, "FORCE_COLOR": "1", "COLUMNS": "40"})
    written = "".join(terminal.writes)
    assert re.sub(r"\x1b\[[\d;]+m", "", written).count("\x1b") == 0
    assert "\x1b[1" in written


def test_no_color_leaves_bold_and_takes_colours(terminals):
    terminal = terminals()
    _show(terminal, "# Title\n\n**bold** `code`\n", [100], {**_ENVIRONMENT, "NO_COLOR": "1"})
    sequences = set(re.findall(r"\x1b\[([\d;]+)m", "".join(terminal.writes)))
    assert sequences == {"1;4", "0", "1"}


def test_a_column_stands_where_it_belongs_though_the_terminal_measures_otherwise():
    """pyte gives a joined family the cells of all its parts, others give it two."""
    rows = ["| a | b |", "|---|---|", "| 👩‍👩‍👧‍👦 | x |", "| 👍🏽 | x |", "| plain | x |", ""]
    page = Markdown(40, columns=True)
    lines = page.feed("\n".join(rows)) + page.finish()
    for joined in ("👩‍👩‍👧‍👦", "👩", "👩👩👩👩"):
        screen = pyte.Screen(40, 10)
        screen.set_mode(pyte.modes.LNM)
        pyte.Stream(screen).feed("\n".join(lines).replace("👩‍👩‍👧‍👦", joined).replace("\u200d", ""))
        borders = {row: [x for x in range(40) if screen.buffer[row][x].data in ("│", "┼")] for row in range(len(lines))}
        assert len({tuple(found) for found in borders.values()}) == 1, screen.display


def test_a_table_in_ascii_needs_no_jumps():
    text = "| a | b |\n|---|---|\n| c | d |\n"
    page, plain = Markdown(40, columns=True), Markdown(40)
    assert page.feed(text) + page.finish() == plain.feed(text) + plain.finish()


@pytest.mark.parametrize("text", ["- ", "**", "12", "text\n\n> ", "```\na\n``", "| a | b |\n|--"])
def test_the_beginning_of_a_line_is_held_back_for_a_moment_and_then_shown(terminals, text):
    terminal, clock = terminals(), _Clock()
    page = _page(terminal, clock)
    page.write(text)
    clock.now += 0.04
    page.tick()
    terminal.draw()
    last = text.rpartition("\n")[2].strip()
    assert last not in " ".join(terminal.shown())
    assert page.due() == pytest.approx(0.11)
    clock.now += page.due()
    page.tick()
    terminal.draw()
    assert terminal.shown()[-1].strip() == last
    assert page.due() is None
    page.close()
    terminal.draw()


def test_what_was_shown_after_a_moment_becomes_what_it_is(terminals):
    terminal, clock = terminals(), _Clock()
    page = _page(terminal, clock)
    for piece in ("- ", "it", "em\n- ", "**", "bold** x\n"):
        page.write(piece)
        clock.now += 1
        page.tick()
        terminal.draw()
    page.close()
    terminal.draw()
    assert terminal.shown() == ["• item", "• bold x"]
