"""What the simulator answers. Each endpoint is a module (``completions``, ``chat``, ``responses``) with the same two names: ``PATH``
and ``Reply``. A ``Reply`` is made from a request's fields and gives the answer whole or as the frames of an event stream. What they share:

- ``fields`` reads a request's body and refuses what is wrong in it, ``messages`` the conversation in it, ``tools`` what may be called,
  ``formats`` and ``schemas`` the JSON that is asked for, ``thinking`` how hard to think. ``models`` says what goes with a model's name.
- ``choices`` decides what is said, from the texts of ``answers``, and ends it at its limit or stop sequence. ``tokens`` cuts it, and
  ``logprobs`` says how likely each token was.
- ``stamp`` gives ids, times and padding that depend on nothing but the request.
"""
