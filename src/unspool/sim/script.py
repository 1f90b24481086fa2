"""Scripted answers: what a test says the model answers, and when. One model with three doors: a file, Python, HTTP.

A *rule* has conditions (``when``) and an ``answer``, or a ``sequence`` of answers. The first rule whose conditions a request meets
answers it. An ``answer`` is given each time; of a ``sequence`` each answer is given once, and after the last the rule no longer
matches. In a file, and over HTTP::

    {"strict": true,
     "answers": [{"when": {"user": "/order (?P<id>\\\\d+)/"}, "answer": {"calls": [{"name": "lookup", "arguments": {"id": "{id}"}}]}},
                 {"when": {"result_of": "lookup"}, "answer": "It is on its way."}]}

A rule that always calls tools, and says nothing of results, does not match a request that brings results: it would call without end.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from unspool.sim.endpoints.messages import Conversation
from unspool.sim.errors import RequestError
from unspool.sim.faults.stream_plan import FaultPlan
from unspool.sim.faults.table import read as read_faults
from unspool.sim.frames import JSONObject
from unspool.sim.pace import Delay, delay
from unspool.sim.received import ReceivedRequest

#: A text to be found: in any case, or a regular expression; as a text, one between slashes, with ``i`` after them to ignore the case.
Pattern = str | re.Pattern[str]
FINISH_REASONS = ("stop", "length", "tool_calls", "content_filter")

_SLASHED = re.compile(r"/(.+)/([ims]*)", re.DOTALL)
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_SHOWN = 60


@dataclass(slots=True)
class Asked:
    """The input of a rule: the request, its conversation with the turns that the server keeps, and the tools on offer."""

    endpoint: str
    model: str
    conversation: Conversation
    tools: Sequence[str] = ()
    request: ReceivedRequest | None = None


#: Finds the answer that a script has for a request.
Find = Callable[[Asked], "ScriptedAnswer | None"]


@dataclass(slots=True)
class ScriptedCall:
    """A call of the tool ``name``. ``arguments`` are an object, its text, or that text in the pieces in which it is streamed."""

    name: str
    arguments: JSONObject | str | Sequence[str] = field(default_factory=dict)
    id: str | None = None


def call(name: str, /, **arguments: object) -> ScriptedCall:
    """A call of a tool with these arguments."""
    return ScriptedCall(name, arguments)


@dataclass(slots=True)
class Citation:
    """A source. ``quoted`` is the part of the text that it is for; without it, all of the text."""

    url: str
    title: str = ""
    quoted: str = ""


@dataclass(slots=True)
class ScriptedUsage:
    """The tokens that an answer says it cost; None is as many as there were."""

    input: int | None = None
    output: int | None = None
    cached: int | None = None
    reasoning: int | None = None


@dataclass(slots=True)
class ScriptedAnswer:
    """An answer of the model. All parts are optional; they are sent in this order.

    ``text`` and ``reasoning`` are streamed token by token; a list is streamed in its pieces. ``json`` is a value that is sent as text.
    ``{name}`` in a text stands for the group of that name in the pattern that matched, ``{user}`` for the user's last message and
    ``{result}`` for the last result; other braces are left alone.

    ``logprobs`` are those of the text's tokens, for requests that ask for them. ``finish`` is the finish reason. ``ttft`` and ``itl`` are
    the pace, as in `SimulatorSettings`. ``fault`` is what this answer meets with, as ``unspool faults`` lists them; ``fault_once`` what
    it meets with the first time.
    """

    text: str | Sequence[str] | None = None
    json: Any = None
    calls: Sequence[ScriptedCall] = ()
    reasoning: str | Sequence[str] | None = None
    refusal: str | None = None
    citations: Sequence[Citation] = ()
    usage: ScriptedUsage = field(default_factory=ScriptedUsage)
    finish: str | None = None
    logprobs: Sequence[float] = ()
    ttft: Delay | str | float | None = None
    itl: Delay | str | float | None = None
    fault: str = ""
    fault_once: str = ""

    def __post_init__(self) -> None:
        if self.finish is not None and self.finish not in FINISH_REASONS:
            raise ValueError(f"finish must be one of {', '.join(FINISH_REASONS)}, not {self.finish!r}")
        if sum(part is not None for part in (self.text, self.json, self.refusal)) > 1:
            raise ValueError("an answer must have only one of text, json and refusal")
        for time in (self.ttft, self.itl):
            if time is not None:
                delay(time)
        for faults in (self.fault, self.fault_once):
            plan = read_faults(faults)
            if plan.unstreamed or plan.usage:
                raise ValueError(f"the fault {faults!r} changes the request, and cannot be part of an answer")

    def plan(self, plan: FaultPlan) -> None:
        """Add this answer's faults to a request's."""
        read_faults(self.fault_once or self.fault, plan)

    def filled(self, values: Mapping[str, str]) -> ScriptedAnswer:
        """The answer with what ``{…}`` stands for."""
        if not values:
            return self
        calls = [replace(one, arguments=_filled(one.arguments, values)) for one in self.calls]
        names = ("text", "json", "reasoning", "refusal")
        return replace(self, calls=calls, **{name: _filled(getattr(self, name), values) for name in names})


@dataclass(slots=True)
class When:
    """The conditions of a rule, all of which a request has to meet.

    ``user``, ``system``, ``model`` and ``result`` are patterns: in the user's last message, in the instructions, in the model's name (all
    of it, unless it is a regular expression), in a tool's result since the user's last message. ``endpoint`` is completions, chat or
    responses. ``tools`` have to be on offer. ``result_of`` is the tool that a result came from. ``nth`` is the number, from 1, of the
    request among those that meet the other conditions. ``headers`` are patterns by the names of headers. ``matches`` is any predicate.
    """

    user: Pattern | None = None
    system: Pattern | None = None
    model: Pattern | None = None
    endpoint: str | None = None
    tools: str | Sequence[str] = ()
    result: Pattern | None = None
    result_of: str | None = None
    nth: int | None = None
    headers: Mapping[str, Pattern] = field(default_factory=dict)
    matches: Callable[[Asked], bool] | None = None

    def __post_init__(self) -> None:
        if self.endpoint not in (None, "completions", "chat", "responses"):
            raise ValueError(f"endpoint must be completions, chat or responses, not {self.endpoint!r}")
        if self.nth is not None and self.nth < 1:
            raise ValueError(f"nth counts from 1, but it is {self.nth}")
        for pattern in (self.user, self.system, self.model, self.result, *self.headers.values()):
            if pattern is not None:
                _compiled(pattern)

    @property
    def says_results(self) -> bool:
        """Whether it has a condition on results of tools."""
        return self.result is not None or self.result_of is not None or self.matches is not None or self.nth is not None

    def differences(self, asked: Asked, values: dict[str, str]) -> list[str]:
        """The conditions that a request does not meet, in words. ``values`` gets what the patterns' groups matched."""
        conversation = asked.conversation
        results = [one for one in conversation.results if self.result_of in (None, one.name)]
        found: list[str] = []

        def look(name: str, pattern: Pattern | None, *texts: str, entire: bool = False) -> None:
            if pattern is None:
                return
            for text in texts:
                match = _search(pattern, text, entire=entire)
                if match is not None:
                    values.update({key: value or "" for key, value in match.groupdict().items()})
                    values.update({str(number): value or "" for number, value in enumerate(match.groups(), 1)})
                    return
            shown = ", ".join(_shown(text) for text in texts) or "absent"
            found.append(f"{name} is {shown}, and not {_written(pattern)}")

        look("user", self.user, conversation.prompt)
        look("system", self.system, conversation.system)
        look("model", self.model, asked.model, entire=True)
        if self.endpoint not in (None, asked.endpoint):
            found.append(f"endpoint is {asked.endpoint}, and not {self.endpoint}")
        for tool in [self.tools] if isinstance(self.tools, str) else self.tools:
            if tool not in asked.tools:
                found.append(f"the tool {tool} is not offered")
        if self.result_of is not None and not results:
            found.append(f"there is no result of {self.result_of}")
        look("result", self.result, *(one.output for one in results))
        headers = asked.request.headers if asked.request is not None else {}
        for name, pattern in self.headers.items():
            look(f"the header {name}", pattern, *([headers[name.lower()]] if name.lower() in headers else ()))
        if self.matches is not None and not self.matches(asked):
            found.append("its predicate is false")
        values.setdefault("user", conversation.prompt)
        values.setdefault("result", conversation.results[-1].output if conversation.results else "")
        return found

    def written(self) -> str:
        """The conditions in words."""
        said = []
        for one in fields(self):
            value = getattr(self, one.name)
            if value not in (None, (), {}):
                said.append(f"{one.name}={value.pattern if isinstance(value, re.Pattern) else value!r}")
        return ", ".join(said) or "always"


@dataclass(slots=True)
class Rule:
    """Answers for the requests that meet the conditions: one for all of them, or each one ``once``. Counts its uses in ``used``."""

    when: When
    answers: Sequence[ScriptedAnswer]
    once: bool = False
    used: int = 0
    met: int = 0

    @property
    def left(self) -> int:
        """How many of its answers were not used."""
        return max(len(self.answers) - self.used, 0) if self.once else int(self.used == 0)

    def differences(self, asked: Asked, values: dict[str, str]) -> list[str]:
        """The reason why it does not answer a request; empty if it does."""
        found = self.when.differences(asked, values)
        if not found:
            self.met += 1
            if self.when.nth not in (None, self.met):
                found.append(f"it is matching request number {self.met}, not {self.when.nth}")
        if self.once and self.used >= len(self.answers):
            found.append("all its answers are used")
        elif not self.once and self.answers[0].calls and asked.conversation.results and not self.when.says_results:
            found.append("the request has tool results, which the rule does not mention")
        return found

    def take(self) -> ScriptedAnswer:
        """The answer for one more request."""
        answer = self.answers[self.used] if self.once else self.answers[0]
        if answer.fault_once and not self.once and self.used:
            answer = replace(answer, fault_once="")
        self.used += 1
        return answer


class Script:
    """The rules in force, first match first. ``strict`` refuses what nothing matches. Safe to use from any thread."""

    def __init__(self, *, strict: bool = False) -> None:
        self.strict = strict
        self._rules: list[Rule] = []
        self._lock = threading.Lock()

    @property
    def rules(self) -> list[Rule]:
        with self._lock:
            return list(self._rules)

    def add(self, *rules: Rule) -> None:
        """Add rules after those that there are."""
        with self._lock:
            self._rules += rules

    def clear(self) -> None:
        """Forget all rules."""
        with self._lock:
            self._rules.clear()

    def load(self, path: str | os.PathLike[str]) -> None:
        """Add the rules of a file: TOML by its name, else JSON. Raises ValueError, OSError."""
        with open(path, "rb") as file:
            data = file.read()
        try:
            if os.fspath(path).endswith(".toml"):
                import tomllib

                value: object = tomllib.loads(data.decode())
            else:
                value = json.loads(data)
            self.read(value)
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)}: {error}") from None

    def read(self, value: object) -> list[Rule]:
        """Add the rules of a file's value: an object with ``answers``, or that array itself. Raises ValueError, and adds none then."""
        strict = None
        if isinstance(value, dict):
            unknown = value.keys() - {"answers", "strict"}
            if unknown or "answers" not in value:
                raise ValueError(f"it has {_listed(unknown) or 'no answers'}; it may have answers and strict")
            strict, value = value.get("strict"), value["answers"]
        if not isinstance(value, list):
            raise ValueError("answers must be an array")
        rules = []
        for number, one in enumerate(value, 1):
            try:
                rules.append(rule_of(one))
            except (ValueError, TypeError) as error:
                raise ValueError(f"answer {number}: {error}") from None
        self.add(*rules)
        if strict is not None:
            self.strict = bool(strict)
        return rules

    def find(self, asked: Asked) -> ScriptedAnswer | None:
        """The answer to a request, None when no rule matches. Raises RequestError (404) then, when ``strict``."""
        nearest: tuple[int, str] | None = None
        with self._lock:
            for number, rule in enumerate(self._rules, 1):
                values: dict[str, str] = {}
                differences = rule.differences(asked, values)
                if not differences:
                    if asked.request is not None:
                        asked.request.answered_by = f"answer {number}"
                    return rule.take().filled(values)
                if nearest is None or len(differences) < nearest[0]:
                    nearest = len(differences), f"{number} ({rule.when.written()}): {'; '.join(differences)}"
            count = len(self._rules)
        if not self.strict:
            return None
        why = f"The nearest of {count} is answer {nearest[1]}." if nearest is not None else "There are no answers."
        raise RequestError(f"No scripted answer matches this request. {why}", status=404, code="no_answer")

    def unused(self) -> list[str]:
        """Describe the answers that were not used."""
        found = []
        for number, rule in enumerate(self.rules, 1):
            if rule.left:
                what = f"{rule.left} of its {len(rule.answers)} answers" if len(rule.answers) > 1 else "its answer"
                found.append(f"answer {number} ({rule.when.written()}): no request used {what}")
        return found

    def described(self) -> JSONObject:
        """The rules as JSON, with how often each was used."""
        return {"strict": self.strict, "answers": [_described(rule) for rule in self.rules]}


class Conditions:
    """The conditions of a rule that is still to get its answers."""

    def __init__(self, script: Script, when: When) -> None:
        self._script = script
        self._when = when

    def answer(self, answer: str | list[str] | ScriptedAnswer | ScriptedCall | None = None, **fields: object) -> Rule:
        """Give this answer to each request that meets the conditions: a text, a call, or the ``fields`` of a `ScriptedAnswer`."""
        return self._add(Rule(self._when, [_answer(answer, fields)]))

    def sequence(self, *answers: str | list[str] | ScriptedAnswer | ScriptedCall) -> Rule:
        """Give these answers one after the other, each once. After the last the rule no longer matches."""
        if not answers:
            raise ValueError("a sequence must have at least one answer")
        return self._add(Rule(self._when, [answer_of(one) for one in answers], once=True))

    def _add(self, rule: Rule) -> Rule:
        self._script.add(rule)
        return rule


class Scripted:
    """Mixin for objects that have a script, which tests write in Python."""

    answers: Script

    def when(self, **conditions: Any) -> Conditions:
        """Begin a rule: its conditions are the fields of `When`. Its answer follows: ``when(user="hello").answer("Hi")``."""
        return Conditions(self.answers, When(**conditions))

    def answer(self, answer: str | list[str] | ScriptedAnswer | ScriptedCall | None = None, **fields: object) -> Rule:
        """Give this answer to the next request that no earlier rule answers: a text, a call, or the ``fields`` of a `ScriptedAnswer`."""
        return Conditions(self.answers, When()).sequence(_answer(answer, fields))

    def assert_all_used(self) -> None:
        """Raise AssertionError if some scripted answers were not used."""
        if unused := self.answers.unused():
            raise AssertionError("\n".join(["some answers were not used:", *unused]))


def _answer(answer: str | list[str] | ScriptedAnswer | ScriptedCall | None, fields: JSONObject) -> ScriptedAnswer:
    if answer is None or isinstance(answer, str | list):
        return answer_of({**fields, **({} if answer is None else {"text": answer})})
    if fields:
        raise TypeError("fields go with a text, not with an answer that has its own")
    return answer_of(answer)


def answer_of(value: object) -> ScriptedAnswer:
    """An answer from a text, the pieces of one, an object with an answer's fields, or an answer. Raises ValueError, TypeError."""
    if isinstance(value, ScriptedAnswer):
        return value
    if isinstance(value, str | list):
        return ScriptedAnswer(value)
    if isinstance(value, ScriptedCall):
        return ScriptedAnswer(calls=[value])
    given = _fields_of(ScriptedAnswer, value, "an answer")
    calls = [
        one if isinstance(one, ScriptedCall) else _made(ScriptedCall, one, "a call") for one in given.pop("calls", ())
    ]
    citations = [
        one if isinstance(one, Citation) else _made(Citation, one, "a citation") for one in given.pop("citations", ())
    ]
    usage = given.pop("usage", None) or ScriptedUsage()
    usage = usage if isinstance(usage, ScriptedUsage) else _made(ScriptedUsage, usage, "usage")
    return ScriptedAnswer(calls=calls, citations=citations, usage=usage, **given)


def rule_of(value: object) -> Rule:
    """A rule from an object with ``when``, and ``answer`` or ``sequence``. Raises ValueError, TypeError."""
    if not isinstance(value, dict) or value.keys() - {"when", "answer", "sequence"}:
        raise ValueError("a rule must be an object with when, and answer or sequence")
    if ("answer" in value) == ("sequence" in value):
        raise ValueError("a rule must have either answer or sequence")
    given = _fields_of(When, value.get("when") or {}, "when")
    if "matches" in given:
        raise ValueError("when has no matches in a file: a predicate is Python")
    when = When(**given)
    if "answer" in value:
        return Rule(when, [answer_of(value["answer"])])
    if not isinstance(value["sequence"], list) or not value["sequence"]:
        raise ValueError("a sequence must be an array of at least one answer")
    return Rule(when, [answer_of(one) for one in value["sequence"]], once=True)


def _fields_of(kind: type, value: object, what: str) -> JSONObject:
    if not isinstance(value, dict):
        raise ValueError(f"{what} must be an object, not {value!r:.60}")
    known = [one.name for one in fields(kind)]
    if unknown := [name for name in value if name not in known]:
        raise ValueError(f"{what} has no {_listed(unknown)}; it may have {', '.join(known)}")
    return dict(value)


def _made(kind: Callable[..., Any], value: object, what: str) -> Any:
    return kind(**_fields_of(kind, value, what))  # type: ignore[arg-type]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(str, names))


def _described(rule: Rule) -> JSONObject:
    answers = [_given(one) for one in rule.answers]
    when = {name: _plain(value) for name, value in _given(rule.when).items()}
    return {
        "when": when,
        **({"sequence": answers} if rule.once else {"answer": answers[0]}),
        "used": rule.used,
        "left": rule.left,
    }


def _given(value: Any) -> JSONObject:
    """The fields of a dataclass that are not as by default."""
    default = type(value)(
        **({"name": ""} if isinstance(value, ScriptedCall) else {"url": ""} if isinstance(value, Citation) else {})
    )
    given = {one.name: getattr(value, one.name) for one in fields(value)}
    return {name: _plain(one) for name, one in given.items() if one != getattr(default, name)}


def _plain(value: object) -> Any:
    if isinstance(value, ScriptedCall | Citation | ScriptedUsage):
        return _given(value)
    if isinstance(value, re.Pattern):
        return f"/{value.pattern}/"
    if isinstance(value, Delay) or callable(value):
        return repr(value)
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return {name: _plain(one) for name, one in value.items()} if isinstance(value, Mapping) else value


def _compiled(pattern: Pattern) -> re.Pattern[str] | None:
    """The regular expression that a pattern is, None for a text. Raises ValueError."""
    if isinstance(pattern, re.Pattern):
        return pattern
    if not isinstance(pattern, str):
        raise ValueError(f"{pattern!r:.60} is neither a string nor a regular expression")
    slashed = _SLASHED.fullmatch(pattern)
    if slashed is None:
        return None
    flags = 0
    for letter in slashed[2]:
        flags |= {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL}[letter]
    try:
        return re.compile(slashed[1], flags)
    except re.error as error:
        raise ValueError(f"{pattern} is not a regular expression: {error}") from None


def _search(pattern: Pattern, text: str, *, entire: bool) -> re.Match[str] | None:
    expression = _compiled(pattern)
    if expression is not None:
        return expression.search(text)
    escaped = re.escape(str(pattern))
    return re.fullmatch(escaped, text) if entire else re.search(escaped, text, re.IGNORECASE)


def _written(pattern: Pattern) -> str:
    return f"/{pattern.pattern}/" if isinstance(pattern, re.Pattern) else repr(pattern)


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


def _filled(value: object, values: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), value)
    if isinstance(value, dict):
        return {name: _filled(inner, values) for name, inner in value.items()}
    return [_filled(inner, values) for inner in value] if isinstance(value, list | tuple) else value
