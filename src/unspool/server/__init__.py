"""The simulator: a server that answers like the OpenAI API, with written answers instead of a model.

Each endpoint is a module (``completions``, ``chat``, ``responses``) with the same two names: ``PATH`` and ``Reply``. A ``Reply``
is made from a request's fields and gives the answer whole or as the frames of an event stream. What the three share:

- ``fields`` reads a request's body and refuses what is wrong in it, with an error of ``errors``.
- ``answers`` has the texts, ``tokens`` cuts them, ``choices`` ends each of them at its limit or stop sequence.
- ``stamp`` gives ids, times and padding that depend on nothing but the request.
- ``frames`` are the events of a stream; ``streaming`` paces them as a model does, and sends them.
- ``simulator`` puts it together as an ASGI application, with ``models`` beside the endpoints; ``running`` runs that.

A response outlives its request: ``store`` keeps it, with the ``log`` of its stream, and ``lifecycle`` makes it, on its connection
or in the background, and gives it out again.

It can fail on purpose, and take after other servers:

- ``faults`` is the table of what can go wrong, ``dialects`` that of servers. Both fill in a plan, some of it with ``rewriting``.
- ``gate`` chooses the plan of each request. A ``course`` decides, without I/O, what becomes of a stream under it.
- ``proxy`` does the same to the answers of any other server, byte by byte. ``connection`` has what servers do with sockets.
- ``pytest_plugin`` lends the simulator to other people's tests.

Nothing outside this room imports it at top level: starlette and uvicorn cost more than a whole answer does.
"""
