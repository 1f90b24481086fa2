"""What type checkers are to find: each line that ends so has a mistake, and no other."""

from __future__ import annotations

import unspool

unspool.stream("Hi", temprature=1)  # MISTAKE
unspool.stream("Hi", temperature="hot")  # MISTAKE
unspool.stream(7)  # MISTAKE
unspool.Client(modle="m")  # MISTAKE
unspool.nothing()  # MISTAKE
unspool.resume("7F3K", temperature=1)  # MISTAKE
