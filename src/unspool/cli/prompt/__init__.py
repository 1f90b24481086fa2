"""The prompt that is asked, from the command line, standard input, a template, and what was said before."""

from __future__ import annotations

from unspool.api import endpoint
from unspool.api.prompt import Prompt
from unspool.cli.options import UsageError, value_of
from unspool.client.exchange import build_body

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.cli.options.shared import PromptOptions
    from unspool.cli.prompt.conversation import History
    from unspool.cli.prompt.material import Material
    from unspool.cli.prompt.templating import Filling
    from unspool.config.target import Target
    from unspool.jsontext import JsonObject
    from unspool.terminal.output import Notes

# Fields of the request that -o sets through the prompt, so that each endpoint gives them its own name and checks them.
_FIELDS = ("temperature", "top_p", "max_tokens", "stop", "seed", "n")


def build(
    options: PromptOptions, target: Target, notes: Notes, history: History | None, filling: Filling | None = None
) -> Prompt:
    """Return what to ask, after what the history says. Raises UsageError, also for what the endpoint cannot take."""
    try:
        prompt = _prompt(options, target, notes, history, filling)
        build_body(target, prompt, target.api)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return prompt


def _prompt(
    options: PromptOptions, target: Target, notes: Notes, history: History | None, filling: Filling | None
) -> Prompt:
    material = _material(options, notes, history)
    # Do not ask the user to type text that is not needed.
    suffices = (material is not None and material.stands_alone) or (filling is not None and not filling.asks)
    reads_stdin = not options.no_stdin and not (material is not None and material.took_stdin)
    text = _text(options, notes, reads_stdin=reads_stdin, suffices=suffices)
    system = options.system
    if filling is not None:
        text, instruction = filling.fill(text)
        system = system or instruction
    if not text.strip() and not suffices:
        raise UsageError('there is no prompt; try: unspool "What is Python?", or see unspool --help')
    more = {key: value_of(value) for key, value in options.options}
    fields: JsonObject = {
        "temperature": options.temperature,
        "top_p": options.top_p,
        "max_tokens": options.max_tokens,
    }
    fields.update({name: more.pop(name) for name in _FIELDS if name in more})
    n = fields.get("n")
    if n is not None and (type(n) is not int or n < 1):
        raise UsageError(f"-o n takes an integer above zero, not {n!r}")
    messages: str | list[JsonObject] = text
    if material is not None:
        fields.update(material.fields)
        messages = material.messages(text)
    if history is not None:
        system = system or history.system
        if history.response_id is not None and options.store and "previous_response_id" not in more:
            # The server has the conversation; only what is new need be sent.
            more["previous_response_id"] = history.response_id
        else:
            said = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
            messages = [*history.messages, *said]
    if options.background:
        if not endpoint(target.api).stores_responses:
            raise UsageError("only the Responses API supports --background; use --api responses")
        more.setdefault("background", True)
    return Prompt(
        messages,
        target.model or "",
        system=system,
        stream=not options.no_stream,
        store=options.store or options.background,
        options=more,
        **fields,
    )


def _material(options: PromptOptions, notes: Notes, history: History | None) -> Material | None:
    """What goes with the words, None where there is nothing but words."""
    tools = history is not None and (history.tools or history.pending)
    if not tools and not options.has_material:
        return None
    from unspool.cli.prompt import documents, material

    if options.files and (left := documents.left_among_words([*options.prompt])):
        some = ", ".join(left[:3]) + ("" if len(left) <= 3 else f" and {len(left) - 3} more")
        notes.line(f"{some}: file names in the prompt; put -f before each file, or name their folder")
    return material.gather(options, notes, history)


def _text(options: PromptOptions, notes: Notes, *, reads_stdin: bool, suffices: bool) -> str:
    """Standard input, and after it the words of the command line, which may be missing if the rest ``suffices``."""
    given = options.prompt
    # "-" is standard input by custom; that is read anyway, but at a terminal only where it is all there is.
    words = " ".join(word for word in given if word != "-")
    piped = ""
    if reads_stdin:
        from unspool.cli.prompt import stdin

        try:
            piped = stdin.read(notes, wanted=(not words and not suffices) or "-" in given)
        except OSError as error:
            raise UsageError(f"standard input cannot be read: {error.strerror}; --no-stdin ignores it") from error
        except ValueError as error:
            raise UsageError(f"{error}; attach files that are not text with -a") from error
    return as_text(f"{piped}\n\n{words}" if piped and words else piped or words)


def as_text(words: str) -> str:
    """Return words of a command line as a request can carry them. Raises UsageError for those that are not UTF-8.

    Such words reach Python as lone surrogates.
    """
    if words.isascii():
        return words
    from unspool import unicode

    try:
        return unicode.decode(words.encode("utf-8", "surrogateescape"), "the prompt")
    except unicode.NotText as error:
        raise UsageError(str(error)) from error
