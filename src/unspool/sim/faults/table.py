"""Faults between a server and its client, by name: one table, which ``unspool faults`` prints.

A fault is asked for as ``name`` or ``name=value``, several with ``;`` between them. `read` adds them up to a `FaultPlan`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from unspool import durations
from unspool.sim.faults import rewriting
from unspool.sim.faults.quirks import QUIRKS
from unspool.sim.faults.stream_plan import ANNOUNCED, CLOSES, UNCLEAN, Close, FaultPlan, Pause, Refusal, Rewriter, Stop
from unspool.sim.frames import JSONObject

# Where a value may begin that is JSON, in which no character separates.
_JSON_VALUE = re.compile(r"[:,=] *(?=[\[{\"])")

# Numbers may have any size.
_JSON = json.JSONDecoder(parse_int=str)

#: The header of a request that names its own faults.
HEADER = "x-unspool-fault"


@dataclass(slots=True)
class Fault:
    """One kind of fault. ``value`` is the form of what may follow its name and ``=``, in brackets where it may be left out.

    ``add`` puts it into a plan, and raises ValueError for a value that is not of that form.
    """

    name: str
    value: str
    does: str
    example: str
    add: Callable[[FaultPlan, str], object]

    @property
    def form(self) -> str:
        """Its syntax."""
        if not self.value:
            return self.name
        return f"{self.name}[={self.value[1:-1]}]" if self.value[0] == "[" else f"{self.name}={self.value}"


def read(text: str, plan: FaultPlan | None = None) -> FaultPlan:
    """Read faults into the plan that they add up to, or into a ``plan`` there is. Raises ValueError for one that there is not, or that is not written like this."""
    plan = FaultPlan() if plan is None else plan
    for each in _split(text, ";"):
        name, _, value = each.strip().partition("=")
        name, value = name.strip(), value.strip()
        if not name:
            continue
        fault = BY_NAME.get(name)
        if fault is None and name in QUIRKS and not value:
            read(QUIRKS[name].faults, plan)
            continue
        if fault is None:
            raise ValueError(f"there is no fault {name!r}; unspool faults lists all faults")
        if value and not fault.value:
            raise ValueError(f"the fault {name} takes no value")
        if not value and fault.value and fault.value[0] != "[":
            raise ValueError(f"the fault {name} takes a value: {fault.form}, such as {fault.example}")
        try:
            fault.add(plan, value)
        except ValueError as error:
            raise ValueError(f"the fault {name}: {error}; the form is {fault.form}, such as {fault.example}") from None
    return plan


def _split(text: str, separator: str) -> list[str]:
    """Split a text at a separator, but not within a JSON value."""
    parts = [""]
    at = 0
    while at < len(text):
        if text[at] == separator:
            parts.append("")
        else:
            parts[-1] += text[at]
        value = _JSON_VALUE.match(text, at)
        end = _json_end(text, value.end()) if value is not None else 0
        parts[-1] += text[at + 1 : end]
        at = max(at + 1, end)
    return parts


def _json_end(text: str, begin: int) -> int:
    """The end of the JSON value that begins there; 0 if none does."""
    try:
        return _JSON.raw_decode(text, begin)[1]
    except (ValueError, RecursionError):
        return 0


# Answers that are none

# What OpenAI's guide "Error codes" says of each status: type, code, message.
_ERRORS = {
    400: ("invalid_request_error", "context_length_exceeded", "This model's maximum context length is 128000 tokens."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    402: ("insufficient_balance", "insufficient_balance", "Your account has no credits left."),
    403: ("request_forbidden", "unsupported_country_region_territory", "Country, region, or territory not supported."),
    404: ("invalid_request_error", "model_not_found", "The model does not exist or you do not have access to it."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached for requests."),
    500: ("server_error", None, "The server had an error while processing your request."),
    503: ("service_unavailable_error", "server_is_overloaded", "The server is overloaded. Please try again later."),
}
_QUOTA = ("insufficient_quota", "insufficient_quota", "You exceeded your current quota, please check your plan.")
_FILTER = ("invalid_request_error", "content_filter", "The prompt was filtered by the content policy.")
# The statuses of the codes that an error may be asked for by.
_CODES = {code: (status, error) for status, error in _ERRORS.items() for code in [error[1]] if code} | {
    "insufficient_quota": (429, _QUOTA),
    "content_filter": (400, _FILTER),
}
_SORRY = "The server had an error while processing your request. Sorry about that!"
_LOADING = b'{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}'
_WEB_PAGE = b"<!DOCTYPE html>\n<html><head><title>Welcome</title></head><body>This is a web site.</body></html>\n"


def error_body(status: int) -> bytes:
    """OpenAI's body for an error of this status."""
    return _body(*_ERRORS.get(status, _ERRORS[500] if status >= 500 else ("invalid_request_error", None, "No.")))


def _body(type: str, code: str | None, message: str) -> bytes:
    return json.dumps({"error": _said(type, code, message)}).encode()


def _said(type: str, code: str | None, message: str) -> JSONObject:
    return {"message": message, "type": type, "param": None, "code": code}


def _refuse(plan: FaultPlan, status: int, body: bytes, type: str = "application/json", **headers: str) -> None:
    plan.refusal = Refusal(status, {"content-type": type, **headers}, body)


def _status(plan: FaultPlan, value: str) -> None:
    number, *headers = _split(value, ",")
    status = _code(number)
    # These two have no body (RFC 9110, 6.4.1).
    body = b"" if status in (204, 304) else error_body(status)
    refusal = Refusal(status, {"content-type": "application/json"}, body)
    for header in headers:
        name, said = _named(header)
        if name == "body":
            refusal.body, refusal.verbatim = said.encode(), True
        else:
            refusal.headers[name] = said
    plan.refusal = refusal


def _rate_limit(plan: FaultPlan, value: str) -> None:
    headers = {}
    if value:
        wait = durations.parse(value)
        headers = {"retry-after": f"{wait:.0f}"} if wait == int(wait) else {"retry-after-ms": f"{wait * 1000:.0f}"}
    _refuse(plan, 429, error_body(429), **headers)


# Values


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


def _code(text: str) -> int:
    status = _count(text)
    if not 200 <= status < 600:
        raise ValueError(f"{status} is not an HTTP status of a response")
    return status


def _place(text: str) -> int | None:
    return None if text == "end" else _count(text)


def _one_of(text: str, *words: str) -> str:
    if text not in words:
        raise ValueError(f"{text!r} is none of {', '.join(words)}")
    return text


def _stop_at(unit: str, reading: Callable[[str], Pause | Close]) -> Callable[[FaultPlan, str], object]:
    def add(plan: FaultPlan, value: str) -> None:
        at, _, rest = value.partition(",")
        plan.stops.append(Stop(unit, _place(at), reading(rest)))
        if plan.short:
            plan.headers["content-length"] = str(ANNOUNCED)

    return add


def _close(how: str) -> Close:
    return Close(_one_of(how or UNCLEAN, *CLOSES))


def _pause(text: str) -> Pause:
    time, _, beat = text.partition(",")
    return Pause(durations.parse(time) if time else None, _text(beat).encode() if beat else b"")


def _text(text: str) -> str:
    """A text, which may be a JSON string so that it can hold line ends."""
    if text[:1] != '"':
        return text
    try:
        read: str = json.loads(text)
    except ValueError:
        raise ValueError(f"{text} is not a JSON string") from None
    return read


def _at(value: str) -> tuple[str, str]:
    """Split a value at its first comma. Raises ValueError without one."""
    where, comma, rest = value.partition(",")
    if not comma:
        raise ValueError(f"{value!r} has no second part")
    return where.strip(), rest.strip()


def _changed(value: str) -> tuple[rewriting.Selector, JSONObject]:
    where, patch = _at(value)
    return rewriting.Selector(where), rewriting.patch_of(patch)


def _insert(plan: FaultPlan, value: str, *, after: bool = False) -> None:
    where, text = _at(value)
    what: list[JSONObject | bytes] = []
    if text[:1] in ("[", "{"):
        what += rewriting.patches_of(text)
    else:
        what.append(_text(text).encode())
    selector = None if where == "end" else rewriting.Selector(where)
    plan.rewriters.append(lambda: rewriting.insert(selector, what, after=after))


def _item(plan: FaultPlan, value: str) -> None:
    _rewriting(rewriting.item, lambda text: (rewriting.patch_of(text),))(plan, value)
    plan.rewriters.append(rewriting.renumbered)


# What of an event's bytes is replaced, and by what.
_FRAMINGS = {
    "lines": (rb"\n\n\Z", b"\n"),
    "doubled": (rb"(?m)^data: ", b"data: data: "),
    "untyped": (rb"(?m)^event: .*\n", b""),
    "bare": (rb"(?m)^(?:event|id): .*\n|^data: |\n\Z", b""),
}


def _framing(plan: FaultPlan, value: str) -> None:
    plan.framing = _FRAMINGS[_one_of(value, *_FRAMINGS)]


def _header(plan: FaultPlan, value: str) -> None:
    name, content = _named(value)
    if name in ("connection", "content-length", "transfer-encoding"):
        raise ValueError(f"{name} is the connection's own; cut=K,short announces a length that is not reached")
    try:
        content.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError("a header is Latin-1") from None
    plan.every[name] = content


def _needs(plan: FaultPlan, value: str) -> None:
    path, rest = _at(value)
    where, rest = _at(rest)
    field, _, says = rest.partition(",")
    selector = rewriting.Selector(where)

    def missing(body: object) -> str | None:
        for number, found in enumerate(rewriting.values(body, path)):
            if isinstance(found, dict) and selector.holds(found) and not rewriting.values(found, field):
                return says or f"Missing '{field}' in '{path}[{number}]'."
        return None

    plan.needs.append(missing)


def _named(header: str) -> tuple[str, str]:
    name, colon, said = header.partition(":")
    if not colon or not name.strip().replace("-", "").isalnum() or not said.isprintable():
        raise ValueError(f"{header!r} is not a header")
    return name.strip().lower(), said.strip()


def _rewriting(
    make: Callable[..., Rewriter], reading: Callable[[str], tuple[Any, ...]] = lambda _: ()
) -> Callable[[FaultPlan, str], object]:
    def add(plan: FaultPlan, value: str) -> None:
        values = reading(value)
        plan.rewriters.append(lambda: make(*values))

    return add


def _error_at(value: str) -> tuple[int, str | JSONObject, JSONObject, int]:
    at, _, rest = value.partition(",")
    if rest[:1] == "{":
        return _count(at), rewriting.patch_of(rest), {}, 500
    shape, _, code = rest.partition(",")
    status, said = 500, _said("server_error", None, _SORRY)
    if code in _CODES:
        status, (type, word, message) = _CODES[code]
        said = _said(type, word, message)
    elif code:
        raise ValueError(f"{code!r} is none of {', '.join(_CODES)}")
    return _count(at), _one_of(shape or "nested", *rewriting.ERRORS), said, status


def _word(*words: str) -> Callable[[str], tuple[str]]:
    return lambda value: (_one_of(value, *words),)


def _usage(plan: FaultPlan, value: str) -> None:
    _rewriting(rewriting.usage, _word("none", "every", "finish", "x_groq"))(plan, value)
    plan.usage = True


def _emoji(text: str) -> str:
    return text.replace(".", "😀")


def _split_emoji(plan: FaultPlan, value: str) -> None:
    plan.rewriters += [
        lambda: rewriting.texts(_emoji),
        lambda: rewriting.halved_characters("😀"),
        rewriting.renumbered,
    ]


def _split_characters(plan: FaultPlan, value: str) -> None:
    plan.rewriters.append(lambda: rewriting.texts(_emoji))
    plan.split_characters = True


def _gzip(plan: FaultPlan, value: str) -> None:
    plan.gzip = _one_of(value or "whole", "whole", "truncated")
    plan.headers["content-encoding"] = "gzip"


def _before(plan: FaultPlan, where: str, data: bytes, *, first: bool = False) -> None:
    """Send bytes before some events; ``first`` before all that other faults send there."""
    rewriter = partial(rewriting.insert, rewriting.Selector(where), [data])
    plan.rewriters.insert(0 if first else len(plan.rewriters), rewriter)


def _pings(plan: FaultPlan, value: str) -> None:
    with_data = _one_of(value or "data", "data", "empty") == "data"
    _before(plan, "each", b'event: ping\ndata: {"type":"ping"}\n\n' if with_data else b"event: ping\n\n")


def _set(**fields: object) -> Callable[[FaultPlan, str], object]:
    def add(plan: FaultPlan, value: str) -> None:
        for name, content in fields.items():
            setattr(plan, name, content)

    return add


def _slow_headers(plan: FaultPlan, value: str) -> None:
    plan.wait = durations.parse(value)


def _line_ends(plan: FaultPlan, value: str) -> None:
    plan.line_end = {"lf": b"\n", "crlf": b"\r\n", "cr": b"\r"}[_one_of(value, "lf", "crlf", "cr")]


def _content_type(plan: FaultPlan, value: str) -> None:
    if not (value.isascii() and value.isprintable()):
        raise ValueError("a header is printable ASCII")
    plan.headers["content-type"] = value


def _every(value: str) -> tuple[int]:
    every = _count(value or "3")
    if not every:
        raise ValueError("0 events are none")
    return (every,)


def _as(faults: str) -> Callable[[FaultPlan, str], object]:
    """Faults under another name."""
    return lambda plan, _: read(faults, plan)


_NO_FINISH = 'drop=response.completed; drop=response.incomplete; drop=response.failed; set=finish,{"choices":{"finish_reason":null}}'

_ADD: dict[str, Callable[[FaultPlan, str], object]] = {
    "status": _status,
    "rate-limit": _rate_limit,
    "quota": lambda plan, _: _refuse(plan, 429, _body(*_QUOTA)),
    "loading": lambda plan, _: _refuse(plan, 503, _LOADING),
    "html": lambda plan, value: _refuse(plan, _code(value or "200"), _WEB_PAGE, "text/html; charset=utf-8"),
    "json-error": lambda plan, _: _refuse(plan, 200, error_body(500)),
    "empty": lambda plan, _: _refuse(plan, 200, b"", "text/event-stream"),
    "unstreamed": _set(unstreamed=True),
    "hang-up": _set(hang_up=True),
    "slow-headers": _slow_headers,
    "stall": _stop_at("events", _pause),
    "stall-byte": _stop_at("bytes", _pause),
    "cut": _stop_at("events", _close),
    "cut-byte": _stop_at("bytes", _close),
    "unterminated": _set(unterminated=True),
    "one-byte": _set(one_byte=True),
    "split-utf8": _split_characters,
    "split-emoji": _split_emoji,
    "u2028": _rewriting(rewriting.texts, lambda _: (lambda text: text.replace(" ", "\u2028"),)),
    "line-ends": _line_ends,
    "bom": lambda plan, _: _before(plan, "0", b"\xef\xbb\xbf", first=True),
    "no-space": _set(space=False),
    "comments": lambda plan, value: _before(plan, "each", b": %b\n\n" % (value.encode() or b"ping")),
    "pings": _pings,
    "retry-line": lambda plan, value: _before(plan, "0", b"retry: %d\n\n" % _count(value)),
    "gzip": _gzip,
    "content-type": _content_type,
    "malformed": _rewriting(rewriting.malformed, lambda value: (_count(value),)),
    "error": _rewriting(rewriting.error, _error_at),
    "sequence": _rewriting(rewriting.sequence, _word("duplicated", "lost", "reordered", "missing")),
    "keepalive": _rewriting(rewriting.keepalive, _every),
    "done": _rewriting(rewriting.done, _word("on", "off", "twice", "spaced", "more")),
    "no-finish": _as(_NO_FINISH),
    "finish": _rewriting(rewriting.finish, lambda value: (value,)),
    "usage": _usage,
    "set": _rewriting(rewriting.change, _changed),
    "drop": _rewriting(rewriting.drop, lambda value: (rewriting.Selector(value),)),
    "insert": _insert,
    "append": lambda plan, value: _insert(plan, value, after=True),
    "unset": _rewriting(rewriting.unset, lambda value: ([path.strip() for path in value.split(",")],)),
    "item": _item,
    "finish-with-text": _rewriting(rewriting.finish_with_text),
    "framing": _framing,
    "header": _header,
    "needs": _needs,
}

# How each is written, what it does, and an example.
_TABLE = r"""
status=CODE[,HEADER:VALUE…]: refuse with this status and its error body; further headers, and `body:TEXT` or `body:JSON`, after commas
    status=503,retry-after:1
rate-limit[=TIME]: refuse with 429, and send TIME as `retry-after` or `retry-after-ms`
    rate-limit=300ms
quota: refuse with 429 and `insufficient_quota`, which waiting does not solve
    quota
loading: refuse with 503 as llama.cpp does while it loads its model
    loading
html[=CODE]: send a web page, with status 200 or this one
    html=502
json-error: send an error as JSON with status 200
    json-error
empty: send an empty event stream
    empty
unstreamed: send the answer as one JSON object although a stream was requested
    unstreamed
hang-up: close the connection without an answer
    hang-up
slow-headers=TIME: wait before the response starts
    slow-headers=2s
stall=K[,TIME[,TEXT]]: after K events, send nothing for TIME, or nothing more; with TEXT, send only TEXT every 0.1 s
    stall=5,2s
stall-byte=K[,TIME]: the same after K bytes of the body
    stall-byte=100
cut=K[,HOW]: end the connection after K events, or at the `end`: `unclean` (no last chunk), `clean`, `reset` (RST), or `short` of its Content-Length
    cut=7,reset
cut-byte=K[,HOW]: the same after K bytes of the body
    cut-byte=300,clean
unterminated: leave out the blank line after the last event
    unterminated
one-byte: send each byte of the body separately
    one-byte
split-utf8: replace each full stop of the text with an emoji, and split the bytes inside characters
    split-utf8
split-emoji: replace each full stop of the text with an emoji, with its surrogate pair split over two events
    split-emoji
u2028: replace each space of the text with U+2028, a line end in JavaScript but not in an event stream
    u2028
line-ends=lf|crlf|cr: end the lines of the stream this way
    line-ends=cr
bom: begin the stream with a byte order mark
    bom
no-space: leave out the space after each field's colon
    no-space
comments[=TEXT]: send a comment before each event
    comments=keep-alive
pings[=data|empty]: send an `event: ping` before each event, with data or without
    pings=empty
retry-line=MS: begin the stream with a `retry` field
    retry-line=3000
gzip[=whole|truncated]: compress the stream; `truncated` leaves out its end
    gzip=truncated
content-type=TYPE: label the stream as something else
    content-type=application/json
malformed=K: after K events, send an event with incomplete JSON
    malformed=4
error=K[,SHAPE[,CODE]]: after K events, send an error and end: `nested` (OpenAI), `flat`, `string`, `object` (vLLM), `event`, `failed` (Responses), `field` (an `error:` line, llama.cpp), `line` (JSON without a field), or any JSON object; CODE is one of OpenAI's codes, such as `rate_limit_exceeded`
    error=4,string
sequence=duplicated|lost|reordered|missing: send events of the Responses API twice, not at all or in another order, or leave out their numbers
    sequence=lost
keepalive[=N]: send a `keepalive` event before each of N events, which takes a sequence number
    keepalive=5
done=on|off|twice|spaced|more: send `[DONE]` even if the API has none, not at all, twice, with spaces, or with more after it
    done=off
no-finish: leave out why the answer ended: no finish reason, no terminal event
    no-finish
finish=REASON: end the answer for this reason
    finish=content_filter
usage=none|every|finish|x_groq: send usage nowhere, in every chunk, in the chunk with the finish reason, or in its `x_groq`
    usage=x_groq
set=WHERE,PATCH: merge a JSON object into the events at WHERE, and into each element of their arrays
    set=usage,{"usage":{"total_tokens":NaN}}
drop=WHERE: leave out the events at WHERE
    drop=finish&choices.index=0
insert=WHERE,WHAT: before the events at WHERE, or at the `end`, send a JSON object or an array of them as events, or a text (also as a JSON string) unchanged
    insert=each,"data: ping\n\n"
append=WHERE,WHAT: the same after the events at WHERE
    append=role,{"choices":[{"delta":{"content":"Well. "}}]}
unset=PATH[,PATH…]: remove the fields at PATH; with `null`, all null fields
    unset=choices.finish_reason,usage
item=ITEM: send an item of a response's output, a JSON object, before the others
    item={"type":"custom","id":"i"}
finish-with-text: send the finish reason with the last text
    finish-with-text
framing=lines|doubled|untyped|bare: separate events by one line end instead of two, write `data: data:`, or leave out `event:`, or the names of all fields
    framing=lines
header=NAME:VALUE: send this header
    header=server:llama.cpp
needs=PATH,WHERE,FIELD[,TEXT]: refuse a request, with this text, if an object at PATH that matches WHERE has no FIELD
    needs=messages,role=user,name
"""

_ENTRY = re.compile(r"(?m)^([\w-]+)(?:=|(?=\[))?(.*?): (.*)\n    (.*)$")
BY_NAME = {
    name: Fault(name, value.replace("[=", "[", 1) if value[:2] == "[=" else value, does, example, _ADD[name])
    for name, value, does, example in _ENTRY.findall(_TABLE)
}
TABLE = tuple(BY_NAME.values())
