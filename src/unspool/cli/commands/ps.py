"""``unspool ps`` and ``unspool cancel``: the streams that run now, in whichever process, and the end of one."""

from __future__ import annotations

import os
import time

from unspool.cli.options import CommandError
from unspool.config.paths import streams_dir
from unspool.journal import blocks, folder, reader, ulid
from unspool.journal.blocks import Attempt, Request
from unspool.jsontext import dumps
from unspool.terminal.output import Notes, Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.cli.options.running import CancelOptions, PsOptions

# SIGTERM, which every stream of the command takes for a wish to end; SIGINT may be ignored by one in the background of a shell.
_SIGTERM = 15
# Seconds in which a cancelled stream writes its end, telling a server included.
_PATIENCE = 5.0


def run(options: PsOptions) -> int:
    """List the streams that run."""
    if options.names_server:
        from unspool.cli import gateway

        return gateway.ps(options)
    kept, stdout = streams_dir(), Output(1)
    paths = [folder.path_of(one, id) for one in (kept, *folder.runs(kept)) for id in folder.ids(one)]
    for path in sorted(paths, key=folder.id_of):
        id = folder.id_of(path)
        try:
            if not reader.is_alive(path):
                continue
            requests = _requests(path)
        except FileNotFoundError:  # removed since it was listed
            continue
        request = next((one for one in requests if isinstance(one, Request)), Request())
        seconds = max(0.0, time.time() - ulid.milliseconds(id) / 1000)
        if options.json:
            fields = {"id": id, "seconds": round(seconds, 1), "pid": _pid(requests)}
            stdout.write(
                dumps(fields | {name: getattr(request, name) for name in ("api", "model", "url", "time")}) + "\n"
            )
        else:
            words = f"{ulid.short(id)}  {seconds:7.1f} s  {request.model}  {request.url}"
            stdout.write(stdout.safe(words.replace("\n", " ")) + "\n")
    return 0


def cancel(options: CancelOptions) -> int:
    """Stop a stream."""
    if options.names_server:
        from unspool.cli import gateway

        return gateway.cancel(options)
    notes = Notes(Output(2), quiet=options.quiet)
    path = folder.locate(streams_dir(), options.id)
    short = ulid.short(folder.id_of(path))
    if not reader.is_alive(path):
        raise CommandError(f"{short} is not running any more; unspool show {short} prints it")
    pid = _pid(_requests(path))
    if pid is None:
        raise CommandError(f"{short} runs inside another program, and only that program can stop it")
    # The lock says that the process lives, so its number cannot have gone to another.
    os.kill(pid, _SIGTERM)
    deadline = time.monotonic() + _PATIENCE
    while reader.is_alive(path):
        if time.monotonic() > deadline:
            raise CommandError(f"process {pid} was asked to stop {short} and has not yet done so")
        time.sleep(0.01)
    notes.line(f"cancelled; unspool show {short} prints what arrived")
    return 0


def _requests(path: str) -> list[Request | Attempt]:
    """What was asked, and the attempts since: the blocks that say who writes the journal."""
    with reader.Reader(path) as journal:
        found = [blocks.read(one) for records in journal.batches() for one in records if one.at is None]
    return [one for one in found if isinstance(one, Request | Attempt)]


def _pid(requests: list[Request | Attempt]) -> int | None:
    return next((one.pid for one in reversed(requests) if one.pid), None)
