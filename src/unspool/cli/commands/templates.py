"""``unspool templates``: the prompts that are kept to be used again."""

from __future__ import annotations

import os

from unspool.config import ConfigError, paths, templates
from unspool.terminal.output import Notes, Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

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


def run(name: str, argv: list[str]) -> int:
    """List, show, edit or remove templates, or print where they are."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    notes = Notes(Output(2))
    stdout = Output(1)
    try:
        if arguments.action == "show":
            path = templates.read(arguments.name).path
            with open(path, encoding="utf-8") as file:
                stdout.write(stdout.safe(file.read()))
        elif arguments.action == "edit":
            return _edit(arguments.name, notes)
        elif arguments.action == "rm":
            os.remove(templates.read_path(arguments.name))
            notes.line(f"removed the template {arguments.name}")
        elif arguments.action == "path":
            found = templates.read_path(arguments.name) if arguments.name else paths.templates_dir()
            stdout.write(found + "\n")
        else:
            _list(stdout, notes)
    except ConfigError as error:
        notes.line(str(error), always=True)
        return 1
    return 0


def _list(stdout: Output, notes: Notes) -> None:
    names = templates.names()
    if not names:
        notes.line('there are no templates yet; to keep one: unspool "Translate to $lang: $input" --save translate')
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


def _edit(name: str, notes: Notes) -> int:
    """Open a template, or a new one, in the editor, and check what came of it."""
    import shlex
    import subprocess

    path = templates.path_of(name)
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(_BLANK)
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ("notepad" if os.name == "nt" else "vi")
    try:
        code = subprocess.run([*shlex.split(editor), path], check=False).returncode
    except OSError as error:
        raise ConfigError(f"the editor {editor} cannot be run: {error.strerror}; set EDITOR to another") from error
    if code:
        notes.line(f"the editor {editor} ended with {code}", always=True)
        return 1
    templates.read(name)
    return 0


def _parser() -> argparse.ArgumentParser:
    from unspool.cli.options.parser import Parser

    parser = Parser(
        "unspool templates",
        '  unspool "Translate to $lang: $input" --save translate\n'
        '  unspool -t translate -p lang French "Good morning"\n'
        "  unspool templates\n"
        "  unspool templates edit translate",
        "Prompts to use again: unspool … --save NAME keeps one, unspool -t NAME uses it.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    for name, words in (
        ("list", "list the templates with their parameters (the default)"),
        ("show", "print one"),
        ("edit", "open one, or a new one, in $VISUAL or $EDITOR"),
        ("rm", "remove one"),
        ("path", "print where they are kept, or the file of one"),
    ):
        one = actions.add_parser(
            name,
            help=words,
            prog=f"unspool templates {name}",
            examples=f"  unspool templates {name}{'' if name == 'list' else ' translate'}",
            description=words,
        )
        if name != "list":
            one.add_argument("name", metavar="NAME", nargs="?" if name == "path" else None, help="the template")
    return parser
