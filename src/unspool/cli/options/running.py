"""The commands for streams that run now, as data."""

from __future__ import annotations

from unspool.cli import commands
from unspool.cli.options import Command, Option, Words, count
from unspool.cli.options.kept import VIEW_OPTIONS
from unspool.cli.options.shared import ADDRESS_OPTIONS, ID_HELP, AddressOptions, RenderingOptions


class PsOptions(AddressOptions):
    """The options of ``unspool ps``."""

    json: bool = False


class AttachOptions(RenderingOptions, AddressOptions):
    """The options of ``unspool attach``."""

    first: int = 0
    id: str = ""


class CancelOptions(AddressOptions):
    """The options of ``unspool cancel``."""

    quiet: bool = False
    id: str = ""


_ID = Words(
    "id",
    "ID",
    f"{ID_HELP}; unspool ps lists running streams",
    least=1,
    missing="which stream? unspool ps lists running streams",
)

COMMANDS = (
    Command(
        "ps",
        "list running streams",
        lambda options: commands.ps.run(options),
        PsOptions,
        (Option("--json", "print one JSON object per line"), *ADDRESS_OPTIONS),
        description="List running streams: those on this machine or, with --base-url or -P, yours at a gateway.",
        examples="unspool ps\nunspool ps --base-url http://127.0.0.1:8400/v1",
        excess="it takes no ID",
    ),
    Command(
        "attach",
        "follow a running stream from another terminal",
        lambda options: commands.attach.run(options),
        AttachOptions,
        (
            *VIEW_OPTIONS,
            Option("--from N", "start at this block number of the journal", sets="first", type=count),
            *ADDRESS_OPTIONS,
        ),
        (_ID,),
        description="Follow a running stream, such as one started with -d or in another terminal, from beginning to end. The exit code is the"
        " stream's. With --base-url or -P, follow a stream at a gateway, running or ended.",
        examples="""\
unspool attach "$(unspool -d "Tell me everything")"
unspool attach 7F3K9Q --from 200
unspool attach 7F3K9Q --base-url http://127.0.0.1:8400/v1\
""",
        excess="one ID at a time",
    ),
    Command(
        "cancel",
        "stop a running stream",
        lambda options: commands.ps.cancel(options),
        CancelOptions,
        (Option("-q, --quiet", "print only errors"), *ADDRESS_OPTIONS),
        (_ID,),
        description="Stop a running stream on this machine or at a gateway. What has arrived stays saved.",
        examples="unspool cancel 7F3K9Q\nunspool cancel 7F3K9Q --base-url http://127.0.0.1:8400/v1",
        excess="one ID at a time",
    ),
)
