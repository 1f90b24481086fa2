"""The inside of a paragraph: emphasis, code, links. pulldown-cmark parses it; the result is spans.

Additions: maths stays as written, since a terminal shows no formulas; a line that looks like the start of a block is text, since
blocks are found before; and text that is still arriving can get the closing marks that it does not have yet.
"""

from __future__ import annotations

import re

from pyromark import Options, events

from unspool.terminal.paint import safe
from unspool.terminal.style import BOLD, CODE, ITALIC, LINK, PLAIN, STRIKE, UNDERLINE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyromark.event import BrokenLink

    from unspool.terminal.style import Row, Span

_OPTIONS = Options.ENABLE_STRIKETHROUGH | Options.ENABLE_MATH

# Put before a line that would begin a block. A blank to the rules of emphasis, but not to those of blocks, and nothing that could
# be in the text: the sanitiser has made every one of them visible.
_GUARD = "\u2028"
_BLOCK_START = re.compile(r"^(?=[-+*#>=`~<:|_]|\d{1,9}[.)]|\[|    |\t)", re.MULTILINE)
_MARKS = re.compile(r"[*_`~\[\]<&$!\\\n]|\s\s")

# Put beside emphasis marks between CJK characters: neither a blank nor punctuation to the rules of emphasis, and made visible by
# the sanitiser where it is in the text.
_NEUTRAL = "\ufeff"
_CJK = (
    "\u1100-\u11ff\u2e80-\u303f\u3040-\ua4cf\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef"
    "\U00020000-\U0003ffff"
)
_IS_CJK = re.compile(f"[{_CJK}]")
_BESIDE_CJK = re.compile(rf"(?<=[{_CJK}])(?:\*+|~+)(?=[^\s*~])|(?<=[^\s*~\\])(?:\*+|~+)(?=[{_CJK}])")

_STYLES = {"Emphasis": ITALIC, "Strong": BOLD, "Strikethrough": STRIKE}

_CODE_SPAN = r"(?<![`\\])(`+)(?!`)(?:.+?)(?<!`)\1(?!`)"
_TEX = re.compile(rf"{_CODE_SPAN}|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
# Looking for the ends of many beginnings takes the square of it.
_LONGEST_TEX = 4000
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")


class References:
    """The link references known so far: a stream may define more later."""

    def __init__(self) -> None:
        self._urls: dict[str, str] = {}
        self._is_fixed = False

    def fixed(self) -> References:
        """The same references, which nothing can be added to: for looking ahead, where a URL may be half of one."""
        other = References()
        other._urls, other._is_fixed = self._urls, True
        return other

    def define(self, label: str, url: str) -> None:
        """Remember one; the first definition of a label holds."""
        if not self._is_fixed:
            self._urls.setdefault(_folded(label), url)

    def resolve(self, link: BrokenLink) -> tuple[str, str] | None:
        """Called by pulldown-cmark for a label that it does not know."""
        url = self._urls.get(_folded(str(link["reference"])))
        return None if url is None else (url, "")

    def __bool__(self) -> bool:
        return bool(self._urls)


def _folded(label: str) -> str:
    return " ".join(label.split()).casefold()


def _guarded(text: str) -> str:
    """Return the text of a leaf as it is given to the parser."""
    text = _BLOCK_START.sub(_GUARD, text)
    return text if text.isascii() else _BESIDE_CJK.sub(_flanked, text)


def _flanked(found: re.Match[str]) -> str:
    """Let marks beside CJK characters open and close emphasis as the "CJK-friendly emphasis" amendment to CommonMark says.

    CommonMark's rules for punctuation (6.2, left- and right-flanking) expect blanks between words: ``**重要：**请`` stays as it
    is there. Under the amendment CJK punctuation counts as a letter, and a CJK character beside a mark as a blank would.
    """
    before, after = found.string[found.start() - 1], found.string[found.end()]
    opens = not _is_narrow_punctuation(after) or _is_narrow_punctuation(before) or _IS_CJK.match(before)
    closes = not _is_narrow_punctuation(before) or _is_narrow_punctuation(after) or _IS_CJK.match(after)
    # Where only one of them holds, CommonMark says so too.
    return f"{_NEUTRAL}{found[0]}{_NEUTRAL}" if opens and closes else found[0]


def _is_narrow_punctuation(mark: str) -> bool:
    from unicodedata import category

    return category(mark)[0] in "PS" and not _IS_CJK.match(mark)


def parse(
    text: str, references: References, *, style: int = PLAIN, show_urls: bool = True, breaks: bool = False
) -> Row:
    """Return the spans of a leaf's text. A span that is a line end is a hard break.

    With ``breaks`` every line end is one. With ``show_urls`` a link's URL follows its text, for terminals where it cannot be clicked.
    """
    if not _MARKS.search(text) and not _BLOCK_START.match(text):
        return [(text, style, None)] if text else []
    if ("\\(" in text or "\\[" in text) and len(text) <= _LONGEST_TEX:
        text = _TEX.sub(_as_written, text)
    text = _guarded(text)
    row: Row = []
    stack = [style]
    links: list[tuple[str, int]] = []
    url = None
    event: Any
    for event in events(text, options=_OPTIONS, broken_link_callback=references.resolve if references else None):
        if type(event) is str:
            if event == "SoftBreak":
                row.append(("\n", PLAIN, None) if breaks else (" ", stack[-1], url))
            elif event == "HardBreak":
                row.append(("\n", PLAIN, None))
            continue
        ((kind, value),) = event.items()
        if kind == "Text":
            _put(row, value, stack[-1], url)
        elif kind == "Code":
            _put(row, value, stack[-1] & 31 | CODE, url)
        elif kind == "InlineMath":
            _put(row, f"${value}$", stack[-1], url)
        elif kind == "DisplayMath":
            _put(row, f"$${value}$$", stack[-1], url)
        elif kind == "Start":
            name = value if type(value) is str else next(iter(value))
            if name in ("Link", "Image"):
                url = value[name]["dest_url"].replace(_NEUTRAL, "")
                links.append((url, len(row)))
                stack.append(stack[-1] & 31 | LINK | UNDERLINE)
            else:
                stack.append(stack[-1] | _STYLES.get(name, 0))
        elif kind == "End":
            if len(stack) > 1:
                stack.pop()
            if value in ("Link", "Image") and links:
                target, begin = links.pop()
                url = links[-1][0] if links else None
                said = "".join(run[0] for run in row[begin:])
                if not said:
                    _put(row, target, stack[-1] & 31 | LINK | UNDERLINE, target)
                elif target and (show_urls or _misleads(said, target)) and not _same(said, target):
                    _put(row, f" ({target})", stack[-1], None)
        else:  # HTML, as it is
            _put(row, str(value), stack[-1], url)
    return row


def _put(row: Row, text: str, style: int, url: str | None) -> None:
    # Made safe here, before it is measured, and not only when it is written: what an entity decodes to may become wider.
    text = safe(text.replace(_GUARD, "").replace(_NEUTRAL, ""))
    if not text:
        return
    if row and row[-1][1] == style and row[-1][2] == url and row[-1][0] != "\n":
        row[-1] = (row[-1][0] + text, style, url)
    else:
        row.append((text, style, url))


def _as_written(found: re.Match[str]) -> str:
    return found[0] if found[1] else _PUNCTUATION.sub(r"\\\1", found[0])


def _same(text: str, url: str) -> bool:
    return text in (url, url.removeprefix("mailto:")) or url == f"http://{text}" or url == f"https://{text}"


def _misleads(text: str, url: str) -> bool:
    """Whether a link's text looks like another URL than the one it leads to."""
    return "://" in text or text.lstrip().lower().startswith("www.")


_UNRESOLVED = re.compile(r"[*_`~\[<$]")


def is_settled(text: str, references: References) -> bool:
    """Whether nothing that follows can change how the text is parsed: no mark in it waits for its partner."""
    if not _MARKS.search(text):
        return True
    if text.endswith("\\") or re.search(r"&[#\w]{0,32}$", text):
        return False
    if text.count("\\(") > text.count("\\)") or text.count("\\[") > text.count("\\]"):
        return False
    left = _without_escapes(text)
    depth = 0
    for event in events(_guarded(left), options=_OPTIONS):
        if type(event) is dict and "Text" in event:
            rest = event["Text"]
            if not _UNRESOLVED.search(rest) and "]" not in rest:
                continue
            depth += rest.count("[") - rest.count("]")
            # A mark between blanks is no mark: 2 * 3.
            if "`" in rest or re.search(r"[*_~$](?=\S)|<[/!?\w]", rest):
                return False
    return depth <= 0


def _without_escapes(text: str) -> str:
    return re.sub(r"\\[!-/:-@\[-`{-~]", "..", text) if "\\" in text else text


_TOKENS = re.compile(r"\\.|(`+)|(\*{1,3}|_{1,3}|~~)|(!?\[)|(\])", re.DOTALL)
_HALF_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()\s]*(?:\s[^()]*)?$")
_HALF_TEXT = re.compile(r"!?\[([^\[\]]*)$")


def completed(text: str) -> str:
    """Close the open marks of a text that is still arriving, so that it looks as it probably will."""
    if not _UNRESOLVED.search(text):
        return text
    text = _HALF_LINK.sub(r"[\1](<>)", text)
    text = _HALF_TEXT.sub(r"\1", text)
    open_marks: list[str] = []
    position = 0
    while found := _TOKENS.search(text, position):
        position = found.end()
        ticks, mark = found[1], found[2]
        if ticks:
            close = re.compile(rf"(?<!`){ticks}(?!`)").search(text, position)
            if close is None:
                inside = text[position:]
                text = (
                    text + ("" if inside[-1:] not in "`" else " ") + ticks if inside.strip() else text[: found.start()]
                )
                break
            position = close.end()
        elif mark:
            after = text[position : position + 1]
            before = text[found.start() - 1 : found.start()]
            if mark in open_marks and before.strip():
                while open_marks.pop() != mark:
                    pass
            elif after.strip():
                if mark[0] != "_" or not before.isalnum():
                    open_marks.append(mark)
            elif not after and not before.isalnum() and position == len(text):
                text = text[: found.start()]  # it has nothing to mark yet
    if open_marks:
        bare = text.rstrip()
        closers: list[str] = []
        for mark in reversed(open_marks):
            # Half of a closing mark has come already.
            half = len(bare) - len(bare.rstrip(mark[0]))
            if not closers and 0 < half < len(mark):
                bare = bare[:-half]
            closers.append(mark)
        text = bare + "".join(closers) + text[len(text.rstrip()) :]
    return text


def plain(row: list[Span]) -> str:
    """The text of runs."""
    return "".join(text for text, _, _ in row)
