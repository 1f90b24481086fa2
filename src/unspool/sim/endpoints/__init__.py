"""The answers of the simulator. Each text endpoint has a module (``completions``, ``chat``, ``responses``) with its ``PATH``, its ``FIELDS`` and
the object that it answers with, in one piece or as the frames of an event stream: `Completion`, `ChatCompletion`, `ModelResponse`. They share:

- ``fields`` reads a request's body and refuses what is wrong in it, ``messages`` the conversation in it, ``tools`` what may be called,
  ``formats``, ``schemas`` and ``patterns`` the JSON that is asked for, ``thinking`` how hard to think. ``models`` says what goes with a
  model's name.
- ``answer`` decides what is said, from ``texts``, and ends it at its limit or stop sequence. ``tokens`` cuts it, and ``logprobs`` says
  how likely each token was.
- ``request_identity`` gives ids, times and padding that depend on nothing but the request.
"""
