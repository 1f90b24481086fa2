"""From what the command line, the environment and the configuration file say to one endpoint.

What each value is taken from, first that is there:

=========  ==============================================================================================================
profile    argument; ``UNSPOOL_PROFILE``; ``profile`` in the file; openai. A ``base_url`` argument without a profile argument
           takes the profile that lives at its origin, if there is one
base_url   argument; ``OPENAI_BASE_URL`` (for the profile openai); the profile
model      argument; ``UNSPOOL_MODEL``; the profile
api        argument; the end of a ``base_url`` argument (``…/chat/completions``); ``UNSPOOL_API``; the end of
           ``OPENAI_BASE_URL``; the profile; ``responses`` at OpenAI's hosts, ``chat`` elsewhere
key        argument; the profile's variables; ``key_cmd``; the key file, under the profile's name; for a profile that ``extends`` another
           without naming variables of its own, that one's variables; the key file, under the host's name
=========  ==============================================================================================================

**A key goes only to the origin (scheme, host and port) it belongs to.** A key given as an argument belongs to the request. One in the
variables of a built-in profile belongs to that profile's servers, except that ``OPENAI_API_KEY`` belongs to ``OPENAI_BASE_URL`` when
both are set, and then to nothing else; ``OPENAI_ORG_ID`` and ``OPENAI_PROJECT_ID`` go where ``OPENAI_API_KEY`` does. All that the
configuration file says of a profile, and what the key file has under its name, belongs to the URL that the file gives that profile.
Headers and query of a profile stay at its origin in the same way.
"""

from __future__ import annotations

import os

from unspool.api import NAMES
from unspool.config import SYNC, ConfigError, Settings, nearest
from unspool.config.paths import config_file, keys_file
from unspool.config.profiles import BUILT_IN, DEFAULT_PROFILE, OPENAI_HOSTS, Profile
from unspool.config.target import Target, clean, plain_http_warning
from unspool.config.url import Address, parse_base_url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from unspool.config.target import Route
    from unspool.config.url import Origin

#: Seconds that ``key_cmd`` may take: time to touch a security key, not so long that a script seems to hang.
KEY_CMD_TIMEOUT = 30


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the configuration file; without one, return the defaults. ConfigError when it cannot be used."""
    path = config_file(environ)
    try:
        with open(path, "rb") as file:
            content = file.read()
    except (FileNotFoundError, NotADirectoryError) as error:
        if environ.get("UNSPOOL_CONFIG"):
            raise ConfigError(f"UNSPOOL_CONFIG names a file that does not exist: {path}") from error
        return defaults()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    # Imported only now: most people have no configuration file.
    from unspool.config.file import parse

    return parse(content, path)


def defaults() -> Settings:
    """The settings without a configuration file."""
    return Settings(DEFAULT_PROFILE, {}, SYNC[1])


def resolve(
    *,
    profile: str | None = None,
    base_url: str | None = None,
    key: str | None = None,
    model: str | None = None,
    api: str | None = None,
    environ: Mapping[str, str] = os.environ,
    settings: Settings | None = None,
) -> Target:
    """Return where a request goes and as whom; ``settings`` saves reading the file again. ConfigError says what is wrong.

    A key that is missing is no error: ``Target.key`` is then None, and the caller looks at ``needs_key``. The file's
    ``key_cmd`` is run, for at most `KEY_CMD_TIMEOUT` seconds, when it is what the key comes from.
    """
    if settings is None:
        settings = load(environ)
    preferred = environ.get("UNSPOOL_PROFILE") or settings.profile
    if base_url is None:
        chosen = _named(profile or preferred, settings)
        address = _address(chosen, environ)
        pasted = None
    else:
        address = parse_base_url(base_url, "the base URL")
        chosen = _named(profile, settings) if profile else _living_at(address, preferred, settings, environ)
        pasted = address.api
    at_home = address.origin in _home(chosen, environ)
    secret, auth, warning = _key(chosen, address, environ) if key is None else (_given(key), chosen.auth, None)
    wanted = model or environ.get("UNSPOOL_MODEL") or chosen.model
    target = Target(
        chosen.name,
        address.base_url,
        _api(api or pasted or environ.get("UNSPOOL_API") or address.api or chosen.api, address),
        key=secret,
        auth=auth,
        headers={**(_own_headers(chosen, environ) if at_home else {}), **_account_headers(chosen, address, environ)},
        query={name: _expand(value, chosen, environ) for name, value in chosen.query.items()} if at_home else {},
        model=settings.aliases.get(wanted, wanted) if wanted else None,
        needs_key=chosen.needs_key and at_home,  # another server may well do without
        key_hint=_key_hint(chosen, address, environ),
        paths=chosen.paths,
        options=chosen.options if at_home else {},  # another server may not know them
        flags=(f" -P {profile}" if profile else "")
        + (f" --base-url {address.base_url}" if base_url is not None else ""),
        think_tags=settings.think_tags,
        network=_network(chosen) if at_home else None,  # a certificate is a secret of its server
    )
    target.warnings = tuple(sentence for sentence in (warning, plain_http_warning(target)) if sentence)
    return target


def _network(profile: Profile) -> Route | None:
    network = profile.network
    if network is not None:
        for file in (network.ca_file, network.client_cert, network.client_key):
            if file and not os.path.isfile(file):
                raise ConfigError(f"the profile {profile.name} names a file that does not exist: {file}")
    return network


def _named(name: str, settings: Settings) -> Profile:
    profile = settings.profiles.get(name) or BUILT_IN.get(name)
    if profile is None:
        raise ConfigError(f"there is no profile called {name!r}{nearest(name, (*settings.profiles, *BUILT_IN))}")
    return profile


def _living_at(address: Address, preferred: str, settings: Settings, environ: Mapping[str, str]) -> Profile:
    """The profile whose server a URL leads to: the preferred one, one of the file, a built-in one, or else one made for it."""
    candidates = [*settings.profiles.values(), *BUILT_IN.values()]
    candidates.sort(key=lambda profile: profile.name != preferred)
    for profile in candidates:
        if not _may_live_at(profile, address, environ):
            continue
        if address.origin in _home(profile, environ) or address.origin == _override(profile, environ):
            return profile
    # Its parent's variables are not sent to it; the hint for a key says so.
    return Profile(address.name, address.base_url, needs_key=False, parent=BUILT_IN[DEFAULT_PROFILE])


def _may_live_at(profile: Profile, address: Address, environ: Mapping[str, str]) -> bool:
    """Whether a profile's URL has to be parsed to know: that of most has another host, and parsing all costs a million instructions."""
    url = profile.base_url
    has_variable = "${" in url or bool(profile.base_url_env and environ.get(profile.base_url_env))
    return has_variable or address.host in url.lower() or address.host in profile.hosts


def _address(profile: Profile, environ: Mapping[str, str]) -> Address:
    if profile.base_url_env and (url := environ.get(profile.base_url_env)):
        return parse_base_url(url, profile.base_url_env)
    return _own_address(profile, environ)


def _own_address(profile: Profile, environ: Mapping[str, str]) -> Address:
    url = _expand(profile.base_url, profile, environ, ending="/")
    return parse_base_url(url, f"the base URL of the profile {profile.name}")


def _api(name: str | None, address: Address) -> str:
    if name is None:
        return "responses" if address.host in OPENAI_HOSTS else "chat"
    if name not in NAMES:
        raise ConfigError(f"there is no API called {name!r}{nearest(name, NAMES)}")
    return name


# Where a key belongs: the next three functions say at which origins, and _key obeys them.


def _home(profile: Profile, environ: Mapping[str, str]) -> tuple[Origin, ...]:
    """The origins that the profile itself says it is at; none when that depends on variables that are not set."""
    try:
        origin = _own_address(profile, environ).origin
    except ConfigError:
        return ()
    return (origin, *(("https", host, 443) for host in profile.hosts))


def _override(profile: Profile, environ: Mapping[str, str]) -> Origin | None:
    """The origin that the environment moves the profile to; none when it does not, or not to a URL."""
    if not profile.base_url_env or not environ.get(profile.base_url_env):
        return None
    try:
        return _address(profile, environ).origin
    except ConfigError:
        return None


def _variables_home(owner: Profile, environ: Mapping[str, str]) -> tuple[Origin, ...]:
    """The origins that the profile's variables are for: a built-in one's belong to the URL that is set beside them."""
    home = _home(owner, environ)
    if owner.parent or not owner.base_url_env or not environ.get(owner.base_url_env):
        return home
    override = _override(owner, environ)
    if override in home:
        return home
    return (override,) if override else ()


def _owner(profile: Profile) -> Profile:
    """The profile whose variables hold the key: this one, or the one it started from when it names none."""
    return profile.parent if profile.parent and not profile.key_env else profile


def _key(profile: Profile, address: Address, environ: Mapping[str, str]) -> tuple[str | None, str, str | None]:
    """Return the key for an address, how it is sent, and a warning if there is one; the order is in the module's docstring."""
    owner = _owner(profile)
    inherited = owner.name != profile.name
    variables = _from_variables(profile, owner, address, environ)
    if variables and not inherited:
        return (*variables, None)
    if address.origin in _home(profile, environ):
        if profile.key_cmd:
            return _run(profile, environ), profile.auth, None
        if stored := _stored(profile.name, environ):
            return stored[0], profile.auth, stored[1]
    if variables:
        return (*variables, None)
    if stored := _stored(address.name, environ):
        return stored[0], profile.auth, stored[1]
    return None, profile.auth, None


def _from_variables(
    profile: Profile, owner: Profile, address: Address, environ: Mapping[str, str]
) -> tuple[str, str] | None:
    if address.origin not in _variables_home(owner, environ):
        return None
    for variable in owner.key_env:
        if key := clean(environ.get(variable, ""), f"the key in {variable}"):
            return key, profile.auth
    if owner.token_env and (token := clean(environ.get(owner.token_env, ""), f"the token in {owner.token_env}")):
        return token, "bearer"
    return None


def _own_headers(profile: Profile, environ: Mapping[str, str]) -> dict[str, str]:
    return {
        name: clean(_expand(value, profile, environ), f"the header {name} of the profile {profile.name}")
        for name, value in profile.headers.items()
    }


def _account_headers(profile: Profile, address: Address, environ: Mapping[str, str]) -> dict[str, str]:
    if not profile.header_env or address.origin not in _variables_home(_owner(profile), environ):
        return {}
    values = {header: clean(environ.get(name, ""), name) for header, name in profile.header_env.items()}
    return {header: value for header, value in values.items() if value}


def _stored(name: str, environ: Mapping[str, str]) -> tuple[str, str | None] | None:
    """The key that the key file has for a name, and a warning about the file."""
    try:
        os.stat(keys_file(environ))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        pass  # reading it says what is wrong
    from unspool.config.keys import exposure_warning, read_key

    key = read_key(name, environ)
    return (key, exposure_warning(environ)) if key else None


def _given(key: str) -> str:
    cleaned = clean(key, "the key given as an argument")
    if not cleaned:
        raise ConfigError("the key given as an argument is empty")
    return cleaned


def _key_hint(profile: Profile, address: Address, environ: Mapping[str, str]) -> str:
    owner = _owner(profile)
    at_home = address.origin in _home(profile, environ)
    store = f"run unspool keys set {profile.name if at_home else address.name}"
    if not owner.key_env:
        return store
    if address.origin in _variables_home(owner, environ):
        return f"set {' or '.join(owner.key_env)}, or {store}"
    withheld = next((variable for variable in owner.key_env if environ.get(variable)), None)
    return f"{store} ({withheld} belongs to another server and was not sent)" if withheld else store


def _run(profile: Profile, environ: Mapping[str, str]) -> str:
    """Run a profile's ``key_cmd`` and return the key it prints."""
    import subprocess

    command = profile.key_cmd[0]
    about = f"key_cmd of the profile {profile.name}: {command!r}"
    try:
        process = subprocess.Popen(
            profile.key_cmd,
            stdin=subprocess.DEVNULL,  # ours may be the prompt
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environ),
        )
    except (OSError, ValueError) as error:  # ValueError: a NUL in an argument
        raise ConfigError(f"{about} cannot be run: {getattr(error, 'strerror', error)}") from error
    # Not subprocess.run: after its timeout it still reads until the last grandchild has closed the pipe.
    with process:
        try:
            output, complaint = process.communicate(timeout=KEY_CMD_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            # Without the cause: that exception holds the output.
            raise ConfigError(f"{about} did not end within {KEY_CMD_TIMEOUT} seconds") from None
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        lines = complaint.decode("utf-8", "replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        visible = "".join(character if character.isprintable() else "?" for character in last)
        raise ConfigError(f"{about} exited with status {process.returncode}{': ' if visible else ''}{visible}")
    key = clean(output.decode("latin-1"), f"what {about} printed")
    if not key:
        raise ConfigError(f"{about} printed no key")
    return key


def _expand(text: str, profile: Profile, environ: Mapping[str, str], ending: str = "") -> str:
    """Put the environment in place of each ``${NAME}``, without white space around it or ``ending`` after it."""
    before, mark, rest = text.partition("${")
    if not mark:
        return text
    variable, _, rest = rest.partition("}")
    value = environ.get(variable, "").strip().rstrip(ending or None)
    if not value:
        raise ConfigError(f"the profile {profile.name} needs the environment variable {variable}, which is not set")
    return f"{before}{value}{_expand(rest, profile, environ, ending)}"
