"""Journals: the append-only file of each stream, which every viewer reads.

`record` is the format, `writer` appends, `reader` reads complete blocks, `folder` finds. Nothing here knows HTTP or terminals.
"""
