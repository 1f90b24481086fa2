"""The openai SDK's own loop over a chat stream, doing nothing with what it gets: ``sdk_chat.py MODEL CHUNKS``."""

import sys

from openai import OpenAI

stream = OpenAI().chat.completions.create(
    model=sys.argv[1], messages=[{"role": "user", "content": "hi"}], stream=True, stream_options={"include_usage": True}
)
seen = 0
for _chunk in stream:
    seen += 1
assert seen == int(sys.argv[2]), seen
