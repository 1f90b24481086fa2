"""What iterating a stream raises when it did not come to a good end. Each error carries the ending it stands for."""

from __future__ import annotations

from unspool import Error, outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.outcome import Ending


class StreamError(Error):
    """A stream failed. All that arrived before was delivered, and is in its journal under ``id``.

    ``status`` is the HTTP status, ``code`` the server's error code, ``request_id`` its id for the request and ``retry_after``
    the wait it asks for in seconds; None where the server did not say.
    """

    def __init__(self, ending: Ending, id: str | None = None, request_id: str | None = None) -> None:
        super().__init__(ending.message or ending.outcome)
        self.ending = ending
        self.outcome = ending.outcome
        self.id = id
        failure = ending.failure
        self.status = failure.status if failure else None
        self.code = failure.code if failure else None
        self.request_id = (failure.request_id if failure else None) or request_id
        self.retry_after = failure.retry_after if failure else None

    def __reduce__(self) -> tuple[type[StreamError], tuple[Ending, str | None, str | None]]:
        # An exception is pickled by its args, which are the message alone.
        return type(self), (self.ending, self.id, self.request_id)


class StreamCut(StreamError):
    """The stream stopped before its end: the connection closed or broke, or a timeout passed."""


class Unreachable(StreamError):
    """The request did not get through: name, connection, TLS, proxy, or what answers does not speak this API."""


class Unauthorized(StreamError):
    """The key is missing, wrong, or may not do this."""


class RateLimited(StreamError):
    """Too many requests, after the retries; or the quota is used up."""


class BadRequest(StreamError):
    """The server will not take this request: an unknown model, a wrong parameter, too long a prompt."""


class ServerError(StreamError):
    """The server failed, before the stream or in it."""


class Cancelled(StreamError):
    """The stream was cancelled from this side."""


class InvalidOutput(Error, ValueError):
    """An answer is not the JSON that was asked for. ``text`` is what it is, ``id`` its stream."""

    def __init__(self, message: str, text: str, id: str | None = None) -> None:
        super().__init__(message)
        self.text = text
        self.id = id

    def __reduce__(self) -> tuple[type[InvalidOutput], tuple[str, str, str | None]]:
        return type(self), (str(self), self.text, self.id)


_CLASSES: dict[str, type[StreamError]] = {
    outcome.CUT: StreamCut,
    outcome.INTERRUPTED: StreamCut,
    outcome.UNREACHABLE: Unreachable,
    outcome.UNAUTHORIZED: Unauthorized,
    outcome.RATE_LIMITED: RateLimited,
    outcome.BAD_REQUEST: BadRequest,
    outcome.SERVER_ERROR: ServerError,
    outcome.CANCELLED: Cancelled,
}

# These are answers, complete as far as the model was allowed to go; the caller reads `outcome` to see why they stop.
_ANSWERS = frozenset({outcome.COMPLETE, outcome.LENGTH, outcome.FILTERED, outcome.CLOSED})


def error_of(ending: Ending, id: str | None, request_id: str | None = None) -> StreamError | None:
    """The error that an ending is raised as, None for one that is an answer."""
    if ending.outcome in _ANSWERS:
        return None
    return _CLASSES.get(ending.outcome, StreamError)(ending, id, request_id)
