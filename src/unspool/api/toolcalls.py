"""Tool calls that arrive in pieces, put together."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.jsontext import JsonObject


class Call:
    """One tool call being received. ``index`` is its number among the calls of its choice; ``emitted`` once it was emitted."""

    __slots__ = ("index", "id", "name", "pieces", "emitted", "is_text", "extra")

    def __init__(self, index: int) -> None:
        self.index = index
        self.id: str | None = None
        self.name: str | None = None
        # A list joined once: arguments can be as long as a file, in pieces of a token.
        self.pieces: list[str] = []
        self.emitted = False
        # A custom tool's input is free text, where a function's arguments are JSON.
        self.is_text = False
        # What the server wants back with the call.
        self.extra: JsonObject | None = None

    @property
    def arguments(self) -> str:
        """The JSON text of the arguments, as far as it has come."""
        return "".join(self.pieces)

    def learn(self, id: str | None, name: str | None) -> tuple[str | None, str | None]:
        """Set the id and the name, and return of each what is news.

        Set, not appended: OpenAI sends them once, but some servers repeat them with every fragment.
        """
        new_id = id if id and id != self.id else None
        new_name = name if name and name != self.name else None
        self.id = new_id or self.id
        self.name = new_name or self.name
        return new_id, new_name


class Calls:
    """The tool calls of one choice, in the order in which they began."""

    __slots__ = ("all", "_by_index", "_last")

    def __init__(self) -> None:
        self.all: list[Call] = []
        # By the server's own numbers, which may have gaps or repeat themselves.
        self._by_index: dict[int, Call] = {}
        self._last: Call | None = None

    def find(self, index: int | None, id: str | None, name: str | None) -> Call:
        """Return the call that a fragment belongs to, a new one if it begins one."""
        call = self._last if index is None else self._by_index.get(index)
        if call is None or _begins_another(call, index, id, name):
            call = self._begin(index)
        self._last = call
        return call

    def id_of(self, call: Call) -> str:
        """The id of a complete call, which no other call has: some servers send none, or the same for all, and results are handed back by it."""
        id = call.id or f"call_{call.index}"
        return f"{id}_{call.index}" if any(other.id == id for other in self.all[: call.index]) else id

    def _begin(self, index: int | None) -> Call:
        call = Call(len(self.all))
        self.all.append(call)
        if index is not None:
            self._by_index[index] = call
        return call


def _begins_another(call: Call, index: int | None, id: str | None, name: str | None) -> bool:
    """Return whether a fragment that points at this call cannot be part of it."""
    if index is not None:
        # Some servers number every call 0. A new id alone does not tell: others make up a new id for each fragment, but
        # name the call in its first one only.
        return bool(id and call.id and id != call.id and name)
    # Gemini leaves the index out: a new id begins a new call; where there are no ids at all, another name does.
    if id:
        return id != call.id
    return bool(name and call.name and name != call.name)
