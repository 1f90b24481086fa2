"""The arguments of every function that begins a stream, checked and with their defaults, and the stream that they make."""

from __future__ import annotations

import os

from unspool.api.prompt import Prompt
from unspool.client.exchange import Exchange
from unspool.client.http import route_to
from unspool.client.limits import CONNECT_TIMEOUT, DEFAULT_RETRIES, IDLE_TIMEOUT, Limits
from unspool.config import ConfigError, nearest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, TypedDict

    from unspool.client.observing import Observer
    from unspool.config import Settings
    from unspool.config.target import Route, Target
    from unspool.journal.writer import Writer
    from unspool.jsontext import JsonObject

    #: What a prompt may be: a text, or messages as in Chat Completions.
    Question = str | Sequence[Mapping[str, Any]]
    Path = str | os.PathLike[str]

    class Reading(TypedDict, total=False):
        """How an answer is read and where it is kept, whoever asked for it: what `unspool.resume` takes, beside the schema."""

        key: str | None
        retries: int
        connect_timeout: float
        timeout: float | None
        idle_timeout: float
        check: bool
        journal: bool | Path
        headers: Mapping[str, str] | None
        query: Mapping[str, str] | None
        ca_file: Path | None
        client_cert: Path | tuple[Path, Path] | None
        proxy: str | None
        unix_socket: Path | None
        config: bool
        observer: Observer | None

    class AskOptions(Reading, total=False):
        """What `unspool.converse` takes beside the prompt and its tools; the docstring of `unspool.stream` says what each is."""

        model: str | None
        system: str | None
        attachments: Iterable[str | bytes | os.PathLike[str]] | None
        tool_choice: str | JsonObject | None
        temperature: float | None
        top_p: float | None
        max_tokens: int | None
        stop: str | list[str] | None
        seed: int | None
        n: int | None
        store: bool
        options: JsonObject | None
        api: str | None
        profile: str | None
        base_url: str | None

    class Options(AskOptions, total=False):
        """What `unspool.stream` takes beside the prompt and the schema."""

        tools: Iterable[JsonObject | Callable[..., Any]] | None


# Seconds: a day is for ever to a connection.
_LONGEST = 86400.0


class ReadingArguments:
    """The arguments of a function that reads an answer: each an attribute of this name. Its defaults are those of the class.

    Raises TypeError and ValueError for a wrong one, which the message names.
    """

    key: str | None = None
    retries: int = DEFAULT_RETRIES
    connect_timeout: float = CONNECT_TIMEOUT
    timeout: float | None = None
    idle_timeout: float = IDLE_TIMEOUT
    check: bool = True
    journal: bool | Path = True
    headers: Mapping[str, str] | None = None
    query: Mapping[str, str] | None = None
    ca_file: Path | None = None
    client_cert: Path | tuple[Path, Path] | None = None
    proxy: str | None = None
    unix_socket: Path | None = None
    config: bool = True
    observer: Observer | None = None
    schema: Any = None

    def __init__(self, function: str, given: Mapping[str, Any]) -> None:
        known = self.names()
        for name, value in given.items():
            if name not in known:
                raise TypeError(f"{function}() takes no argument {name!r}{nearest(name, known)}")
            _check(name, value)
            setattr(self, name, value)

    @classmethod
    def names(cls) -> dict[str, str]:
        """The names of all arguments."""
        return cls.__annotations__

    def limits(self, target: Target) -> Limits:
        """The limits that the arguments set, else those of the server's profile, else the usual ones."""
        connect, idle, total = self.connect_timeout, self.idle_timeout, self.timeout
        if (route := target.network) is not None:
            given = vars(self)
            if "connect_timeout" not in given:
                connect = route.connect_timeout or connect
            if "idle_timeout" not in given:
                idle = route.idle_timeout or idle
            if "timeout" not in given:
                total = route.timeout
        # libcurl counts milliseconds in an integer.
        return Limits(min(connect, _LONGEST), idle, total)

    def watch(self, exchange: Exchange) -> None:
        """Report this exchange to the observer, if there is one."""
        if self.observer is not None:
            from unspool.client.observing import Watch

            exchange.watch = Watch(self.observer)

    def folder(self) -> str:
        """Where answers are kept."""
        from unspool.config.paths import streams_dir

        return streams_dir() if isinstance(self.journal, bool) else os.fspath(self.journal)

    def settings(self, *, needed: bool) -> Settings:
        """The settings of the configuration file, the defaults where ``config`` is False.

        A file that cannot be used does not matter to a call that needs nothing of it.
        """
        from unspool.config.settings import defaults, load

        if not self.config:
            return defaults()
        try:
            return load()
        except ConfigError:
            if needed:
                raise
            return defaults()

    def at(self, target: Target) -> Target:
        """The server, with the headers and the query that the arguments add."""
        if not self.headers and not self.query:
            return target
        from unspool.config.target import clean

        headers = {name: clean(value, f"the header {name}") for name, value in (self.headers or {}).items()}
        return target.replace(headers={**target.headers, **headers}, query={**target.query, **(self.query or {})})

    def route(self, target: Target) -> Route | None:
        """The way to the server, None where the arguments say nothing of it. Raises ValueError for a file that is not there."""
        cert = self.client_cert
        cert, key = cert if isinstance(cert, tuple) else (cert, None)
        files = {"ca_file": self.ca_file, "client_cert": cert, "client_key": key}
        given = {name: os.fspath(path) for name, path in files.items() if path is not None}
        for name, path in given.items():
            if not os.path.isfile(path):
                raise ValueError(f"{name} is {path!r}, and there is no such file")
        if self.proxy is not None:
            given["proxy"] = self.proxy
        if self.unix_socket is not None:
            given["unix_socket"] = os.fspath(self.unix_socket)
        return route_to(target).replace(**given) if given else None


class Arguments(ReadingArguments):
    """The arguments of a function that begins a stream."""

    model: str | None = None
    system: str | None = None
    attachments: Iterable[str | bytes | os.PathLike[str]] | None = None
    tools: Iterable[JsonObject | Callable[..., Any]] | None = None
    tool_choice: str | JsonObject | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    n: int | None = None
    store: bool = False
    options: JsonObject | None = None
    api: str | None = None
    profile: str | None = None
    base_url: str | None = None

    @classmethod
    def names(cls) -> dict[str, str]:
        """The names of all arguments."""
        return {**ReadingArguments.__annotations__, **cls.__annotations__}

    def target(self, settings: Settings) -> Target:
        """Where the request goes, and as whom. Raises ConfigError."""
        from unspool.config.settings import resolve

        return resolve(profile=self.profile, base_url=self.base_url, key=self.key, api=self.api, settings=settings)

    def start_settings(self) -> Settings:
        """The settings that are needed to say where the request goes."""
        return self.settings(needed=self.base_url is None or self.key is None or self.profile is not None)


# What each argument has to be, where a wrong type would only be noticed later, or by the server.
_KINDS: tuple[tuple[str, tuple[type, ...], tuple[str, ...]], ...] = (
    ("a str", (str,), ("model", "system", "profile", "base_url", "key", "api", "proxy")),
    ("a number", (int, float), ("temperature", "top_p", "timeout", "idle_timeout", "connect_timeout")),
    ("an int", (int,), ("max_tokens", "n", "seed", "retries")),
    ("True or False", (bool,), ("check", "store", "config")),
    ("a path", (str, os.PathLike), ("ca_file", "unix_socket")),
    ("a path, True or False", (bool, str, os.PathLike), ("journal",)),
    ("a path, or a pair of a certificate's and its key's", (str, os.PathLike, tuple), ("client_cert",)),
    ("a str or a list of them", (str, list, tuple), ("stop",)),
    ("a str or a dict", (str, dict), ("tool_choice",)),
    ("a dict", (dict,), ("options",)),
)
_TYPES = {name: (words, types) for words, types, names in _KINDS for name in names}
_NEVER_NONE = ("check", "store", "config", "journal", "retries", "idle_timeout", "connect_timeout")
_FINITE = ("temperature", "top_p")
_INFINITE = float("inf")
# RFC 9110, 5.6.2, and the two by which a server finds the end of the request.
_NOT_IN_NAMES = frozenset('"(),/:;<=>?@[\\]{} \t\r\n\0')
_ITS_OWN = ("content-length", "transfer-encoding")
_NOT_NEGATIVE = ("retries", "timeout", "idle_timeout", "connect_timeout")


def _check(name: str, value: Any) -> None:
    """Raise TypeError or ValueError for a value that an argument cannot have."""
    if value is None:
        if name in _NEVER_NONE:
            raise TypeError(f"{name} is {_TYPES[name][0]}, and not None")
        return
    if name in _TYPES:
        words, types = _TYPES[name]
        # True is an int to Python, and to nobody who asks for 1 token.
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise TypeError(f"{name} is {words}, and not {type(value).__name__}")
    elif name in ("headers", "query"):
        if not hasattr(value, "items") or not all(isinstance(one, str) for pair in value.items() for one in pair):
            raise TypeError(f"{name} is a dict of str to str")
    elif name in ("attachments", "tools") and (isinstance(value, str | bytes | dict) or not hasattr(value, "__iter__")):
        raise TypeError(f"{name} is a list, also of one")
    if name in _FINITE and not -_INFINITE < value < _INFINITE:
        raise ValueError(f"{name} is {value}, and no number that JSON has")
    if name == "client_cert" and isinstance(value, tuple) and len(value) != 2:
        raise ValueError(f"client_cert has {len(value)} files: it is a certificate's, or a certificate's and its key's")
    if name == "schema" and isinstance(value, str | bytes | int | float | list | tuple):
        raise TypeError(f"schema is a dict or a class, and not {type(value).__name__}")
    if name == "observer" and not hasattr(value, "on_end"):
        raise TypeError(f"observer is an unspool.Observer, and not {type(value).__name__}")
    if name == "headers":
        for header in value:
            if not header or not header.isascii() or set(header) & _NOT_IN_NAMES or header.lower() in _ITS_OWN:
                raise ValueError(f"headers has {header!r}, which is no name of a header that a program may set")
    if name == "journal" and value == "":
        raise ValueError("journal is an empty path: False keeps no journal")
    if name in _NOT_NEGATIVE and not value >= 0:  # NaN included
        raise ValueError(f"{name} is {value}, and cannot be negative")
    if name in ("n", "max_tokens") and value < 1:
        raise ValueError(f"{name} is {value}, and has to be 1 or more")


def exchange(question: Question, arguments: Arguments, target: Target, settings: Settings) -> Exchange:
    """The stream that asks this of an endpoint. Raises ValueError, TypeError and ConfigError."""
    model = arguments.model or target.model
    if not model:
        raise ValueError(f"model is missing, and the profile {target.name!r} has no default one")
    if target.needs_key and not target.key:
        raise ConfigError(f"no API key for {target.name}: pass key, or {target.key_hint}")
    system, tools, schema, schema_name = arguments.system, None, None, None
    if arguments.tools is not None:
        from unspool.client.tools import described

        tools = described(arguments.tools)
    if arguments.schema is not None:
        from unspool.client.schema import name_of, schema_of

        schema, schema_name = schema_of(arguments.schema), name_of(arguments.schema)
    try:
        prompt = Prompt(
            _messages(question, arguments.attachments),
            model,
            system=getattr(question, "system", None) if system is None else system,
            temperature=arguments.temperature,
            top_p=arguments.top_p,
            max_tokens=arguments.max_tokens,
            stop=arguments.stop,
            seed=arguments.seed,
            n=arguments.n,
            store=arguments.store,
            options=arguments.options,
            tools=tools,
            tool_choice=arguments.tool_choice,
            schema=schema,
            schema_name=schema_name,
        )
        target = arguments.at(target)
        made = Exchange(target, prompt, journal=None, retries=arguments.retries, route=arguments.route(target))
    except ValueError as error:
        if " --" not in str(error):
            raise
        # The command's words for what is an argument here.
        words = str(error).partition("; --at ")[0].replace("--api chat", 'api="chat"')
        raise ValueError(words.replace("--api responses", 'api="responses"')) from None
    arguments.watch(made)
    if arguments.journal:
        from unspool.journal.writer import Writer

        journal = Writer(arguments.folder(), sync=settings.sync)
        warn_of(journal, level=5)
        made.begin(journal, parent=getattr(question, "parent", None))
    return made


def check_id(id: object) -> None:
    """Raise TypeError for what cannot be a part of an id."""
    if not isinstance(id, str):
        raise TypeError(f"id is a str, and not {type(id).__name__}: an answer without a journal has none")


def warn_of(journal: Writer, *, level: int = 2) -> None:
    """Warn if a journal cannot be kept, now or later."""
    if journal.trouble is not None:
        _warn(journal.trouble, level + 1)
    journal.on_trouble = _warn


def _warn(trouble: str, level: int = 2) -> None:
    # Once for each place, as warnings are: a program that asks a thousand times gets one warning.
    import warnings

    why, _, place = trouble.rpartition(" (")
    folder = os.path.dirname(place) if place.endswith(".sse)") else place[:-1]
    warnings.warn(f"unspool: {why} ({folder}); journal=False says that this is meant", stacklevel=level)


def _messages(question: Question, attachments: Iterable[str | bytes | os.PathLike[str]] | None) -> list[JsonObject]:
    if isinstance(question, str):
        messages: list[JsonObject] = [{"role": "user", "content": question}]
    elif isinstance(question, bytes | dict) or not hasattr(question, "__iter__"):
        raise TypeError(f"the prompt is a str or a list of messages, and not {type(question).__name__}")
    else:
        messages = []
        for one in question:
            if not hasattr(one, "keys"):
                raise TypeError(f"a message of the prompt is a dict, and not {type(one).__name__}")
            messages.append(dict(one))
    if not messages:
        raise ValueError("the prompt is an empty list of messages")
    parts = []
    if attachments is not None:
        from unspool.client.library.attachment import part

        parts = [part(one) for one in attachments]
    if parts:
        last = messages[-1]
        if last.get("role") != "user":
            raise ValueError("attachments belong to what the user says, and the last message is not the user's")
        content = last["content"]
        text = [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
        last["content"] = parts + text
    return messages
