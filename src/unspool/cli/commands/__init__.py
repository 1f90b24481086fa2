"""One module for each command, or for several that have most in common; and which table has which command."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.cli.commands import (  # noqa: F401 (attributes of this package, see __getattr__)
        ask,
        attach,
        bench,
        chat,
        completion,
        config,
        conversations,
        doctor,
        export,
        faults,
        keys,
        log,
        models,
        ps,
        remove,
        replay,
        resume,
        run,
        serve,
        show,
        sim,
        stats,
        tapes,
        templates,
    )
    from unspool.cli.options import Command

#: The commands under the headings of the help, each with the module of `unspool.cli.options` whose table has it.
GROUPS = {
    "ask": {"ask": "ask", "chat": "chat", "run": "batch"},
    "saved answers": {
        **dict.fromkeys(("last", "show", "replay", "resume", "log", "search", "stats", "export", "rm", "prune"), "kept")
    },
    "running streams": dict.fromkeys(("ps", "attach", "cancel"), "running"),
    "servers and tests": {
        "models": "setup",
        "doctor": "setup",
        "serve": "serve",
        "sim": "sim",
        "tapes": "sim",
        "faults": "setup",
        "bench": "batch",
    },
    "setup": dict.fromkeys(("config", "keys", "templates", "completion"), "setup"),
}
#: All commands, in the order of the help.
NAMES = {name: table for group in GROUPS.values() for name, table in group.items()}


def __getattr__(name: str) -> object:
    """Import the module of a command, when it is run: each is an attribute of this package."""
    if name.startswith("_"):
        raise AttributeError(name)
    return __import__(f"{__name__}.{name}", fromlist=["run"])


def find(name: str) -> Command:
    """Return the command of that name."""
    table = __import__(f"unspool.cli.options.{NAMES[name]}", fromlist=["COMMANDS"])
    found: Command = next(one for one in table.COMMANDS if one.name == name)
    return found


def of(argv: list[str]) -> tuple[Command, list[str]]:
    """Return the command that a command line means, and what follows its name: ``ask`` where no other is named."""
    if not argv or argv[0] not in NAMES:
        return find("ask"), argv
    command, rest = find(argv[0]), argv[1:]
    for action in command.actions:
        if rest and action.name == f"{command.name} {rest[0]}":
            return action, rest[1:]
    return command, rest


def dispatch(argv: list[str]) -> int:
    """Run a command line, and return the exit code. Raises Error, OSError, KeyboardInterrupt."""
    from unspool.cli.options import read

    if argv and argv[0] not in NAMES and (code := _instead(argv)) is not None:
        return code
    if argv[:2] == ["completion", "candidates"] and len(argv) > 3:
        # The words of a command line that is not this one: they are not parsed as if they were.
        from unspool.cli.commands import completion

        return completion.offer(argv[2:])
    command, rest = of(argv)
    values = read(command, rest)
    return command.run(values)


def _instead(argv: list[str]) -> int | None:
    """Do what a command line means that names no command and is no prompt; None for a prompt."""
    first, rest = argv[0], argv[1:]
    if first in ("-h", "--help", "--version") or (first == "help" and (not rest or rest[0] in NAMES)):
        from unspool.cli.options import help

        if first == "--version":
            text = help.version()
        elif first == "help" and rest:
            text = help.of_command(of(rest)[0])
        else:
            text = help.of_program()
        help.show(text)
        return 0
    if first == "--tool-worker":
        from unspool.cli.tools import worker

        return worker.main(rest)
    if first[:1] != "-" and " " not in first:
        from unspool.cli.options.slips import meant

        if (command_line := meant(argv)) is not None:
            return dispatch(command_line)
    return None
