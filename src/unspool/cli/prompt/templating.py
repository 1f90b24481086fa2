"""``-t`` and ``--save``: a template gives what the command line leaves out, and a command line becomes a template."""

from __future__ import annotations

import json
import os

from unspool.client.library.attachment import is_url
from unspool.config import templates
from unspool.config.templates import Template
from unspool.jsontext import dumps
from unspool.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from unspool.terminal.output import Notes

# What the command line calls what a template names, where one word on it replaces the template's.
_REPLACED = ("model", "profile", "api", "tool_choice")
# Where what the command line adds comes after the template's.
_ADDED = ("files", "attachments", "tools")
_SCHEMAS = ("schema", "schema_multi")
# Options of the request that have a flag of their own.
_SETTINGS = ("temperature", "top_p", "max_tokens")


class Filling(Value):
    """A template with the values of its parameters. ``asks`` says whether it wants something besides to be asked."""

    __slots__ = ("template", "values")

    def __init__(self, template: Template, values: dict[str, str]) -> None:
        self.template = template
        self.values = values

    @property
    def asks(self) -> bool:
        return self.template.uses_input or "prompt" not in self.template.fields

    def fill(self, text: str) -> tuple[str, str | None]:
        """Return the prompt and the system instruction that come of what is asked."""
        return self.template.fill(text, self.values)


def apply(arguments: dict[str, Any]) -> None:
    """Put into the arguments what their template says and they do not, and a `Filling` in place of its name.

    Raises ConfigError for what is wrong with the template or its parameters, ValueError for parameters of no template.
    """
    if not arguments["template"]:
        raise ValueError("-p gives a template's parameter a value: name the template with -t")
    given = dict(arguments["params"] or ())
    template = templates.read(arguments["template"])
    fields = template.fields
    # A server named on the command line is another than the template's, and may not have its model.
    elsewhere = arguments["profile"] or arguments["base_url"] or arguments["sim"]
    for name in _REPLACED:
        if not (elsewhere and name in ("profile", "api")):
            arguments[name] = arguments[name] or fields.get(name)
    for name in _ADDED:
        arguments[name] = [*fields.get(name, ()), *(arguments[name] or ())] or None
    if not any(arguments[name] for name in _SCHEMAS):
        arguments.update({name: fields[name] for name in _SCHEMAS if name in fields})
    set_already = {key for key, _ in arguments["options"] or ()}
    for key, value in fields.get("options", {}).items():
        if key not in set_already and (key not in _SETTINGS or arguments[key] is None):
            arguments["options"] = [*(arguments["options"] or ()), (key, dumps(value))]
    arguments["template"] = Filling(template, template.values(given))


def save(arguments: dict[str, Any], notes: Notes, read_value: Any) -> int:
    """Keep the command line as a template, and say how to use it. Nothing is asked. Raises ConfigError, ValueError, OSError."""
    path = templates.path_of(arguments["save"])
    if arguments["template"]:
        raise ValueError("--save keeps what the command line says, not another template: copy that one's file instead")
    if arguments["attachment_types"]:
        raise ValueError("--save keeps no --at: use -a, for the type is read from the file")
    fields: dict[str, Any] = {name: arguments[name] for name in _REPLACED if arguments[name]}
    words = " ".join(arguments["prompt"])
    if words:
        fields["prompt"] = words
    if arguments["system"]:
        fields["system"] = arguments["system"]
    for name in _ADDED:
        if arguments[name]:
            fields[name] = [_absolute(one) for one in arguments[name]]
    for name in _SCHEMAS:
        if arguments[name]:
            from unspool.cli.prompt.material import read_schema

            # Read now: a mistake is told now, and the template needs no other file.
            schema = read_schema(arguments[name])
            is_file = os.path.isfile(os.path.expanduser(arguments[name]))
            fields[name] = json.dumps(schema, indent=2, ensure_ascii=False) + "\n" if is_file else arguments[name]
    options = {name: arguments[name] for name in _SETTINGS if arguments[name] is not None}
    options.update({key: read_value(value) for key, value in arguments["options"] or ()})
    if options:
        fields["options"] = options
    if arguments["params"]:
        fields["defaults"] = dict(arguments["params"])
    if not fields:
        raise ValueError("there is nothing to keep: --save keeps the prompt and the options beside it")
    name = arguments["save"]
    existed = os.path.exists(path)
    # Checked in the form in which it will be read.
    template = templates.parse(templates.text_of(fields).encode(), path, name)
    templates.write(path, fields)
    parameters = "".join(f" -p {one} …" for one in template.parameters if one not in fields.get("defaults", {}))
    notes.line(f"{'replaced' if existed else 'kept'} {path}; use it with: unspool -t {name}{parameters}")
    return 0


def _absolute(source: str) -> str:
    if source == "-":
        raise ValueError("--save cannot keep standard input: name a file")
    return source if is_url(source) or source[:1] in ("{", "[") else os.path.abspath(os.path.expanduser(source))
