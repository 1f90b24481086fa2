"""Resuming: the same stream after its connection broke, a kept answer that was cut, the next turn of a conversation.

``connection`` continues a stream from a server that keeps it; `unspool.client.exchange` uses it while it runs. ``kept`` takes up an answer from
its journal. ``continuation`` makes one text of an answer and of those that continue it.
"""
