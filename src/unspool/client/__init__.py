"""The network: connect, time out, retry, stream.

`transport` is libcurl, `exchange` one stream without I/O, `answer` and `aio` drive it for a thread and for asyncio, and `facts` is what both
know of it. `library` holds the public functions and clients, `asking` their arguments. `retry` and `errors` say when to try again and what is
raised in the end.

What is read from journals: `replay` is an answer again, `following` reads one that is being written, `resume`, `continuation` and
`resuming` go on with one that was cut. What goes with a prompt: `attachment`, `tools`, `schema`; `objects` is the JSON that comes back.
"""
