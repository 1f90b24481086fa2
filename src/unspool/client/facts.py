"""What is known of an answer at any moment, and what is made of it: the same however it is read."""

from __future__ import annotations

from _weakref import ref

from unspool.api.deltas import Finish, Part, Reasoning, Refusal, Text, ToolCall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Generic

    from typing_extensions import TypeVar

    from unspool.api.decoder import Decoder
    from unspool.api.deltas import Delta, Usage
    from unspool.api.parts import Item
    from unspool.client.exchange import Exchange
    from unspool.client.resume.continuation import Seam
    from unspool.client.resume.kept import Resumed
    from unspool.outcome import Ending

    T = TypeVar("T", default=Any)

    class Typed(Generic[T]):
        """Something whose type says what `parse` returns."""

else:
    T = None

    class Typed:
        """Something whose type says what `parse` returns. Only type checkers see which: ``typing`` costs more than a short answer."""

        def __class_getitem__(cls, item):
            return cls


class Messages(list["dict[str, Any]"]):
    """A conversation to continue, as messages of Chat Completions.

    ``system`` is its instruction, and ``parent`` the id of the stream that it continues, which the next one's journal names.
    """

    system: str | None = None
    parent: str | None = None


class Choice:
    """One of the answers to a prompt, at any moment: as much of it as has come. ``index`` is its number among the ``n`` asked for.

    ``tool_calls`` are the complete ones, ``items`` and ``annotations`` what came beside the text: see `unspool.Item` and `unspool.Annotation`.
    """

    def __init__(self, index: int, facts: Facts[Any]) -> None:
        self.index = index
        self.tool_calls: list[ToolCall] = []
        self.items: list[Item] = []
        self.annotations: list[dict[str, Any]] = []
        #: What the next turn repeats beside the text: see `unspool.api.conversation.note`.
        self.parts: list[tuple[int, ToolCall | Item]] = []
        self.texts: list[str] = []
        #: Why it ended, in the server's word; None until it says.
        self.finish_reason: str | None = None
        # Weak: an answer and its choices must not keep each other.
        self.facts = ref(facts)
        self._reasonings: list[str] = []
        self._refusals: list[str] = []

    @property
    def text(self) -> str:
        """The text so far, a refusal included."""
        return "".join(self.texts)

    @property
    def reasoning(self) -> str:
        """The model's reasoning so far, as far as the server shows it."""
        return "".join(self._reasonings)

    @property
    def refusal(self) -> str | None:
        """What the model said to refuse, so far; None while it does not."""
        return "".join(self._refusals) or None

    @property
    def message(self) -> dict[str, Any]:
        """The answer so far as a message of Chat Completions, which every endpoint takes as history: text and tool calls."""
        from unspool.api.prompt import without_items

        return (without_items(turn_of(self)) or [{"role": "assistant", "content": ""}])[-1]

    def add(self, delta: Delta) -> None:
        """Take what came of this choice."""
        if type(delta) is Text or type(delta) is Refusal:
            self.texts.append(delta.text)
            if type(delta) is Refusal:
                self._refusals.append(delta.text)
        elif type(delta) is Reasoning:
            self._reasonings.append(delta.text)
        elif type(delta) is ToolCall:
            self.tool_calls.append(delta)
            self._note(delta)
        elif isinstance(delta, Part):
            from unspool.api.parts import Annotation, Item

            if type(delta) is Item:
                self.items.append(delta)
                self._note(delta)
            elif type(delta) is Annotation:
                self.annotations.append(delta.annotation)
        elif type(delta) is Finish:
            self.finish_reason = delta.reason

    def _note(self, part: ToolCall | Item) -> None:
        from unspool.api.conversation import note

        note(self.parts, self.texts, part)


class Facts(Typed[T]):
    """What is known of an answer, at any moment.

    ``text`` is the text so far, of the first choice, and never waits; ``read`` waits for all of it. So are ``reasoning``, ``tool_calls``,
    ``items`` and the others; ``choices`` has them for each choice.
    """

    # What a continued answer begins with, and how it joins on to that: see `_continue_from`.
    _before: list[Delta] = []  # noqa: RUF012
    _seam: Seam | None = None
    _first_asked: Messages | None = None

    def __init__(self, *, schema: Any = None, check: bool = True, keep_text: bool = True) -> None:
        self._schema = schema
        self._check = check
        self._keeps = keep_text
        self._first = Choice(0, self)
        self._choices = {0: self._first}
        # What arrived last, for whoever reads next: they may change in the middle of it.
        self._batch: Iterator[Delta] = iter(())
        # The pieces of a text in it that somebody has begun to read.
        self._pieces: Iterator[str] = iter(())

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self.id or 'without a journal'}, {self._model()}, {self.outcome or 'not ended'}>"
        )

    def __reduce_ex__(self, protocol: object) -> str:
        raise TypeError("an answer cannot be copied or pickled: unspool.follow reads it again from its journal")

    def _model(self) -> str:
        return self.model or "model not known yet"

    @property
    def choices(self) -> list[Choice]:
        """All choices, of which ``n`` were asked for; what this object itself says of the answer is about the first."""
        for index in range(self._decoder.choices if self._decoder is not None else 1):
            self._choice(index)
        return [self._choices[index] for index in sorted(self._choices)]

    def _choice(self, index: int) -> Choice:
        found = self._choices.get(index)
        if found is None:
            found = self._choices[index] = Choice(index, self)
        return found

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The tool calls that are complete by now."""
        return self._first.tool_calls

    @property
    def items(self) -> list[Item]:
        """Parts of the answer that have no other place here: see `unspool.Item`."""
        return self._first.items

    @property
    def annotations(self) -> list[dict[str, Any]]:
        """Citations and other annotations of the text."""
        return self._first.annotations

    @property
    def id(self) -> str | None:
        """The stream's id, under which its journal is kept; None without a journal."""
        raise NotImplementedError

    @property
    def ending(self) -> Ending | None:
        """How the stream ended, None while it has not."""
        raise NotImplementedError

    @property
    def request_id(self) -> str | None:
        """The server's id for the request, which its support asks for; None where it gave none."""
        raise NotImplementedError

    @property
    def _decoder(self) -> Decoder | None:
        raise NotImplementedError

    def _asked(self) -> Messages:
        """What was asked."""
        raise NotImplementedError

    def _said(self) -> Iterator[str]:
        """The text of ``_batch`` that nobody has had, as the server cut it."""
        yield from self._pieces
        for delta in self._batch:
            if type(delta) is Text and delta.choice == 0:
                self._pieces = iter(delta.pieces)
                yield from self._pieces
            elif type(delta) is Refusal and delta.choice == 0:
                yield delta.text

    def _each(self) -> Iterator[Delta]:
        """What nobody has had of ``_batch``, each piece of text by itself."""
        for piece in self._pieces:
            yield Text(piece)
        for delta in self._batch:
            if type(delta) is Text and delta.choice == 0:
                self._pieces = iter(delta.pieces)
                for piece in self._pieces:
                    yield Text(piece)
            else:
                yield delta

    @property
    def outcome(self) -> str | None:
        """How the stream ended in one word of `unspool.outcome`, None while it has not."""
        ending = self.ending
        return ending.outcome if ending is not None else None

    @property
    def finish_reason(self) -> str | None:
        """Why the first choice ended, in the server's word; None until it says."""
        return self._decoder.finish_reasons.get(0) if self._decoder is not None else None

    @property
    def usage(self) -> Usage | None:
        """The tokens that the server counted, None while or if it has not said."""
        return self._decoder.usage if self._decoder is not None else None

    @property
    def model(self) -> str | None:
        """The model that answers, in the server's words; None until it says."""
        return self._decoder.model if self._decoder is not None else None

    @property
    def response_id(self) -> str | None:
        """The server's own id for the answer; None until it says."""
        return self._decoder.response_id if self._decoder is not None else None

    @property
    def text(self) -> str:
        """The text so far, of the first choice, a refusal included."""
        return self._first.text

    @property
    def reasoning(self) -> str:
        """The model's reasoning so far, as far as the server shows it."""
        return self._first.reasoning

    @property
    def refusal(self) -> str | None:
        """What the model said to refuse, so far; None while it does not."""
        return self._first.refusal

    @property
    def message(self) -> dict[str, Any]:
        """The answer so far as a message of Chat Completions, which every endpoint takes as history: text and tool calls."""
        return self._first.message

    def reply(self, *more: str | dict[str, Any]) -> Messages:
        """Return the next turn's messages: what was asked, this answer, and what you say to it.

        A str is what the user says; a dict any message, such as the `result` of a `ToolCall`.

            answer = unspool.stream(answer.reply("And in one sentence?"))
        """
        asked = self._asked()
        messages = Messages([*asked, *turn_of(self._first)])
        messages.system, messages.parent = asked.system, self.id
        messages += [{"role": "user", "content": one} if isinstance(one, str) else one for one in more]
        return messages

    @property
    def parsed(self) -> T:
        """The answer as the object that ``schema`` describes, validated: an instance where that is a class.

        Raises InvalidOutput when the text is no such object, and RuntimeError while the answer has not ended: `parse` waits for that.
        """
        if self.ending is None:
            raise RuntimeError("the answer has not ended yet: parse() reads it to its end")
        from unspool.client.library.objects import validated

        value: T = validated(self._schema, self.text, self.refusal, self.outcome, self.id)
        return value

    def _continue_from(self, found: Resumed) -> None:
        """Begin with what is kept of the answer that this one continues, to the same question; leave out what the rest repeats of it."""
        self._before = self._kept(found.deltas)
        self._seam, self._first_asked = found.seam, found.asked()

    def _kept(self, deltas: list[Delta]) -> list[Delta]:
        """Return the deltas, after keeping what they add to the facts."""
        seam = self._seam
        if seam is not None:
            deltas = seam.joined(deltas)
            if self.ending is not None and (held := seam.close()):
                deltas.append(Text(held))
        if self._keeps:
            for one in deltas:
                (self._choice(one.choice) if one.choice else self._first).add(one)
        return deltas

    def _raise(self) -> None:
        """Raise what the ending stands for, where that is to be raised."""
        if self._check and self.ending is not None:
            from unspool.client.errors import error_of

            error = error_of(self.ending, self.id, self.request_id)
            try:
                if error is not None:
                    raise error
            finally:
                del error  # or it and this frame keep each other, and the answer with them


def turn_of(answer: Choice) -> list[dict[str, Any]]:
    """Return an answer as the next turn repeats it: messages, and the items between them, in the order in which they came.

    Endpoints that have no items leave them out, and get one message.
    """
    from unspool.api.conversation import answer as described

    facts = answer.facts()
    decoder = facts._decoder if facts is not None else None
    reasoning = decoder.reasoning_fields(answer.reasoning) if decoder is not None else {}
    return described(answer.text, answer.parts, reasoning)


class Asked(Facts[T]):
    """The facts of an answer that this process has asked for."""

    exchange: Exchange

    @property
    def id(self) -> str | None:
        """The stream's id, under which its journal is kept; None without a journal."""
        return self.exchange.journal.id if self.exchange.journal is not None else None

    @property
    def ending(self) -> Ending | None:
        """How the stream ended, None while it has not."""
        return self.exchange.ending

    @property
    def request_id(self) -> str | None:
        """The server's id for the request, which its support asks for; None where it gave none."""
        return self.exchange.request_id

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the server's newest answer, with names in lower case, such as its rate limits; empty until it has come."""
        return self.exchange.headers

    @property
    def kept(self) -> bool:
        """Whether the answer is being kept in a journal: False with ``journal=False``, and where the disk refuses."""
        journal = self.exchange.journal
        return journal is not None and journal.path is not None and journal.trouble is None

    def _model(self) -> str:
        return self.model or self.exchange.prompt.model

    @property
    def _decoder(self) -> Decoder:
        return self.exchange.decoder

    def _asked(self) -> Messages:
        if self._first_asked is not None:
            return self._first_asked
        # From the request itself, so that answers that were resumed have theirs too.
        prompt = self.exchange.prompt
        system, messages = prompt.system, prompt.messages
        if not messages:
            endpoint, body = self.exchange.endpoint, self.exchange.body
            system, messages = endpoint.messages(body)[0], endpoint.history(body)
        asked = Messages(messages)
        asked.system = system
        return asked
