"""``--detach``: the stream continues in its own process, which outlives the terminal."""

from __future__ import annotations

import os

from unspool import Error
from unspool.cli import explain
from unspool.cli.options import UsageError
from unspool.cli.signals import ignore_hang_up
from unspool.journal.ulid import short
from unspool.terminal.output import Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from unspool.cli.options.ask import AskOptions
    from unspool.terminal.output import Notes


def in_background(work: Callable[[Callable[[str], None]], int]) -> tuple[str | None, int]:
    """Run ``work`` in a child process until it passes its stream's id to its argument; then let it run alone.

    Returns the id and 0, or None and the exit code of a child that ended before that and said why on stderr.
    """
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read_fd)
        code = 1
        try:
            code = work(lambda id: _leave(id, write_fd))
        except Error as error:
            code = explain(error)
        finally:
            os._exit(code)
    os.close(write_fd)
    with open(read_fd, encoding="ascii") as pipe:
        id = pipe.read()
    if id:
        return id, 0
    return None, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _leave(id: str, write_fd: int) -> None:
    """Leave the terminal: a new session, standard descriptors at /dev/null, SIGHUP ignored."""
    os.setsid()
    ignore_hang_up()
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nothing, fd)
    os.close(nothing)
    os.write(write_fd, id.encode("ascii"))
    os.close(write_fd)


def begin(ask: Callable[[Callable[[str], None]], int], options: AskOptions, notes: Notes) -> int:
    """Ask in a child process, and return the exit code once the child has begun, or has failed to."""
    if not hasattr(os, "fork"):
        raise UsageError("--detach does not work on this system, which has no fork")
    if other := "--dry-run" if options.dry_run else "--no-log" if options.no_log else "":
        raise UsageError(f"--detach does not work with {other}: a detached stream is read from its journal")
    id, code = in_background(ask)
    if id is None:
        return code
    Output(1).write(id + "\n")
    notes.line(f"running in the background; unspool attach {short(id)} follows it, unspool cancel {short(id)} stops it")
    return 0
