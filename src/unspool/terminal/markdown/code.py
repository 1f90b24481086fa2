"""Colours for code, a line at a time: the colours of a line depend on the lines before it, never on those after.

Pygments does not fit: its lexers look ahead over lines, so a block would be lexed again for every line that arrives, or would look
different when streamed, and importing it costs 52 million instructions. Between lines only the open construct is kept: a block
comment, or a string of several lines.
"""

from __future__ import annotations

import re
from functools import cached_property

from unspool.terminal.style import COMMENT, DELETED, INSERTED, KEYWORD, NAME, NUMBER, PLAIN, STRING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.terminal.style import Row

_STRINGS = r"""(?P<string>"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?)"""
_NUMBER = r"(?P<number>\b0[xXbBoO][0-9a-fA-F_]+|\b\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d+)?)"
_WORD = r"(?P<word>[A-Za-z_][\w]*)"


class Family:
    """Languages with the same syntax: one expression for their tokens, and their keywords."""

    def __init__(
        self, *parts: str, words: str = "", many: tuple[tuple[str, str, int], ...] = (), fold: bool = False
    ) -> None:
        self._parts = parts
        self.words = frozenset(words.split())
        self.fold = fold
        self.many = {begin: (end, style) for begin, end, style in many}

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The tokens of the code; compiled for the first code of the family, since it takes a millisecond."""
        openers = "|".join(re.escape(begin) for begin in self.many)
        return re.compile("|".join([*([f"(?P<many>{openers})"] if openers else []), *self._parts]))


_C_LIKE = Family(
    r"(?P<comment>//.*)",
    _STRINGS,
    _NUMBER,
    _WORD,
    many=(("/*", "*/", COMMENT), ("`", "`", STRING)),
    words="""abstract as async await auto bool boolean break byte case catch char class const continue crate default defer delete do
    double dyn else enum export extends extern false final finally float fn for foreach from func function go goto if impl implements
    import in inline instanceof int interface internal is let long loop match mod mut namespace new nil null object of operator
    override package private protected pub public range readonly ref return self short sizeof static struct super switch template
    this throw throws trait true try type typedef typename typeof undefined union unsafe unsigned use using val var virtual void
    volatile when where while with yield""",
)
_FAMILIES = (
    (
        "python py python3 pycon ipython",
        Family(
            r"(?P<comment>\#.*)",
            r"""(?P<string>\b[rRbBfFuU]{0,2}(?:"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?)|"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?)""",
            _NUMBER,
            r"(?P<name>@[\w.]+)",
            _WORD,
            many=(('"""', '"""', STRING), ("'''", "'''", STRING)),
            words="""and as assert async await break case class continue def del elif else except False finally for from global if
            import in is lambda match None nonlocal not or pass raise return self True try type while with yield""",
        ),
    ),
    (
        "c cpp c++ h hpp java javascript js jsx typescript ts tsx go golang rust rs kotlin kt swift cs csharp c# php scala dart"
        " objective-c objc zig groovy proto protobuf glsl jsonc json5 solidity v",
        _C_LIKE,
    ),
    (
        "bash sh shell zsh fish console shell-session terminal dockerfile docker makefile make powershell ps1",
        Family(
            r"(?P<comment>(?:^|(?<=\s))\#.*)",
            _STRINGS,
            r"(?P<name>\$\{[^}]*\}?|\$\w+|\$[@#?*!$-]|(?:(?<=\s)|^)--?[A-Za-z][\w-]*)",
            r"(?P<word>[A-Za-z_][\w-]*)",
            words="""case do done elif else esac export fi for function if in local return select set then until while FROM RUN COPY
            CMD ENTRYPOINT WORKDIR ENV EXPOSE ARG""",
        ),
    ),
    (
        "json yaml yml toml ini cfg conf properties env hcl terraform tf nginx",
        Family(
            r"(?P<comment>(?:^|(?<=\s))[#;].*)",
            r"""(?P<name>"(?:[^"\\]|\\.)*"(?=\s*:)|^\s*(?:-\s+)?[\w./-]+(?=\s*[:=])|^\s*\[[^\]]*\]\s*$)""",
            _STRINGS,
            _NUMBER,
            _WORD,
            many=(('"""', '"""', STRING),),
            words="true false null yes no on off True False",
        ),
    ),
    (
        "html xml svg vue svelte xhtml jinja",
        Family(
            r"(?P<word></?[A-Za-z][\w:-]*|/?>)",
            r"(?P<name>[A-Za-z_:@][\w:.-]*(?==))",
            r"""(?P<string>(?<==)(?:"[^"]*"?|'[^']*'?))""",
            many=(("<!--", "-->", COMMENT),),
        ),
    ),
    (
        "css scss less sass",
        Family(
            r"(?P<comment>//.*)",
            _STRINGS,
            r"(?P<name>[\w-]+(?=\s*:))",
            r"(?P<number>\#[0-9a-fA-F]{3,8}\b|\b\d+(?:\.\d+)?\w*%?)",
            r"(?P<word>@[\w-]+)",
            many=(("/*", "*/", COMMENT),),
            words="@media @import @keyframes @font-face @supports @use @mixin @include",
        ),
    ),
    (
        "sql postgresql postgres mysql sqlite plsql tsql",
        Family(
            r"(?P<comment>--.*)",
            _STRINGS,
            _NUMBER,
            _WORD,
            many=(("/*", "*/", COMMENT),),
            fold=True,
            words="""add all alter and any as asc begin between by case cast check column commit constraint create cross database
            default delete desc distinct drop else end exists explain false foreign from full function grant group having if in index
            inner insert intersect into is join key left like limit not null offset on or order outer over partition primary
            references returning right rollback select set table then to transaction trigger true union unique update using values
            view when where with""",
        ),
    ),
    (
        "ruby rb perl pl r elixir ex julia jl crystal nim gdscript",
        Family(
            r"(?P<comment>\#.*)",
            _STRINGS,
            _NUMBER,
            r"(?P<name>[@$:]\w+)",
            _WORD,
            words="""and begin break case class def defmodule defp do else elsif end ensure false for foreach fn function if import in
            module my next nil not or our package private require rescue return self sub super then true TRUE FALSE NULL unless until
            use using when while yield""",
        ),
    ),
    (
        "lua haskell hs ada elm",
        Family(
            r"(?P<comment>--.*)",
            _STRINGS,
            _NUMBER,
            _WORD,
            many=(("--[[", "]]", COMMENT), ("[[", "]]", STRING), ("{-", "-}", COMMENT)),
            words="""and break case class data deriving do else elseif end false for function goto if import in instance let local
            module newtype nil not of or repeat return then true type until where while""",
        ),
    ),
)
_BY_NAME = {name: family for names, family in _FAMILIES for name in names.split()}
_STYLES = {"comment": COMMENT, "string": STRING, "number": NUMBER, "name": NAME}
# A line that is longer is data: minified code, base64. It is shown as it is.
_LONGEST_LINE = 4000


class Highlighter:
    """The state between two lines of a block of code."""

    __slots__ = ("_diff", "_family", "_open")

    def __init__(self, language: str) -> None:
        language = language.lower()
        self._family = _BY_NAME.get(language)
        self._diff = language in ("diff", "patch")
        self._open = ""

    def copy(self) -> Highlighter:
        """The same state, to look ahead with."""
        other = Highlighter("")
        other._family, other._diff, other._open = self._family, self._diff, self._open
        return other

    def line(self, text: str) -> Row:
        """Return the runs of the next line."""
        if self._diff:
            return [(text, _diff_style(text), None)]
        family = self._family
        if family is None or len(text) > _LONGEST_LINE:
            return [(text, PLAIN, None)]
        row: Row = []
        position = done = 0
        if self._open:
            position = done = self._through(row, text, 0, 0)
        while not self._open and (found := family.pattern.search(text, position)):
            kind = found.lastgroup
            if found.end() == found.start():
                position += 1
                continue
            if kind == "many":
                if done < found.start():
                    row.append((text[done : found.start()], PLAIN, None))
                self._open = found[0]
                position = done = self._through(row, text, found.start(), found.end())
                continue
            position = found.end()
            if kind == "word":
                word = found[0].lower() if family.fold else found[0]
                if family.words and word not in family.words:
                    continue
                style = KEYWORD
            else:
                style = _STYLES[kind or ""]
            if done < found.start():
                row.append((text[done : found.start()], PLAIN, None))
            row.append((found[0], style, None))
            done = position
        if done < len(text):
            row.append((text[done:], PLAIN, None))
        return row

    def _through(self, row: Row, text: str, begin: int, inside: int) -> int:
        """Add the open token to the row, from ``begin`` to its end or the line's; return that position."""
        assert self._family is not None
        end, style = self._family.many[self._open]
        at = text.find(end, inside)
        if at < 0:
            at = len(text)
        else:
            at += len(end)
            self._open = ""
        if at > begin:
            row.append((text[begin:at], style, None))
        return at


def _diff_style(text: str) -> int:
    if text.startswith(("+++", "---", "diff ", "index ")):
        return COMMENT
    if text.startswith("@@"):
        return NAME
    return {"+": INSERTED, "-": DELETED}.get(text[:1], PLAIN)
