"""Whatever a program does with its answers, nothing is left behind: no warning, no thread, no socket, no journal without its end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.waiting import PATIENCE
from unspool.sim.running import Simulator

HEAD = """
import asyncio, gc, os, sys, threading
import unspool

def check():
    gc.collect()
    assert threading.enumerate() == [threading.main_thread()], threading.enumerate()
    links = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")]
    assert not [one for one in links if one.startswith("socket:") or one.endswith(".sse")], links
"""

ONE_THREAD = {
    "read to its end": "unspool.stream('Hi').read()\ncheck()",
    "left early": "with unspool.stream('Hi') as answer:\n    for _ in answer: break\ncheck()",
    "left early without a block": "for _ in unspool.stream('Hi'): break\ncheck()",
    "an exception in the loop": """
try:
    for _ in unspool.stream('Hi'): raise KeyError
except KeyError: pass
check()
""",
    "never read": "answer = unspool.stream('Hi')\ndel answer\ncheck()",
    "never read, until the end of the program": "answer = unspool.stream('Hi')",
    "a client that is closed": "with unspool.Client() as client: client.stream('Hi').read()\ncheck()",
    "a client that is never closed": "client = unspool.Client()\nclient.stream('Hi').read()",
    "a client that is dropped": "client = unspool.Client()\nclient.stream('Hi').read()\ndel client\ncheck()",
    "followed and left": """
answer = unspool.stream('Hi')
answer.read()
for _ in unspool.follow(answer.id): break
check()
""",
    "an error": """
try: unspool.stream('Hi', model='sim-1', base_url='http://127.0.0.1:9/v1', retries=0).read()
except unspool.Unreachable: pass
check()
""",
}

ASYNC = {
    "read to its end": "await unspool.astream('Hi').read()",
    "left early": "async with unspool.astream('Hi') as answer:\n    async for _ in answer: break",
    "never read": "answer = unspool.astream('Hi')\ndel answer",
    "begun and dropped": "answer = unspool.astream('Hi')\nawait answer.step()\ndel answer",
    "an exception in the loop": """
try:
    async with unspool.astream('Hi') as answer:
        async for _ in answer: raise KeyError
except KeyError: pass
""",
    "a task that is cancelled": """
async def read():
    async with unspool.astream('Hi in 2000 tokens') as answer:
        async for _ in answer: started.set()
started = asyncio.Event()
task = asyncio.create_task(read())
await started.wait()
task.cancel()
try: await task
except asyncio.CancelledError: pass
""",
    "many at once with a client": """
async with unspool.AsyncClient() as client:
    await asyncio.gather(*(client.stream('Hi').read() for _ in range(20)))
""",
    "followed": "answer = unspool.astream('Hi')\nawait answer.read()\nawait unspool.afollow(answer.id).read()",
}
# What cannot be given back before the loop is gone; it must not warn all the same.
UNCLOSED = {
    "a client that is never closed": "client = unspool.AsyncClient()\nawait client.stream('Hi').read()",
    "an answer that is never closed": "global answer\nanswer = unspool.astream('Hi')\nawait answer.step()",
    "left early without a block": "async for _ in unspool.astream('Hi'): break",
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with Simulator() as simulator:
        yield simulator.url


def run(program: str, url: str, home: Path) -> None:
    environ = {name: os.environ[name] for name in ("PATH", "VIRTUAL_ENV", "PYTHONPATH") if name in os.environ}
    environ |= {"HOME": str(home), "OPENAI_BASE_URL": url, "OPENAI_API_KEY": "sk-0123456789", "UNSPOOL_MODEL": "sim-1"}
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", HEAD + program],
        env=environ,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    # Development mode also says when the machine was too busy for a task: that is nobody's fault.
    said = [line for line in done.stderr.splitlines() if not line.startswith("Executing <")]
    assert (done.returncode, said) == (0, [])
    for journal in home.glob(".local/state/unspool/streams/*.sse"):
        assert "event: unspool.end\n" in journal.read_text()


def coroutine(body: str) -> str:
    return "async def main():\n" + "".join(f"    {line}\n" for line in body.splitlines()) + "asyncio.run(main())\n"


@pytest.mark.parametrize("what", ONE_THREAD)
def test_nothing_is_left_behind(what: str, url: str, tmp_path: Path) -> None:
    run(ONE_THREAD[what], url, tmp_path)


@pytest.mark.parametrize("what", ASYNC)
def test_nothing_is_left_behind_in_asyncio(what: str, url: str, tmp_path: Path) -> None:
    run(coroutine(ASYNC[what]) + "check()\n", url, tmp_path)


@pytest.mark.parametrize("what", UNCLOSED)
def test_no_warning_comes_of_what_is_not_closed_in_asyncio(what: str, url: str, tmp_path: Path) -> None:
    run(coroutine(UNCLOSED[what]), url, tmp_path)
