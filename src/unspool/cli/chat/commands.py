"""The commands of a chat: lines that begin with a slash."""

from __future__ import annotations

import os

from unspool import api, shape
from unspool.cli.access import lacks_key, missing_key
from unspool.cli.chat import external
from unspool.cli.commands import models
from unspool.cli.options import value_of
from unspool.cli.options.shared import MODEL_OPTIONS
from unspool.client.library.attachment import Unattachable
from unspool.config import nearest
from unspool.config.paths import streams_dir
from unspool.journal import folder, summary, ulid
from unspool.jsontext import dumps
from unspool.terminal.cells import clip, fold, pad
from unspool.terminal.output import Output
from unspool.terminal.safety import one_line
from unspool.terminal.size import size_of
from unspool.value import Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from unspool.cli.chat.session import Session
    from unspool.jsontext import JsonObject

#: Time limit in seconds for a list of models, because the user is waiting.
MODELS_TIMEOUT = 3.0
# What clears a value that otherwise is a text.
_NOTHING = ('""', "''", "none", "-")


class Refused(Exception):
    """A chat command cannot be carried out; the message says why and what to do."""


class Command(Fields):
    """One command. ``takes`` shows what follows the name; ``completes`` says what that is, for the completion menu. One that is
    not ``listed`` is another name for what is.

    ``run`` is given what follows the name, and returns whether the chat is over.
    """

    names: str
    takes: str
    help: str
    run: Callable[[Session, str], bool | None]
    completes: str = ""
    listed: bool = True


def run(session: Session, name: str, rest: str) -> bool:
    """Do a command, and return whether the chat is over. Raises Refused, UsageError, ConfigError, OSError, NoEditor."""
    command = BY_NAME.get(name.lower())
    if command is None:
        guess = nearest(name.lower(), BY_NAME)
        guess = guess.replace("'", "/", 1).replace("'", "") if "did you mean" in guess else ""
        raise Refused(
            f"there is no command /{name}{guess or '; /help lists them'}, and //{name} sends it to the model as it is"
        )
    return bool(command.run(session, rest.strip()))


def option_names() -> list[str]:
    """The names that /set knows; others are sent to the server as they are."""
    return list(_OPTIONS)


def profile_names(session: Session) -> list[str]:
    """The profiles that /profile can change to."""
    from unspool.config.profiles import BUILT_IN

    return sorted({*session.settings.profiles, *BUILT_IN})


def model_names(session: Session) -> list[str]:
    """The models of the server, sorted. Raises Refused where it does not say."""
    ending, found = models.fetch(session.target, MODELS_TIMEOUT, use_proxy=not session.options.sim)
    if ending is not None:
        raise Refused(f"the server does not list its models: {ending.message}")
    return sorted(models.names(found))


def _model(session: Session, rest: str) -> None:
    if rest:
        session.target = session.target.replace(model=rest)
        session.options = session.options.replace(model=rest)
        session.notes.line(f"the next answer comes from {rest}")
        return
    session.say(f"{session.target.model}, of:\n" + "".join(f"  {one_line(one)}\n" for one in model_names(session)))


def _system(session: Session, rest: str) -> None:
    if rest:
        session.options = session.options.replace(system=None if rest in _NOTHING else rest)
    system = session.options.system
    if system and not rest:
        session.say(system)
    else:
        session.notes.line(
            "the system prompt applies from the next prompt on" if system else "there is no system prompt"
        )


def _set(session: Session, rest: str) -> None:
    name, _, value = rest.partition(" ")
    name, value = name.strip("= ").replace("-", "_"), value.strip(" =")
    if "=" in name:
        name, _, value = rest.partition("=")
        name, value = name.strip().replace("-", "_"), value.strip()
    if not name:
        _show_options(session)
        return
    if not value:
        raise Refused(f"no value for {name}: use /set {name} VALUE; null restores the server's default")
    others = dict(session.options.options)
    others.pop(name, None)
    if name in _OPTIONS:
        try:
            read = None if value in ("null", *_NOTHING) else _OPTIONS[name](value)
        except ValueError as error:
            raise Refused(f"{name}: {error}") from error
        session.options = session.options.replace(**{name: read})
    elif value != "null":
        others[name] = value
    session.options = session.options.replace(options=list(others.items()))
    _show_options(session)


def _show_options(session: Session) -> None:
    options = session.options
    own = {"temperature": options.temperature, "top_p": options.top_p, "max_tokens": options.max_tokens}
    values: JsonObject = {name: value for name, value in own.items() if value is not None}
    values.update((name, value_of(text)) for name, text in options.options)
    session.notes.line(", ".join(f"{name} {dumps(value)}" for name, value in values.items()) or "no option is set")


def _api(session: Session, rest: str) -> None:
    if rest and rest not in api.NAMES:
        raise Refused(f"there is no API called {rest!r}{nearest(rest, api.NAMES)}")
    if rest:
        session.target = session.target.replace(api=rest)
        session.options = session.options.replace(api=rest)
    whole = "; it gets the conversation as one text" if api.endpoint(session.target.api).continues_text else ""
    session.notes.line(f"the API is {session.target.api}{whole}")


def _profile(session: Session, rest: str) -> None:
    from unspool.config.settings import resolve

    if rest:
        target = resolve(profile=rest, settings=session.settings)
        if lacks_key(target):
            raise Refused(missing_key(target))
        if not target.model:
            target = target.replace(model=session.target.model)
        session.target = target
        session.options = session.options.replace(sim=False)
        # The other server does not know what this one keeps.
        if session.history is not None:
            session.history.response_id = None
        for warning in target.warnings:
            session.notes.line(warning)
    session.notes.line(f"{session.target.model} at {session.place} ({session.target.api})")


def _clear(session: Session, rest: str) -> None:
    which = f"-c {session.name}" if session.name else f"--cid {ulid.short(session.id or '')}"
    way_back = f"; to go back: /quit, then unspool chat {which}" if session.id else ""
    session.clear()
    session.notes.line(f"a new conversation{way_back}")


def _retry(session: Session, rest: str) -> None:
    if session.turn is None:
        raise Refused("there is no prompt yet")
    session.ask_again()


def _resume(session: Session, rest: str) -> None:
    if session.turn is None:
        raise Refused("there is no prompt yet")
    session.resume()


def _edit(session: Session, rest: str) -> None:
    before = session.question.text if session.question is not None else ""
    with session.keyboard.resting():
        text = external.compose(before)
    if not text.strip():
        session.notes.line("the prompt is empty; nothing was sent")
    elif session.question is None:
        _show_question(session, text)
        session.ask(text)
    elif text == before:
        session.notes.line("the prompt is unchanged and was not sent again; /retry sends it again")
    else:
        _show_question(session, text)
        session.ask_again(text)


def _show_question(session: Session, text: str) -> None:
    """Show what was written in the editor, as if it had been typed here."""
    if session.is_watched:
        session.say("> " + text.replace("\n", "\n  "))


def _result(session: Session, rest: str) -> None:
    pending = session.pending
    if not pending:
        raise Refused("no tool call is waiting for a result")
    waiting = ", ".join(dict.fromkeys(pending.values()))
    word, _, text = rest.partition(" ")
    key = next((id for id, name in pending.items() if word in (id, name)), "")
    if not key:
        if len(pending) > 1:
            raise Refused(f"which call? use /result NAME TEXT with one of {waiting}")
        key, text = next(iter(pending)), rest
    text = text.strip()
    if text in ("", "-"):
        raise Refused(f"the result is missing: use /result TEXT for {waiting}")
    session.give(key, text)


def _multi(session: Session, rest: str) -> None:
    session.is_multiline = not session.is_multiline
    session.notes.line(
        "Enter starts a new line, Alt-Enter sends; to change back: /multi and Alt-Enter"
        if session.is_multiline
        else "Enter sends, Alt-Enter starts a new line"
    )


def _file(session: Session, rest: str) -> None:
    if not rest:
        if not session.files:
            raise Refused("which file? /file PATH attaches a text, image, PDF or audio file to the next prompt")
        session.notes.line(
            f"attached to the next prompt: {', '.join(name for name, _ in session.files)}; /file - removes them"
        )
        return
    if rest == "-":
        session.files.clear()
        session.notes.line("no file is attached to the next prompt")
        return
    try:
        name = session.attach(_path(rest))
    except Unattachable as error:
        raise Refused(str(error)) from error
    session.notes.line(f"{name} is attached to the next prompt")


def _name(session: Session, rest: str) -> None:
    if rest and session.options.no_log:
        raise Refused("this conversation is not saved, so it cannot have a name")
    try:
        if rest and rest != session.name:
            session.call(rest)
    except ValueError as error:
        raise Refused(str(error)) from error
    session.notes.line(
        f"this conversation is called {session.name}" if session.name else "this conversation has no name"
    )


def _save(session: Session, rest: str) -> None:
    force, path = (True, rest[2:].strip()) if rest.startswith("-f ") else (False, rest)
    if not path:
        raise Refused("which file? /save FILE saves the conversation as Markdown, /save FILE.json as JSON")
    if session.history is None:
        raise Refused("there are no messages yet")
    try:
        with open(_path(path), "w" if force else "x", encoding="utf-8", errors="replace", newline="\n") as file:
            file.write(_written(session, is_json=path.endswith(".json")))
    except FileExistsError:
        raise Refused(f"{path} exists already; to replace it: /save -f {path}") from None
    session.notes.line(f"saved the conversation as {path}")


def _written(session: Session, *, is_json: bool) -> str:
    from unspool.cli.commands import export

    if session.id is not None and not session.options.no_log:
        stories = summary.conversation(streams_dir(), folder.find(streams_dir(), session.id))
        return export.as_json(stories) if is_json else export.markdown(stories)
    assert session.history is not None
    system = session.options.system
    messages = [*([{"role": "system", "content": system}] if system else ()), *session.history.messages]
    if is_json:
        return dumps({"version": shape.VERSION, "messages": messages}) + "\n"
    return "\n\n".join(block for message in messages for block in export.message_blocks(message)) + "\n"


def _path(text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    return os.path.expanduser(text)


def _copy(session: Session, rest: str) -> None:
    text = _last_text(session)
    from unspool.terminal import clipboard

    stdout = Output(1)
    try:
        how = clipboard.copy(text, stdout if stdout.is_tty else None)
    except clipboard.NoClipboard as error:
        raise Refused(str(error)) from error
    session.notes.line(f"copied the last answer, by {how}")


def _last(session: Session, rest: str) -> None:
    session.show(_last_text(session), raw=rest == "raw")


def _raw(session: Session, rest: str) -> None:
    session.show(_last_text(session), raw=True)


def _last_text(session: Session) -> str:
    if not session.text:
        raise Refused("there is no answer yet")
    return session.text


def _usage(session: Session, rest: str) -> None:
    if not session.answers:
        raise Refused("there is no prompt yet")
    usage = session.usage
    last = f"last answer: {usage.input_tokens} tokens in, {usage.output_tokens} out; " if usage is not None else ""
    untold = f", {session.unknown} of them without token counts" if session.unknown else ""
    answers = f"{session.answers} answer{'s' if session.answers > 1 else ''}"
    session.notes.line(f"{last}since the chat began: {session.spent[0]} in, {session.spent[1]} out, {answers}{untold}")


def _history(session: Session, rest: str) -> None:
    said = session.exchanges()
    if not said:
        raise Refused("there are no messages yet")
    most = session.notes.columns - 1
    session.say("\n".join(clip(("> " if who == "user" else "  ") + one_line(text), most) for who, text in said))


def _help(session: Session, rest: str) -> None:
    columns, rows = size_of(session.notes.output.fd)
    listed = [one for one in COMMANDS if one.listed]
    if rest:
        name = rest.removeprefix("/").lower()
        if name not in BY_NAME:
            raise Refused(f"there is no command /{name}; /help lists them")
        listed = [BY_NAME[name]]
    heads = ["/" + one.names.replace(" ", " /") + (f" {one.takes}" if one.takes else "") for one in listed]
    width = max(map(len, heads))
    lines = [f"{pad(head, width)}  {one.help}" for head, one in zip(heads, listed, strict=True)]
    keys = () if rest else _KEYS
    said = [fold(line, columns - 1, " " * 4) for line in (*lines, *keys)]
    # The prompt is to stay on the screen with them.
    if not rest and sum(1 + line.count("\n") for line in said) > rows - 2:
        names = ", ".join(heads)
        said = [fold(line, columns - 1, " " * 4) for line in (names, "/help NAME explains a command.", *keys)]
    session.say("\n".join(said))


def _quit(session: Session, rest: str) -> bool:
    return True


_KEYS = (
    'Enter sends. New line: Alt-Enter, Ctrl-J, \\ at the end, """ around the text.',
    "Ctrl-X Ctrl-E opens an editor. Ctrl-R searches prompts. Tab completes.",
    "Ctrl-C stops the answer, or clears the line. Ctrl-D leaves. //x sends /x.",
)

_OPTIONS = {one.dest: one.type for one in MODEL_OPTIONS if one.type is not None}

COMMANDS = (
    Command("model", "[NAME]", "use another model; without NAME: list them", _model, "model"),
    Command("system", "[TEXT]", "set the system prompt; - removes it", _system),
    Command("set", "[NAME VALUE]", "set temperature or another field; null unsets it", _set, "option"),
    Command("api", "[NAME]", "use the responses, chat or completions API", _api, "api", listed=False),
    Command("profile", "[NAME]", "use another server; /api NAME: another endpoint", _profile, "profile"),
    Command("clear new", "", "start a new conversation", _clear),
    Command("retry regenerate", "", "send the last prompt again", _retry),
    Command("resume continue", "", "get the rest of an answer that was cut off", _resume),
    Command("edit", "", "edit the last prompt in your editor and send it", _edit),
    Command("file attach", "PATH", "attach a text, image, PDF or audio file; - removes all", _file, "file"),
    Command("result", "TEXT", "send the result of a tool call", _result),
    Command("name", "[NAME]", "name the conversation, for unspool -c NAME", _name),
    Command("save", "FILE", "save the conversation as Markdown, or x.json as JSON", _save, "file"),
    Command("copy", "", "copy the last answer to the clipboard", _copy),
    Command("last", "[raw]", "show the last answer again, or as it came", _last),
    Command("raw", "", "show the last answer as it came", _raw, listed=False),
    Command("history log", "", "show the conversation so far", _history),
    Command("usage", "", "show tokens of the last answer, and in total", _usage),
    Command("multi", "", "swap Enter and Alt-Enter: new line and send", _multi),
    Command("help ?", "[NAME]", "list the commands, or explain one", _help, listed=False),
    Command("quit exit bye", "", "leave", _quit),
)

BY_NAME = {name: command for command in COMMANDS for name in command.names.split()}
