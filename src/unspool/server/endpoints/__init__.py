"""What the simulator answers. Each endpoint is a module (``completions``, ``chat``, ``responses``) with the same two names: ``PATH``
and ``Reply``. A ``Reply`` is made from a request's fields and gives the answer whole or as the frames of an event stream. ``models`` is the
list of names beside them. What they share:

- ``fields`` reads a request's body and refuses what is wrong in it, ``messages`` the conversation in it.
- ``answers`` has the texts, ``tokens`` cuts them, ``choices`` ends each of them at its limit or stop sequence.
- ``stamp`` gives ids, times and padding that depend on nothing but the request.
"""
