"""``unspool.stream`` from the library, doing nothing with what it gets: ``stream.py MODEL CHARACTERS``."""

import sys

import unspool

seen = 0
with unspool.stream("hi", model=sys.argv[1], api="chat", journal=False) as answer:
    for piece in answer:
        seen += len(piece)
assert seen == int(sys.argv[2]), seen
