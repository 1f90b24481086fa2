"""The script that everybody writes, as the tutorials have it: requests and sseclient-py, printing each piece at once."""

import json
import os
import sys

import requests
import sseclient


def perform_request_with_streaming() -> None:
    url = os.environ["OPENAI_BASE_URL"] + "/completions"
    headers = {"Accept": "text/event-stream", "Authorization": "Bearer " + os.environ["OPENAI_API_KEY"]}
    body = {"model": sys.argv[1], "prompt": "What is Python?", "max_tokens": 100, "temperature": 0, "stream": True}
    request = requests.post(url, stream=True, headers=headers, json=body)
    client = sseclient.SSEClient(request)
    for event in client.events():
        if event.data != "[DONE]":
            print(json.loads(event.data)["choices"][0]["text"], end="", flush=True)


perform_request_with_streaming()
