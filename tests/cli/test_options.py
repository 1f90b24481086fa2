"""Commands as data: the tables, the objects that they become, and the two readers of a command line, which agree."""

from __future__ import annotations

import re
import sys
import typing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.effort import rounds
from unspool.cli import commands
from unspool.cli.options import Options, help, parser, scan
from unspool.cli.options.ask import ASK
from unspool.cli.options.chat import ChatOptions

ALL = [one for name in commands.NAMES for one in (commands.find(name), *commands.find(name).actions)]
_WORDS = [
    "",
    "-",
    "--",
    "hi",
    "two words",
    "last",
    "0",
    "1",
    "-1",
    "0.5",
    "5m",
    "nan",
    "json",
    "chat",
    "=",
    "-x",
    "a=b",
]
_WORDS += ["é", "@f"]


def _argv(command) -> st.SearchStrategy[list[str]]:
    names = [name for option in command.options for name in option.names]
    attached = [
        f"{name}{joint}{word}" for name in names for joint in ("", "=") for word in ("", "1", "hi", "=", "json", "-n")
    ]
    named = st.sampled_from(names) | st.sampled_from(attached) if names else st.nothing()
    return st.lists(named | st.sampled_from(_WORDS) | st.text(max_size=4), max_size=6)


@settings(max_examples=rounds(300), deadline=None, derandomize=True)
@given(st.sampled_from(ALL).flatmap(lambda command: st.tuples(st.just(command), _argv(command))))
def test_what_the_quick_reader_takes_argparse_takes_in_the_same_way(case):
    command, argv = case
    quick = scan(command, argv)
    if quick is not None:
        assert parser.read(command, argv) == quick


def _resolved(values: type[Options]) -> dict[str, object]:
    """The types of all attributes of a class of options."""
    found: dict[str, object] = {}
    for one in reversed(values.__mro__):
        names = vars(sys.modules[one.__module__])
        if one.__module__ == "unspool.cli.options.sim":
            from unspool.sim.pace import Delay

            names = names | {"Delay": Delay}
        found |= typing.get_type_hints(one, {**vars(typing), **_abstract(), **names}) if one is not object else {}
    return found


def _abstract() -> dict[str, object]:
    from collections.abc import Sequence

    return {"Sequence": Sequence}


@pytest.mark.parametrize("command", ALL, ids=lambda command: command.name)
def test_each_option_and_word_sets_an_attribute_of_its_type(command):
    types = _resolved(command.values)
    for option in command.options:
        declared = str(types[option.dest])
        if not option.metavars:
            assert type(option.const).__name__ in declared, option.names
        elif len(option.metavars) == 2:
            assert "tuple[str, str]" in declared, option.names
        elif option.is_repeatable:
            assert "Sequence[str]" in declared, option.names
        else:
            returned = (option.type.__annotations__["return"] if option.type else "str").split(".")[-1]
            assert returned.partition("[")[0] in declared, option.names
    for one in command.words:
        declared = str(types[one.dest])
        if one.most is None:
            assert "Sequence[str]" in declared
        else:
            assert declared == ("<class 'str'>" if one.least else "str | None"), one.dest


@pytest.mark.parametrize("command", ALL, ids=lambda command: command.name)
def test_each_attribute_is_set_by_an_option_or_word(command):
    set_by = {one.dest for one in (*command.options, *command.words)}
    if command.values is ChatOptions:
        set_by |= {one.dest for one in (*ASK.options, *ASK.words)}
    # What the configuration alone sets, through `RenderingOptions.configured`, has no option.
    assert set(command.values.field_names()) - {"breaks"} == set_by
    assert all(hasattr(command.values, name) for name in set_by)


@pytest.mark.parametrize("command", ALL, ids=lambda command: command.name)
def test_each_command_has_a_function_that_takes_its_options(command):
    names = command.run.__code__.co_names  # each once: commands, the module, the function if it is called otherwise
    run = getattr(getattr(commands, names[1]), names[-1])
    assert list(run.__annotations__.items()) == [("options", command.values.__name__), ("return", "int")]


@pytest.mark.parametrize("command", ALL, ids=lambda command: command.name)
def test_the_help_of_a_command_names_each_of_its_options_once_and_fits(command):
    text = help.of_command(command)
    for option in command.options:
        assert len(re.findall(rf"^  {re.escape(', '.join(option.names))}(?: |$)", text, re.MULTILINE)) == 1, (
            option.names
        )
    assert "{default}" not in text
    own_lines = text.partition("examples:")[0].splitlines()
    assert max(map(len, own_lines)) < 80


def test_the_help_of_the_program_fits_a_page_and_has_every_command():
    text = help.of_program()
    lines = text.splitlines()
    assert len(lines) <= 45
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("usage: unspool ")
    for name in commands.NAMES:
        assert re.search(rf"^  {name} ", text, re.MULTILINE), name


def test_options_are_read_only_and_a_changed_copy_leaves_them_alone():
    read = scan(ASK, ["-m", "x"])
    with pytest.raises(AttributeError):
        read.model = "y"
    assert (read.replace(model="y").model, read.model) == ("y", "x")
    with pytest.raises(TypeError):
        read.replace(modle="y")


def test_argparse_too_leaves_alone_what_follows_two_dashes():
    read = parser.read(ASK, ["-qv", "a", "--", "-m", "--", "x"])
    assert (read.prompt, read.quiet, read.verbose) == (["a", "-m", "--", "x"], True, True)


def test_no_prompt_begins_with_a_dash_unless_after_two():
    assert scan(ASK, ["--", "-m", "x"]).prompt == ["-m", "x"]
    assert scan(ASK, ["-m", "-x"]) is None
