"""Many prompts from one file, each a stream with a journal of its own.

``lines`` reads the file, ``ledger`` remembers which stream belongs to which line, ``results`` tells what became of one, and ``runner``
keeps as many under way as `unspool.client.throttle` allows. What a result says is read from the stream's journal, whether that was
written a second or a day ago: a run that was killed continues where it stopped.
"""
