"""Templates: prompts to use again, each a TOML file of its own::

    prompt = '''
    Summarise in $length:

    $input
    '''
    system = "You write for $audience."
    model = "gpt-5.4-mini"
    options = { temperature = 0 }
    attachments = ["logo.png"]
    schema = "title, points str[]"

    [defaults]
    length = "three sentences"

``$input`` is the prompt with standard input; a template without it is put before that. Other names are parameters,
``${name}`` where letters follow, and ``$$`` is a dollar sign. Files that are named are looked for beside the template.
"""

from __future__ import annotations

import os
import string
import tomllib

from unspool import unicode
from unspool.config import ConfigError, nearest, paths
from unspool.config.replacing import replace
from unspool.value import Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from unspool.jsontext import JsonObject

_ENDING = ".toml"
# The name of what is asked, which is no parameter.
_INPUT = "input"
_TEXTS = ("prompt", "system", "model", "profile", "api", "tool_choice")
_LISTS = ("files", "attachments", "tools")
_TABLES = ("options", "defaults")
_SCHEMAS = ("schema", "schema_multi")
#: What a template may say, in the order in which it is written.
FIELDS = (*_TEXTS, *_LISTS, *_SCHEMAS, *_TABLES)


class Template(Fields):
    """One template. ``fields`` are what its file says, with the files that it names as absolute paths."""

    name: str
    path: str
    fields: JsonObject

    @property
    def parameters(self) -> list[str]:
        """The names that wait for a value, in the order in which they appear."""
        found = [name for text in self._texts() for name in string.Template(text).get_identifiers()]
        return [name for name in dict.fromkeys(found) if name != _INPUT]

    @property
    def uses_input(self) -> bool:
        """Whether it says itself where the prompt goes."""
        return any(_INPUT in string.Template(text).get_identifiers() for text in self._texts())

    def check(self, given: Iterable[str]) -> None:
        """Raise ConfigError for a parameter that is unknown."""
        known = self.parameters
        for name in given:
            if name not in known and name not in self.fields.get("defaults", {}):
                there = f"it has {', '.join(known)}" if known else "it has none"
                raise ConfigError(f"the template {self.name} has no parameter {name!r}; {there}")

    def values(self, given: dict[str, str]) -> dict[str, str]:
        """Return the value of each parameter. Raises ConfigError for one that is unknown, or has none."""
        self.check(given)
        known = self.parameters
        defaults = self.fields.get("defaults", {})
        values = {**{name: str(value) for name, value in defaults.items()}, **given}
        missing = [name for name in known if name not in values]
        if missing:
            wanted = " ".join(f"-p {name} VALUE" for name in missing)
            raise ConfigError(f"the template {self.name} needs a value for {', '.join(missing)}: {wanted}")
        return values

    def fill(self, text: str, values: dict[str, str]) -> tuple[str, str | None]:
        """Return the prompt and the system instruction that come of what is asked."""
        names = {**values, _INPUT: text}
        # The line end before the closing quotes is the file's, not the text's.
        prompt, system = (
            string.Template(self.fields.get(name, "").removesuffix("\n")).substitute(names)
            for name in ("prompt", "system")
        )
        if not self.uses_input:
            prompt = "\n\n".join(filter(None, (prompt, text)))
        return prompt, system or None

    def _texts(self) -> list[str]:
        return [self.fields[name] for name in ("prompt", "system") if name in self.fields]


def names(folder: str | None = None) -> list[str]:
    """The names of the templates that are kept."""
    try:
        entries = os.listdir(folder or paths.templates_dir())
    except FileNotFoundError:
        return []
    return sorted(entry.removesuffix(_ENDING) for entry in entries if entry.endswith(_ENDING) and entry[0] != ".")


def path_of(name: str) -> str:
    """The file of the template of that name. Raises ConfigError for what cannot be a name."""
    if not name or name[0] in ".-" or not all(letter.isalnum() or letter in "-_." for letter in name):
        raise ConfigError(f"{name!r} cannot be a template's name: letters, digits, -, _ and . can")
    return os.path.join(paths.templates_dir(), name + _ENDING)


def read_path(name: str) -> str:
    """The file of the template of that name, which is there. Raises ConfigError where it is not, and says what there is."""
    path = path_of(name)
    if not os.path.exists(path):
        kept = names()
        there = f"there are {', '.join(kept)}" if kept else "unspool … --save NAME saves one"
        raise ConfigError(f"there is no template {name!r}; {there}")
    return path


def read(name: str) -> Template:
    """Return the template of that name, or in that file if it has a / or ends in .toml. Raises ConfigError."""
    is_file = os.sep in name or name.endswith(_ENDING)
    return read_file(os.path.expanduser(name) if is_file else read_path(name))


def read_file(path: str) -> Template:
    """Return the template in a file. Raises ConfigError."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    return parse(content, path, os.path.basename(path).removesuffix(_ENDING))


def parse(content: bytes, path: str, name: str) -> Template:
    """Read a template's file. ConfigError begins with ``path`` and says where in it what is wrong."""
    try:
        fields = tomllib.loads(unicode.decode(content, path))
    except unicode.NotText as error:
        raise ConfigError(str(error)) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from error
    for field, value in fields.items():
        _check(field, value, path)
    if not fields:
        raise ConfigError(f"{path}: the template is empty; it needs at least a prompt or a system")
    for field in ("prompt", "system"):
        if not string.Template(fields.get(field, "")).is_valid():
            raise ConfigError(f"{path}: {field} has a $ without a name after it; write $$ for a dollar sign")
    folder = os.path.dirname(os.path.abspath(path))
    for field in _LISTS:
        if field in fields:
            fields[field] = [_placed(one, folder) for one in fields[field]]
    for field in _SCHEMAS:
        if isinstance(fields.get(field), str) and fields[field].endswith(".json"):
            fields[field] = _placed(fields[field], folder)
    return Template(name, path, fields)


def write(path: str, fields: JsonObject) -> None:
    """Keep a template in this file, in place of one that may be there. Raises OSError."""
    replace(path, text_of(fields).encode())


def text_of(fields: JsonObject) -> str:
    """The TOML text of a template."""
    text = "".join(_line(name, fields[name]) for name in FIELDS if name in fields and name not in _TABLES)
    for name in _TABLES:
        if name in fields:
            items = fields[name].items()
            text += f"\n[{name}]\n" + "".join(_line(_key(key), value) for key, value in items if value is not None)
    return text


def _check(field: str, value: object, path: str) -> None:
    if field not in FIELDS:
        raise ConfigError(f"{path}: a template has no {field!r}{nearest(field, FIELDS)}")
    if field in _TEXTS and not isinstance(value, str):
        raise ConfigError(f"{path}: {field} must be a string in quotes")
    if field in _TABLES and not isinstance(value, dict):
        raise ConfigError(f"{path}: {field} must be a table, such as {{ name = 1 }}")
    if field in _SCHEMAS and not isinstance(value, str | dict):
        raise ConfigError(f"{path}: {field} must be a table, or a string as for --schema")
    if field in _LISTS:
        allowed = str | dict if field == "tools" else str
        if not isinstance(value, list) or not all(isinstance(one, allowed) for one in value):
            raise ConfigError(f'{path}: {field} must be a list, such as ["a", "b"]')


def _placed(source: object, folder: str) -> object:
    if not isinstance(source, str) or source == "-" or source[:1] in ("{", "[") or "://" in source[:8]:
        return source
    return os.path.join(folder, os.path.expanduser(source))


def _line(name: str, value: object) -> str:
    return f"{name} = {_value(value)}\n"


def _key(name: str) -> str:
    return name if name.isascii() and name.replace("-", "").replace("_", "").isalnum() else _string(name)


def _value(value: object) -> str:
    """A JSON value as TOML, which has no null: what is null is left out."""
    if isinstance(value, str):
        # For a person to edit: as it is, where TOML has a form for that (1.0.0, String, multi-line literal).
        if (
            "\n" in value
            and "'''" not in value
            and value[-1] != "'"
            and all(c.isprintable() or c in "\n\t" for c in value)
        ):
            return f"'''\n{value}'''"
        return _string(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(one) for one in value if one is not None) + "]"
    if isinstance(value, dict):
        items = (f"{_key(key)} = {_value(one)}" for key, one in value.items() if one is not None)
        return "{ " + ", ".join(items) + " }"
    from unspool.jsontext import dumps

    return dumps(value)


def _string(text: str) -> str:
    from unspool.jsontext import dumps

    # TOML's basic strings are JSON's, but for one control character.
    return dumps(text).replace("\x7f", "\\u007f")
