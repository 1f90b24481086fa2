"""``unspool tapes``: new checksums for tapes that were edited, and scripted answers made from tapes."""

from __future__ import annotations

import os

from unspool import Error
from unspool.terminal.output import Notes, Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from unspool.cli.options.sim import TapesOptions


def renew(options: TapesOptions) -> int:
    """Renew the checksums of each tape, and say which were changed."""
    from unspool.sim.tapes.editing import renew
    from unspool.sim.tapes.tape import NoTape

    notes = Notes(Output(2))
    for path in _paths(options.paths):
        try:
            notes.line(f"{path}: {'renewed' if renew(path) else 'nothing to renew'}")
        except NoTape as error:
            raise Error(str(error)) from error
    return 0


def answers(options: TapesOptions) -> int:
    """Print the scripted answers that say what the tapes say, as JSON."""
    import json

    from unspool.sim.tapes.editing import to_answers
    from unspool.sim.tapes.tape import NoTape, Tape

    try:
        made = to_answers(Tape(path) for path in _paths(options.paths))
    except NoTape as error:
        raise Error(str(error)) from error
    Output(1).write(json.dumps(made, ensure_ascii=False, indent=2) + "\n")
    return 0


def _paths(given: Sequence[str]) -> list[str]:
    """The tapes, and those of each folder."""
    found = []
    for path in given:
        inside = sorted(os.listdir(path)) if os.path.isdir(path) else None
        found += [path] if inside is None else [os.path.join(path, name) for name in inside if name.endswith(".sse")]
    return found
