"""``unspool templates``: the prompts that are kept to be used again."""

from __future__ import annotations

import os

from unspool.config import ConfigError, paths, templates
from unspool.terminal.output import Notes, Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.cli.options.setup import NameOptions, NoOptions, OptionalNameOptions

# What a new template begins with in the editor.
_BLANK = """\
# $input is what is asked; other names are parameters, given with -p NAME VALUE. $$ is a dollar sign.
prompt = '''
$input
'''
# system = "You are brief."
# model = "gpt-5.4-mini"
# options = { temperature = 0 }
#
# [defaults]
# name = "value"
"""


def show(options: NameOptions) -> int:
    """Print a template."""
    stdout = Output(1)
    with open(templates.read(options.name).path, encoding="utf-8") as file:
        stdout.write(stdout.safe(file.read()))
    return 0


def remove(options: NameOptions) -> int:
    """Remove a template."""
    os.remove(templates.read_path(options.name))
    Notes(Output(2)).line(f"removed the template {options.name}")
    return 0


def path(options: OptionalNameOptions) -> int:
    """Print the folder of the templates, or the file of one."""
    found = templates.read_path(options.name) if options.name else paths.templates_dir()
    Output(1).write(found + "\n")
    return 0


def list_all(options: NoOptions) -> int:
    """List the templates with their parameters."""
    stdout, notes = Output(1), Notes(Output(2))
    names = templates.names()
    if not names:
        notes.line("there are no templates yet; to save one: unspool 'Translate to $lang: $input' --save translate")
    width = max(map(len, names), default=0)
    for name in names:
        try:
            template = templates.read(name)
        except ConfigError as error:
            notes.line(str(error), always=True)
            continue
        words = " ".join((template.fields.get("prompt") or template.fields.get("system", "")).split())
        parameters = " ".join(f"-p {one} …" for one in template.parameters)
        line = f"{name:<{width}}  {parameters}{'  ' if parameters else ''}{words}"
        stdout.write(stdout.safe((line[:99] + "…" if len(line) > 100 else line).rstrip() + "\n"))
    return 0


def edit(options: NameOptions) -> int:
    """Open a template, which may be new, in the editor, and check the result."""
    from unspool.cli.chat import external

    external.edit_settings(templates.path_of(options.name), _BLANK)
    templates.read(options.name)
    return 0
