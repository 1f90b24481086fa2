"""The simulator: a server that answers like the OpenAI API, with written answers instead of a model.

``endpoints`` are what it answers and ``faults`` what it does wrong on purpose. ``errors`` are refusals and ``frames`` the events of a
stream, which both speak of; ``pace`` says when a model would have each, ``streaming`` sends them then, and ``wire`` takes them to the
connection. ``limits`` are the rate limits of all clients together, and ``clock`` is what all of this goes by. ``simulator`` puts it
together as an ASGI application, and ``running`` runs that; ``apart`` does so in a process of its own.

A response outlives its request: ``store`` keeps it, with the ``log`` of its stream, and ``lifecycle`` makes it, on its connection
or in the background, and gives it out again.

``proxy`` does to the answers of any other server, byte by byte, what the faults do to its own. ``connection`` has what servers do with
sockets. ``tapes`` records what passes through it, and answers from that. ``pytest_plugin`` lends the simulator to other people's tests.

``relay`` is no part of it: it serves answers that were streamed from elsewhere on to browsers, for any ASGI application.

Nothing outside this room imports it at top level: starlette and uvicorn cost more than a whole answer does.
"""
