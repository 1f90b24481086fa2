"""The line in which a prompt is written, by `prompt_toolkit`, which nothing else imports.

What it shows passes `unspool.terminal.safety` twice: a text before it is laid out, so that each character keeps its cell, and everything
again where it is written.
"""

from __future__ import annotations

import os
import sys

from prompt_toolkit import PromptSession
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.completion import Completer, Completion, PathCompleter, WordCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import Condition, has_focus
from prompt_toolkit.formatted_text import fragment_list_to_text
from prompt_toolkit.history import History
from prompt_toolkit.input import create_input
from prompt_toolkit.input.typeahead import store_typeahead
from prompt_toolkit.key_binding import KeyBindings, KeyPress, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.layout.processors import Processor, Transformation, TransformationInput
from prompt_toolkit.output import ColorDepth, create_output
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.styles import Style

from unspool.api import NAMES
from unspool.cli.chat import commands, entry, external
from unspool.cli.chat.history import PromptHistory
from unspool.masking import Mask
from unspool.terminal import abilities
from unspool.terminal.safety import Sanitizer, one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, TextIO

    from prompt_toolkit.completion import CompleteEvent
    from prompt_toolkit.output import Output

    from unspool.cli.chat.session import Session

_STYLE = Style.from_dict({"prompt": "bold", "completion-menu.meta.completion": "noinherit"})


class Editor:
    """Reads prompts at a terminal. ``path`` is the file of those that were typed before, None to keep none."""

    def __init__(self, session: Session, path: str | None, screen: TextIO) -> None:
        self._session = session
        self._wants_to_leave = False
        self._input = create_input(sys.stdin)
        coloured = abilities.wants_colour(session.options.color, os.environ, is_tty=True) is True
        self._prompt: PromptSession[str] = PromptSession(
            message=[("class:prompt", "> ")],
            prompt_continuation="  ",
            multiline=True,
            style=_STYLE,
            history=_History(PromptHistory(path), session),
            completer=_Completer(session),
            complete_in_thread=True,
            complete_while_typing=Condition(lambda: _names_something(self._prompt.default_buffer.text)),
            search_ignore_case=True,
            enable_suspend=True,
            input_processors=[_Safe()],
            key_bindings=self._bindings(),
            input=self._input,
            output=_output(screen),
            color_depth=None if coloured else ColorDepth.DEPTH_1_BIT,
        )
        self._prompt.default_buffer.on_text_changed += self._stay

    def read(self) -> str | None:
        """Return the next prompt, None when the person leaves."""
        self._wants_to_leave = False
        try:
            return self._prompt.prompt()
        except EOFError:
            return None

    def type_ahead(self, typed: bytes, *, held: bool) -> None:
        """Take what was typed while an answer streamed, for the next prompt. ``held`` keeps its Enter from sending."""
        parser: Any = getattr(self._input, "vt100_parser", None)
        if parser is None or not typed:
            return
        # The parser of the prompt itself, so that a paste of which the rest is still to come stays one paste.
        parser.feed(typed.decode("utf-8", "replace"))
        presses = self._input.flush_keys()
        if held:
            presses = [KeyPress(Keys.ControlJ) if one.key == Keys.ControlM else one for one in presses]
        store_typeahead(self._input, presses)

    def _stay(self, _: object) -> None:
        self._wants_to_leave = False

    def _bindings(self) -> KeyBindings:
        bindings = KeyBindings()
        writing = has_focus(DEFAULT_BUFFER)

        @bindings.add("enter", filter=writing)
        def _(event: KeyPressEvent) -> None:
            buffer = event.current_buffer
            if buffer.complete_state is not None and buffer.complete_state.current_completion is not None:
                buffer.complete_state = None
            elif self._session.is_multiline:
                buffer.newline(copy_margin=False)
            elif buffer.document.is_cursor_at_the_end and (more := entry.continued(buffer.text)) is not None:
                buffer.document = Document(more)
            elif buffer.text.strip():
                buffer.validate_and_handle()

        @bindings.add("escape", "enter", filter=writing)
        def _(event: KeyPressEvent) -> None:
            if not self._session.is_multiline:
                event.current_buffer.newline(copy_margin=False)
            elif event.current_buffer.text.strip():
                event.current_buffer.validate_and_handle()

        @bindings.add("c-j", filter=writing)
        def _(event: KeyPressEvent) -> None:
            event.current_buffer.newline(copy_margin=False)

        @bindings.add("c-c", filter=writing)
        @bindings.add(Keys.SIGINT)
        def _(event: KeyPressEvent) -> None:
            if event.current_buffer.text:
                event.current_buffer.reset()
            elif self._wants_to_leave:
                event.app.exit(exception=EOFError())
            else:
                self._wants_to_leave = True
                run_in_terminal(lambda: self._session.notes.line("press Ctrl-C again to leave, or Ctrl-D"))

        @bindings.add("c-x", "c-e", filter=writing)
        def _(event: KeyPressEvent) -> None:
            buffer = event.current_buffer

            def compose() -> None:
                try:
                    with self._session.keyboard.resting():
                        text = external.compose(buffer.text)
                except (external.NoEditor, OSError) as error:
                    self._session.notes.line(str(error), always=True)
                else:
                    buffer.document = Document(text)

            run_in_terminal(compose)

        return bindings


class _History(History):
    """Prompts in a file. None is there twice, and no key is in it."""

    def __init__(self, kept: PromptHistory, session: Session) -> None:
        super().__init__()
        self._kept = kept
        self._session = session
        if session.first_prompt.strip():
            self.store_string(session.first_prompt)

    def load_history_strings(self) -> Iterable[str]:
        """The prompts, newest first."""
        first = self._session.first_prompt
        return dict.fromkeys([*([first] if first.strip() else ()), *reversed(self._kept.load())])

    def append_string(self, string: str) -> None:
        """Take the newest prompt."""
        if string in self._loaded_strings:
            self._loaded_strings.remove(string)
        super().append_string(string)

    def store_string(self, string: str) -> None:
        """Keep a prompt."""
        key = self._session.target.key
        self._kept.add(Mask([key]).text(string))


class _Completer(Completer):
    """Completes commands, and what follows them. Runs in a thread of its own, for it may ask the server for its models."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._models: dict[str, list[str]] = {}
        self._commands = WordCompleter(
            [f"/{name}" for name in commands.BY_NAME if name != "?"],
            meta_dict={f"/{name}": one.help for name, one in commands.BY_NAME.items()},
            WORD=True,
        )
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        """What may come at the cursor, fit to be shown."""
        for one in self._found(document, complete_event):
            meta = one.display_meta_text
            yield Completion(
                one.text,
                one.start_position,
                display=one_line(one.display_text),
                display_meta=one_line(meta) if meta else None,
            )

    def _found(self, document: Document, event: CompleteEvent) -> Iterable[Completion]:
        before = document.text_before_cursor
        if not _names_something(before) or "\n" in document.text:
            return ()
        name, blank, rest = before.partition(" ")
        if not blank:
            return self._commands.get_completions(document, event)
        command = commands.BY_NAME.get(name[1:])
        if command is None:
            return ()
        if command.completes == "file":
            rest = rest.removeprefix("-f ")
            return self._paths.get_completions(Document(rest), event)
        return [Completion(one, -len(rest)) for one in self._choices(command.completes) if rest.lower() in one.lower()]

    def _choices(self, kind: str) -> list[str]:
        if kind == "model":
            return self._known_models()
        if kind == "profile":
            return commands.profile_names(self._session)
        if kind == "option":
            return commands.option_names()
        return list(NAMES) if kind == "api" else []

    def _known_models(self) -> list[str]:
        server = self._session.target.base_url
        if server not in self._models:
            try:
                self._models[server] = commands.model_names(self._session)
            except commands.Refused:
                self._models[server] = []  # once is enough: who waits for a menu does not want to wait at each key
        return self._models[server]


class _Safe(Processor):
    """Shows what is written, and what comes out of the history, without a character that a terminal would obey."""

    def apply_transformation(self, transformation_input: TransformationInput) -> Transformation:
        """Return the fragments of a line, each character in its place."""
        fragments = transformation_input.fragments
        if fragment_list_to_text(fragments).isprintable():
            return Transformation(fragments)
        return Transformation([(style, _shown(text), *rest) for style, text, *rest in fragments])  # type: ignore[misc]


class _SafeOutput(Vt100_Output):
    """Writes to a terminal what is laid out, and never asks it anything: an answer that comes late would land in the shell."""

    @property
    def responds_to_cpr(self) -> bool:
        """Whether to ask for the cursor's place."""
        return False

    def write(self, data: str) -> None:
        """Write text. All that comes here is foreign; sequences take another way."""
        super().write(_shown(data))


def _output(screen: TextIO) -> Output:
    if sys.platform == "win32":
        return create_output(screen)
    return _SafeOutput.from_pty(screen, term=os.environ.get("TERM"))


def _names_something(text: str) -> bool:
    return entry.command(text) is not None or text == "/"


def _shown(text: str) -> str:
    if text.isprintable():
        return text
    # Each carriage return separately: two characters that became one would move everything after them.
    return "".join(one if one in "\t\r\n" else Sanitizer().feed(one) for one in text)
