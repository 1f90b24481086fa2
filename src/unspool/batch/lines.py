"""A file of prompts: one JSON object a line, in either of two forms, as requests.

The form of OpenAI's Batch API, ``{"custom_id": …, "method": "POST", "url": "/v1/chat/completions", "body": {…}}``, or a plain one,
``{"prompt": …}`` or ``{"messages": […]}``, with any of `FIELDS` beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from unspool import api
from unspool.api.prompt import Prompt
from unspool.client.exchange import build_body
from unspool.jsontext import dumps, loads
from unspool.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from unspool.config.target import Target
    from unspool.jsontext import JsonObject

# Characters of a key, which are hexadecimal digits.
_KEY_LENGTH = 32

#: Fields of a `Prompt` that a plain line may have.
FIELDS = ("system", "temperature", "top_p", "max_tokens", "stop", "seed", "n")
_KNOWN = frozenset(("custom_id", "prompt", "messages", "model", "options", "schema", "template", "params", *FIELDS))
_PATHS = {api.endpoint(name).path: name for name in api.NAMES}
# Enough to mend a file by, few enough to read.
_MOST_COMPLAINTS = 10


class Unreadable(ValueError):
    """The file cannot be run; the message has a line for each of the first mistakes."""


@dataclass(slots=True)
class Preset:
    """A template as lines use it.

    ``defaults`` are the fields of a `Prompt` that it gives them. ``fill`` makes what is asked of a line's prompt and parameters: a text
    or messages, and the system instruction; it raises ValueError. ``needs_prompt`` says that a line must have one, ``takes_messages``
    that it may have messages in its place.
    """

    defaults: JsonObject
    fill: Callable[[str, dict[str, str]], tuple[str | list[JsonObject], str | None]]
    needs_prompt: bool
    takes_messages: bool


class Line(Value):
    """One line of the file as a request. ``number`` counts from 1; ``is_batch`` says which form it had, and its result will have.

    ``key`` is the same for the same request under the same name, and differs within one file. ``text_key`` is too, and is the same for the
    same line whichever server and model it is for.
    """

    __slots__ = ("number", "custom_id", "is_batch", "api", "prompt", "body", "key", "text_key")

    def __init__(
        self,
        number: int,
        custom_id: str | None,
        is_batch: bool,
        api: str,
        prompt: Prompt,
        body: JsonObject,
        key: str,
        text_key: str,
    ) -> None:
        self.number = number
        self.custom_id = custom_id
        self.is_batch = is_batch
        self.api = api
        self.prompt = prompt
        self.body = body
        self.key = key
        self.text_key = text_key


class Lines:
    """Reads lines as requests to one server. ``defaults`` are the fields of a `Prompt` that plain lines need not repeat.

    ``preset`` returns the template that a line names, or that of all lines that name none. ``place`` names the server in the keys; its
    URL unless said otherwise, for one that is elsewhere each time.
    """

    def __init__(
        self,
        target: Target,
        defaults: JsonObject,
        *,
        preset: Callable[[str | None], Preset | None] = lambda name: None,
        place: str = "",
    ) -> None:
        self._target = target
        self._place = place or target.base_url
        self._defaults = {name: value for name, value in defaults.items() if value is not None}
        self._preset = preset
        self._names: dict[str, int] = {}
        self._seen: dict[str, int] = {}

    def read(self, content: Iterable[bytes]) -> Iterator[Line]:
        """Yield each line; blank ones are passed over. Raises Unreadable after the last one, if there was a mistake in any."""
        complaints = []
        for number, text in enumerate(content, 1):
            if not text.strip():
                continue
            try:
                line = self._line(number, text)
            except ValueError as error:
                complaints.append(f"line {number}: {error}")
                if len(complaints) == _MOST_COMPLAINTS:
                    break
                continue
            yield line
        if complaints:
            raise Unreadable("\n".join(complaints))

    def _line(self, number: int, text: bytes) -> Line:
        try:
            if not text.isascii():
                text.decode()
            value = loads(text)
        except UnicodeDecodeError as error:
            raise ValueError(
                f"not UTF-8 (byte {error.start + 1}); convert the file first, such as with iconv -f LATIN1 -t UTF-8"
            ) from error
        except ValueError:
            value = None
        if type(value) is not dict:
            raise ValueError('not a JSON object, such as {"prompt": "What is Python?"}')
        custom_id = value.get("custom_id")
        if custom_id is not None:
            if type(custom_id) is not str:
                raise ValueError("custom_id is not a string")
            if custom_id in self._names:
                raise ValueError(f"custom_id {custom_id!r} is also in line {self._names[custom_id]}")
            self._names[custom_id] = number
        is_batch = "body" in value
        api_name, prompt, body = self._batch(value) if is_batch else self._plain(value)
        key = self._key(dumps([self._place, api_name, custom_id, body]))
        return Line(number, custom_id, is_batch, api_name, prompt, body, key, self._key(dumps(value)))

    def _key(self, content: str) -> str:
        # The same line twice is two requests.
        count = self._seen[content] = self._seen.get(content, 0) + 1
        return sha256(f"{count} {content}".encode("utf-8", "replace")).hexdigest()[:_KEY_LENGTH]

    def _batch(self, value: JsonObject) -> tuple[str, Prompt, JsonObject]:
        if value.get("method", "POST") != "POST":
            raise ValueError(f"method is {value['method']!r}, but must be POST")
        url = value.get("url")
        path = url if type(url) is str else ""
        api_name = next((name for end, name in sorted(_PATHS.items()) if path.endswith(end)), None)
        if api_name is None:
            raise ValueError(f"url is {url!r}: it must end in {', '.join(sorted(_PATHS))}")
        given = value["body"]
        if type(given) is not dict:
            raise ValueError("body is not a JSON object")
        model = given.get("model") or self._target.model
        if type(model) is not str or not model:
            raise ValueError("body has no model, and there is no default; name one with -m")
        body = api.endpoint(api_name).with_usage({**given, "model": model, "stream": True})
        return api_name, Prompt("", model, n=given.get("n")), body

    def _plain(self, value: JsonObject) -> tuple[str, Prompt, JsonObject]:
        unknown = sorted(set(value) - _KNOWN)
        if unknown:
            raise ValueError(f"there is no field {unknown[0]!r}; put other request fields into options")
        preset, params = self._template(value)
        asked = value.get("messages", value.get("prompt"))
        if asked is None and preset is not None and not preset.needs_prompt:
            asked = ""
        elif type(asked) is not (list if "messages" in value else str) or not asked:
            raise ValueError("it needs a prompt (a string) or messages (a list)")
        defaults = self._defaults
        if preset is not None:
            filled, system = preset.fill(asked if isinstance(asked, str) else "", params)
            asked = asked if "messages" in value else filled
            options = {**preset.defaults.get("options", {}), **defaults.get("options", {})}
            defaults = {"system": system, **preset.defaults, **defaults, "options": options}
        model = value.get("model") or defaults.get("model") or self._target.model
        if type(model) is not str or not model:
            raise ValueError("it has no model, and there is no default; name one with -m")
        options = value.get("options") or {}
        if type(options) is not dict:
            raise ValueError("options is not a JSON object")
        fields: JsonObject = {name: value.get(name, defaults.get(name)) for name in FIELDS}
        fields.update({name: defaults[name] for name in ("tools", "tool_choice") if name in defaults})
        options = {**defaults.get("options", {}), **options}
        schema = value.get("schema", defaults.get("schema"))
        if schema is not None and type(schema) is not dict:
            raise ValueError("schema is not a JSON Schema, which is an object")
        prompt = Prompt(asked, model, options=options, schema=schema, **fields)
        try:
            return self._target.api, prompt, build_body(self._target, prompt, self._target.api)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError("its messages do not have the form of Chat Completions") from error

    def _template(self, value: JsonObject) -> tuple[Preset | None, dict[str, str]]:
        """The template of a line, None where it has none, and the line's parameters for it."""
        name, params = value.get("template"), value.get("params")
        if name is not None and type(name) is not str:
            raise ValueError("template is not a string: it is the name of a template")
        preset = self._preset(name)
        if params is not None and (type(params) is not dict or preset is None):
            raise ValueError(
                "params needs to be a JSON object, and to have a template: name one in the line or with -t"
            )
        if preset is not None and "messages" in value and not preset.takes_messages:
            raise ValueError("it has messages, but its template needs a prompt")
        return preset, {key: one if type(one) is str else dumps(one) for key, one in (params or {}).items()}
