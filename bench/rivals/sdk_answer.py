"""The answer to "Hello" as the openai SDK's plain loops print it: ``sdk_answer.py chat|completions|responses``."""

import os
import sys

from openai import OpenAI

# As unspool is asked beside it: no second attempt, and no patience with silence, which is 600 seconds by default.
client = OpenAI(max_retries=0, timeout=3)


def chat():
    for chunk in client.chat.completions.create(
        model="m-1", messages=[{"role": "user", "content": "Hello"}], max_tokens=400, stream=True
    ):
        if chunk.choices and chunk.choices[0].delta.content:
            yield chunk.choices[0].delta.content


def completions():
    for chunk in client.completions.create(model="m-1", prompt="Hello", max_tokens=400, stream=True):
        if chunk.choices:
            yield chunk.choices[0].text


def responses():
    for event in client.responses.create(model="m-1", input="Hello", max_output_tokens=400, stream=True):
        if event.type == "response.output_text.delta":
            yield event.delta


try:
    for piece in {"chat": chat, "completions": completions, "responses": responses}[sys.argv[1]]():
        # As bytes, for half a surrogate pair is none of UTF-8.
        os.write(1, piece.encode("utf-8", "surrogatepass"))
except Exception as error:
    # What ends a program that does not catch it; its name is all that the table tells.
    print(type(error).__name__, file=sys.stderr)
    sys.exit(1)
