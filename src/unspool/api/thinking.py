"""Reasoning inside the text: ``<think>…</think>`` at the head of an answer.

DeepSeek R1, Qwen, QwQ and their distillations write their reasoning so, and a server without a reasoning parser (Ollama, LM Studio,
llama.cpp with ``--reasoning-format none``, vLLM without ``--reasoning-parser``) hands it on as text.
"""

from __future__ import annotations

from unspool.api.deltas import Delta, Finish, Reasoning, Text

_BEGIN, _END = "<think>", "</think>"
# Characters of reasoning that are kept in case no end follows. One that is longer stays reasoning.
_MOST = 1 << 22

# Where one choice is: before its first word, in its reasoning, between that and the text.
_HEAD, _THINKING, _AFTER = "head", "thinking", "after"


class ThinkTags:
    """Takes a stream's deltas, and returns them with the text in ``<think>…</think>`` as `Reasoning`.

    Only a tag before all other text of its choice counts. White space around the tags is dropped. Reasoning that is never closed
    comes once more as text when its choice ends, tag included, for it may be the answer. ``is_over`` says that all of the
    ``choices`` are past their heads: what follows is returned as it is.
    """

    def __init__(self, choices: int = 1) -> None:
        self.is_over = False
        self._choices = choices
        self._states: dict[int, _Choice] = {}

    def feed(self, deltas: list[Delta]) -> list[Delta]:
        """Return what these deltas are."""
        out: list[Delta] = []
        for delta in deltas:
            if type(delta) is Text:
                state = self._states.setdefault(delta.choice, _Choice(delta.choice))
                if state.where == "":
                    out.append(delta)
                else:
                    state.take(delta, out)
            else:
                if type(delta) is Finish and delta.choice in self._states:
                    self._states[delta.choice].end(out)
                out.append(delta)
        if len(self._states) >= self._choices:
            self.is_over = all(state.where == "" for state in self._states.values())
        return out

    def close(self) -> list[Delta]:
        """Return what was held back: nothing more comes."""
        out: list[Delta] = []
        for state in self._states.values():
            state.end(out)
        return out


class _Choice:
    def __init__(self, number: int) -> None:
        self.number = number
        #: One of the states above, "" in the text.
        self.where = _HEAD
        # What may be a part of a tag, or white space before one.
        self._held = ""
        # All text so far, while it may have to come as text.
        self._raw: list[str] = []
        self._size = 0
        self._has_reasoned = False

    def take(self, delta: Text, out: list[Delta]) -> None:
        """Take a piece of the text."""
        text = self._held + delta.text
        if self.where == _HEAD:
            bare = text.lstrip()
            if len(bare) < len(_BEGIN) and _BEGIN.startswith(bare):
                self._held = text
                return
            if not bare.startswith(_BEGIN):
                self.where = ""
                out.append(delta if not self._held else Text(text, self.number))
                return
            self.where, self._held = _THINKING, ""
            self._raw = [text[: -len(bare)] + _BEGIN] if text != bare else [_BEGIN]
            text, added = bare[len(_BEGIN) :], bare[len(_BEGIN) :]
        else:
            added = delta.text
        if self.where == _THINKING:
            self._keep(added)
            thought, found, text = text.partition(_END)
            if not found:
                kept = _possible(thought)
                self._held = thought[len(thought) - kept :]
                thought = thought[: len(thought) - kept]
            self._think(thought, out)
            if not found:
                return
            self.where, self._held = _AFTER, ""
            self._raw.clear()
        text = text.lstrip()
        if text:
            self.where = ""
            out.append(Text(text, self.number))

    def end(self, out: list[Delta]) -> None:
        """Take the end of the choice."""
        raw = "".join(self._raw) if self.where == _THINKING else self._held if self.where == _HEAD else ""
        if raw:
            out.append(Text(raw, self.number))
        self.where, self._held = "", ""
        self._raw.clear()

    def _think(self, thought: str, out: list[Delta]) -> None:
        if not self._has_reasoned:
            thought = thought.lstrip()
        if thought:
            self._has_reasoned = True
            out.append(Reasoning(thought, self.number))

    def _keep(self, text: str) -> None:
        self._size += len(text)
        if self._size <= _MOST:
            self._raw.append(text)
        else:
            self._raw.clear()


def _possible(text: str) -> int:
    """How many characters at the end of a text may be the beginning of the end tag."""
    for size in range(min(len(_END) - 1, len(text)), 0, -1):
        if text.endswith(_END[:size]):
            return size
    return 0
