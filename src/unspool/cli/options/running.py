"""The commands for streams that run now, as data."""

from __future__ import annotations

from unspool.cli.options import Command, Option, Options, Words
from unspool.cli.options.kept import VIEW_OPTIONS
from unspool.cli.options.shared import ID_HELP, RenderingOptions
from unspool.cli.options.values import count


class PsOptions(Options):
    """The options of ``unspool ps``."""

    json: bool = False


class AttachOptions(RenderingOptions):
    """The options of ``unspool attach``."""

    first: int = 0
    id: str = ""


class CancelOptions(Options):
    """The options of ``unspool cancel``."""

    quiet: bool = False
    id: str = ""


_ID = Words(
    "id",
    "ID",
    f"{ID_HELP}; unspool ps lists the streams that run",
    least=1,
    missing="which stream? unspool ps lists those that run",
)

COMMANDS = (
    Command(
        "ps",
        "list the streams that run now",
        "ps:run",
        PsOptions,
        (Option(("--json",), "flag", "a JSON object a line"),),
        description="List the streams that run now.",
        examples="unspool ps",
        excess="it takes no ID",
    ),
    Command(
        "attach",
        "follow a stream that runs elsewhere",
        "attach:run",
        AttachOptions,
        (
            *VIEW_OPTIONS,
            Option(
                ("--from",),
                "value",
                "leave out what precedes this block of the journal",
                metavar="N",
                dest="first",
                type=count,
            ),
        ),
        (_ID,),
        description="Follow a stream that runs elsewhere, from its beginning to its end. The exit code is the stream's.",
        examples='unspool attach "$(unspool -d "Tell me everything")"\nunspool attach 7F3K9Q --from 200',
        excess="one ID at a time",
    ),
    Command(
        "cancel",
        "stop one of them",
        "ps:cancel",
        CancelOptions,
        (Option(("-q", "--quiet"), "flag", "print only errors"),),
        (_ID,),
        description="Stop a stream that runs elsewhere; what has arrived is kept.",
        examples="unspool cancel 7F3K9Q",
        excess="one ID at a time",
    ),
)
