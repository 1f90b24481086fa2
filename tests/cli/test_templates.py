"""`-t`, `-p`, `--save` and `unspool templates`: prompts to use again."""

from __future__ import annotations

import json
import stat
import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.effort import rounds
from unspool.config import templates
from unspool.sim.running import Simulator


@pytest.fixture
def sim(unspool):
    with Simulator() as simulator:
        unspool.env |= {"OPENAI_BASE_URL": simulator.url, "OPENAI_API_KEY": "sk-0123456789", "UNSPOOL_MODEL": "sim-1"}
        yield simulator


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "config" / "unspool" / "templates"


@pytest.fixture
def body(unspool, sim, tmp_path):
    """The request body that a command line stands for."""

    def dry_run(*arguments: str, input: bytes | None = None, **options) -> dict:
        done = unspool("-q", "--api", "chat", "--dry-run", *arguments, cwd=tmp_path, input=input, **options)
        assert (done.returncode, done.stderr) == (0, b"")
        return json.loads(done.stdout.decode().partition("\n\n")[2])

    return dry_run


@pytest.fixture
def keep(folder):
    def write(name: str, text: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.toml").write_text(text)

    return write


def said(body: dict) -> list[str]:
    return [message["content"] for message in body["messages"]]


# Using one


def test_the_prompt_goes_where_the_template_says(body, keep):
    keep("fix", 'prompt = "Mend $input, please"\nsystem = "Brief"\nmodel = "mine"\noptions = { seed = 1, stop = "7" }')
    asked = body("-t", "fix", "this", input=b"piped")
    assert said(asked) == ["Brief", "Mend piped\n\nthis, please"]
    assert (asked["model"], asked["seed"], asked["stop"]) == ("mine", 1, "7")


def test_without_a_place_for_it_the_prompt_follows(body, keep):
    keep("fix", 'prompt = "Mend this:"')
    assert said(body("-t", "fix", "that")) == ["Mend this:\n\nthat"]
    assert said(body("-t", "fix")) == ["Mend this:"]


def test_a_template_of_a_system_alone_leaves_the_prompt_as_it_is(body, keep):
    keep("pirate", 'system = "You are $who"\n[defaults]\nwho = "a pirate"')
    assert said(body("-t", "pirate", "costs $5 $input")) == ["You are a pirate", "costs $5 $input"]


def test_what_the_command_line_says_wins(body, keep):
    keep("fix", 'prompt = "P"\nsystem = "S"\nmodel = "mine"\n[options]\ntemperature = 0.5\ntop_p = 0.5\nseed = 1')
    asked = body("-t", "fix", "-s", "other", "-m", "m2", "--temperature", "0", "-o", "seed", "2")
    assert said(asked)[0] == "other"
    assert [asked[name] for name in ("model", "temperature", "top_p", "seed")] == ["m2", 0.0, 0.5, 2]


def test_parameters_have_values_or_defaults(body, keep):
    keep("tr", 'prompt = "From $from to ${to}ish for $$5: $input"\n[defaults]\nfrom = "English"')
    assert said(body("-t", "tr", "-p", "to", "French", "Hi")) == ["From English to Frenchish for $5: Hi"]
    assert said(body("-t", "tr", "-p", "to", "a", "-p", "from", "$b", "Hi")) == ["From $b to aish for $5: Hi"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-t", "tr"], "the template tr needs a value for from, to: -p from VALUE -p to VALUE"),
        (["-t", "tr", "-p", "form", "x"], "the template tr has no parameter 'form'; it has from, to"),
        (["-t", "plain", "-p", "a", "b"], "the template plain has no parameter 'a'; it has none"),
        (["-t", "nope"], "there is no template 'nope'; there are bad, odd, plain, tr"),
        (["-t", "../secret"], "cannot be read: No such file"),
        (["-t", "a b"], "'a b' cannot be a template's name"),
        (["-t", ".hidden"], "cannot be a template's name"),
        (["-t", "bad"], "prompt has a $ without a name after it; write $$"),
        (["-t", "odd"], "a template has no 'promt': did you mean 'prompt'?"),
        (["-p", "a", "b"], "name the template with -t"),
    ],
)
def test_what_is_wrong_is_told_with_what_there_is(unspool, sim, keep, arguments, words):
    keep("tr", 'prompt = "$from $to"')
    keep("plain", 'prompt = "x"')
    keep("bad", 'prompt = "costs $5"')
    keep("odd", 'promt = "x"')
    done = unspool(*arguments, "Hi")
    assert done.returncode in (1, 2)
    assert done.stdout == b""
    assert words in done.stderr.decode()
    assert sim.requests == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("prompt = 1", "prompt must be a string"),
        ('attachments = "a.png"', "attachments must be a list"),
        ("options = 3", "options must be a table"),
        ("", "the template is empty"),
        ("prompt = ]", "line 1"),
    ],
)
def test_a_file_that_is_no_template_says_where(unspool, sim, keep, folder, text, words):
    keep("x", text)
    done = unspool("-t", "x", "Hi")
    assert done.returncode == 1
    assert str(folder / "x.toml") in done.stderr.decode()
    assert words in done.stderr.decode()


def test_the_files_of_a_template_are_beside_it(body, keep, folder, tmp_path):
    keep("x", 'prompt = "Sum up"\nfiles = ["n.txt"]\nattachments = ["c.png"]\nschema = "s.json"\ntools = ["t.json"]')
    (folder / "n.txt").write_text("note")
    (folder / "c.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "s.json").write_text('{"type": "object"}')
    (folder / "t.json").write_text('{"name": "f"}')
    asked = body("-t", "x")
    (content,) = said(asked)
    assert content[0]["text"] == "File n.txt:\n```\nnote\n```\n\nSum up"
    assert content[1]["type"] == "image_url"
    assert asked["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert asked["tools"][0]["function"]["name"] == "f"


def test_a_template_may_be_any_file(body, tmp_path):
    (tmp_path / "mine.toml").write_text('prompt = "Mine: $input"')
    for name in ("mine.toml", "./mine.toml", str(tmp_path / "mine.toml")):
        assert said(body("-t", name, "Hi")) == ["Mine: Hi"]


def test_a_template_asks_the_simulator_too_if_that_is_asked_for(unspool, keep):
    keep("x", 'prompt = "$input in 3 tokens"\nprofile = "groq"\nmodel = "m"')
    done = unspool("-q", "--sim", "-t", "x", "Hi")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"This text comes\n", b"")


def test_nobody_is_asked_to_type_what_the_template_does_not_want(unspool, sim, keep):
    keep("x", 'prompt = "Tell a joke in 3 tokens"')
    assert "This text comes" in unspool.on_terminal("-q", "-t", "x").lines[0]


# Keeping one


def test_a_command_line_becomes_a_template_that_asks_the_same(unspool, sim, body, folder, tmp_path):
    (tmp_path / "n.txt").write_text("note")
    (tmp_path / "s.json").write_text('{"type": "object", "properties": {"a": {"enum": ["x", null]}}}')
    line = ["-m", "m1", "-s", "Brief: 'x'", "--temperature", "0", "-o", "logit_bias", '{"5": -1}', "-f", "n.txt"]
    line += ["--schema", "s.json", "--tool", '{"name": "f"}', "--tool-choice", "f"]
    direct = body(*line, 'Line "one"\nline two: Hi')
    done = unspool(*line, 'Line "one"\nline two: $input', "--save", "mine", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, b"")
    assert f"saved {folder / 'mine.toml'}; use it with: unspool -t mine" in done.stderr.decode()
    assert stat.S_IMODE((folder / "mine.toml").stat().st_mode) == 0o600
    assert sim.requests == []
    # From anywhere, for what it names was given a full name.
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "s.json").unlink()
    assert body("-t", "mine", "Hi") == direct


def test_parameters_given_while_saving_become_defaults(unspool, body):
    done = unspool("To $lang: $input for $who", "-p", "lang", "French", "--save", "tr")
    assert b"unspool -t tr -p who" in done.stderr
    assert said(body("-t", "tr", "-p", "who", "me", "Hi")) == ["To French: Hi for me"]


def test_saving_again_replaces_and_says_so(unspool, body):
    unspool("one", "--save", "x")
    assert b"replaced" in unspool("two", "--save", "x").stderr
    assert said(body("-t", "x")) == ["two"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--save", "x"], "nothing to save"),
        (["p", "--save", "../x"], "cannot be a template's name"),
        (["p", "--save", ""], "cannot be a template's name"),
        (["costs $5", "--save", "x"], "write $$ for a dollar sign"),
        (["p", "-f", "-", "--save", "x"], "cannot save stdin"),
        (["p", "--schema", "age integr", "--save", "x"], "is not a field"),
        (["p", "-t", "y", "--save", "x"], "does not work with -t"),
    ],
)
def test_what_cannot_be_kept_is_refused_and_leaves_nothing(unspool, folder, arguments, words):
    done = unspool(*arguments)
    assert done.returncode != 0
    assert words in done.stderr.decode()
    assert not folder.exists() or list(folder.iterdir()) == []


_TEXTS = st.text(max_size=12) | st.sampled_from(["'''", "a\n'''b", "x'\ny'", "\\", '"', "\x7f", "\n", "\r\n", "a\r\nb"])
_JSON = st.recursive(
    _TEXTS | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=rounds(300), deadline=None, derandomize=True)
@given(st.fixed_dictionaries({"prompt": _TEXTS, "options": st.dictionaries(_TEXTS, _JSON, max_size=3)}))
def test_whatever_is_kept_is_read_as_it_was(fields):
    assert tomllib.loads(templates.text_of(fields)) == fields


# Looking after them


def test_templates_are_listed_with_what_they_want(unspool, keep):
    keep("b", "prompt = '''\nTo $lang:\n$input'''")
    keep("a", 'system = "Brief"')
    assert unspool("templates").stdout.decode() == "a  Brief\nb  -p lang …  To $lang: $input\n"


def test_a_broken_one_does_not_hide_the_others(unspool, keep):
    keep("a", "prompt = ")
    keep("b", 'prompt = "B"')
    done = unspool("templates", "list")
    assert (done.returncode, done.stdout) == (0, b"b  B\n")
    assert b"a.toml" in done.stderr


def test_where_there_are_none_it_is_said_how_to_keep_one(unspool):
    done = unspool("templates")
    assert (done.returncode, done.stdout) == (0, b"")
    assert b"--save translate" in done.stderr


def test_one_is_shown_and_removed(unspool, keep, folder):
    keep("a", 'prompt = "A"')
    assert unspool("templates", "show", "a").stdout == b'prompt = "A"'
    assert unspool("templates", "path", "a").stdout.decode() == f"{folder / 'a.toml'}\n"
    assert unspool("templates", "path").stdout.decode() == f"{folder}\n"
    assert unspool("templates", "rm", "a").returncode == 0
    assert list(folder.iterdir()) == []
    for action in ("rm", "show"):
        done = unspool("templates", action, "a")
        assert done.returncode == 1
        assert b"there is no template 'a'" in done.stderr


def test_one_is_edited_and_checked(unspool, folder, tmp_path):
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\necho \'prompt = "New"\' > "$2"\n')
    editor.chmod(0o700)
    unspool.env["EDITOR"] = f"{editor} --wait"
    assert unspool("templates", "edit", "a").returncode == 0
    assert (folder / "a.toml").read_text() == 'prompt = "New"\n'
    editor.write_text("#!/bin/sh\necho 'promt = 1' > \"$2\"\n")
    done = unspool("templates", "edit", "a")
    assert done.returncode == 1
    assert b"a template has no 'promt'" in done.stderr
    unspool.env["EDITOR"] = "no-such-editor"
    assert b"set EDITOR to another" in unspool("templates", "edit", "a").stderr


def test_a_new_one_is_a_template_as_it_stands(unspool, body):
    unspool.env["EDITOR"] = "true"
    assert unspool("templates", "edit", "new").returncode == 0
    assert said(body("-t", "new", "Hi")) == ["Hi"]


def test_a_template_that_is_not_utf8_is_refused(unspool, tmp_path):
    (tmp_path / "latin.toml").write_bytes('prompt = "Grüße"\n'.encode("latin-1"))
    done = unspool("--sim", "-t", "./latin.toml", "Hi", cwd=tmp_path)
    assert done.returncode != 0
    assert b"latin.toml is not UTF-8 text (line 1, byte 13)" in done.stderr
