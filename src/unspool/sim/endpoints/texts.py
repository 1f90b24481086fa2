"""The texts of the simulator: one answer written by hand, and for all other prompts one that quotes them.

Every answer says that no model wrote it. The same prompt always gets the same one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import count, islice

from unspool.sim.endpoints import tokens
from unspool.sim.endpoints.messages import Conversation, Result, in_words

_WHAT_IS_PYTHON = """\
# What is Python?

*You are reading the unspool simulator: this answer was written in advance, not by a model.*

**Python** is a high-level, general-purpose programming language. Guido van Rossum began it at the end of 1989 and released it \
in 1991; today volunteers and the Python Software Foundation carry it on. It is named after the comedy group *Monty Python*.

## What sets it apart

- **Readable.** Indentation is part of the grammar, so a program looks the way it works.
- **Dynamically typed.** Values have types and names do not, though optional *type hints* let tools check a program before it runs.
- **Batteries included.** The standard library reads JSON, speaks HTTP, and stores data in SQLite.
- **Open.** The source of CPython, the reference implementation, is free to read, use and change.

## How it looks

```python
def greet(names: list[str]) -> None:
    for name in names:
        print(f"Hello, {name}!")


greet(["Ada", "Grace", "Barbara"])
```

A function, a loop and a formatted string: no semicolons and no braces.

## Where it is used

| Field            | Well-known packages  |
|------------------|----------------------|
| Web services     | Django, Flask        |
| Data analysis    | pandas, Polars       |
| Machine learning | PyTorch, scikit-learn |
| Scientific work  | NumPy, SciPy         |

## How to begin

1. Install it from [python.org](https://www.python.org/), or with your system's package manager.
2. Type `python3` in a terminal, and try `2 ** 100`.
3. Save a program in `hello.py`, and run it with `python3 hello.py`.

> Beautiful is better than ugly. Explicit is better than implicit. Simple is better than complex.
>
> — Tim Peters, *The Zen of Python* (PEP 20)

Python is not the fastest language for heavy computing; there it often serves as the friendly surface over code written in C, \
C++, Fortran or Rust.
"""

_PYTHON_IS = """

Python is a high-level, general-purpose programming language that was first released by Guido van Rossum in 1991. It is known \
for code that is easy to read: indentation marks the blocks of a program, and the standard library has tools for most everyday \
tasks. People use it for web services, for data analysis, for machine learning, and to teach programming. \
(This text was written in advance for the unspool simulator; no model wrote it.)"""

# How much of a prompt an answer quotes: enough to recognise it.
_QUOTED_CHARACTERS = 240

# "Tell me a story in 4,000 tokens": how a test or a benchmark asks for an answer of exactly that length.
_LENGTH_ASKED = re.compile(r"\bin (\d{1,3},\d{3}|\d{1,6}) tokens?\b", re.IGNORECASE)


# A client that continues a cut answer asks the model for the rest.
_CONTINUE = re.compile(r"\bcontinue\b", re.IGNORECASE)
# How the simulator's own completions begin: as much as a cut one is sure to have.
_BEGINNINGS = ("\n\nThis continuation comes", "\n\nPython is a", "This text comes from the")

#: What a prompt says to be refused, and to have the content filter end its answer half-way.
REFUSE, FILTER = "[refuse]", "[filter]"


def each(n: int) -> list[str]:
    """Labels that make each of ``n`` answers to one prompt a different text; none for a single answer."""
    return [""] if n == 1 else [f"Answer {number} of {n}" for number in range(1, n + 1)]


def to(conversation: Conversation, label: str = "") -> str:
    """Answer a conversation: the tools' results if there are any, or else the prompt and what came with it."""
    prompt = conversation.prompt
    if conversation.before is not None and _CONTINUE.search(prompt):
        asked, said = conversation.before
        for full in (markdown(asked, label), markdown(asked)):
            if full.startswith(said):
                return full[len(said) :]
    if conversation.results:
        return (f"**{label}**\n\n" if label else "") + _of_results(conversation.results)
    if conversation.attachments:
        heading = f"**{label}**\n\n" if label else ""
        return f"{heading}With your message came {in_words(conversation.attachments)}.\n\n{markdown(prompt)}"
    return markdown(prompt, label)


def refusal() -> str:
    """The answer to a prompt that asks to be refused."""
    return f"I'm sorry, but I can't help with that. The unspool simulator refuses a prompt that has {REFUSE} in it."


def thoughts(prompt: str, parts: int) -> list[str]:
    """The summary of what went through the simulator's mind, in its parts."""
    return [
        f"**Reading the prompt**\n\nThe prompt has {len(prompt.split())} words. "
        "The unspool simulator does not think; this stands where a summary of thoughts would.",
        "**Choosing an answer**\n\nThe answer was written in advance, so there is nothing to choose.",
    ][:parts]


def _of_results(results: Sequence[Result]) -> str:
    said = []
    for result in results:
        quote = "\n".join(f"> {line}".rstrip() for line in result.output.splitlines()) or "> (nothing)"
        said.append(f"The tool `{result.name}` answered:\n\n{quote}\n")
    return "\n".join(said) + "\nThis answer comes from the **unspool simulator**, not from a model.\n"


def markdown(prompt: str, label: str = "") -> str:
    """Answer a prompt as an assistant would, in Markdown."""
    heading = f"**{label}**\n\n" if label else ""
    if asked := _LENGTH_ASKED.search(prompt):
        return _of_length(int(asked[1].replace(",", "")), heading)
    if _asks_what_python_is(prompt):
        return heading + _WHAT_IS_PYTHON
    return heading + _about(prompt)


def prose(prompt: str, label: str = "", suffix: str = "") -> str:
    """Continue the prompt in plain text, like a legacy completion, up to the ``suffix`` if there is one."""
    if suffix.strip():
        return f"{label} … these words were put in by the unspool simulator, between “{_ending(prompt)}” and “{beginning(suffix)}” …"
    heading = f"\n\n{label}:" if label else ""
    if (rest := _rest_of_prose(prompt)) is not None:
        return heading + rest
    if asked := _LENGTH_ASKED.search(prompt):
        return _of_length(int(asked[1].replace(",", "")), heading)
    if _asks_what_python_is(prompt):
        return heading + _PYTHON_IS
    return (
        f"{heading}\n\nThis continuation comes from the unspool simulator, not from a model, so it cannot know what follows "
        f"“{beginning(prompt)}”. It goes on for a few sentences all the same, because a client that streams text needs some "
        "text to stream. Each word here arrives in an event of its own. The last event says why the text ended."
    )


def _rest_of_prose(prompt: str) -> str | None:
    """The rest of an answer whose beginning ends the prompt, as a client sends it to continue a cut answer."""
    for beginning in _BEGINNINGS:
        at = prompt.find(beginning)
        if at > 0 and (full := prose(prompt[:at])).startswith(prompt[at:]):
            return full[len(prompt) - at :]
    return None


def _asks_what_python_is(prompt: str) -> bool:
    return re.sub(r"[\W_]+", " ", prompt).strip().casefold() in ("what is python", "what s python", "whats python")


def _about(prompt: str) -> str:
    if not prompt.strip():
        return (
            "This answer comes from the **unspool simulator**, not from a model.\n\n"
            "There was no text in your message, so there is nothing to quote here.\n"
        )
    quote = "\n".join(f"> {line}".rstrip() for line in beginning(prompt).splitlines())
    return f"""\
This answer comes from the **unspool simulator**, not from a model. You asked:

{quote}

## What the simulator can say about that

It read your prompt and measured it, and that is all it understood:

| Measure    | Value |
|------------|-------|
| Characters | {len(prompt)} |
| Words      | {len(prompt.split())} |
| Tokens     | {tokens.count(prompt)} |

## What it is good for

- It speaks the **same protocol** as the API, event for event, so a client can be tried without a key and without cost.
- The same request gets the *same answer*, so tests can rely on it.
- Ask it `What is Python?` for a longer answer, or for `a story in 500 tokens` to choose the length.
"""


def beginning(prompt: str) -> str:
    """As much of a prompt as an answer quotes."""
    prompt = prompt.strip()
    return prompt if len(prompt) <= _QUOTED_CHARACTERS else prompt[:_QUOTED_CHARACTERS].rstrip() + "…"


def _ending(prompt: str) -> str:
    prompt = prompt.strip()
    return prompt if len(prompt) <= _QUOTED_CHARACTERS else "…" + prompt[-_QUOTED_CHARACTERS:].lstrip()


def _of_length(length: int, heading: str) -> str:
    """An answer of exactly so many tokens, its heading among them."""
    opening = heading + "This text comes from the unspool simulator, not from a model. It is as long as you asked."
    pieces = tokens.split(opening)
    for number in count(1):
        if len(pieces) >= length:
            break
        pieces += tokens.split(f"\n\nParagraph {number} has nothing to say, and says it one token after the other.")
    return "".join(islice(pieces, length))
