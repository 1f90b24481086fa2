"""What serving streams needs of a log: the seam between the gateway and where its streams are kept.

A stream is an append-only log of entries with positions that only grow. One producer at a time writes it, under a lease with an epoch: a
producer whose lease has expired is fenced, and never writes again. Any number of viewers read from any position. Implementations:
`unspool.serve.files` for one machine, `unspool.serve.valkey` for many; both pass the tests in ``tests/serve/store_contract.py``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

from unspool.outcome import RUNNING
from unspool.sse import Events

#: Seconds after which a producer that gave no sign of life has lost its streams.
LEASE = 2.0

#: Seconds that a stream is kept after its end where its request said ``store: false``: long enough for a client to come back.
UNLISTED_SECONDS = 600.0

#: The position of the first entry that viewers see; what was asked comes before it.
FIRST = 1

#: The state of a stream that retention has removed, as long as that is remembered; its log is no more.
GONE = "gone"

#: Kinds of entries. ``EVENT`` is an event of upstream's, ``BODY`` an answer that came as one body, ``HEAD`` the status and headers of
#: upstream's response, ``END`` the end.
HEAD, EVENT, BODY, END = "head", "event", "body", "end"


class StoreError(Exception):
    """The store cannot be used now: the disk or the engine refuses. The message is for an operator."""


class Fenced(StoreError):
    """This producer lost its lease: another has ended the stream, or may have."""


class TooManyStreams(Exception):
    """The owner and its users run as many streams as they may."""


class IdempotencyMismatch(Exception):
    """The same idempotency key was used with another body."""


@dataclass(slots=True, frozen=True)
class Idempotency:
    """A key that makes a second request attach to the stream of the first. ``scope`` covers owner, path and key; ``body`` its hash."""

    scope: str
    body: str


@dataclass(slots=True, frozen=True)
class Head:
    """Status and headers of upstream's response, without what must not be kept."""

    status: int
    headers: dict[str, str]


@dataclass(slots=True, frozen=True)
class End:
    """How a stream ended. ``upstream`` says that upstream's own last event is in the log, so that viewers need no other."""

    outcome: str
    message: str = ""
    finish_reason: str | None = None
    upstream: bool = False
    successor: str | None = None


@dataclass(slots=True, frozen=True)
class Entry:
    """One entry of a log. ``at`` is in seconds since the request was sent; of ``type``, ``data``, ``head`` and ``end`` those of its kind."""

    position: int
    kind: str
    at: float = 0.0
    type: str = "message"
    data: bytes = b""
    head: Head | None = None
    end: End | None = None


@dataclass(slots=True)
class StreamInfo:
    """What is known of a stream without reading it. Times are Unix time; ``state`` is `RUNNING` or the outcome."""

    id: str
    owner: str
    endpoint: str
    model: str = ""
    created: float = 0.0
    state: str = RUNNING
    ended: float | None = None
    ttft: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    response_id: str | None = None
    listed: bool = True
    abandon_after: float | None = None
    epoch: int = 0
    request: dict[str, object] = field(default_factory=dict)


class Producer(ABC):
    """Writes one stream. Every method raises Fenced once the lease is lost, StoreError when nothing can be kept now."""

    id: str
    epoch: int
    #: Called for each `append`, in order, once its events survive this process: with the position of the first, and what was appended.
    #: A store without waiting calls it inside `append`; one that gathers events for the network calls it later.
    on_kept: Callable[[int, Events, float], None]
    #: Called instead, once, where a later append turns out to be refused, or the lease to be lost.
    on_trouble: Callable[[StoreError], None] | None = None
    #: Why somebody wants the stream to stop, None while nobody does; ``on_cancel`` is called when it is set.
    cancelled: str | None = None
    #: Whether no more should be appended before `room` returns: nothing can be kept at present, and enough is held.
    is_full: bool = False
    #: Why nothing can be kept at present, None where all is well.
    trouble: str | None = None
    on_cancel: Callable[[], None] | None = None

    @abstractmethod
    async def head(self, head: Head) -> int:
        """Append upstream's status and headers. Returns the position."""

    @abstractmethod
    def append(self, events: Events, at: float) -> None:
        """Append events that arrived together, ``at`` seconds after the request. `head`, `body` and `end` wait for them."""

    async def room(self) -> None:  # noqa: B027
        """Wait until no longer ``is_full``."""

    @abstractmethod
    async def body(self, data: bytes, at: float) -> int:
        """Append an answer that came as one body. Returns the position."""

    @abstractmethod
    async def end(self, end: End, info: StreamInfo) -> int:
        """Append the end, with what ``info`` says of the stream by now. Returns the position; nothing can follow."""

    @abstractmethod
    def abandon(self) -> None:
        """Give up without an end: the lease is lost, so that the end is another's to write."""


class Store(ABC):
    """Keeps streams. Methods that wait for the disk or the network are coroutines; all raise StoreError when it refuses."""

    @abstractmethod
    async def open(self) -> None:
        """Begin to use the store, and to hold leases for this process."""

    @abstractmethod
    async def close(self) -> None:
        """Give the leases back. Streams that still run end as `interrupted`."""

    @abstractmethod
    async def create(
        self, info: StreamInfo, idempotency: Idempotency | None = None, *, at_most: int | None = None
    ) -> tuple[Producer | None, StreamInfo]:
        """Begin a stream, and its log with ``info.request``. Where the idempotency key has one already: no producer, and that
        stream's info. Raises IdempotencyMismatch, and TooManyStreams where ``at_most`` streams of the owner and its users (``OWNER/…``)
        run already, over all processes: counted and begun in one step."""

    @abstractmethod
    async def forget_idempotency(self, id: str) -> None:
        """Let the key of a stream be used again: its request failed before the first event."""

    @abstractmethod
    async def find(self, id: str) -> StreamInfo | None:
        """The stream with this id; one in the state `GONE` where the store remembers that retention has removed it."""

    @abstractmethod
    async def find_response(self, response_id: str, owner: str) -> StreamInfo | None:
        """The owner's stream that carries upstream's response of this id; the newest, where there are several."""

    @abstractmethod
    async def streams(self, owner: str | None, limit: int = 200) -> list[StreamInfo]:
        """The listed streams of an owner, or of all (None), newest first."""

    @abstractmethod
    async def note(self, info: StreamInfo) -> None:
        """Record what is newly known of a running stream: its response's id, its first token."""

    @abstractmethod
    async def delete(self, id: str) -> None:
        """Remove a stream that has ended, and all that is known of it."""

    @abstractmethod
    async def cancel(self, id: str, reason: str) -> None:
        """Ask the producer of a stream, in whatever process, to stop it."""

    @abstractmethod
    async def read(self, id: str, position: int, limit: int = 1024) -> list[Entry]:
        """The entries from this position on, at most about ``limit``; empty where nothing follows yet. Raises KeyError for a stream
        that is gone."""

    @abstractmethod
    def watch(self, id: str, on_news: Callable[[], None]) -> Callable[[], None]:
        """Call ``on_news`` whenever something may have been appended, by whatever process. Returns what stops that. One that is
        lost does no harm only because callers read again from time to time."""

    @abstractmethod
    async def viewing(self, id: str, count: int) -> None:
        """Say how many viewers this process has for a stream that another process produces."""

    @abstractmethod
    async def viewers_elsewhere(self, id: str) -> bool:
        """Whether another living process has viewers for a stream of this one."""

    @abstractmethod
    async def spend(self, owner: str, tokens: int) -> int:
        """Count tokens for an owner; returns the sum of this UTC day. 0 asks without counting."""

    @abstractmethod
    async def own_object(self, object_id: str, owner: str) -> None:
        """Record that an owner obtained an upstream object (a response, a file, a conversation) through the gateway."""

    @abstractmethod
    async def owns_object(self, object_id: str, owner: str) -> bool:
        """Whether the owner obtained this upstream object here."""
