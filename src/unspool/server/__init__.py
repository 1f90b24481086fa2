"""The simulator: a server that answers like the OpenAI API, with written answers instead of a model.

Each endpoint is a module (``completions``, ``chat``, ``responses``) with the same two names: ``PATH`` and ``Reply``. A ``Reply``
is made from a request's fields and gives the answer whole or as the frames of an event stream. What the three share:

- ``fields`` reads a request's body and refuses what is wrong in it, with an error of ``errors``.
- ``answers`` has the texts, ``tokens`` cuts them, ``choices`` ends each of them at its limit or stop sequence.
- ``stamp`` gives ids, times and padding that depend on nothing but the request.
- ``streaming`` paces frames as a model does and sends them.
- ``simulator`` puts it together as an ASGI application, with ``models`` beside the endpoints; ``running`` runs that.

A response outlives its request: ``store`` keeps it, with the ``log`` of its stream, and ``lifecycle`` makes it, on its connection
or in the background, and gives it out again.

Nothing outside this room imports it at top level: starlette and uvicorn cost more than a whole answer does.
"""
