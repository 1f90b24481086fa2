"""``-t`` and ``--save``: a template gives what the command line leaves out, and a command line becomes a template."""

from __future__ import annotations

import json
import os

from unspool.cli.options import value_of
from unspool.client.library.attachment import is_url
from unspool.config import ConfigError, templates
from unspool.config.templates import Template
from unspool.jsontext import dumps
from unspool.value import Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.batch.lines import Preset
    from unspool.cli.options.ask import AskOptions
    from unspool.jsontext import JsonObject
    from unspool.terminal.output import Notes


class Filling(Fields):
    """A template with the values of its parameters. ``asks`` says whether it wants something besides to be asked."""

    template: Template
    values: dict[str, str]

    @property
    def asks(self) -> bool:
        return self.template.uses_input or "prompt" not in self.template.fields

    def fill(self, text: str) -> tuple[str, str | None]:
        """Return the prompt and the system instruction that come of what is asked."""
        return self.template.fill(text, self.values)


def apply(options: AskOptions) -> tuple[AskOptions, Filling]:
    """Return the options with what their template adds, and the template with the values of its parameters.

    Raises ConfigError for a mistake in the template or its parameters, ValueError for parameters without a template.
    """
    if not options.template:
        raise ValueError("-p sets a template's parameter: name the template with -t")
    template = templates.read(options.template)
    fields = template.fields
    if not (options.profile or options.base_url or options.sim):
        # A server named on the command line is another than the template's, and may not have its model.
        options = options.replace(profile=fields.get("profile"), api=options.api or fields.get("api"))
    if not (options.schema or options.schema_multi):
        options = options.replace(schema=fields.get("schema"), schema_multi=fields.get("schema_multi"))
    own = {"temperature": options.temperature, "top_p": options.top_p, "max_tokens": options.max_tokens}
    given = {key for key, _ in options.options} | {name for name, value in own.items() if value is not None}
    more = [(key, dumps(value)) for key, value in fields.get("options", {}).items() if key not in given]
    options = options.replace(
        model=options.model or fields.get("model"),
        tool_choice=options.tool_choice or fields.get("tool_choice"),
        files=[*fields.get("files", ()), *options.files],
        attachments=[*fields.get("attachments", ()), *options.attachments],
        tools=[*fields.get("tools", ()), *options.tools],
        options=[*options.options, *more],
    )
    return options, Filling(template, template.values(dict(options.params)))


def for_lines(template: Template, params: dict[str, str], notes: Notes) -> Preset:
    """Return a template as the lines of a run use it. Of ``params`` it takes its own, for lines that do not have them. Raises ValueError."""
    from unspool.batch.lines import FIELDS, Preset
    from unspool.cli.options.shared import MaterialOptions
    from unspool.cli.prompt.material import gather

    fields = template.fields
    usual = {name: params[name] for name in template.parameters if name in params}
    names = ("files", "attachments", "tools", "tool_choice", "schema", "schema_multi")
    material = gather(MaterialOptions(**{one: fields[one] for one in names if one in fields}), notes, None)
    request = dict(fields.get("options", {}))
    defaults = {one: request.pop(one) for one in FIELDS if one in request}
    defaults |= {"model": fields.get("model"), "options": request, **material.fields}

    def fill(text: str, given: dict[str, str]) -> tuple[str | list[JsonObject], str | None]:
        try:
            prompt, system = template.fill(text, template.values({**usual, **given}))
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return material.messages(prompt) if material.stands_alone else prompt, system

    asks = template.uses_input or "prompt" not in fields
    takes_messages = not (material.stands_alone or template.uses_input or "prompt" in fields)
    return Preset(defaults, fill, asks and not material.stands_alone, takes_messages)


def save(name: str, options: AskOptions, notes: Notes) -> int:
    """Keep the options as a template of this name, and say how to use it. Raises ConfigError, ValueError, OSError."""
    path = templates.path_of(name)
    if options.template:
        raise ValueError("--save does not work with -t: copy that template's file instead")
    if options.attachment_types:
        raise ValueError("--save does not work with --at: use -a; the type is detected from the file")
    request: JsonObject = {"temperature": options.temperature, "top_p": options.top_p, "max_tokens": options.max_tokens}
    request |= {key: value_of(value) for key, value in options.options}
    said: JsonObject = {
        "model": options.model,
        "profile": options.profile,
        "api": options.api,
        "tool_choice": options.tool_choice,
        "prompt": " ".join(options.prompt),
        "system": options.system,
        "files": [_absolute(one) for one in options.files],
        "attachments": [_absolute(one) for one in options.attachments],
        "tools": [_absolute(one) for one in options.tools],
        "schema": _kept_schema(options.schema),
        "schema_multi": _kept_schema(options.schema_multi),
        "options": {key: value for key, value in request.items() if value is not None},
        "defaults": dict(options.params),
    }
    fields = {name: value for name, value in said.items() if value}
    if not fields:
        raise ValueError("there is nothing to save: --save needs a prompt or options")
    existed = os.path.exists(path)
    # Checked in the form in which it will be read.
    template = templates.parse(templates.text_of(fields).encode(), path, name)
    templates.write(path, fields)
    parameters = "".join(f" -p {one} …" for one in template.parameters if one not in fields.get("defaults", {}))
    notes.line(f"{'replaced' if existed else 'saved'} {path}; use it with: unspool -t {name}{parameters}")
    return 0


def _kept_schema(given: str | None) -> str | None:
    """The text of a schema as a template keeps it: a mistake is reported now, and the template needs no other file."""
    if not given:
        return None
    from unspool.cli.prompt.material import read_schema

    schema = read_schema(given)
    is_file = os.path.isfile(os.path.expanduser(given))
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n" if is_file else given


def _absolute(source: str) -> str:
    if source == "-":
        raise ValueError("--save cannot save stdin: name a file")
    return source if is_url(source) or source[:1] in ("{", "[") else os.path.abspath(os.path.expanduser(source))
