"""Markdown on a terminal while it arrives: the cost of a token early and late in an answer, and the bytes written for it."""

from __future__ import annotations

from collections.abc import Iterator

from bench.process import Program, run
from bench.report import Budget, Row
from bench.setting import Setting, attempt

_EARLY, _LATE = 1_000, 20_000
_TOKEN = 4

#: What a model writes, as far as renderers care.
_PIECE = """\
## Reading files

To read a file, open it with a **context manager**: it is closed even if `read()` fails. See
[the tutorial](https://docs.python.org/3/tutorial/) for more, and note that *text* needs an encoding. A paragraph of an answer is one
long line, so a renderer that waits for its end shows nothing for seconds, and one that starts anew for every token gets slow.

1. Open the file
   - with `encoding="utf-8"`
   - for **reading**
2. Read it, all at once or line by line

```python
def words(path: str) -> int:
    # Count them.
    with open(path, encoding="utf-8") as file:
        return sum(len(line.split()) for line in file)
```

| Mode | Meaning | Creates |
|:-----|:-------:|--------:|
| `r`  | read    | no |
| `w`  | write   | yes |

> A quote, which may be *long* too, and goes over more than one row of the screen before it ends.

"""


def measure(setting: Setting) -> Iterator[Row]:
    """Yield the rows of one renderer after the other."""
    path = setting.home / "answer.md"
    path.write_text(_PIECE * (_LATE * _TOKEN // len(_PIECE) + 1))
    tokens = (str(_EARLY), str(_LATE))
    early, late = _figures(setting, setting.ours("../rivals/markdown.py", "unspool", str(path), *tokens))
    theirs, why = attempt(
        lambda: _figures(setting, setting.rival("rich", "markdown.py", "rich", str(path), *tokens), rounds=2)
    )
    for words, number, ours in ((f"token {_EARLY:,}", 0, early), (f"token {_LATE:,}", 1, late)):
        budget = Budget("ratio", 1 / 20) if number else None
        yield Row(f"CPU, {words}", ours[0], "Rich Live", theirs and theirs[number][0], "us", budget, why)
    yield Row(f"CPU, token {_LATE:,}", late[0], f"token {_EARLY:,}", early[0], "us", Budget("ratio", 1.3))
    written = None if theirs is None else theirs[1][1] / _TOKEN
    yield Row(
        "bytes written for one of the answer", late[1] / _TOKEN, "Rich Live", written, "", Budget("unspool", 4.0), why
    )


def _figures(setting: Setting, program: Program, rounds: int = 3) -> list[tuple[float, float]]:
    """For each token asked for, the least CPU seconds of some runs, and the bytes."""
    runs = []
    for _ in range(setting.rounds(rounds)):
        lines = run(program).output.decode().splitlines()
        runs.append([tuple(map(float, line.split())) for line in lines])
    return [(min(figure[0] for figure in figures), figures[0][1]) for figures in zip(*runs, strict=True)]
