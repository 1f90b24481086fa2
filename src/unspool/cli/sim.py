"""``unspool sim``: the simulator as a server of its own."""

from __future__ import annotations

import os

from unspool.cli.flags import count, seconds
from unspool.cli.options import Option, scan
from unspool.terminal.output import Notes, Output


def _delay(text: str) -> float:
    return 0.0 if text in ("0", "0s", "0ms") else seconds(text)


def _port(text: str) -> int:
    port = count(text)
    if port > 65535:
        raise ValueError(f"{text} is above 65535, the last port")
    return port


OPTIONS = (
    Option(
        ("--host",), "value", "the address to listen at (default: 127.0.0.1)", metavar="ADDRESS", default="127.0.0.1"
    ),
    Option(("--port",), "value", "the port (default: 0, any that is free)", metavar="N", type=_port, default=0),
    Option(
        ("--ttft",), "value", "the time to the first token (default: 300ms)", metavar="TIME", type=_delay, default=0.3
    ),
    Option(
        ("--itl",), "value", "the time between two tokens (default: 20ms)", metavar="TIME", type=_delay, default=0.02
    ),
    Option(("--require-key",), "value", "refuse requests without this key", metavar="KEY"),
)


def run(name: str, argv: list[str]) -> int:
    """Serve until Ctrl-C, after printing the base URL."""
    arguments = scan(OPTIONS, argv, "words")
    if arguments is None or arguments["words"]:
        from unspool.cli.parser import build, read

        parser = build(
            "unspool sim",
            OPTIONS,
            rest="words",
            metavar="",
            rest_help="(none)",
            examples='  unspool sim --port 8080\n  OPENAI_BASE_URL=http://127.0.0.1:8080/v1 unspool "What is Python?"',
            description="Run a server that answers like the OpenAI API, from written answers and not from a model.",
        )
        arguments = read(parser, argv)
        if arguments["words"]:
            parser.error("it takes options only")
    from unspool.server.running import serve
    from unspool.server.simulator import Settings

    notes = Notes(Output(2))

    def ready(url: str) -> None:
        Output(1).write(url + "\n")
        notes.line("the simulator is running; Ctrl-C ends it")

    try:
        settings = Settings(ttft=arguments["ttft"], itl=arguments["itl"], require_key=arguments["require_key"])
        signal = serve(arguments["host"], arguments["port"], settings=settings, on_ready=ready)
    except OSError as error:
        # The socket module's own words, where there is a number for it, repeat the address in brackets.
        reason = os.strerror(error.errno) if error.errno is not None and error.errno > 0 else error.strerror
        notes.line(f"cannot listen at {arguments['host']} port {arguments['port']}: {reason}", always=True)
        return 1
    # Ending is what the signal asked for: only SIGTERM, which may come from anywhere, is told by the exit code.
    return 0 if signal == 2 else 128 + signal
