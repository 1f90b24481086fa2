"""The network: connect, time out, retry, stream.

`transport` is libcurl, `exchange` one stream without I/O, `answer` and `aio` drive it for a thread and for asyncio, and `facts` is what both
know of it. `library` holds the public functions and clients, `asking` their arguments. `retry` and `errors` say when to try again and what is
raised in the end.

What is read from journals: `replay` is an answer again, `following` reads one that is being written, and `rest` finds what is left of
one that was cut: a `background` response is the same answer again, anything else a `continuation`; `resumed` gives either to programs.
What goes with a prompt: `attachment`, `tools`, `schema`; `objects` is the JSON that comes back.
"""
