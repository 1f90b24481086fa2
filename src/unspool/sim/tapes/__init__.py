"""Tapes: journals that a server answers from, and how they are made.

``recording`` makes a tape of each answer that passes through a proxy, and ``masking`` keeps keys off it. ``tape`` is what a tape holds: the
request, and the answer to the byte. ``deck`` finds the tape for a request, and ``player`` sends its answer again, in time.

Every journal is a tape. One that was recorded has the bytes as they came; of any other the events are sent in this program's own framing.
"""
