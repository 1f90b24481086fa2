"""The configuration file: what it may say, and what it is told when it says something else."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from unspool.api.deltas import Usage
from unspool.config import ConfigError, file
from unspool.config.settings import Settings, load, resolve


def parse(text: str) -> Settings:
    return file.parse(textwrap.dedent(text).encode(), "config.toml")


def test_the_example_in_the_documentation_is_valid() -> None:
    assert file.__doc__ is not None
    example = file.__doc__.partition("::\n\n")[2].partition("\n\n``${NAME}``")[0]
    settings = parse(example)
    assert settings.profile == "work"
    assert settings.profiles["work"].model == "gpt-5.4"
    assert settings.profiles["work"].key_cmd == ("pass", "show", "openai/work")
    assert settings.profiles["gateway"].paths == {"/chat/completions": "/{model}/chat"}


def test_without_a_file_the_defaults_hold(environ: dict[str, str]) -> None:
    assert load(environ) == Settings("openai", {}, "interval")


def test_a_file_named_by_the_environment_has_to_exist(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="UNSPOOL_CONFIG names a file that does not exist"):
        load({**environ, "UNSPOOL_CONFIG": "/nowhere/config.toml"})


def test_a_folder_in_place_of_the_file_is_an_error_for_a_person(environ: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load({**environ, "UNSPOOL_CONFIG": str(tmp_path)})


def test_what_stands_at_the_top_gives_way_to_the_profiles_own_table() -> None:
    settings = parse('model = "a"\napi = "chat"\n[profiles.openai]\nmodel = "b"\n')
    assert (settings.profiles["openai"].model, settings.profiles["openai"].api) == ("b", "chat")


def test_a_model_at_the_top_is_not_for_other_profiles() -> None:
    settings = parse('model = "gpt-x"\n[profiles.groq]\nheaders = { A = "b" }\n')
    assert settings.profiles["groq"].model is None
    assert settings.profiles["openai"].model == "gpt-x"


def test_a_profile_keeps_what_it_does_not_change_of_the_one_it_extends() -> None:
    profile = parse('[profiles.mine]\nextends = "azure-legacy"\nquery = { a = "b" }\n').profiles["mine"]
    assert profile.auth == "api-key"
    assert profile.query == {"api-version": "${OPENAI_API_VERSION}", "a": "b"}


def test_a_command_in_one_string_is_split_as_a_shell_would() -> None:
    assert parse("[profiles.groq]\nkey_cmd = \"op read 'a b'\"").profiles["groq"].key_cmd == ("op", "read", "a b")


def test_a_byte_order_mark_is_no_content() -> None:
    assert file.parse(b'\xef\xbb\xbfsync = "always"', "config.toml").sync == "always"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('modle = "x"', "config.toml: modle: there is no such setting: did you mean 'model'?"),
        (
            '[profiles.a]\nextends = "groq"\ntimeout = 0',
            'config.toml: profiles.a.timeout: must be a time above zero, such as 90, "90s" or "10m"',
        ),
        (
            "[profiles.a]\nextends = 'groq'\nidle_timeout = true",
            "config.toml: profiles.a.idle_timeout: must be a time above zero",
        ),
        (
            "[profiles.a]\nextends = 'groq'\nconnect_timeout = 'soon'",
            "config.toml: profiles.a.connect_timeout: must be a time above zero",
        ),
        ("model = 4", "config.toml: model: must be a string that is not empty"),
        ('model = ""', "config.toml: model: must be a string that is not empty"),
        ('sync = "sometimes"', "config.toml: sync: must be one of always, interval, never"),
        ("api = []", "config.toml: api: must be one of responses, chat, completions"),
        ('profile = "opneai"', "config.toml: profile: there is no profile called 'opneai': did you mean 'openai'?"),
        ("profiles = 1", "config.toml: profiles: must be a table"),
        ("[profiles]\nx = 1", "config.toml: profiles.x: must be a table"),
        ("[profiles.x]\n", "config.toml: profiles.x.base_url: is missing, or 'extends'"),
        ('[profiles.x]\nextends = "grok"', "config.toml: profiles.x.extends: there is no built-in profile called"),
        ('[profiles.x]\nbase_url = "x"', "config.toml: profiles.x.base_url must be an http:// or https:// URL"),
        ('[profiles.groq]\nbase-url = "x"', "config.toml: profiles.groq.base-url: there is no such setting: did you"),
        ('[profiles.groq]\nneeds_key = "no"', "config.toml: profiles.groq.needs_key: must be true or false"),
        ("[profiles.groq]\nkey_env = 1", "config.toml: profiles.groq.key_env: must be a string or a list"),
        ('[profiles.groq]\nkey_env = "sk-proj-1"', "config.toml: profiles.groq.key_env: must be the name of an env"),
        ("[profiles.groq]\nkey_cmd = []", "config.toml: profiles.groq.key_cmd: must be a string or a list"),
        ('[profiles.groq]\nkey_cmd = "a \'b"', "config.toml: profiles.groq.key_cmd: has a quote"),
        ('[profiles.groq]\nauth = "a b"', "config.toml: profiles.groq.auth: must be"),
        ("[profiles.groq]\nheaders = { A = 1 }", "config.toml: profiles.groq.headers.A: must be a string"),
        ('[profiles.groq]\nheaders = { "a b" = "c" }', "config.toml: profiles.groq.headers: 'a b' is not the name"),
        ('[profiles.groq]\nheaders = { A = "b\\nc" }', "config.toml: profiles.groq.headers.A: must be printable"),
        ('[profiles.groq]\npaths = { chat = "/c" }', "config.toml: profiles.groq.paths: there is no endpoint 'chat'"),
        ('[profiles.groq]\npaths = { "/responses" = "c" }', 'config.toml: profiles.groq.paths."/responses": must'),
        ("prices = 1", "config.toml: prices: must be a table"),
        ("[prices]\nm = 1", "config.toml: prices.m: must be a table, such as"),
        ("[prices]\nm = { input = 1 }", "config.toml: prices.m.output: is missing"),
        ("[prices]\nm = { input = -1, output = 2 }", "config.toml: prices.m.input: must be a number"),
        ("[prices]\nm = { input = true, output = 2 }", "config.toml: prices.m.input: must be a number"),
        ("[prices]\nm = { input = nan, output = 2 }", "config.toml: prices.m.input: must be a number"),
        ("[prices]\nm = { input = 1, output = 2, per = 3 }", "config.toml: prices.m.per: there is no such setting"),
        ('model = "a"\n  api = chat', "config.toml, line 2, column 9: invalid value"),
        ("[profiles", "config.toml, end of document: "),
    ],
)
def test_a_mistake_is_named_with_its_place_and_what_is_allowed(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse(text)
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


def test_a_byte_that_is_not_utf_8_is_named_with_its_place() -> None:
    with pytest.raises(ConfigError, match=r"^config.toml, line 2, column 10: not UTF-8$"):
        file.parse(b'api = "chat"\nmodel = "\xff"', "config.toml")


def test_a_profiles_secrets_are_in_no_repr() -> None:
    settings = parse(
        """
        [profiles.x]
        base_url = "https://example.com"
        headers = { X-Token = "hunter2" }
        query = { key = "hunter2" }
        key_cmd = ["echo", "hunter2"]
        """
    )
    assert "hunter2" not in repr(settings)


# Options of every request


def test_the_options_of_a_profile_go_where_its_requests_go_and_nowhere_else() -> None:
    settings = parse('[profiles.groq]\noptions = { temperature = 0, service_tier = "flex" }')
    home = resolve(profile="groq", key="k", settings=settings, environ={})
    assert home.options == {"temperature": 0, "service_tier": "flex"}
    elsewhere = resolve(profile="groq", base_url="http://127.0.0.1:1/v1", key="k", settings=settings, environ={})
    assert elsewhere.options == {}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("{ n = 2 }", "options.n: cannot be set for all"),
        ("{ a = 2026-01-01 }", "options.a: has no form"),
        ("1", "a table"),
    ],
)
def test_options_that_no_profile_can_have_are_refused(options: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse(f"[profiles.groq]\noptions = {options}")


def test_what_an_answer_costs_counts_cached_tokens_at_their_own_price() -> None:
    prices = parse('[prices]\n"a-1" = { input = 2, output = 8, cached = 0.5 }\nb = { input = 2, output = 8 }').prices
    usage = Usage(1_000_000, 500_000, cached_tokens=400_000)
    assert prices["a-1"].cost(usage) == pytest.approx(0.6 * 2 + 0.4 * 0.5 + 4)
    assert prices["b"].cost(usage) == pytest.approx(6)
    assert prices["b"].cost(Usage()) == 0
