"""The configuration file, TOML::

    profile = "work"            # the profile used when none is named; "openai" if not said
    model = "gpt-5.4"           # for that profile
    api = "responses"           # for that profile: responses, chat or completions
    sync = "interval"           # when journals are forced to the disk: always, interval or never
    reasoning = "hide"          # what is done with a model's reasoning: auto, show or hide
    think_tags = false          # leave <think>…</think> at the head of an answer in its text; else it is reasoning
    breaks = true               # keep single line ends of a rendered answer, which Markdown joins with a blank

    [aliases]
    fast = "gpt-5.4-nano"       # -m fast

    [tools.weather]             # -T weather
    file = "~/tools/weather.py" # the functions in it, or only those in: functions = ["forecast"]
    allow = true                # run without asking

    [tools.files]               # -T files: the tools of an MCP server, or only those in functions
    command = ["mcp-files", "/srv"]
    env = { TOKEN = "${FILES_TOKEN}" }

    [prices]                    # of a million tokens, in any currency; cached: of input that the server had read before
    "gpt-5.4-mini" = { input = 0.25, output = 2, cached = 0.025 }

    [profiles.work]
    extends = "openai"          # start from a built-in profile
    key_cmd = ["pass", "show", "openai/work"]

    [profiles.gateway]
    base_url = "https://llm.example.com/v1"
    api = "chat"
    model = "llama-4"
    key_env = "GATEWAY_KEY"     # a variable, or several: ["A", "B"]
    auth = "x-api-key"          # the header that carries the key; "bearer" if not said
    headers = { X-Team = "search", X-Token = "${GATEWAY_TOKEN}" }
    query = { version = "2" }
    paths = { "/chat/completions" = "/{model}/chat" }
    options = { temperature = 0 }  # fields of each request that says nothing else about them
    needs_key = true            # if not said: whether key_env or key_cmd is
    ca_file = "~/company.pem"   # the authorities to trust
    client_cert = "~/me.pem"    # with client_key, where the key is in a file of its own
    proxy = "http://proxy.example.com:3128"  # "none" for no proxy
    idle_timeout = "10m"        # the longest time without data; so too connect_timeout, and timeout for the complete answer

``${NAME}`` in ``base_url``, ``headers``, ``query`` and ``env`` stands for an environment variable. ``key_cmd`` is run without a shell; a string is
split as a shell would. A table named like a built-in profile changes that one. A profile keeps the variables that the built-in one
takes its key from unless ``key_env`` names others, but their keys still go to the built-in's servers only.
"""

from __future__ import annotations

import os

from unspool.api import NAMES
from unspool.config import REASONING, SYNC, ConfigError, Settings, nearest, plain
from unspool.config.profiles import BUILT_IN, DEFAULT_PROFILE, Profile
from unspool.config.target import Route
from unspool.config.url import parse_base_url
from unspool.value import EMPTY, Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.api.deltas import Usage
    from unspool.jsontext import JsonObject

_PATHS = ("/responses", "/chat/completions", "/completions")
_TOP = (
    "profile",
    "model",
    "api",
    "sync",
    "reasoning",
    "think_tags",
    "breaks",
    "profiles",
    "aliases",
    "tools",
    "prices",
)
_PROFILE = (
    "base_url",
    "api",
    "model",
    "key_env",
    "key_cmd",
    "auth",
    "headers",
    "query",
    "paths",
    "options",
    "needs_key",
    "extends",
    "ca_file",
    "client_cert",
    "client_key",
    "proxy",
    "connect_timeout",
    "idle_timeout",
    "timeout",
)
# RFC 9110, 5.6.2: what a header's name is made of.
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


class ToolSettings(Fields):
    """Tools under one name: the ``functions`` of a Python ``file``, or of an MCP server that ``command`` starts with the variables ``env``.

    All are offered where none is named. ``allow`` says that they run unasked.
    """

    file: str
    functions: tuple[str, ...] = ()
    allow: bool = False
    command: tuple[str, ...] = ()
    env: dict[str, str] = EMPTY


class Price(Fields):
    """What a million tokens of a model cost. Of the input tokens those that are ``cached`` have a price of their own, if it is given."""

    input: float
    output: float
    cached: float | None = None

    def cost(self, usage: Usage) -> float:
        """What an answer cost."""
        read, written, cached = usage.input_tokens or 0, usage.output_tokens or 0, usage.cached_tokens or 0
        saved = 0.0 if self.cached is None else cached * (self.input - self.cached)
        return (read * self.input + written * self.output - saved) / 1e6


def parse(content: bytes, path: str) -> Settings:
    """Read a configuration file's content. ConfigError begins with ``path`` and says where in it what is wrong."""
    top = _Table(_toml(content, path), path, "")
    top.allow(_TOP)
    default = top.text("profile") or DEFAULT_PROFILE
    tables = top.table("profiles")
    if default not in tables and default not in BUILT_IN:
        raise top.error("profile", f"there is no profile called {default!r}{nearest(default, (*tables, *BUILT_IN))}")
    profiles = {}
    for name, fields in tables.items():
        if not isinstance(fields, dict):
            raise top.error(f"profiles.{name}", "must be a table")
        profiles[name] = _profile(name, _Table(fields, path, f"profiles.{name}."))
    model, api = top.text("model"), top.choice("api", NAMES)
    # What stands at the top is meant for the profile that stands there, and gives way to that profile's own table.
    chosen, own = profiles.get(default) or BUILT_IN[default], tables.get(default, {})
    if model and "model" not in own:
        chosen = chosen.replace(model=model)
    if api and "api" not in own:
        chosen = chosen.replace(api=api)
    if chosen is not BUILT_IN.get(default):
        profiles[default] = chosen
    sync, reasoning = top.choice("sync", SYNC), top.choice("reasoning", REASONING)
    think_tags = top.boolean("think_tags") is not False
    return Settings(
        default,
        profiles,
        sync or SYNC[1],
        reasoning or REASONING[0],
        think_tags,
        _aliases(top),
        top.boolean("breaks") or False,
        _tools(top, path),
        _prices(top),
    )


def _prices(top: _Table) -> dict[str, Price]:
    """The prices of models."""
    found = {}
    for model, fields in top.table("prices").items():
        if not isinstance(fields, dict):
            raise top.error(f"prices.{model}", "must be a table, such as { input = 0.25, output = 2 }")
        table = _Table(fields, top.path, f"prices.{model}.")
        table.allow(("input", "output", "cached"))
        input, output = table.amount("input"), table.amount("output")
        if input is None or output is None:
            raise table.error("input" if input is None else "output", "is missing: the price of a million tokens")
        found[model] = Price(input, output, table.amount("cached"))
    return found


def _tools(top: _Table, path: str) -> dict[str, ToolSettings]:
    """The tools that ``-T`` names. A Python file's name is relative to the folder of the configuration file."""
    found = {}
    for name, fields in top.table("tools").items():
        if not isinstance(fields, dict):
            raise top.error(f"tools.{name}", "must be a table")
        table = _Table(fields, path, f"tools.{name}.")
        table.allow(("file", "functions", "allow", "command", "env"))
        file, command = table.text("file"), table.words("command", split=True)
        if (file is None) == (command is None):
            raise table.error(
                "file", "or command is needed: a Python file with functions, or what starts an MCP server"
            )
        found[name] = ToolSettings(
            os.path.join(os.path.dirname(path), os.path.expanduser(file)) if file else "",
            table.words("functions", split=False) or (),
            table.boolean("allow") or False,
            command or (),
            table.texts("env") or {},
        )
    return found


def _aliases(top: _Table) -> dict[str, str]:
    """Other names of models."""
    aliases = top.texts("aliases") or {}
    for name, model in aliases.items():
        if not name or not model or name != name.strip():
            raise top.error(f"aliases.{name}", "must be the name of a model")
    return aliases


def _toml(content: bytes, path: str) -> JsonObject:
    read = plain.read(content)
    if read is not None:
        return read
    import tomllib

    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        raise ConfigError(f"{path}, line {line}, column {column}: not UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        # The parser's message ends in "(at line 3, column 7)" or "(at end of document)".
        reason, _, place = str(error).rpartition(" (at ")
        raise ConfigError(f"{path}, {place.rstrip(')')}: {reason[:1].lower()}{reason[1:]}") from error


def _profile(name: str, table: _Table) -> Profile:
    table.allow(_PROFILE)
    parent = _parent(name, table)
    profile = parent.replace(name=name, parent=parent, key_env=(), token_env=None) if parent else Profile(name, "")
    if parent and name != parent.name:
        profile = profile.replace(base_url_env=None)
    changes: JsonObject = {}
    if url := table.text("base_url"):
        changes.update(_base_url(url, table), hosts=())
    elif not parent:
        raise table.error("base_url", "is missing, or 'extends' with the name of a built-in profile")
    for key, value in (
        ("api", table.choice("api", NAMES)),
        ("model", table.text("model")),
        ("auth", _auth(table)),
        ("key_env", _key_env(table)),
        ("key_cmd", table.words("key_cmd", split=True)),
        ("headers", _headers(table)),
        ("query", table.texts("query")),
        ("paths", _paths(table)),
        ("options", _options(table)),
        ("needs_key", table.boolean("needs_key")),
    ):
        if value is not None:
            changes[key] = value
    if not parent:
        changes.setdefault("needs_key", "key_env" in changes or "key_cmd" in changes)
    elif "key_env" in changes or ("key_cmd" in changes and name != parent.name):
        # The key is another account's than the one that these variables speak of.
        changes["header_env"] = {}
    if (network := _network(table)) is not None:
        changes["network"] = network
    for key in ("headers", "query", "paths", "options"):
        if key in changes:
            changes[key] = {**getattr(profile, key), **changes[key]}
    return profile.replace(**changes)


def _parent(name: str, table: _Table) -> Profile | None:
    extends = table.text("extends")
    if extends is None:
        return BUILT_IN.get(name)
    if extends not in BUILT_IN:
        raise table.error("extends", f"there is no built-in profile called {extends!r}{nearest(extends, BUILT_IN)}")
    return BUILT_IN[extends]


def _base_url(url: str, table: _Table) -> dict[str, str]:
    if "${" in url:
        return {"base_url": url}  # checked when the variables are known
    address = parse_base_url(url, table.source("base_url"))
    return {"base_url": address.base_url, **({"api": address.api} if address.api else {})}


def _network(table: _Table) -> Route | None:
    files = {}
    for key in ("ca_file", "client_cert", "client_key"):
        if (name := table.text(key)) is not None:
            files[key] = os.path.expanduser(name)
    proxy = table.text("proxy")
    if proxy is not None and proxy != "none" and "://" not in proxy:
        raise table.error("proxy", 'must be a URL, or "none"')
    if "client_key" in files and "client_cert" not in files:
        raise table.error("client_key", "needs client_cert beside it")
    connect, idle, total = (table.seconds(key) for key in ("connect_timeout", "idle_timeout", "timeout"))
    if not files and proxy is None and not (connect or idle or total):
        return None
    return Route(
        **files,
        proxy="" if proxy == "none" else proxy,
        connect_timeout=connect,
        idle_timeout=idle,
        timeout=total,
    )


def _key_env(table: _Table) -> tuple[str, ...] | None:
    names = table.words("key_env", split=False)
    # Whoever puts the key itself here shall not find it in the hint that names the variables.
    if not all(name.isascii() and name.isidentifier() for name in names or ()):
        raise table.error("key_env", "must be the name of an environment variable, not a key")
    return names


def _auth(table: _Table) -> str | None:
    auth = table.text("auth")
    if auth is not None and not _TOKEN.issuperset(auth):
        raise table.error("auth", 'must be "bearer" or the name of a header')
    return auth


def _headers(table: _Table) -> dict[str, str] | None:
    headers = table.texts("headers")
    for name, value in (headers or {}).items():
        if not name or not _TOKEN.issuperset(name):
            raise table.error("headers", f"{name!r} is not the name of a header")
        if not (value.isascii() and value.isprintable()):
            raise table.error(f"headers.{name}", "must be printable ASCII")
    return headers


def _paths(table: _Table) -> dict[str, str] | None:
    paths = table.texts("paths")
    for endpoint, path in (paths or {}).items():
        if endpoint not in _PATHS:
            raise table.error("paths", f"there is no endpoint {endpoint!r}{nearest(endpoint, _PATHS)}")
        if not path.startswith("/"):
            raise table.error(f'paths."{endpoint}"', "must begin with /")
    return paths


def _options(table: _Table) -> JsonObject | None:
    from unspool.jsontext import dumps

    options = table.table("options")
    for name, value in options.items():
        # What decides how an answer is read has to be asked for where it is read.
        if name in ("n", "stream", "stream_options", "background", "model"):
            raise table.error(f"options.{name}", "cannot be set for all requests")
        try:
            dumps(value)
        except (TypeError, ValueError) as error:
            raise table.error(f"options.{name}", "has no form in JSON") from error
    return options or None


class _Table:
    """A TOML table whose values are asked for by type; its errors name file and key, and never quote a value."""

    def __init__(self, fields: JsonObject, path: str, prefix: str) -> None:
        self._fields = fields
        self.path = path
        self._prefix = prefix

    def source(self, key: str) -> str:
        return f"{self.path}: {self._prefix}{key}"

    def error(self, key: str, what: str) -> ConfigError:
        return ConfigError(f"{self.source(key)}: {what}")

    def allow(self, keys: tuple[str, ...]) -> None:
        for key in self._fields:
            if key not in keys:
                raise self.error(key, f"there is no such setting{nearest(key, keys)}")

    def text(self, key: str) -> str | None:
        value: str | None = self._fields.get(key)
        if value is not None and (not isinstance(value, str) or not value):
            raise self.error(key, "must be a string that is not empty")
        return value

    def choice(self, key: str, choices: tuple[str, ...]) -> str | None:
        value: str | None = self._fields.get(key)
        if value is not None and value not in choices:
            raise self.error(key, f"must be one of {', '.join(choices)}")
        return value

    def seconds(self, key: str) -> float | None:
        value: object = self._fields.get(key)
        if value is None:
            return None
        from unspool import durations

        try:
            time = 0.0 if type(value) is bool else durations.parse(str(value))
        except ValueError:
            time = 0.0
        if not time:
            raise self.error(key, 'must be a time above zero, such as 90, "90s" or "10m"')
        return time

    def amount(self, key: str) -> float | None:
        value = self._fields.get(key)
        if value is not None and (type(value) not in (int, float) or not 0 <= value < float("inf")):
            raise self.error(key, "must be a number")
        return value

    def boolean(self, key: str) -> bool | None:
        value: bool | None = self._fields.get(key)
        if value is not None and not isinstance(value, bool):
            raise self.error(key, "must be true or false")
        return value

    def table(self, key: str) -> JsonObject:
        value: JsonObject = self._fields.get(key, {})
        if not isinstance(value, dict):
            raise self.error(key, "must be a table")
        return value

    def texts(self, key: str) -> dict[str, str] | None:
        if key not in self._fields:
            return None
        table = self.table(key)
        for name, value in table.items():
            if not isinstance(value, str):
                raise self.error(f"{key}.{name}", "must be a string")
        return table

    def words(self, key: str, split: bool) -> tuple[str, ...] | None:
        value = self._fields.get(key)
        if value is None:
            return None
        if isinstance(value, str):
            value = self._split(key, value) if split else [value]
        if not isinstance(value, list) or not value or not all(isinstance(word, str) and word for word in value):
            raise self.error(key, "must be a string or a list of strings, not empty")
        return tuple(value)

    def _split(self, key: str, value: str) -> list[str]:
        import shlex

        try:
            return shlex.split(value)
        except ValueError as error:
            raise self.error(key, "has a quote that is not closed") from error
