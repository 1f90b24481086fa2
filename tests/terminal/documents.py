"""Markdown to render: what models write, what they write wrongly, and what is meant to break a renderer."""

from __future__ import annotations

ANSWER = """\
# Reading a file *safely*

Use a **context manager**, so that the file is closed even if `read()` fails. See [the tutorial](https://docs.python.org/3/tutorial/)
or <https://peps.python.org/pep-0343/>, and ~~never~~ rarely call `close` yourself.

1. Open it:
   ```python
   with open("a.txt", encoding="utf-8") as file:
       text = file.read()  # all of it
   ```
2. Look at it
   - with *care*
     - and patience

   A second paragraph of the item, long enough to be broken over two rows of most screens there are.
3. Close it

> **Note**: quotes can hold lists:
> - one
> - two
lazily continued

| Mode | Meaning | Size |
|:-----|:-------:|-----:|
| `r`  | read    | 1 |
| `w`  | write, and *truncate* what was there before, as nobody expects | 1000 |

- [x] done
- [ ] to do

---

The end: 日本語のテキストも折り返されます。絵文字 👩‍👩‍👧 も、e\u0301 も 🇩🇪 も。
"""

DOCUMENTS = {
    "answer": ANSWER,
    "empty": "",
    "one word": "Hello",
    "blank lines": "\n\n\na\n\n\n\nb\n\n",
    "no end of line": "a\nb",
    "carriage returns": "one\r\n\r\ntwo\rthree\r",
    "headings": "# One\n## Two ##\n###### Six\n####### Seven\n#no\n\nUnder\n===\n\nUnder too\nlong\n---\n",
    "empty headings": "#\n## \n### ###\n",
    "emphasis": "*a* **b** ***c*** _d_ __e__ *f **g** h* a_b_c 2 * 3 * 4 **un closed\n",
    "nested emphasis": "**bold *both* bold** ~~gone **and bold**~~ *`code`*\n",
    "code spans": "`a` ``b ` c`` ` d ` ` unclosed\n",
    "escapes": r"\*no\* \_no\_ \`no\` \[no\] \# \\ 1\. a" + "\n",
    "entities": "&amp; &lt;b&gt; &copy; &#65; &#x41; &nbsp;| &bogus; &#0;\n",
    "links": "[a](http://a.b) [b](<http://a b> 'title') [c]() [](http://d) [e](mailto:x@y.z) ![f](http://g/h.png)\n",
    "references": "[before]\n\n[before]: http://b\n[Two Words]: <http://w> 'title'\n\n[before], [two  words] and [text][before]\n",
    "half links": "[a](http:// [b]( [c][ ![ [d\n\n](x)\n",
    "autolinks": "<http://a.b?c=d> <x@y.z> <not a link> http://bare.example/\n",
    "footnotes": "A claim[^1].\n\n[^1]: Its *source*.\n",
    "hard breaks": "one  \ntwo\\\nthree\nfour\n",
    "bullets": "- a\n- b\n\n- c\n* d\n+ e\n",
    "empty items": "-\n- a\n-\n\n1.\n2. b\n",
    "numbers": "1. a\n1. b\n1. c\n\ntext\n\n7. seven\n8) eight\n99. n\n100. m\n",
    "nested lists": "- a\n  - b\n    - c\n      1. d\n         2. e\n- f\n\n      code\n",
    "items with blocks": "- a\n\n  b\n\n      code\n\n  > q\n\n  # h\n\n- c\n  ***\n",
    "lists after text": "Text:\n- a\n- b\ntext\n1. c\n2. d\n2024. not one\n14. nor this\n",
    "tasks": "- [ ] a\n- [x] b\n- [X] c\n- [] d\n- [y] e\n1. [ ] f\n",
    "quotes": "> a\n> b\nlazy\n\n> c\n>> d\n> e\n\n>f\n> \n> g\n",
    "quotes with blocks": "> # h\n> - a\n>   - b\n>\n> ```\n> code\n> ```\n> | a |\n> |---|\n> | b |\n",
    "quote ends code": "> ```\n> code\nout\n",
    "rules": "***\n---\n___\n* * *\n- - -\n--\n**\n",
    "fences": "```\nplain\n```\n~~~ python\nx = 1\n~~~\n````\n```\n````\n``` a`b ```\n",
    "unclosed fence": "```js\nlet a = `x\ny`;\n",
    "indented fence": "  ```\n  a\n    b\n ```\n    ```\n",
    "fence in list": "- a\n  ```sh\n  echo $HOME # hi\n\n  ls\n  ```\n- b\n",
    "indented code": "    a\n\n      b\n\n\ntext\n    not code\n",
    "long code": "```c\n" + "int a = 1; /* " * 30 + "\nstill */ int b;\n```\n",
    "tabs": "\ta\n-\tb\n\n\t\tc\n>\td\n1.\te\n```\n\tx\ty\n```\n",
    "tables": "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 |\n| 4 | 5 | 6 |\n\na | b\n-|-\nc | d\ntext\n\n",
    "alignments": "|l|c|r|\n|:-|:-:|-:|\n|1|2|3|\n|long|longer|longest|\n",
    "table in text": "before\n| a | b |\n|---|---|\n| 1 | 2 |\n# after\n",
    "no tables": "| a | b |\n|---|\n\n| a |\n\n|---|---|\na | b\n",
    "pipes in cells": "| a \\| b | `c \\| d` |\n|--|--|\n| x | y |\n",
    "wide table": "| one | two | three |\n|---|---|---|\n"
    + "| short | "
    + "many words in a cell " * 6
    + "| 漢字の長いセル" * 3
    + "|\n",
    "many columns": "|" + " column |" * 30 + "\n|" + "---|" * 30 + "\n|" + " cell |" * 30 + "\n",
    "tall table": "| n | words |\n|--:|---|\n" + "".join(f"| {n} | {'word ' * (n % 9)}|\n" for n in range(40)),
    "table of a column": "| a |\n|---|\n| b |\n",
    "cells with marks": "| **a** | [b](http://c) |\n|---|---|\n| *d* | `e` ![f](http://g) <br> h |\n",
    "html": "<div>\n*raw*\n</div>\n\ntext <b>bold</b> <br/>\n\n<!-- a\n\nb -->\nafter\n\n<custom-tag a='b'>\nx\n",
    "html that never ends": "<script>\nvar a;\n\nmore\n",
    "details": "<details>\n<summary>More</summary>\n\n- a\n\n</details>\n",
    "maths": "Euler: $e^{i\\pi} + 1 = 0$, \\(a_1 * b_1 * c_1\\) and $$x$$. It costs $5 or $10.\n\n$$\n- a_1\n= b\n$$\n\n\\[\nx\n\\]\n",
    "unclosed maths": "$$\na\n\nb $x\n",
    "long paragraph": "Some words, *some of them* stressed and `some` code. " * 60 + "\n",
    "long lines": ("word " * 100 + "\n") * 3,
    "marks that never close": "*a **b `c [d _e ~~f " * 60 + "\n",
    "no blanks": "x" * 2000 + "\n" + "漢" * 700 + "\n",
    "url": "See https://example.com/" + "path/" * 60 + "?q=1&r=2 there\n",
    "short lines": "a\n" * 200,
    "many hard breaks": "line  \n" * 60,
    "long heading": "# " + "Heading " * 60 + "\n",
    "setext after much": "words and more words " * 60 + "\n===\n\nnext\n",
    "cjk": "# 見出し\n\n"
    + "これは長い段落です。「引用」も、句読点も（括弧も）あります。" * 8
    + "\n\n- 項目\n- **太字**の項目\n",
    "korean": "한국어 문장은 띄어쓰기로 나뉩니다. " * 10 + "\n",
    "right to left": "שלום עולם " * 20 + "\n",
    "emoji": "👍🏽 👩‍💻 ❤️ 🏳️‍🌈 🇯🇵🇫🇷 ☺ " * 12 + "\n",
    "combining": "Z" + "\u0301" * 50 + " e\u0301a\u0308 " * 20 + "\n" + "\u0301" * 400 + "\n",
    "deep quotes": ">" * 100 + " deep\n",
    "deep lists": "".join("  " * n + "- item\n" for n in range(40)),
    "deep in a line": "- " * 60 + "deep\n",
    "only marks": "*\n**\n_\n`\n~~\n#\n>\n-\n+\n1.\n|\n=\n",
    "numbers alone": "42\n\n1234567890. x\n",
    "languages": "".join(
        f"```{name}\n{text}\n```\n"
        for name, text in {
            "python": 'def f(a: int) -> str:\n    """one\n    two"""\n    return f"{a}" + \'b\'  # c',
            "bash": 'for f in "$@"; do\n  echo ${f%.*} --long -x # c\ndone',
            "json": '{"a": [1, -2.5e3, true, null], "b": "c\\"d"}',
            "yaml": "a: 1\nb:\n  - 'c' # d\n  - e: true",
            "rust": "/* a\n b */ fn main() { let x: u8 = 0xff; } // c",
            "html": "<!-- a\nb --><p class='c'>text</p>",
            "css": "a { color: #fff; /* b */ margin: 0 1px }",
            "sql": "SELECT a, 'b' FROM c WHERE d = 1 -- e",
            "diff": "--- a\n+++ b\n@@ -1 +1 @@\n-old\n+new\n same",
            "lua": "--[[ a\nb ]] local x = 'c' -- d",
            "unknown": "as it is",
            "": "plain",
        }.items()
    ),
    "text after everything": "# h\ntext\n- l\ntext\n> q\n```\nc\n```\ntext\n***\ntext\n|a|\n|-|\n|b|\n\ntext\n",
}

#: What must not instruct a terminal, however it is wrapped up.
HOSTILE = {
    "clipboard": "\x1b]52;c;cm0gLXJm\x07",
    "clear": "\x1b[2J\x1b[3J\x1b[H",
    "title": "\x1b]0;owned\x1b\\",
    "link": "\x1b]8;;http://evil\x1b\\click\x1b]8;;\x1b\\",
    "c1": "\x9b2J \x9d52;c;eA==\x9c \x90q\x9c",
    "unfinished": "\x1b]0;never ends",
    "bell": "\x07\x08\x7f\x0b\x0c\x0e",
    "overwriting": "safe\rEVIL",
    "bidi": "\u202eevil\u202c \u2066x\u2069 \u200f",
    "separators": "a\u2028b\u2029c\x85d",
    "tags": "\U000e0041\U000e0042\u200b\ufeff",
    "entities": "&#27;]52;c;eA==&#7; &#x9b;2J &#x1b;[2J &#13; &#8; &#x202e;x &#x2028;",
    "entity in a link": "[a](http://b/&#27;]52;c;eA==&#7;) [c](<http://d/&#x9b;2J \x1b[2J>) ![&#27;[2J](http://e)",
    "entity in code": "`&#27;[2J` `\x1b[2J`\n\n```&#27;[2J\n&#27;[2J \x1b[2J\n```",
    "url that ends the sequence": "[a](http://b/\x1b\\\x1b[2J) [c](http://d;id=e\x07) [f](javascript:alert) [g](file:///etc/passwd)",
    "reference": "[r]: http://x/&#27;[2J\n\n[r]",
    "table": "| \x1b[2J | &#27;[2J |\n|--|--|\n| \x9b2J | \r |\n",
    "heading": "# \x1b[2J &#27;[2J\n\nx\x1b[1A\n===\n",
    "html": "<div title='\x1b[2J'>&#27;[2J</div>\n",
    "maths": "$\x1b[2J$ $$\n\x1b[2J\n$$\n",
    "surrogates": "\ud83d \ude00 \udc80",
}
