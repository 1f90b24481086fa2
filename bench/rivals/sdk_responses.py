"""The openai SDK's own loop over a Responses stream, doing nothing with what it gets: ``sdk_responses.py MODEL EVENTS``."""

import sys

from openai import OpenAI

seen = 0
for _event in OpenAI().responses.create(model=sys.argv[1], input="hi", stream=True):
    seen += 1
assert seen == int(sys.argv[2]), seen
