"""``unspool chat``: a conversation, prompt by prompt."""

from __future__ import annotations

import os
import signal
import sys

from unspool import Error, outcome
from unspool.cli.access import check, with_model, with_simulator
from unspool.cli.chat import commands, entry
from unspool.cli.chat.external import NoEditor
from unspool.cli.chat.keyboard import Keyboard
from unspool.cli.chat.lines import Lines
from unspool.cli.chat.session import Session
from unspool.cli.commands import ask
from unspool.cli.options import UsageError
from unspool.cli.prompt import conversation
from unspool.cli.signals import tidy_up_first
from unspool.client.library.attachment import Unattachable, is_url
from unspool.config.paths import state_dir
from unspool.journal import ulid
from unspool.terminal import abilities
from unspool.terminal.output import Notes, Output
from unspool.terminal.safety import one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from unspool.cli.options.chat import ChatOptions
    from unspool.outcome import Ending

    class Reader(Protocol):
        """Where prompts come from."""

        def read(self) -> str | None:
            """Return the next prompt, None when there is none any more."""

        def type_ahead(self, typed: bytes, *, held: bool) -> None:
            """Take what was typed while nobody read."""


#: The file of the prompts that were typed, in the state folder.
HISTORY = "chat_history"
# Lines of the last answer to show when a conversation continues.
_RECALLED_LINES = 8


def run(options: ChatOptions) -> int:
    """Converse, and return the exit code."""
    # The chat's greeting says who answers.
    if options.continues or options.cid or options.name:
        options = conversation.chosen(options, Notes(Output(2), quiet=options.quiet))
    return with_simulator(options, _chat, lambda url: None)


def _chat(options: ChatOptions) -> int:
    from unspool.config.settings import load

    notes = Notes(Output(2), quiet=options.quiet)
    settings = load()
    options = options.configured(settings)
    target, history = ask.whom(options, settings)
    target = with_model(target, use_proxy=not options.sim)
    check(target, notes)
    is_watched = os.isatty(0) and (os.isatty(1) or os.isatty(2))
    screen = Output(1 if os.isatty(1) else 2) if is_watched else None
    is_dumb = abilities.is_dumb(os.environ)

    def leave() -> None:
        _say_how_to_go_on(session)

    keyboard = Keyboard(None if is_dumb else screen, leave)
    session = Session(options, settings, target, history, notes, keyboard, is_watched=is_watched)
    _attach(session, [*options.files, *options.attachments])
    tidy_up_first()
    if not is_watched or is_dumb:
        reader: Reader = Lines(screen, keyboard)
        with keyboard:
            return _converse(session, reader)
    # First of all, for what is typed while the line editor is imported is typed ahead.
    with keyboard:
        _greet(session)
        from unspool.cli.chat.editor import Editor

        path = None if options.no_log else os.path.join(state_dir(), HISTORY)
        return _converse(session, Editor(session, path, sys.stdout if os.isatty(1) else sys.stderr))


def _attach(session: Session, sources: list[str]) -> None:
    """Let what the command line names go with the first prompt."""
    if "-" in sources:
        raise UsageError("chat reads prompts from standard input: attach a file by its name")
    try:
        for source in sources:
            session.attach(source if is_url(source) else os.path.expanduser(source))
    except Unattachable as error:
        raise UsageError(str(error)) from error


def _greet(session: Session) -> None:
    session.notes.line(f"{session.target.model} at {session.place}; /help lists the commands")
    if session.question is None or not session.text:
        return
    lines = session.text.strip("\n").split("\n")
    shown = lines[-_RECALLED_LINES:]
    if len(shown) < len(lines):
        shown.insert(0, "…")
    session.say(f"> {one_line(session.question.text)}\n" + "\n".join(shown))


def _say_how_to_go_on(session: Session) -> None:
    if session.id is not None and session.is_watched and not session.options.no_log:
        which = f"-c {session.name}" if session.name else f"--cid {ulid.short(session.id)}"
        session.notes.line(f"unspool chat {which} continues this conversation")


def _converse(session: Session, reader: Reader) -> int:
    """Ask until there is nothing more to ask. Returns the exit code."""
    code = 0
    text: str | None = session.first_prompt
    while text is not None:
        if text.strip():
            before = session.ending
            over, failed = _do(session, text)
            ending = session.ending if session.ending is not before else None
            if ending is not None and ending.outcome != outcome.COMPLETE:
                code = ending.exit_code
            if over or (ending is not None and _ends_chat(session, ending)):
                break
            if failed and not session.is_watched:
                code = outcome.USAGE_EXIT_CODE
                break
        reader.type_ahead(session.keyboard.typed(), held=session.has_failed)
        try:
            text = reader.read()
        except KeyboardInterrupt:
            if not session.is_watched:
                code = 128 + signal.SIGINT
                break
            if text == "":
                break
            session.notes.line("press Ctrl-C again to leave, or Ctrl-D")
            text = ""
    _say_how_to_go_on(session)
    return 0 if session.is_watched and code not in _ENDED else code


# The exit codes of a chat that somebody else has ended.
_ENDED = (128 + signal.SIGTERM, 128 + getattr(signal, "SIGHUP", 1), outcome.EXIT_CODES[outcome.CLOSED])


def _do(session: Session, text: str) -> tuple[bool, bool]:
    """Do a command or ask a prompt. Returns whether the chat is over, and whether it could not be done."""
    command = entry.command(text)
    try:
        if command is not None:
            return commands.run(session, *command), False
        session.ask(entry.unquoted(text))
    except (commands.Refused, Error, NoEditor) as error:
        session.notes.line(str(error), always=True)
        return False, True
    except BrokenPipeError:
        raise
    except OSError as error:
        session.notes.line(f"{error.strerror or error}{f' ({error.filename})' if error.filename else ''}", always=True)
        return False, True
    except KeyboardInterrupt:
        session.notes.line("stopped")
    return False, False


def _ends_chat(session: Session, ending: Ending) -> bool:
    """Whether the chat cannot continue: the person has gone, or a script's next line depends on this answer."""
    if ending.outcome == outcome.CLOSED or (ending.outcome == outcome.CANCELLED and ending.signal != signal.SIGINT):
        return True
    return not session.is_watched and ending.outcome not in (outcome.COMPLETE, outcome.LENGTH)
