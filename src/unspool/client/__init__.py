"""The network: connect, time out, retry, stream.

`transport` is libcurl, `exchange` one stream without I/O, `answer` and `aio` drive it for a thread and for asyncio, `library`
holds the public functions, `retry` and `errors` say when to try again and what is raised in the end.
"""
