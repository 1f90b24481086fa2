"""Real Chromium, for tests of pages."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from typing import Any

import pytest

from support.waiting import PATIENCE

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
with_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


class Browser:
    """Headless Chromium, driven through its debugging pipe."""

    def __init__(self, program: str) -> None:
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        to_read, self._to = os.pipe()
        self._from, to_write = os.pipe()
        # It wants descriptors 3 and 4: ours must not be those while they are put there.
        ends = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (to_read, to_write)]
        os.close(to_read)
        os.close(to_write)
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        options = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-proxy-server")
        self._pid = os.posix_spawn(
            program,
            [program, *options, "--remote-debugging-pipe", f"--user-data-dir={self._folder.name}"],
            os.environ,
            file_actions=[
                *((os.POSIX_SPAWN_DUP2, null, fd) for fd in range(3)),
                *((os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(ends, 3)),
            ],
        )
        for fd in (*ends, null):
            os.close(fd)
        self._unread = b""
        self._number = 0
        self._session: str | None = None
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._to)
        os.close(self._from)
        self._folder.cleanup()

    def go(self, url: str) -> None:
        self._call("Page.navigate", url=url)

    def reload(self) -> None:
        self._call("Page.reload")

    def run(self, script: str) -> Any:
        """What a script comes to; None while the page is not there to run it."""
        return self._call("Runtime.evaluate", expression=script, returnByValue=True).get("result", {}).get("value")

    def until(self, script: str, holds: Callable[[Any], bool] = bool) -> Any:
        deadline = time.monotonic() + PATIENCE
        while not holds(value := self.run(script)):
            assert time.monotonic() < deadline, f"{script} is {value!r}"
        return value

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._unread:
                assert select.select([self._from], [], [], PATIENCE)[0], f"the browser does not answer {method}"
                data = os.read(self._from, 65536)
                assert data, "the browser has ended"
                self._unread += data
            one, _, self._unread = self._unread.partition(b"\0")
            reply = json.loads(one)
            if reply.get("id") == self._number:
                return reply.get("result", {})  # type: ignore[no-any-return]
