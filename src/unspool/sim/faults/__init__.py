"""Failing on purpose, and taking after other servers.

``table`` is what can go wrong, ``dialects`` the servers. Both fill in a plan, some of it with ``rewriting``. ``gate`` chooses the plan of
each request, and a ``course`` decides, without I/O, what becomes of a stream under it.
"""
