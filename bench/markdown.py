"""Markdown on a terminal while it arrives: the cost of a token early and late in an answer, and the bytes written for it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from bench.process import Program, run
from bench.report import Budget, Row
from bench.setting import Setting, attempt

_EARLY, _LATE = 1_000, 20_000
_TOKENS = (_EARLY, 5_000, _LATE)
_RIVALS = {"rich": "Rich Live", "streamdown": "streamdown"}
_TOKEN = 4
_ESTIMATE = "estimated from the tokens measured: all of them take Rich Live minutes"

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
    tokens = tuple(map(str, _TOKENS))
    ours = _figures(setting, setting.ours("../rivals/markdown.py", "unspool", str(path), *tokens))
    for rival, name in _RIVALS.items():
        theirs, why = attempt(
            lambda rival=rival: _figures(
                setting, setting.rival(rival, "markdown.py", rival, str(path), *tokens), rounds=2
            )
        )
        for number, token in enumerate(_TOKENS):
            yield Row(f"CPU, token {token:,}", ours[number][0], name, theirs and theirs[number][0], "us", note=why)
        is_rich = rival == "rich"
        budget = Budget("ratio", 1 / 50) if is_rich else None
        yield Row(
            f"CPU, all {_LATE:,} tokens", _whole(ours), name, theirs and _whole(theirs), "s", budget, why or _ESTIMATE
        )
        written = theirs and theirs[-1][1] / _TOKEN
        limit = Budget("unspool", 4.0) if is_rich else None
        yield Row("bytes written for one of the answer", ours[-1][1] / _TOKEN, name, written, "bytes each", limit, why)
    yield Row(f"CPU, token {_LATE:,}", ours[-1][0], f"token {_EARLY:,}", ours[0][0], "us", Budget("ratio", 1.3))


def _whole(figures: list[tuple[float, float]]) -> float:
    """The CPU seconds of all tokens, taking the cost to change evenly from each that was measured to the next."""
    points = [(0, figures[0][0]), *zip(_TOKENS, (cost for cost, _ in figures), strict=True)]
    return sum((n - m) * (a + b) / 2 for (m, a), (n, b) in pairwise(points))


def _figures(setting: Setting, program: Program, rounds: int = 3) -> list[tuple[float, float]]:
    """For each token asked for, the least CPU seconds of some runs, and the bytes."""
    runs = []
    for _ in range(setting.rounds(rounds)):
        lines = run(program).output.decode().splitlines()
        runs.append([tuple(map(float, line.split())) for line in lines])
    return [(min(figure[0] for figure in figures), figures[0][1]) for figures in zip(*runs, strict=True)]
