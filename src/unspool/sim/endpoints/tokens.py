"""Text to tokens, roughly as GPT's tokenizers cut it: a word keeps the space before it, and four characters are about a token."""

from __future__ import annotations

import re

# In this order: a word or a piece of a long one, digits by threes, a cluster of signs, line ends, indentation up to the space
# that belongs to the next word, and whatever is left one by one, so that the tokens always join to the text.
_TOKEN = re.compile(r" ?[^\W\d_]{1,8}| ?\d{1,3}| ?[^\w\s]{1,4}|\n+| +(?= )|.", re.DOTALL)


def split(text: str) -> list[str]:
    """Cut a text into tokens. Joined, they are the text."""
    return _TOKEN.findall(text)


def count(text: str) -> int:
    """The number of tokens in a text."""
    return len(split(text))
