"""From arguments, environment and file to an endpoint; above all, which key goes where."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from unspool.config import ConfigError, settings
from unspool.config.keys import store_key
from unspool.config.profiles import BUILT_IN, DEFAULT_MODEL
from unspool.config.settings import resolve
from unspool.config.target import Target, plain_http_warning

OPENAI = "https://api.openai.com/v1"
PROXY = "https://proxy.example/v1"
OTHER = "https://other.example/v1"

ENV_KEY = {"OPENAI_API_KEY": "env-openai"}
ENV_PAIR = {"OPENAI_API_KEY": "env-openai", "OPENAI_BASE_URL": PROXY}
GATEWAY = f'[profiles.gw]\nbase_url = "{PROXY}"\nkey_env = "GW_KEY"\n'
MOVED = f'[profiles.openai]\nbase_url = "{PROXY}"\n'
MOVED_WITH_KEY = f'[profiles.openai]\nbase_url = "{PROXY}"\nkey_env = "OPENAI_API_KEY"\n'
WORK = '[profiles.work]\nextends = "openai"\n'
WORK_MOVED = f'[profiles.work]\nextends = "openai"\nbase_url = "{PROXY}"\n'
WORK_CMD = '[profiles.work]\nextends = "openai"\nkey_cmd = ["echo", "cmd-work"]\n'
OPENAI_CMD = '[profiles.openai]\nkey_cmd = ["echo", "cmd-openai"]\n'
OPENAI_OWN_VARIABLE = '[profiles.openai]\nkey_env = "MINE"\n'


def configure(environ: dict[str, str], text: str) -> None:
    folder = Path(environ["XDG_CONFIG_HOME"]) / "unspool"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text(text)


def configure_command(environ: dict[str, str], *command: str) -> None:
    # A JSON list of strings is a TOML one.
    configure(environ, f"[profiles.openai]\nkey_cmd = {json.dumps(command)}\n")


@pytest.mark.parametrize(
    ("arguments", "variables", "file", "stored", "key"),
    [
        # The key of the built-in profile, at its own servers and at no other.
        ({}, ENV_KEY, "", {}, "env-openai"),
        ({"profile": "openai"}, ENV_KEY, "", {}, "env-openai"),
        ({"base_url": OPENAI}, ENV_KEY, "", {}, "env-openai"),
        ({"base_url": "https://API.openai.com:443/v1/responses"}, ENV_KEY, "", {}, "env-openai"),
        ({"base_url": "https://eu.api.openai.com/v1"}, ENV_KEY, "", {}, "env-openai"),
        ({"base_url": OTHER}, ENV_KEY, "", {}, None),
        ({"base_url": "http://api.openai.com/v1"}, ENV_KEY, "", {}, None),
        ({"base_url": "https://api.openai.com:8443/v1"}, ENV_KEY, "", {}, None),
        ({"base_url": "https://api.openai.com.evil.example/v1"}, ENV_KEY, "", {}, None),
        ({"base_url": "https://xx.api.openai.com/v1"}, ENV_KEY, "", {}, None),
        ({"profile": "openai", "base_url": OTHER}, ENV_KEY, "", {}, None),
        ({"profile": "groq", "base_url": OPENAI}, {"GROQ_API_KEY": "g"} | ENV_KEY, "", {}, None),
        ({"profile": "groq"}, ENV_KEY, "", {}, None),
        ({}, {"OPENAI_API_KEY": ""}, "", {}, None),
        ({}, {"OPENAI_API_KEY": " env-openai\n"}, "", {}, "env-openai"),
        # An argument goes wherever the request goes.
        ({"key": "arg"}, ENV_KEY, "", {}, "arg"),
        ({"key": "arg", "base_url": OTHER}, ENV_KEY, "", {}, "arg"),
        ({"key": "arg", "profile": "groq"}, {"GROQ_API_KEY": "g"}, "", {}, "arg"),
        # OPENAI_BASE_URL and OPENAI_API_KEY belong to each other, and to nothing else.
        ({}, ENV_PAIR, "", {}, "env-openai"),
        ({"profile": "openai"}, ENV_PAIR, "", {}, "env-openai"),
        ({"base_url": PROXY}, ENV_PAIR, "", {}, "env-openai"),
        ({"base_url": OPENAI}, ENV_PAIR, "", {}, None),
        ({"base_url": OTHER}, ENV_PAIR, "", {}, None),
        ({"base_url": OPENAI}, ENV_KEY | {"OPENAI_BASE_URL": "proxy.example/v1"}, "", {}, None),
        ({}, ENV_KEY | {"OPENAI_BASE_URL": ""}, "", {}, "env-openai"),
        ({"profile": "groq"}, ENV_PAIR, "", {}, None),
        ({"profile": "work"}, ENV_PAIR, WORK, {}, None),
        ({}, {"OPENAI_BASE_URL": PROXY}, "", {"openai": "stored"}, None),
        ({}, {"OPENAI_BASE_URL": PROXY}, OPENAI_CMD, {}, None),
        ({}, {"OPENAI_BASE_URL": PROXY, "MINE": "mine"}, OPENAI_OWN_VARIABLE, {}, None),
        ({}, {"OPENAI_BASE_URL": OPENAI, "OPENAI_API_KEY": "env-openai"}, "", {}, "env-openai"),
        ({}, {"OPENAI_BASE_URL": OPENAI}, "", {"openai": "stored"}, "stored"),
        ({"base_url": OPENAI}, ENV_PAIR, "", {"openai": "stored"}, "stored"),
        ({"profile": "groq"}, ENV_PAIR | {"GROQ_API_KEY": "g"}, "", {}, "g"),
        # A base_url argument finds the profile that lives there.
        ({"base_url": "https://api.groq.com/openai/v1"}, ENV_KEY | {"GROQ_API_KEY": "g"}, "", {}, "g"),
        ({"base_url": PROXY}, ENV_KEY | {"GW_KEY": "gw"}, GATEWAY, {}, "gw"),
        ({"base_url": "https://proxy.example/elsewhere"}, {"GW_KEY": "gw"}, GATEWAY, {}, "gw"),
        ({"base_url": OTHER}, {"GW_KEY": "gw"}, GATEWAY, {}, None),
        ({"profile": "gw", "base_url": OTHER}, {"GW_KEY": "gw"}, GATEWAY, {}, None),
        ({"base_url": OPENAI}, ENV_KEY | {"W": "w"}, WORK + 'key_env = "W"\n', {}, "env-openai"),
        ({"base_url": OPENAI}, ENV_KEY | {"W": "w", "UNSPOOL_PROFILE": "work"}, WORK + 'key_env = "W"\n', {}, "w"),
        # A URL that the file changes does not take the built-in profile's key with it, unless the file says so.
        ({}, ENV_KEY, MOVED, {}, None),
        ({}, ENV_KEY, MOVED_WITH_KEY, {}, "env-openai"),
        ({"base_url": OPENAI}, ENV_KEY, MOVED, {}, "env-openai"),
        ({"profile": "work"}, ENV_KEY, WORK, {}, "env-openai"),
        ({"profile": "work"}, ENV_KEY, WORK_MOVED, {}, None),
        ({"profile": "work"}, ENV_KEY, WORK_MOVED, {"work": "stored"}, "stored"),
        # The order of the sources.
        ({}, ENV_KEY, OPENAI_CMD, {"openai": "stored"}, "env-openai"),
        ({}, {}, OPENAI_CMD, {"openai": "stored"}, "cmd-openai"),
        ({}, {}, "", {"openai": "stored"}, "stored"),
        ({}, ENV_KEY | {"MINE": "mine"}, OPENAI_OWN_VARIABLE, {}, "mine"),
        ({}, ENV_KEY, OPENAI_OWN_VARIABLE, {}, None),
        ({"profile": "work"}, ENV_KEY, WORK_CMD, {}, "cmd-work"),
        ({"profile": "work"}, ENV_KEY, WORK, {"work": "stored"}, "stored"),
        ({"profile": "gemini"}, {"GOOGLE_API_KEY": "b"}, "", {}, "b"),
        ({"profile": "gemini"}, {"GEMINI_API_KEY": "a", "GOOGLE_API_KEY": "b"}, "", {}, "a"),
        # Keys stored for a host.
        ({"base_url": OTHER}, ENV_KEY, "", {"other.example": "stored"}, "stored"),
        ({"base_url": "https://other.example:8443"}, {}, "", {"other.example": "stored"}, None),
        ({"base_url": "https://other.example:8443"}, {}, "", {"other.example:8443": "stored"}, "stored"),
        ({"base_url": "http://other.example"}, {}, "", {"other.example": "stored"}, None),
        ({"base_url": "http://other.example"}, {}, "", {"other.example:80": "stored"}, "stored"),
        ({"profile": "openai", "base_url": OTHER}, ENV_KEY, "", {"openai": "no", "other.example": "yes"}, "yes"),
        ({}, {"OPENAI_BASE_URL": PROXY}, "", {"openai": "no", "proxy.example": "yes"}, "yes"),
        # Azure's endpoint is in the environment.
        ({"profile": "azure"}, {"AZURE_OPENAI_ENDPOINT": OTHER, "AZURE_OPENAI_API_KEY": "az"}, "", {}, "az"),
        ({"profile": "azure", "base_url": OTHER}, {"AZURE_OPENAI_API_KEY": "az"}, "", {}, None),
        ({"base_url": OTHER}, {"AZURE_OPENAI_ENDPOINT": OTHER, "AZURE_OPENAI_API_KEY": "az"}, "", {}, "az"),
    ],
)
def test_a_key_goes_to_its_own_origin_only(
    environ: dict[str, str],
    arguments: dict[str, str],
    variables: dict[str, str],
    file: str,
    stored: dict[str, str],
    key: str | None,
) -> None:
    environ.update(variables)
    if file:
        configure(environ, file)
    for name, secret in stored.items():
        store_key(name, secret, environ)
    assert resolve(**arguments, environ=environ).key == key  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "variables", "file", "sent"),
    [
        ({}, {}, "", True),
        ({"base_url": OPENAI}, {}, "", True),
        ({"base_url": OTHER}, {}, "", False),
        ({"base_url": OTHER, "key": "arg"}, {}, "", False),
        ({"profile": "openai", "base_url": OTHER}, {}, "", False),
        ({"profile": "groq"}, {}, "", False),
        ({}, {"OPENAI_BASE_URL": PROXY}, "", True),
        ({"base_url": OPENAI}, {"OPENAI_BASE_URL": PROXY}, "", False),
        ({"profile": "work"}, {}, WORK, True),
        ({"profile": "work"}, {}, WORK_MOVED, False),
        ({"profile": "work"}, {}, WORK_CMD, False),
        ({}, {"MINE": "mine"}, OPENAI_OWN_VARIABLE, False),
    ],
)
def test_organization_and_project_go_where_the_key_of_the_environment_goes(
    environ: dict[str, str], arguments: dict[str, str], variables: dict[str, str], file: str, sent: bool
) -> None:
    environ.update(ENV_KEY, OPENAI_ORG_ID="org-1", OPENAI_PROJECT_ID="proj-1", **variables)
    if file:
        configure(environ, file)
    expected = {"OpenAI-Organization": "org-1", "OpenAI-Project": "proj-1"} if sent else {}
    assert resolve(**arguments, environ=environ).headers == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "variables", "file", "api"),
    [
        ({}, {}, "", "responses"),
        ({"base_url": "https://jp.api.openai.com/v1"}, {}, "", "responses"),
        ({"base_url": OTHER}, {}, "", "chat"),
        ({"base_url": OTHER + "/completions"}, {}, "", "completions"),
        ({"base_url": OTHER + "/completions"}, {"UNSPOOL_API": "responses"}, "", "completions"),
        ({"base_url": OTHER + "/completions", "api": "chat"}, {}, "", "chat"),
        ({"base_url": OTHER}, {"UNSPOOL_API": "responses"}, "", "responses"),
        ({}, {"OPENAI_BASE_URL": PROXY}, "", "chat"),
        ({}, {"OPENAI_BASE_URL": PROXY + "/responses"}, "", "responses"),
        ({}, {"OPENAI_BASE_URL": PROXY}, 'api = "responses"', "responses"),
        ({}, {}, 'api = "completions"', "completions"),
        ({}, {"UNSPOOL_API": "chat"}, 'api = "completions"', "chat"),
        ({"profile": "groq"}, {}, 'api = "completions"', "chat"),
        ({"profile": "gw"}, {}, GATEWAY, "chat"),
        ({"profile": "gw"}, {}, f'[profiles.gw]\nbase_url = "{PROXY}/responses"', "responses"),
    ],
)
def test_the_api_comes_from_the_first_that_names_it(
    environ: dict[str, str], arguments: dict[str, str], variables: dict[str, str], file: str, api: str
) -> None:
    environ.update(variables)
    if file:
        configure(environ, file)
    assert resolve(**arguments, environ=environ).api == api  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "variables", "file", "model"),
    [
        ({}, {}, "", DEFAULT_MODEL),
        ({"model": "a"}, {"UNSPOOL_MODEL": "b"}, 'model = "c"', "a"),
        ({}, {"UNSPOOL_MODEL": "b"}, 'model = "c"', "b"),
        ({}, {}, 'model = "c"', "c"),
        ({}, {}, 'model = "c"\n[profiles.openai]\nmodel = "d"', "d"),
        ({"profile": "groq"}, {}, 'model = "c"', None),
        ({"base_url": OTHER}, {}, 'model = "c"', None),
        ({"base_url": OPENAI}, {}, 'model = "c"', "c"),
        ({}, {}, 'profile = "groq"\nmodel = "c"', "c"),
    ],
)
def test_the_model_comes_from_the_first_that_names_it(
    environ: dict[str, str], arguments: dict[str, str], variables: dict[str, str], file: str, model: str | None
) -> None:
    environ.update(variables)
    if file:
        configure(environ, file)
    assert resolve(**arguments, environ=environ).model == model  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "variables", "file", "name"),
    [
        ({"profile": "groq"}, {"UNSPOOL_PROFILE": "xai"}, 'profile = "mistral"', "groq"),
        ({}, {"UNSPOOL_PROFILE": "xai"}, 'profile = "mistral"', "xai"),
        ({}, {}, 'profile = "mistral"', "mistral"),
        ({"base_url": OTHER}, {"UNSPOOL_PROFILE": "xai"}, 'profile = "mistral"', "other.example"),
    ],
)
def test_the_profile_comes_from_the_first_that_names_it(
    environ: dict[str, str], arguments: dict[str, str], variables: dict[str, str], file: str, name: str
) -> None:
    environ.update(variables)
    configure(environ, file)
    assert resolve(**arguments, environ=environ).name == name  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_every_built_in_profile_resolves(environ: dict[str, str], name: str) -> None:
    environ.update(AZURE_OPENAI_ENDPOINT="https://res.openai.azure.com/", OPENAI_API_VERSION="2026-01-01")
    target = resolve(profile=name, environ=environ)
    assert target.name == name
    assert target.key is None
    assert "keys set " + name in target.key_hint


def test_azure_takes_its_url_from_the_environment_and_a_token_as_bearer(environ: dict[str, str]) -> None:
    environ.update(AZURE_OPENAI_ENDPOINT="https://res.openai.azure.com/", AZURE_OPENAI_AD_TOKEN="token")
    target = resolve(profile="azure", environ=environ)
    assert target.url("/responses") == "https://res.openai.azure.com/openai/v1/responses"
    assert target.auth_headers() == {"Authorization": "Bearer token"}
    environ["AZURE_OPENAI_API_KEY"] = "key"
    assert resolve(profile="azure", environ=environ).auth_headers() == {"api-key": "key"}


def test_azures_older_scheme_puts_the_deployment_in_the_path_and_demands_a_version(environ: dict[str, str]) -> None:
    environ.update(AZURE_OPENAI_ENDPOINT="https://res.openai.azure.com")
    with pytest.raises(ConfigError, match="azure-legacy needs the environment variable OPENAI_API_VERSION"):
        resolve(profile="azure-legacy", environ=environ)
    environ["OPENAI_API_VERSION"] = "2024-10-21&x=y"
    assert resolve(profile="azure-legacy", environ=environ).url("/chat/completions", "my gpt/4") == (
        "https://res.openai.azure.com/openai/deployments/my%20gpt%2F4/chat/completions?api-version=2024-10-21%26x%3Dy"
    )


def test_headers_and_query_of_a_profile_stay_at_its_origin(environ: dict[str, str]) -> None:
    configure(environ, GATEWAY + 'headers = { X-Token = "${TOKEN}" }\nquery = { key = "q" }\n')
    environ["TOKEN"] = "hunter2"
    at_home = resolve(profile="gw", environ=environ)
    assert (at_home.headers, at_home.query) == ({"X-Token": "hunter2"}, {"key": "q"})
    moved = resolve(profile="gw", base_url=OTHER, environ=environ)
    assert (moved.headers, moved.query) == ({}, {})


def test_a_variable_that_breaks_a_header_is_refused_without_being_quoted(environ: dict[str, str]) -> None:
    configure(environ, GATEWAY + 'headers = { X-Token = "${TOKEN}" }\n')
    environ["TOKEN"] = "hunter2\r\nX-More: 1"
    with pytest.raises(ConfigError, match="the header X-Token of the profile gw") as raised:
        resolve(profile="gw", environ=environ)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("key", ["hunter2\r\nX-More: 1", "hunter2\x00", "hunter2é", "hunter2\u20282"])
@pytest.mark.parametrize("place", ["argument", "environment", "command"])
def test_a_key_that_no_header_can_carry_is_refused_without_being_quoted(
    environ: dict[str, str], key: str, place: str
) -> None:
    if place == "environment":
        environ["OPENAI_API_KEY"] = key
    elif place == "command":
        configure_command(environ, "printf", "%s", key)
    with pytest.raises(ConfigError) as raised:
        resolve(key=key if place == "argument" else None, environ=environ)
    assert "hunter2" not in str(raised.value)


def test_an_empty_key_argument_is_not_taken_for_none(environ: dict[str, str]) -> None:
    environ.update(ENV_KEY)
    with pytest.raises(ConfigError, match="is empty"):
        resolve(key=" ", environ=environ)


@pytest.mark.parametrize(
    ("arguments", "variables", "message"),
    [
        ({"profile": "gorq"}, {}, "there is no profile called 'gorq': did you mean 'groq'?"),
        ({}, {"UNSPOOL_PROFILE": "olama"}, "there is no profile called 'olama': did you mean 'ollama'?"),
        ({"api": "response"}, {}, "there is no API called 'response': did you mean 'responses'?"),
        ({"base_url": "https://a:hunter2@b"}, {}, "the base URL holds a user name or password"),
        ({}, {"OPENAI_BASE_URL": "localhost:1"}, "OPENAI_BASE_URL must be an http:// or https:// URL"),
        ({"profile": "azure"}, {}, "the profile azure needs the environment variable AZURE_OPENAI_ENDPOINT"),
        ({"profile": "azure"}, {"AZURE_OPENAI_ENDPOINT": "res"}, "the base URL of the profile azure must be"),
    ],
)
def test_a_mistake_is_named_in_one_line(
    environ: dict[str, str], arguments: dict[str, str], variables: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        resolve(**arguments, environ={**environ, **variables})  # type: ignore[arg-type]
    assert str(raised.value).startswith(message)
    assert "hunter2" not in str(raised.value)


def test_a_broken_variable_of_a_profile_that_is_not_used_does_no_harm(environ: dict[str, str]) -> None:
    environ.update(AZURE_OPENAI_ENDPOINT="nonsense", OPENAI_BASE_URL="nonsense")
    assert resolve(base_url=OTHER, environ=environ).name == "other.example"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["false"], "'false' exited with status 1$"),
        (
            ["sh", "-c", "echo hunter2; echo one >&2; echo 'locked\a' >&2; exit 3"],
            r"'sh' exited with status 3: locked\?$",
        ),
        (["no-such-command"], "'no-such-command' cannot be run: No such file or directory$"),
        (["true"], "'true' printed no key$"),
        (["printf", "hunter2\\nsecond line"], "'printf' printed has a character"),
    ],
)
def test_a_key_command_that_fails_is_named_and_its_output_is_not(
    environ: dict[str, str], command: list[str], message: str
) -> None:
    configure_command(environ, *command)
    with pytest.raises(ConfigError, match=message) as raised:
        resolve(environ=environ)
    assert "hunter2" not in str(raised.value)
    assert "key_cmd of the profile openai" in str(raised.value)


def test_a_key_command_is_given_up_even_if_its_child_keeps_the_pipe(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "KEY_CMD_TIMEOUT", 1)
    configure_command(environ, "sh", "-c", f"sleep 60 & echo $! > {tmp_path}/child; wait")
    with pytest.raises(ConfigError, match="did not end within"):
        resolve(environ=environ)
    # The child is still there, so nobody has waited for it.
    os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)


def test_a_key_command_is_not_run_for_another_server_nor_when_the_key_is_known(
    environ: dict[str, str], tmp_path: Path
) -> None:
    configure_command(environ, "touch", f"{tmp_path}/ran")
    resolve(key="arg", environ=environ)
    resolve(base_url=OTHER, environ=environ)
    resolve(profile="ollama", environ=environ)
    resolve(environ={**environ, **ENV_KEY})
    assert not (tmp_path / "ran").exists()


def test_a_key_command_does_not_eat_the_prompt_on_stdin(environ: dict[str, str]) -> None:
    configure_command(environ, "sh", "-c", "cat; echo sk-1")
    program = "import sys; from unspool.config.settings import resolve; print(resolve().key, sys.stdin.read())"
    answer = subprocess.run(
        [sys.executable, "-c", program], input="prompt", env=environ, capture_output=True, text=True
    )
    assert answer.stdout == "sk-1 prompt\n"


@pytest.mark.parametrize(
    ("base_url", "key", "warned"),
    [
        ("http://gpu.example:8000/v1", "k", True),
        ("http://gpu.example:8000/v1", None, False),
        ("https://gpu.example/v1", "k", False),
        ("http://localhost:8000/v1", "k", False),
        ("http://127.0.0.1:8000/v1", "k", False),
        ("http://[::1]:8000/v1", "k", False),
    ],
)
def test_a_key_in_plain_http_is_warned_of_unless_it_stays_on_this_machine(
    environ: dict[str, str], base_url: str, key: str | None, warned: bool
) -> None:
    target = resolve(base_url=base_url, key=key, environ=environ)
    assert bool(plain_http_warning(target)) is warned
    assert len(target.warnings) == warned


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_a_key_from_a_file_that_others_can_read_comes_with_a_warning(environ: dict[str, str], folder: Path) -> None:
    store_key("openai", "hunter2", environ)
    (folder / "keys").chmod(0o640)
    (warning,) = resolve(environ=environ).warnings
    assert "chmod 600" in warning
    assert resolve(environ={**environ, **ENV_KEY}).warnings == ()


def test_a_key_that_was_held_back_is_mentioned_by_its_variable(environ: dict[str, str]) -> None:
    hint = resolve(base_url=OTHER, environ={**environ, **ENV_KEY}).key_hint
    assert hint == "run unspool keys set other.example (OPENAI_API_KEY belongs to another server and was not sent)"
    assert resolve(environ=environ).key_hint == "set OPENAI_API_KEY, or run unspool keys set openai"


def test_a_server_that_is_not_known_may_do_without_a_key(environ: dict[str, str]) -> None:
    assert not resolve(base_url=OTHER, environ=environ).needs_key
    assert not resolve(profile="ollama", environ=environ).needs_key
    assert resolve(profile="groq", environ=environ).needs_key
    configure(environ, f'{GATEWAY}\n[profiles.lan]\nbase_url = "http://gpu:8000/v1"\n')
    assert not resolve(profile="lan", environ=environ).needs_key
    assert resolve(profile="gw", environ=environ).needs_key


def test_no_secret_is_in_the_repr_of_an_endpoint() -> None:
    target = Target("x", OTHER, "chat", key="hunter2", headers={"X": "hunter2"}, query={"key": "hunter2"})
    assert "hunter2" not in repr(target)
    assert hash(target) == hash(target.replace())


def test_resolving_from_the_environment_imports_nothing_expensive(environ: dict[str, str]) -> None:
    program = (
        "import sys; from unspool.config.settings import resolve; resolve()\n"
        "print(*sorted(name for name in sys.modules if name.startswith('unspool.config')))\n"
        "banned = 're typing dataclasses enum json pathlib platformdirs urllib tomllib subprocess contextlib difflib'\n"
        "print(*(name for name in banned.split() if name in sys.modules))"
    )
    answer = subprocess.run(
        # Without site, whose own imports are not ours.
        [sys.executable, "-S", "-c", program],
        env={**environ, **ENV_KEY, "PYTHONPATH": str(Path(settings.__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    config = "unspool.config"
    assert answer.stdout.splitlines() == [
        f"{config} {config}.paths {config}.profiles {config}.settings {config}.target {config}.url",
        "",
    ]
