"""From what the command line, the environment and the configuration file say to one endpoint.

What each value is taken from, first that is there:

=========  ==============================================================================================================
profile    argument; ``UNSPOOL_PROFILE``; ``profile`` in the file; openai. A ``base_url`` argument without a profile argument takes the
           profile that lives at its origin, if there is one
base_url   argument; ``OPENAI_BASE_URL`` (for the profile openai); the profile
model      argument; ``UNSPOOL_MODEL``; the profile
api        argument; the end of a ``base_url`` argument (``…/chat/completions``); ``UNSPOOL_API``; the end of ``OPENAI_BASE_URL``; the profile;
           ``responses`` at OpenAI's hosts, ``chat`` elsewhere
key        argument; the profile's variables; ``key_cmd``; the key file, under the profile's name; for a profile that ``extends`` another
           without naming variables of its own, that one's variables; the key file, under the host's name
=========  ==============================================================================================================

**A key goes only to the origin (scheme, host and port) it belongs to.** A key given as an argument belongs to the request. One in the
variables of a built-in profile belongs to that profile's servers, except that ``OPENAI_API_KEY`` belongs to ``OPENAI_BASE_URL`` when
both are set, and then to nothing else; ``OPENAI_ORG_ID`` and ``OPENAI_PROJECT_ID`` go where ``OPENAI_API_KEY`` does. All that the
configuration file says of a profile, and what the key file has under its name, belongs to the URL that the file gives that profile.
"""

from __future__ import annotations

import os

from unspool.api import NAMES
from unspool.config import ConfigError
from unspool.config.endpoint import Endpoint, clean_key, plain_http_warning
from unspool.config.paths import config_file
from unspool.config.profiles import BUILT_IN, DEFAULT_PROFILE, OPENAI_HOSTS, Profile
from unspool.config.url import Address, parse_base_url
from unspool.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from unspool.config.url import Origin

#: When a journal is forced to the disk; the second is the default.
SYNC = ("always", "interval", "never")

#: Seconds that ``key_cmd`` may take: time to touch a security key, not so long that a script seems to hang.
KEY_CMD_TIMEOUT = 30


class Settings(Value):
    """What the configuration file says: the default profile's name, the profiles it has or changes, and ``sync``."""

    __slots__ = ("profile", "profiles", "sync")

    def __init__(self, profile: str, profiles: dict[str, Profile], sync: str) -> None:
        self.profile = profile
        self.profiles = profiles
        self.sync = sync


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the configuration file; without one, return the defaults. ConfigError when it cannot be used."""
    path = config_file(environ)
    try:
        with open(path, "rb") as file:
            content = file.read()
    except (FileNotFoundError, NotADirectoryError) as error:
        if environ.get("UNSPOOL_CONFIG"):
            raise ConfigError(f"UNSPOOL_CONFIG names a file that does not exist: {path}") from error
        return Settings(DEFAULT_PROFILE, {}, SYNC[1])
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    # Imported only now: most people have no configuration file, and reading TOML costs more than the rest of this package.
    from unspool.config.file import parse

    return parse(content, path)


def resolve(
    *,
    profile: str | None = None,
    base_url: str | None = None,
    key: str | None = None,
    model: str | None = None,
    api: str | None = None,
    environ: Mapping[str, str] = os.environ,
    settings: Settings | None = None,
) -> Endpoint:
    """Return where a request goes and as whom; ``settings`` saves reading the file again. ConfigError says what is wrong.

    A key that is missing is no error: ``Endpoint.key`` is then None, and the caller looks at ``needs_key``. The file's
    ``key_cmd`` is run, for at most `KEY_CMD_TIMEOUT` seconds, when it is what the key comes from.
    """
    if settings is None:
        settings = load(environ)
    preferred = environ.get("UNSPOOL_PROFILE") or settings.profile
    if base_url is not None:
        address = parse_base_url(base_url, "the base URL")
        if profile:
            chosen = _named(profile, settings)
        else:
            chosen = _living_at(address.origin, preferred, settings, environ) or _stranger(address)
        pasted = address.api
    else:
        chosen = _named(profile or preferred, settings)
        address = _address(chosen, environ)
        pasted = None
    at_home = address.origin in _home(chosen, environ)
    headers = _expand_all(chosen.headers, chosen, environ) if at_home else {}
    owner = _owner(chosen)
    if owner.header_env and address.origin in _keys_home(owner, environ):
        for header, variable in owner.header_env.items():
            if value := environ.get(variable):
                headers.setdefault(header, clean_key(value, variable))
    auth, warnings = chosen.auth, []
    if key is not None:
        found = clean_key(key, "the argument")
        if not found:
            raise ConfigError("the key given as an argument is empty")
    else:
        found = ""
        for found, auth, warning in _keys(chosen, address, environ):
            warnings += [warning] if warning else []
            break
    endpoint = Endpoint(
        chosen.name,
        address.base_url,
        _api(api or pasted or environ.get("UNSPOOL_API") or address.api or chosen.api, address),
        key=found or None,
        auth=auth,
        headers=headers,
        query=_expand_all(chosen.query, chosen, environ) if at_home else {},
        model=model or environ.get("UNSPOOL_MODEL") or chosen.model,
        needs_key=chosen.needs_key,
        key_hint=_key_hint(chosen, address, environ),
        paths=chosen.paths,
    )
    if warning := plain_http_warning(endpoint):
        warnings.append(warning)
    endpoint.warnings = tuple(warnings)
    return endpoint
