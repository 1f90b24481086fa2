"""Streaming Markdown. ``document`` is the entry point: it takes text in pieces, and returns final lines and a preview of the rest.

``blocks`` finds the blocks line by line, ``leaves``, ``tables`` and ``code`` turn each into rows, ``inlines`` styles what is inside a
paragraph, and ``wrap`` breaks it where the screen ends.
"""
