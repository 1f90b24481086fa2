"""Engines that run models on this machine: which of them is running, looked for only where there is no key for another server."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_NAMES = ("ollama", "lmstudio", "llamacpp", "vllm")
# Seconds to connect to all of them, and then for the list of models of each that is there.
_TIMEOUT = 0.1
_MODELS_TIMEOUT = 1.0


def running() -> Iterator[tuple[str, str]]:
    """The engines that listen at the addresses of their profiles, each with the options that ask it."""
    import select
    import socket

    from unspool.cli.commands import models
    from unspool.config import ConfigError
    from unspool.config.settings import resolve
    from unspool.config.url import is_loopback, parse_base_url

    waiting = {}
    for name in _NAMES:
        try:
            target = resolve(profile=name)
            address = parse_base_url(target.base_url, name)
        except ConfigError:
            continue
        if not is_loopback(address.host):
            continue
        connection = socket.socket(socket.AF_INET)
        connection.setblocking(False)
        connection.connect_ex((address.host.replace("localhost", "127.0.0.1"), address.origin[2]))
        waiting[connection] = target
    there = []
    while waiting and (ready := select.select([], list(waiting), [], _TIMEOUT)[1]):
        for connection in ready:
            target = waiting.pop(connection)
            if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                there.append(target)
            connection.close()
    for connection in waiting:
        connection.close()
    for target in there:
        ending, found = models.fetch(target, _MODELS_TIMEOUT, use_proxy=False)
        if ending is None and (names := models.names(found)):
            model = "" if target.model or len(names) == 1 else f" -m {names[0]}"
            yield target.name, f"-P {target.name}{model}"
