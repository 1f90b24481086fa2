"""Markdown as it arrives. ``document`` is the way in: text in pieces goes in, final lines and a preview of the rest come out.

``blocks`` finds the blocks line by line, ``leaves``, ``tables`` and ``code`` turn each into rows, ``inlines`` styles what is inside a
paragraph, and ``wrap`` breaks it where the screen ends.
"""
