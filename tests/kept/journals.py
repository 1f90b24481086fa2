"""Journals as real streams of the three endpoints leave them, written with the writer they are written with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

from support.waiting import PATIENCE
from unspool.journal import record, ulid
from unspool.journal.writer import Writer
from unspool.sse import Event, Events

#: 2026-11-01T00:00:00Z. Journals get ids a minute apart unless told otherwise.
BEGIN = 1793491200000
MINUTE = 60_000


def chat(*texts: str, finish: str | None = "stop", n: int = 1) -> list[Event]:
    """Events of Chat Completions that answer with these pieces, the same for each choice."""
    head = {"id": "chatcmpl-B1", "object": "chat.completion.chunk", "created": 1731456250, "model": "gpt-4o-2024-08-06"}
    chunks = [
        head | {"choices": [{"index": index, "delta": {"content": text}, "finish_reason": None}]}
        for text in texts
        for index in range(n)
    ]
    if finish:
        chunks += [head | {"choices": [{"index": index, "delta": {}, "finish_reason": finish}]} for index in range(n)]
        chunks.append(head | {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}})
    events = [Event("message", json.dumps(chunk)) for chunk in chunks]
    return [*events, Event("message", "[DONE]")] if finish else events


def completions(*texts: str) -> list[Event]:
    """Events of the legacy endpoint."""
    chunks = [
        {
            "id": "cmpl-C7",
            "model": "gpt-3.5-turbo-instruct",
            "choices": [{"text": text, "index": 0, "finish_reason": None}],
        }
        for text in texts
    ]
    chunks.append({"id": "cmpl-C7", "choices": [{"text": "", "index": 0, "finish_reason": "stop"}]})
    return [*(Event("message", json.dumps(chunk)) for chunk in chunks), Event("message", "[DONE]")]


def responses(*texts: str, reasoning: str = "") -> list[Event]:
    """Events of the Responses API."""
    snapshot = {"id": "resp_1", "object": "response", "model": "gpt-5.4-mini-2026-03-01", "output": []}
    values: list[dict[str, Any]] = [{"type": "response.created", "response": snapshot | {"status": "in_progress"}}]
    if reasoning:
        place = {"item_id": "rs_1", "output_index": 0, "summary_index": 0}
        values.append({"type": "response.reasoning_summary_text.delta", "delta": reasoning, **place})
    place = {"item_id": "msg_1", "output_index": 1, "content_index": 0}
    values += [{"type": "response.output_text.delta", "delta": text, **place} for text in texts]
    usage = {"input_tokens": 5, "output_tokens": 7, "total_tokens": 12}
    values.append({"type": "response.completed", "response": snapshot | {"status": "completed", "usage": usage}})
    return [Event(value["type"], json.dumps(value | {"sequence_number": n})) for n, value in enumerate(values)]


def body_of(api: str, prompt: Any, model: str = "gpt-5.4-mini", **more: Any) -> dict[str, Any]:
    """The request body that asks one question."""
    if api == "responses":
        return {"model": model, "input": prompt, "stream": True, "store": False, **more}
    if api == "completions":
        return {"model": model, "prompt": prompt, "stream": True, **more}
    return {"model": model, "messages": [{"role": "user", "content": prompt}], "stream": True, **more}


class Kept:
    """A home with a folder of journals."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.folder = str(home / "streams")
        self.catalogue = home / "catalogue.sqlite"
        self.count = 0

    def begin(
        self,
        prompt: Any = "What is Python?",
        *,
        api: str = "chat",
        model: str = "gpt-5.4-mini",
        body: dict[str, Any] | None = None,
        parent: str | None = None,
        at: int | None = None,
    ) -> Writer:
        """A journal in which only the request is written, and whose writer lives."""
        self.count += 1
        moment = BEGIN + self.count * MINUTE if at is None else at
        id = ulid.earliest(moment)[:10] + ulid.new()[10:]
        with mock.patch.object(ulid, "new", return_value=id):
            writer = Writer(self.folder, sync="never")
        request = {
            "api": api,
            "url": f"https://api.openai.com/v1/{api}",
            "profile": "openai",
            "model": model,
            "body": body or body_of(api, prompt, model),
            "parent": parent,
            "time": "2026-11-01T00:01:00.000Z",
        }
        writer.own(record.REQUEST, json.dumps(request, ensure_ascii=False))
        headers = {"content-type": "text/event-stream", "x-request-id": "req_7"}
        writer.own(record.RESPONSE, json.dumps({"status": 200, "http": "2", "headers": headers}))
        return writer

    def keep(
        self,
        prompt: Any = "What is Python?",
        events: list[Event] | str | None = None,
        *,
        outcome: str | None = "complete",
        message: str = "",
        **request: Any,
    ) -> str:
        """Keep a stream and return its id. ``outcome=None`` leaves it without an end."""
        writer = self.begin(prompt, **request)
        answer = chat("Python is ", "a language.") if events is None else events
        for number, event in enumerate(chat(answer) if isinstance(answer, str) else answer):
            writer.events(Events.of([event]), 0.25 + number / 8)
        if outcome is not None:
            end = {"outcome": outcome, "finish_reason": "stop" if outcome == "complete" else None, "at": 2.5}
            writer.own(record.END, json.dumps(end | ({"message": message} if message else {})))
        writer.close()
        return writer.id

    def path(self, id: str) -> Path:
        return Path(self.folder, f"{id}.sse")

    def run(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run the command as a process of its own, away from the settings of whoever runs the tests."""
        return subprocess.run(
            [*command(), *arguments],
            env=self.environ(),
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def environ(self) -> dict[str, str]:
        home = str(self.home)
        return {
            "HOME": home,
            "UNSPOOL_HOME": home,
            "XDG_CONFIG_HOME": home,
            "XDG_STATE_HOME": home,
            "PATH": os.environ["PATH"],
            # Compiled once for all tests, and not into the source.
            "PYTHONPYCACHEPREFIX": str(self.home.parent.parent / "bytecode"),
            "TZ": "UTC",
            "LC_ALL": "C.UTF-8",
        }

    def on_terminal(self, *arguments: str, typed: str = "", columns: int = 80) -> tuple[int, str]:
        """Run the command on a terminal this wide; return its exit code and all that was shown."""
        import fcntl
        import pty
        import struct
        import termios

        main, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        process = subprocess.Popen([*command(), *arguments], env=self.environ(), stdin=side, stdout=side, stderr=side)
        os.close(side)
        if typed:
            os.write(main, typed.encode())
        shown = b""
        while True:
            try:
                chunk = os.read(main, 65536)
            except OSError:  # EIO: the last descriptor of the other side is closed
                break
            if not chunk:
                break
            shown += chunk
        os.close(main)
        return process.wait(), shown.decode().replace("\r\n", "\n")


def command() -> list[str]:
    return os.environ.get("UNSPOOL_COMMAND", "").split() or [sys.executable, "-m", "unspool"]
