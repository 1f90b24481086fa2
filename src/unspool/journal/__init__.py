"""Journals: the append-only file of each stream, which every viewer reads.

`record` is the format, `writer` appends, `reader` reads what is whole, `folder` finds. Nothing here knows HTTP or terminals.
"""
