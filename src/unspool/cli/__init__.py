"""The command line: `unspool.cli.commands` has one module a command, `unspool.cli.options` the commands as data."""

from __future__ import annotations

import gc
import os
import sys

from unspool import Error


def program() -> None:
    """Entry point of the ``unspool`` command: run it with this process's arguments, and end the process with the exit code."""
    # Starting makes no garbage worth looking for, and looking costs a twentieth of a short answer.
    gc.disable()
    from unspool.cli.signals import leave_at_once

    leave_at_once()
    _occupy_standard_descriptors()
    code = main(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:  # it is None where the descriptor was closed from the start
                stream.flush()
        except OSError:
            pass
    # All is written, synced and closed by now. Taking the interpreter apart object by object, which the system does at a
    # stroke, would cost a tenth of a short answer.
    os._exit(code)


def main(argv: list[str]) -> int:
    """Run a command line and return its exit code."""
    from unspool.cli import commands

    try:
        return commands.dispatch(argv)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 141
    except Error as error:
        return explain(error)
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        return explain(Error(f"{error.strerror or error}{place}"))


def explain(error: Error) -> int:
    """Report what kept a command from its work, and return the exit code."""
    from unspool.cli.options import CommandError
    from unspool.terminal.output import Notes, Output

    Notes(Output(2)).line(str(error))
    return error.exit_code if isinstance(error, CommandError) else 1


def _occupy_standard_descriptors() -> None:
    """Keep a closed stdin, stdout or stderr from being given to the next file that is opened, which may be a journal.

    What takes its place can be neither read nor written in the way the program would, so using it fails as before.
    """
    for fd, mode in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_RDONLY)):
        try:
            os.fstat(fd)
        except OSError:
            # The lowest free descriptor is the one to be filled, for those below it are open.
            os.open(os.devnull, mode)
