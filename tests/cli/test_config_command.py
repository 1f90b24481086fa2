"""``unspool config``: what holds and where it comes from, and changing it without harm to the rest of the file."""

from __future__ import annotations

import json
import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unspool.config import ConfigError, editing

FILE = """\
# Which one is asked.
model = "gpt-old"   # the usual

[profiles.work]
base_url = "https://llm.example.com/v1"
headers = { X-Team = "search" }

[profiles."with space"]
base_url = "http://127.0.0.1:1/v1"
"""


@pytest.fixture
def file(unspool):
    path = unspool.home / "config" / "unspool" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(FILE)
    return path


def _settings(unspool, *arguments):
    lines = unspool("config", "--json", *arguments).stdout.decode().splitlines()
    return {one["key"]: (one["value"], one["source"]) for one in map(json.loads, lines)}


def test_each_setting_is_shown_with_its_source_and_no_key(unspool, file):
    unspool.env |= {"OPENAI_API_KEY": "sk-0123456789", "UNSPOOL_API": "chat"}
    found = _settings(unspool)
    assert found["model"] == ("gpt-old", "file")
    assert found["api"] == ("chat", "UNSPOOL_API")
    assert found["key"] == ("set", "OPENAI_API_KEY")
    assert found["sync"] == ("interval", "built in")
    assert _settings(unspool, "-P", "work")["base_url"] == ("https://llm.example.com/v1", "file, profiles.work")
    shown = unspool("config").stdout
    assert b"sk-01" not in shown
    assert b"gpt-old  (file)" in shown


def test_all_that_a_profile_says_is_shown_without_what_may_be_secret(unspool, file):
    file.write_text(
        FILE.replace(
            '"search" }', '"s3cret" }\nproxy = "http://me:s3cret@proxy.example.com:3128"\nidle_timeout = "10m"'
        )
        + '[tools.weather]\nfile = "weather.py"\n'
    )
    found = _settings(unspool, "-P", "work")
    own = "file, profiles.work"
    assert (found["headers"], found["proxy"]) == (("X-Team", own), ("proxy.example.com:3128", own))
    assert (found["idle_timeout"], found["connect_timeout"]) == (("600 s", own), ("10 s", "built in"))
    assert found["tools.weather"] == (str(file.parent / "weather.py"), "file")
    assert b"s3cret" not in unspool("config", "-P", "work").stdout
    unspool.env["HTTPS_PROXY"] = "http://me:s3cret@other.example.com:8080"
    assert _settings(unspool)["proxy"] == ("other.example.com:8080", "environment")


def test_a_change_leaves_comments_and_everything_else_as_they_are(unspool, file):
    assert unspool("config", "set", "profiles.work.model", "llama-4").returncode == 0
    assert file.read_text() == FILE.replace('"search" }\n', '"search" }\nmodel = "llama-4"\n')
    assert unspool("config", "unset", "profiles.work.model").returncode == 0
    assert file.read_text() == FILE


def test_an_alias_is_the_name_of_a_model(unspool, serve):
    from support.wire import stream

    server = serve(stream("chat", "ok"))
    assert unspool("config", "set", "aliases.fast", "gpt-5.4-nano").returncode == 0
    assert unspool("--base-url", server.url, "-m", "fast", "hi").returncode == 0
    assert server.requests[0].json["model"] == "gpt-5.4-nano"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("set", "sync", "sometimes"), "must be one of always, interval, never"),
        (("set", "modle", "x"), "there is no such setting: did you mean 'model'?"),
        (("set", "model"), "which value?"),
        (("set", "a b", "x"), "is not a setting"),
    ],
)
def test_a_wrong_change_is_refused_and_changes_nothing(unspool, file, arguments, words):
    done = unspool("config", *arguments)
    assert (done.returncode in (1, 2), words in done.stderr.decode(), file.read_text()) == (True, True, FILE)


def test_what_spans_lines_is_left_to_the_editor(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text('[profiles.a]\nbase_url = "http://127.0.0.1:1/v1"\nkey_cmd = [\n  "pass",\n]\n')
    before = path.read_text()
    with pytest.raises(ConfigError, match="unspool config edit"):
        editing.change(str(path), "profiles.a.key_cmd", "other")
    assert path.read_text() == before


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.sampled_from(["model", "aliases.a", "aliases.b-2", "profiles.work.model", "profiles.new.base_url"]),
    st.text(min_size=1, max_size=20).filter(lambda text: text.strip() == text),
)
def test_any_value_is_read_back_as_it_was_set(tmp_path_factory, key, value):
    value = f"http://127.0.0.1:1/{value.encode().hex()}" if key.endswith("base_url") else value
    path = tmp_path_factory.mktemp("config") / "config.toml"
    path.write_text(FILE)
    try:
        editing.change(str(path), key, value)
    except ConfigError:
        assert path.read_text() == FILE
        return
    read = tomllib.loads(path.read_text("utf-8"))
    for part in key.split("."):
        read = read[part]
    assert read == value or value in ("true", "false")


def test_the_editor_opens_a_new_file_and_its_mistakes_are_told(unspool):
    editor = unspool.home / "editor"
    editor.write_text('#!/bin/sh\necho "sync = 1" >> "$1"\n')
    editor.chmod(0o755)
    unspool.env["EDITOR"] = str(editor)
    done = unspool("config", "edit")
    assert (done.returncode, b"sync: must be one of" in done.stderr) == (1, True)
    assert unspool("config", "path").stdout.decode().strip().endswith("config.toml")
