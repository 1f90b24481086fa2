"""The command line: one module a command, which parses, calls and returns the exit code."""

from __future__ import annotations

import gc
import os
import sys

from unspool import Error

#: The commands, with the module that holds each and the line that help shows.
COMMANDS = {
    "ask": ("ask", "stream an answer; the default"),
    "chat": ("chat", "converse, prompt by prompt"),
    "last": ("show", "print the last answer again"),
    "show": ("show", "print any answer again, by a piece of its id"),
    "replay": ("replay", "play an answer again, as it came in time"),
    "log": ("log", "list the answers that are kept"),
    "search": ("log", "find kept answers by their words"),
    "export": ("export", "print a whole conversation as Markdown or JSON"),
    "rm": ("remove", "remove kept answers"),
    "prune": ("remove", "remove old ones"),
    "resume": ("resume", "get the rest of an answer that was cut"),
    "attach": ("attach", "follow an answer that streams elsewhere"),
    "ps": ("ps", "list the answers that stream now"),
    "cancel": ("ps", "stop one of them"),
    "run": ("run", "stream the answers to a file of prompts"),
    "models": ("models", "list the models of a server"),
    "templates": ("templates", "list, show, edit and remove templates"),
    "keys": ("keys", "store, list and remove API keys"),
    "doctor": ("doctor", "try every step from the configuration to the first token"),
    "sim": ("sim", "run the simulator, a server to try things with"),
    "bench": ("bench", "put a load on a server and measure its streams"),
    "faults": ("faults", "list what the simulator can do wrong"),
    "completion": ("completion", "print what makes a shell complete command lines"),
}


def program() -> None:
    """Be the command: with this process's arguments, signals and descriptors, ending it with the exit code."""
    # Starting makes no garbage worth looking for, and looking costs a twentieth of a whole short answer.
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
    # stroke, would cost a tenth of a whole short answer.
    os._exit(code)


def main(argv: list[str]) -> int:
    """Run a command line and return its exit code."""
    name = argv[0] if argv and argv[0] in COMMANDS else "ask"
    if name == "ask" and argv and len(argv) <= 2:
        if argv[0] == "help" and (len(argv) == 1 or argv[1] in COMMANDS):
            return main([*argv[1:], "--help"])
        if (meant := _slip(argv[0])) is not None:
            from unspool.cli.options import UsageError

            # Taken for a prompt it would be asked, and be paid for.
            return explain(UsageError(f"did you mean unspool {meant}? To ask it as a prompt: unspool ask {argv[0]}"))
    try:
        module = __import__(f"unspool.cli.commands.{COMMANDS[name][0]}", fromlist=["run"])
        return int(module.run(name, argv[1:] if argv[:1] == [name] else argv))
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
    """Say what kept a command from its work, and return the exit code: 2 where it is the command line, else 1."""
    from unspool.cli.options import UsageError
    from unspool.terminal.output import Notes, Output

    Notes(Output(2)).line(str(error))
    return 2 if isinstance(error, UsageError) else 1


def _slip(word: str) -> str | None:
    """The command that a word is but one slip away from: a letter too many, too few, another, or two that changed places."""
    for name in COMMANDS:
        if abs(len(word) - len(name)) > 1 or len(name) < 3:
            continue
        longer, shorter = (word, name) if len(word) > len(name) else (name, word)
        places = range(len(longer))
        if len(longer) > len(shorter):
            if any(longer[:at] + longer[at + 1 :] == shorter for at in places):
                return name
            continue
        differing = [at for at in places if word[at] != name[at]]
        if len(differing) == 1 or (len(differing) == 2 and sorted(word) == sorted(name)):
            return name
    return None


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
