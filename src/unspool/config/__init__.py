"""Which server to ask, as whom, and where files go.

`settings.resolve` is the way in: it takes what the command line said, the environment and the configuration file, and returns
an `endpoint.Endpoint`.
"""

from __future__ import annotations


class ConfigError(Exception):
    """The configuration cannot be used; the message is one line for a person and never holds a secret."""
