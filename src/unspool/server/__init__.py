"""The simulator: a server that answers like the OpenAI API, with written answers instead of a model.

``endpoints`` are what it answers and ``faults`` what it does wrong on purpose. ``errors`` are refusals and ``frames`` the events of a
stream, which both speak of; ``streaming`` paces frames as a model does, and sends them. ``simulator`` puts it together as an ASGI
application, and ``running`` runs that.

A response outlives its request: ``store`` keeps it, with the ``log`` of its stream, and ``lifecycle`` makes it, on its connection
or in the background, and gives it out again.

``proxy`` does to the answers of any other server, byte by byte, what the faults do to its own. ``connection`` has what servers do with
sockets. ``pytest_plugin`` lends the simulator to other people's tests.

``relay`` is no part of it: it serves answers that were streamed from elsewhere on to browsers, for any ASGI application.

Nothing outside this room imports it at top level: starlette and uvicorn cost more than a whole answer does.
"""
