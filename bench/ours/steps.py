"""The way of a token as far as one step: ``steps.py STEP MODEL BASE_URL FOLDER``. Each step does all that those before it do.

``network`` takes the bytes and drops them; ``events`` decodes the event stream, ``deltas`` what the events say, ``journal`` keeps
them, ``print`` writes the text.
"""

import json
import sys

from unspool.api import chat
from unspool.api.deltas import Text
from unspool.client.http import Request
from unspool.client.http.transport import Reactor, Transfer
from unspool.journal.writer import Writer
from unspool.sse import Decoder
from unspool.terminal.output import Output

STEPS = ("network", "events", "deltas", "journal", "print")


def main(step: str, model: str, base_url: str, folder: str) -> None:
    wanted = STEPS.index(step)
    body = json.dumps({"model": model, "stream": True, "messages": []}).encode()
    transfer = Transfer(Request("POST", f"{base_url}/chat/completions", {"Content-Type": "application/json"}, body))
    reactor = Reactor()
    reactor.start(transfer)
    sse, api, output = Decoder(), chat.Decoder(), Output(1)
    journal = Writer(folder) if wanted >= STEPS.index("journal") else None
    while not transfer.over:
        reactor.wait(10)
        texts = []
        while data := transfer.take():
            if wanted < STEPS.index("events"):
                continue
            events = sse.take(data)
            if wanted < STEPS.index("deltas"):
                continue
            if journal is not None and events:
                journal.events(events, 0.0)
                if journal.sync_due() == 0:
                    journal.sync()
            texts += [delta.text for delta in api.decode(events) if type(delta) is Text]
        if wanted >= STEPS.index("print"):
            output.write("".join(texts))
    if journal is not None:
        journal.close()
    assert transfer.fault is None, transfer.fault


main(*sys.argv[1:])
