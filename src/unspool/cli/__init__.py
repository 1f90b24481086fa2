"""The command line: one module a command, which parses, calls and returns the exit code."""

from __future__ import annotations

import gc
import os
import sys

#: The commands, with the module that holds each and the line that help shows.
COMMANDS = {
    "ask": ("ask", "stream an answer; the default"),
    "last": ("show", "print the last answer again"),
    "show": ("show", "print any answer again, by a piece of its id"),
    "log": ("log", "list the answers that are kept"),
    "search": ("log", "find kept answers by their words"),
    "export": ("export", "print a whole conversation as Markdown or JSON"),
    "rm": ("remove", "remove kept answers"),
    "prune": ("remove", "remove old ones"),
    "models": ("models", "list the models of a server"),
    "keys": ("keys", "store, list and remove API keys"),
    "sim": ("sim", "run the simulator, a server to try things with"),
}


def program() -> None:
    """Run the command line as a process of its own, which ends with the command's exit code."""
    # Starting makes no garbage worth looking for, and looking costs a twentieth of a whole short answer.
    gc.disable()
    code = main()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        pass
    # Everything is written, synced and closed by now. Taking the interpreter apart object by object, which the system does at a
    # stroke, would cost a tenth of a whole short answer.
    os._exit(code)


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    name = arguments[0] if arguments and arguments[0] in COMMANDS else "ask"
    try:
        module = __import__(f"unspool.cli.{COMMANDS[name][0]}", fromlist=["run"])
        return int(module.run(name, arguments[1:] if arguments[:1] == [name] else arguments))
    except KeyboardInterrupt:
        # Before a stream begins and after it ends; while it runs, its own handlers are in force.
        return 130
    except BrokenPipeError:
        _drop_stdout()
        return 141


def _drop_stdout() -> None:
    """Keep the interpreter from complaining, at exit, that it cannot flush a stdout nobody reads."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
