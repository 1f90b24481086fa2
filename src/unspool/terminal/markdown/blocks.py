"""The blocks of Markdown, a line at a time: CommonMark's first phase, with rows coming out as soon as they are final.

The open blocks are a stack of containers (quotes, list items) and one leaf. A line continues some of the containers, may open more, and
the rest of it goes to the leaf. Differences from CommonMark, all because a stream cannot be taken back:

- An empty row separates two items of a list if the text has one there, regardless of the rest of the list.
- A link reference counts from its definition on, and the definition is shown.
- ``===`` under a paragraph that is longer than some rows is text, as those rows are out.
- ``$$`` and ``\\[`` alone on a line begin a formula, which is shown as written.
"""

from __future__ import annotations

import re

from unspool.terminal.markdown.inlines import References, parse
from unspool.terminal.markdown.leaves import Code, Paragraph, Verbatim
from unspool.terminal.markdown.tables import Table, alignments, split
from unspool.terminal.markdown.wrap import wrap
from unspool.terminal.style import BOLD, DIM, HEADING, MARKER, PLAIN, UNDERLINE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    from unspool.terminal.style import Row, Span

    Leaf = Paragraph | Code | Verbatim | Table
    _L = TypeVar("_L", Paragraph, Code, Verbatim, Table)

_BULLET = re.compile(r"([-+*])(?= |$)( *)")
_NUMBER = re.compile(r"(\d{1,9})([.)])(?= |$)( *)")
_TASK = re.compile(r"\[([ xX])\](?= )")
_HEADING = re.compile(r"(#{1,6})(?: +|$)(.*)")
_RULE = re.compile(r"([-*_])(?: *\1){2,} *")
_UNDERLINE = re.compile(r"(=+|-+) *")
_FENCE = re.compile(r"(`{3,})([^`]*)|(~{3,})(.*)")
_FORMULAS = {"$$": r".*\$\$ *", "\\[": r".*\\\] *"}
_MARKERS = re.compile(r"(?: {0,3}(?:>|[-+*](?= )|\d{1,9}[.)](?= )) ?)*")
# The beginning of blocks that only a complete line identifies: headings, rules, fences, tables, HTML.
_STRUCTURE = re.compile(r"#{1,6} |\||`{3}|~{3}|<[A-Za-z/!?]|[-*_= ]*$")
_TABS = re.compile(r"[ \t>*+\-\d.)]*\t")
_HTML = (
    (
        re.compile(r"<(?:script|pre|style|textarea)(?:[\s>]|$)", re.IGNORECASE),
        r"(?i).*</(?:script|pre|style|textarea)>.*",
    ),
    (re.compile(r"<!--"), r".*-->.*"),
    (re.compile(r"<\?"), r".*\?>.*"),
    (re.compile(r"<![A-Za-z]"), r".*>.*"),
    (re.compile(r"<!\[CDATA\["), r".*\]\]>.*"),
    (
        re.compile(
            r"</?(?:address|article|aside|base|basefont|blockquote|body|caption|center|col|colgroup|dd|details|dialog|dir|div|dl|dt"
            r"|fieldset|figcaption|figure|footer|form|frame|frameset|h[1-6]|head|header|hr|html|iframe|legend|li|link|main|menu"
            r"|menuitem|nav|noframes|ol|optgroup|option|p|param|search|section|summary|table|tbody|td|tfoot|th|thead|title|tr|track"
            r"|ul)(?:\s|/?>|$)",
            re.IGNORECASE,
        ),
        "",
    ),
)
_LONE_TAG = re.compile(
    r"(?:<[A-Za-z][\w-]*(?:\s+[\w:.-]+(?:\s*=\s*(?:[^\s\"'=<>`]+|'[^']*'|\"[^\"]*\"))?)*\s*/?>|</[A-Za-z][\w-]*\s*>)\s*"
)

_BULLETS = "•◦▪"
# Marks of more containers than this are text, so that no line costs more than another.
_DEEPEST = 32
# Blocks that an empty row sets off from others, also where the text has none.
_SET_OFF = frozenset(("heading", "code", "table", "rule"))


class _Container:
    """A quote, or an item of a list."""

    __slots__ = ("first", "indent", "is_empty", "is_shown", "rest")

    def __init__(self, first: Span, rest: Span, indent: int = 0) -> None:
        #: The prefix of the first row, and of the others.
        self.first = first
        self.rest = rest
        #: How far the lines of an item are indented, 0 for a quote.
        self.indent = indent
        self.is_shown = False
        self.is_empty = True


class Blocks:
    """Takes lines, returns rows of at most ``width`` cells. Lines of code are not wrapped."""

    def __init__(self, width: int, *, show_urls: bool = True, formulas: bool = True, breaks: bool = False) -> None:
        self.width = width
        self.references = References()
        self.leaf: Leaf | None = None
        self._show_urls = show_urls
        self._breaks = breaks
        self._formulas = _FORMULAS if formulas else {}
        self._containers: list[_Container] = []
        # Lists that a next item would continue: by depth, their kind and the next number.
        self._lists: dict[int, tuple[str, int]] = {}
        self._rows: list[Row] = []
        # The containers and the kind of the last written leaf, and whether the text had an empty line since.
        self._last: list[_Container] = []
        self._last_kind = ""
        self._gap = False
        self._leaf_is_new = False
        self._looks_ahead = False
        # The width that follows with the next leaf, 0 for the same.
        self._next_width = 0

    def copy(self) -> Blocks:
        """The same state, to look ahead with."""
        other = Blocks.__new__(Blocks)
        other.__dict__.update(self.__dict__)
        other._rows = []
        # Which of them are shown is kept in the containers themselves.
        copies = {id(one): _copied(one) for one in [*self._containers, *self._last]}
        other._containers = [copies[id(one)] for one in self._containers]
        other._last = [copies[id(one)] for one in self._last]
        other._lists = self._lists.copy()
        other._looks_ahead = True
        other.references = self.references.fixed()
        if self.leaf is not None:
            other.leaf = self.leaf.copy()
        return other

    def take(self) -> list[Row]:
        """Return the rows that became final since the last call."""
        rows, self._rows = self._rows, []
        return rows

    def finish(self) -> list[Row]:
        """End all open blocks; return the rest of the rows."""
        self._close_leaf()
        self._close(0)
        self._lists.clear()
        return self.take()

    def more(self, text: str) -> None:
        """Add more of the line that was begun with ``whole=False`` to the paragraph."""
        leaf = self.leaf if isinstance(self.leaf, Paragraph) else self._begin_paragraph()
        self._write(leaf.take(text, continues=True))

    def is_prose(self, beginning: str) -> bool:
        """Whether the beginning of a long line proves that the line belongs to a paragraph."""
        if self.is_verbatim(beginning):
            return False
        text = beginning[self._continued(beginning)[1] :]
        text = text[_MARKERS.match(text).end() :]  # type: ignore[union-attr]
        if text.startswith(("    ", "\t")) and not isinstance(self.leaf, Paragraph):
            return False
        return not _STRUCTURE.match(text.lstrip(" \t"))

    def is_verbatim(self, beginning: str) -> bool:
        """Whether a line that begins so belongs to an open leaf that needs complete lines."""
        matched, _ = self._continued(beginning)
        return matched == len(self._containers) and self.leaf is not None and not isinstance(self.leaf, Paragraph)

    def resize(self, width: int, *, keep: bool = False) -> None:
        """Wrap the rows that are not final at another width. With ``keep`` the open leaf keeps its width and rows."""
        if keep and self.leaf is not None:
            self._next_width = width
            if isinstance(self.leaf, Table):
                self._write(self.leaf.fix())
            return
        self.width, self._next_width = width, 0
        if isinstance(self.leaf, Paragraph):
            self.leaf.resize(max(1, self._room))

    def line(self, line: str, *, whole: bool = True) -> None:
        """Take a line, without its end. Without ``whole`` it is the beginning of a long line of prose."""
        if "\t" in line and (tabs := _TABS.match(line)):
            line = tabs[0].expandtabs(4) + line[tabs.end() :]
        matched, position = self._continued(line)
        rest = line[position:]
        all_matched = matched == len(self._containers)
        if not rest.strip(" \t"):
            self._blank(rest, matched)
            return
        leaf = self.leaf
        if all_matched and leaf is not None and not isinstance(leaf, Paragraph) and self._continue_leaf(leaf, rest):
            return
        rest, opened = self._open_containers(rest, matched)
        paragraph = self.leaf if isinstance(self.leaf, Paragraph) else None
        indent = len(rest) - len(rest.lstrip(" "))
        if indent >= 4 and paragraph is None and whole:
            self._make_leaf_room(matched, opened)
            code = self._begin(Code(self._room))
            self._write(code.take(rest[4:]))
            return
        text = rest[indent:]
        if not text:
            return  # an item that begins empty
        direct = paragraph is not None and all_matched and not opened
        if indent < 4 and whole and self._leaf_block(text, indent, matched, opened, paragraph if direct else None):
            return
        if paragraph is not None and not opened:
            # Also where the containers did not match: a lazy continuation.
            self._write(paragraph.take(text))
            return
        self._make_leaf_room(matched, opened)
        self._write(self._begin_paragraph().take(text))

    def forget_leaf(self) -> None:
        """Drop the open leaf, in a copy: it would be shown as another kind of block."""
        self.leaf, self._leaf_is_new = None, False

    def leave_open(self) -> None:
        """Write the known part of the open leaf, in a copy, without its end."""
        if isinstance(self.leaf, Code):
            self.forget_leaf()

    # Containers

    def _continued(self, line: str) -> tuple[int, int]:
        """How many containers the line continues, and where its rest begins."""
        position = matched = 0
        for one in self._containers:
            stripped = line[position:].lstrip(" ")
            indent = len(line) - position - len(stripped)
            if one.indent:
                if not stripped:
                    if one.is_empty:
                        break
                    position = min(len(line), position + one.indent)
                elif indent >= one.indent:
                    position += one.indent
                else:
                    break
            elif indent <= 3 and stripped.startswith(">"):
                position += indent + 1
                if line[position : position + 1] == " ":
                    position += 1
            else:
                break
            matched += 1
        return matched, position

    def _open_containers(self, rest: str, matched: int) -> tuple[str, bool]:
        """Open the containers that the rest of a line begins; return the remaining text, and whether there were any."""
        opened = False
        while True:
            text = rest.lstrip(" ")
            indent = len(rest) - len(text)
            if indent >= 4 or (opened and len(self._containers) >= _DEEPEST) or matched >= _DEEPEST:
                return rest, opened
            if text.startswith(">"):
                self._make_room(matched, opened)
                self._forget_lists(len(self._containers))
                self._containers.append(_Container(("│ ", DIM, None), ("│ ", DIM, None)))
                rest = text[2:] if text.startswith("> ") else text[1:]
                opened = True
                continue
            item = self._item(text, indent, matched, opened)
            if item is None:
                return rest, opened
            rest = item
            opened = True

    def _item(self, text: str, indent: int, matched: int, opened: bool) -> str | None:
        """Open a list item if the text begins one, and return its rest."""
        number = None
        found = _BULLET.match(text)
        if found is not None:
            if _RULE.fullmatch(text):
                return None
            sign, blanks = found[1], len(found[2])
            width = 1
        else:
            found = _NUMBER.match(text)
            if found is None:
                return None
            number, sign, blanks = int(found[1]), found[2], len(found[3])
            width = len(found[1]) + 1
        rest = text[found.end() :]
        interrupts = isinstance(self.leaf, Paragraph) and matched == len(self._containers) and not opened
        if interrupts:
            if not rest or number not in (None, 1):
                return None
            if sign == "-" and _UNDERLINE.fullmatch(text):
                return None
        if not rest:
            blanks = 1
        elif blanks > 4:
            rest = " " * (blanks - 1) + rest
            blanks = 1
        self._make_room(matched, opened)
        depth = len(self._containers)
        kind, following = self._lists.get(depth, ("", 0))
        if number is not None:
            number = following if kind == sign else number
        self._lists[depth] = (sign, (number or 0) + 1)
        self._forget_lists(depth + 1)
        nesting = sum(1 for one in self._containers if one.indent)
        mark = f"{number}{sign} " if number is not None else _BULLETS[nesting % len(_BULLETS)] + " "
        task = _TASK.match(rest)
        first: Span = (mark, MARKER, None)
        if task is not None:
            rest = rest[4:]
            first = ("☐ " if task[1] == " " else "☑ ", MARKER, None)
            mark = first[0]
        one = _Container(first, (" " * len(mark), PLAIN, None), indent + width + blanks)
        one.is_empty = not rest.strip(" ")
        self._containers.append(one)
        return rest

    def _make_room(self, matched: int, opened: bool) -> None:
        """Close the containers that the line does not continue, before a block is opened in the others."""
        if not opened:
            self._close_leaf()
            self._close(matched)

    def _close(self, depth: int) -> None:
        """Close the containers from a depth on. An item that held nothing is shown all the same."""
        if any(not one.is_shown and one.indent for one in self._containers[depth:]):
            self._separate("empty")
            self._write([[]])
        del self._containers[depth:]

    # Leaves

    def _blank(self, rest: str, matched: int) -> None:
        leaf = self.leaf
        if isinstance(leaf, Code) and matched == len(self._containers):
            blank = rest[leaf.indent :] if leaf.fence else rest[4:]
            self._write(leaf.take(blank))
            if leaf.fence:
                return
        elif isinstance(leaf, Verbatim) and leaf.kind == "html" and leaf.end and matched == len(self._containers):
            self._write([[]])
            return
        else:
            self._close_leaf()
        if matched < len(self._containers):
            self._close_leaf()
            self._close(matched)
        self._gap = True

    def _continue_leaf(self, leaf: Leaf, rest: str) -> bool:
        """Give a line to a leaf that is no paragraph; return False if that ends before it."""
        if isinstance(leaf, Code):
            indent = len(rest) - len(rest.lstrip(" "))
            if leaf.fence:
                text = rest[indent:].rstrip(" \t")
                if indent <= 3 and len(text) >= len(leaf.fence) and not text.strip(leaf.fence[0]):
                    self._close_leaf()
                else:
                    self._write(leaf.take(rest[min(indent, leaf.indent) :]))
                return True
            if indent >= 4:
                self._write(leaf.take(rest[4:]))
                return True
        elif isinstance(leaf, Verbatim):
            self._write(leaf.take(rest))
            if leaf.end and re.fullmatch(leaf.end, rest):
                self._close_leaf()
            return True
        elif isinstance(leaf, Table) and not self._begins_block(rest):
            self._write(leaf.take(rest))
            return True
        self._close_leaf()
        return False

    def _begins_block(self, rest: str) -> bool:
        """Whether a line is no row of a table."""
        text = rest.lstrip(" ")
        if len(rest) - len(text) >= 4:
            return True
        return bool(
            text[0] == ">"
            or _HEADING.fullmatch(text)
            or _RULE.fullmatch(text)
            or _FENCE.fullmatch(text)
            or _BULLET.match(text)
            or _NUMBER.match(text)
            or any(begin.match(text) for begin, _ in _HTML)
        )

    def _leaf_block(self, text: str, indent: int, matched: int, opened: bool, above: Paragraph | None) -> bool:
        """Begin the leaf that a text begins, if it is no paragraph. ``above`` is the paragraph that it would continue."""
        if above is not None:
            if _UNDERLINE.fullmatch(text) and above.is_whole:
                self._retitle(above, 1 if text[0] == "=" else 2)
                return True
            header = above.last_line
            if header is not None and ("|" in text or ":" in text) and "|" in header:
                aligned = alignments(text, len(split(header)))
                if aligned is not None:
                    self._tabulate(above, header, aligned)
                    return True
        if found := _HEADING.fullmatch(text):
            self._make_leaf_room(matched, opened)
            title = found[2].strip(" ")
            closed = title.rstrip("#")
            self._heading(closed if closed[-1:] in " " else title, len(found[1]))
            return True
        if _RULE.fullmatch(text):
            self._make_leaf_room(matched, opened)
            self._separate("rule")
            self._write([[("─" * self._room, DIM, None)]])
            return True
        if (found := _FENCE.fullmatch(text)) and text[0] in "`~":
            fence, info = (found[1], found[2]) if found[1] else (found[3], found[4])
            words = info.replace("{", " ").replace("}", " ").split()
            self._make_leaf_room(matched, opened)
            code = self._begin(Code(self._room, words[0] if words else "", fence, indent))
            self._write(code.begin())
            return True
        if text.rstrip(" ") in self._formulas:
            self._make_leaf_room(matched, opened)
            formula = self._begin(Verbatim("formula", self._formulas[text.rstrip(" ")], self._room))
            self._write(formula.take(text))
            return True
        if text[0] == "<":
            end = next((end for begin, end in _HTML if begin.match(text)), None)
            if end is None and above is None and not isinstance(self.leaf, Paragraph) and _LONE_TAG.fullmatch(text):
                end = ""
            if end is not None:
                self._make_leaf_room(matched, opened)
                html = self._begin(Verbatim("html", end, self._room))
                self._write(html.take(" " * indent + text))
                if end and re.fullmatch(end, text):
                    self._close_leaf()
                return True
        return False

    def _heading(self, text: str, level: int) -> None:
        self._separate("heading")
        style = HEADING | BOLD | (UNDERLINE if level == 1 else 0)
        self._write(
            wrap(parse(text.strip(" "), self.references, style=style, show_urls=self._show_urls), self._room) or [[]]
        )

    def _retitle(self, paragraph: Paragraph, level: int) -> None:
        """A line under a paragraph has made it a heading."""
        self.leaf, self._leaf_is_new = None, False
        self._heading(" ".join(line.strip(" ") for line in paragraph.text.split("\n")), level)

    def _tabulate(self, paragraph: Paragraph, header: str, aligned: list[str]) -> None:
        """A line under a paragraph has made its last line the header of a table."""
        table = Table(header, aligned, self._room, self.references, self._show_urls)
        if paragraph.has_one_line:
            self.leaf, self._leaf_is_new = None, False
        else:
            paragraph.drop_last_line()
            self._close_leaf()
        self._begin(table)

    def _make_leaf_room(self, matched: int, opened: bool) -> None:
        self._make_room(matched, opened)
        self._close_leaf()

    def _begin(self, leaf: _L) -> _L:
        self.leaf = leaf
        self._leaf_is_new = True
        for one in self._containers:
            one.is_empty = False
        return leaf

    def _begin_paragraph(self) -> Paragraph:
        return self._begin(Paragraph(self._room, self.references, self._show_urls, breaks=self._breaks))

    def _close_leaf(self) -> None:
        leaf = self.leaf
        if leaf is None:
            return
        self._write(leaf.finish(preview=self._looks_ahead) if isinstance(leaf, Paragraph) else leaf.finish())
        self.leaf = None
        self._leaf_is_new = False
        if self._next_width:
            self.width, self._next_width = self._next_width, 0

    # Rows

    @property
    def _room(self) -> int:
        """The cells that are left of a row beside the marks of the containers."""
        return self.width - sum(len(one.rest[0]) for one in self._shown(self._containers))

    def _shown(self, containers: list[_Container]) -> list[_Container]:
        """The outer containers, up to half of the width: deeper ones are not indented."""
        left = self.width // 2
        for number, one in enumerate(containers):
            left -= len(one.rest[0])
            if left < 0:
                return containers[:number]
        return containers

    def _write(self, rows: list[Row]) -> None:
        """Write rows of the open leaf, or of nothing."""
        if not rows:
            return
        if self._leaf_is_new and self.leaf is not None:
            self._leaf_is_new = False
            self._separate(self.leaf.kind)
        shown = self._shown(self._containers)
        for row in rows:
            prefix = [one.rest if one.is_shown else one.first for one in shown]
            for one in self._containers:
                one.is_shown = True
            self._rows.append(_trimmed([*prefix, *row]))

    def _separate(self, kind: str) -> None:
        """Write an empty row where one belongs before a block, and note that the block is written."""
        in_list = any(one.indent for one in self._containers) and any(one.indent for one in self._last)
        set_off = not in_list and (kind in _SET_OFF or self._last_kind in _SET_OFF)
        if self._last_kind and (self._gap or set_off):
            common = []
            for one, other in zip(self._containers, self._last, strict=False):
                if one is not other:
                    break
                common.append(one)
            self._rows.append(_trimmed([one.rest for one in self._shown(common)]))
        self._gap = False
        self._last = self._containers.copy()
        self._last_kind = kind
        # Something separates the previous list from the next block.
        self._forget_lists(len(self._containers))

    def _forget_lists(self, depth: int) -> None:
        for one in [one for one in self._lists if one >= depth]:
            del self._lists[one]


def _copied(one: _Container) -> _Container:
    other = _Container(one.first, one.rest, one.indent)
    other.is_shown, other.is_empty = one.is_shown, one.is_empty
    return other


def _trimmed(row: Row) -> Row:
    """A row without blanks at its end."""
    while row:
        text, style, url = row[-1]
        bare = text.rstrip(" ")
        if bare == text:
            break
        row = row[:-1] if not bare else [*row[:-1], (bare, style, url)]
    return row
