"""``unspool export``: a complete conversation, as Markdown or JSON."""

from __future__ import annotations

import os

from unspool import outcome
from unspool.api.conversation import plain
from unspool.cli.options import CommandError, dates
from unspool.client.resume import continuation
from unspool.config.paths import streams_dir
from unspool.journal import folder, summary, ulid
from unspool.jsontext import dumps
from unspool.terminal.output import Notes, Output
from unspool.terminal.safety import Sanitizer, one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.cli.options.kept import ExportOptions
    from unspool.journal.summary import Summary
    from unspool.jsontext import JsonObject


def run(options: ExportOptions) -> int:
    """Print the conversation, and return the exit code."""
    notes = Notes(Output(2))
    path = folder.locate(streams_dir(), options.id)
    try:
        stories = summary.conversation(os.path.dirname(path), folder.id_of(path))
    except summary.NoJournal as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise CommandError(f"cannot read {error.filename}: {error.strerror}") from error
    stdout = Output(1)
    if options.format == "json":
        text = as_json(stories)
    else:
        text = markdown(stories)
        if stdout.is_tty:
            text = Sanitizer().feed(text)
    stdout.write(text)
    for one in stories:
        if one.damage is not None:
            notes.line(one_line(str(one.damage)), always=True)
    if stories[0].parent:
        notes.line("the start of this conversation is missing: an earlier answer was removed")
    return 0


def markdown(stories: list[Summary]) -> str:
    """Return a conversation as Markdown: what was asked and answered, to the letter, with who, when and how it ended."""
    first = stories[0]
    blocks = []
    if first.system:
        blocks.append(f"## System\n\n{_closed(first.system)}")
    for number, one in enumerate(stories):
        is_rest = number > 0 and continuation.is_rest(one, stories[number - 1])
        # The first stream's history has no stream of its own.
        for message in continuation.joined(one.messages) if number == 0 else () if is_rest else one.asked:
            blocks += message_blocks(message)
        if number + 1 == len(stories) or not continuation.is_rest(stories[number + 1], one):
            blocks += _answer(one, [continuation.text_of(stories[: number + 1])] if is_rest else one.texts)
    return "\n\n".join(blocks) + "\n"


def message_blocks(message: JsonObject) -> list[str]:
    """The Markdown blocks of a message: who says it, its text, and the tools it calls."""
    text = _closed(plain(message.get("content")))
    role = message.get("role")
    calls = message.get("tool_calls")
    blocks = [f"## {one_line(str(role)).capitalize()}"] + ([text] if text else [])
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            blocks += _call(str(function.get("name")), str(function.get("arguments")))
    return blocks


def _answer(one: Summary, texts: list[str]) -> list[str]:
    when = dates.shown(ulid.milliseconds(one.id))
    blocks = ["## Assistant", f"*{_unstyled(one.response_model or one.model or 'unknown model')}, {when}*"]
    if one.reasoning:
        quoted = "\n".join(f"> {line}".rstrip() for line in _closed(one.reasoning).split("\n"))
        blocks.append(f"> **Reasoning**\n>\n{quoted}")
    for number, text in enumerate(texts):
        if len(texts) > 1:
            blocks.append(f"### Choice {number + 1}")
        if text:
            blocks.append(_closed(text))
    for call in one.tool_calls:
        blocks += _call(call.name, call.arguments)
    if one.outcome != outcome.COMPLETE:
        why = f": {_unstyled(one.message)}" if one.message else ""
        blocks.append(f"**[{_unstyled(one.outcome)}{why}]**")
    return blocks


def _call(name: str, arguments: str) -> list[str]:
    fence = "`" * max(3, _longest_run(arguments) + 1)
    return [f"Calls the tool {_unstyled(name)}:", f"{fence}json\n{arguments}\n{fence}"]


def _longest_run(text: str) -> int:
    longest = run = 0
    for character in text:
        run = run + 1 if character == "`" else 0
        longest = max(longest, run)
    return longest


def _closed(text: str) -> str:
    """Return the text without the line ends around it, and with a code block that was cut off closed.

    Otherwise all that follows would be in that block (CommonMark 0.31, 4.5).
    """
    fence = ""
    for line in text.split("\n"):
        bare = line.lstrip(" ")
        if len(line) - len(bare) > 3 or bare[:3] not in ("```", "~~~"):
            continue
        run = len(bare) - len(bare.lstrip(bare[0]))
        rest = bare[run:]
        if not fence:
            if bare[0] == "~" or "`" not in rest:
                fence = bare[0] * run
        elif bare[0] == fence[0] and run >= len(fence) and not rest.strip():
            fence = ""
    text = text.strip("\r\n")
    return f"{text}\n{fence}" if fence else text


def _unstyled(text: str) -> str:
    """Return a foreign text on one line, with what Markdown would take for its own escaped."""
    return "".join("\\" + one if one in "\\`*_[]<>#" else one for one in one_line(text))


def as_json(stories: list[Summary]) -> str:
    """Return a conversation as one JSON object."""
    from unspool import shape
    from unspool.cli.commands.log import describe

    return dumps({"version": shape.VERSION, "streams": [describe(one) for one in stories]}) + "\n"
