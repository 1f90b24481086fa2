"""Streaming Markdown. ``document`` is the entry point: text goes in in pieces, final lines and a preview of the rest come out.

``blocks`` finds the blocks line by line, ``leaves``, ``tables`` and ``code`` turn each into rows, ``inlines`` styles what is inside a
paragraph, and ``wrap`` breaks it where the screen ends.
"""
