"""``unspool config``: which settings hold, where each comes from, and changing them."""

from __future__ import annotations

import os

from unspool.cli.access import whom_to_ask
from unspool.cli.commands.doctor import key_source
from unspool.cli.options.shared import TimeOptions
from unspool.client.http import Request, route_to
from unspool.client.http.transport import proxy_for
from unspool.config import paths, settings
from unspool.config.profiles import BUILT_IN
from unspool.jsontext import dumps
from unspool.terminal.output import Notes, Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from unspool.cli.options.setup import ConfigOptions, KeyOptions, NoOptions, SettingOptions

# What a new file begins with in the editor.
_BLANK = """\
# profile = "openai"          # the server that is asked when none is named
# model = "gpt-5.4-mini"      # its model
#
# [aliases]
# fast = "gpt-5.4-nano"       # unspool -m fast
#
# [profiles.work]
# base_url = "https://llm.example.com/v1"
# key_env = "WORK_KEY"
"""


def show(options: ConfigOptions) -> int:
    """Print each setting that holds, and where it comes from."""
    stdout = Output(1)
    found = list(_settings(options))
    if options.json:
        lines = [dumps({"key": key, "value": value, "source": source}) for key, value, source in found]
    else:
        wide = max(len(key) for key, _, _ in found)
        lines = [f"{key:<{wide}}  {value}  ({source})" for key, value, source in found]
    stdout.write(stdout.safe("".join(line + "\n" for line in lines)))
    return 0


def _settings(options: ConfigOptions) -> Iterator[tuple[str, str, str]]:
    """Keys, values and sources. No key of a server is among the values."""
    environ = os.environ
    held = settings.load()
    target = whom_to_ask(options, None, held)
    path = paths.config_file()
    file = _file(path)
    own = file.get("profiles", {}).get(target.name, {})
    yield (
        "config file",
        path,
        "UNSPOOL_CONFIG" if environ.get("UNSPOOL_CONFIG") else "default" if file else "default; no such file",
    )

    def source(key: str, variable: str, option: str | None = None) -> str:
        if option:
            return "command line"
        if variable and environ.get(variable):
            return variable
        if key in own:
            return f"file, profiles.{target.name}"
        if key in file and (
            key in ("profile", "sync", "reasoning", "think_tags", "breaks") or target.name == held.profile
        ):
            return "file"
        return "built in"

    profile = held.profiles.get(target.name) or BUILT_IN.get(target.name)
    yield "profile", target.name, source("profile", "UNSPOOL_PROFILE", options.profile or options.base_url)
    url = source("base_url", profile.base_url_env or "" if profile is not None else "", options.base_url)
    yield "base_url", target.base_url, url
    yield "api", target.api, source("api", "UNSPOOL_API", options.api)
    yield "model", target.model or "none", source("model", "UNSPOOL_MODEL")
    yield "key", "set" if target.key else "none", key_source(target.key, options.key) if target.key else target.key_hint
    for key in ("auth", "ca_file", "client_cert", "client_key"):
        if key in own:
            yield key, str(own[key]), source(key, "")
    for key in ("headers", "query"):
        # Their values may be secrets.
        if isinstance(names := own.get(key), dict):
            yield key, ", ".join(names), source(key, "")
    for key in ("paths", "options"):
        if key in own:
            yield key, dumps(own[key]), source(key, "")
    proxy = proxy_for(Request("GET", target.url("/models"), {}, route=route_to(target)))
    yield "proxy", proxy or "none", source("proxy", "") if "proxy" in own or not proxy else "environment"
    limits = TimeOptions().limits(target)
    for key, seconds in (
        ("connect_timeout", limits.connect),
        ("idle_timeout", limits.idle),
        ("timeout", limits.total),
    ):
        yield key, f"{seconds:g} s" if seconds is not None else "none", source(key, "")
    yield "sync", held.sync, source("sync", "")
    yield "reasoning", held.reasoning, source("reasoning", "")
    yield "think_tags", "true" if held.think_tags else "false", source("think_tags", "")
    yield "breaks", "true" if held.breaks else "false", source("breaks", "")
    for name, model in held.aliases.items():
        yield f"aliases.{name}", model, "file"
    for name, tool in held.tools.items():
        yield f"tools.{name}", tool.file or " ".join(tool.command), "file"
    for name in file.get("profiles", {}):
        yield f"profiles.{name}", held.profiles[name].base_url, "file"
    home = next((name for name in ("UNSPOOL_HOME", "XDG_STATE_HOME") if environ.get(name)), "default")
    yield "journals", paths.streams_dir(), home


def _file(path: str) -> dict[str, dict[str, dict[str, object]]]:
    """What the file says, which has been found to be right."""
    import tomllib

    try:
        with open(path, "rb") as file:
            return tomllib.loads(file.read().decode("utf-8-sig"))
    except FileNotFoundError:
        return {}


def store(options: SettingOptions) -> int:
    """Change a setting in the file."""
    from unspool.config.editing import change

    change(paths.config_file(), options.key, options.value)
    Notes(Output(2)).line(f"{options.key} is {options.value} in {paths.config_file()}")
    return 0


def remove(options: KeyOptions) -> int:
    """Remove a setting from the file."""
    from unspool.config.editing import change

    change(paths.config_file(), options.key, None)
    Notes(Output(2)).line(f"{options.key} is not set in {paths.config_file()}")
    return 0


def edit(options: NoOptions) -> int:
    """Open the file in the editor, and check the result."""
    from unspool.cli.chat import external

    external.edit_settings(paths.config_file(), _BLANK)
    settings.load()
    return 0


def path(options: NoOptions) -> int:
    """Print the path of the file."""
    Output(1).write(paths.config_file() + "\n")
    return 0
