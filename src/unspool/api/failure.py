"""Errors as servers word them, in a response's body or inside a stream: any shape in, one `Failure` out.

The shape OpenAI documents is ``{"error": {"message", "type", "param", "code"}}``. Compatible servers, their frameworks and the
proxies before them send strings, lists, flat objects, plain text and web pages. Nothing here raises on any of them.
"""

from __future__ import annotations

from unspool.api.deltas import Failure
from unspool.jsontext import loads, whole
from unspool.sse import Decoder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from unspool.jsontext import JsonObject

#: The message of an error that came without one.
UNEXPLAINED = "the server reported an error without a message"
#: The type of the failure that stands for an event which is not JSON.
MALFORMED_EVENT = "malformed_event"
#: The type of the failure that stands for a body which is no answer of any endpoint.
UNRECOGNISED_BODY = "unrecognised_body"

# Characters of a message that are kept. OpenAI's longest, on schemas and context lengths, have some 400.
_LONGEST_MESSAGE = 1000
# Where servers put the sentence for people: most of them, FastAPI, its validation errors, IBM's guardrails, OAuth.
_MESSAGE_KEYS = (
    *("message", "detail", "msg", "details", "error_description", "reason", "errors", "error_msg", "error_message"),
    *("errorMessage", "Message", "err_msg", "errmsg", "status_msg", "title"),
)
# Keys by which a chunk or a body is known as an answer, or a part of one, not an error that lies flat in the object.
_ANSWER_KEYS = ("choices", "output", "usage", "response", "delta")


def recognise(value: object) -> Failure | None:
    """Return the failure that a JSON value tells of, None if it does not look like an error."""
    if type(value) is list and value:
        value = value[0]  # Gemini wraps its error object in an array
    if type(value) is not dict:
        return None
    if value.get("error"):
        return read(value)
    status = value.get("base_resp")
    if type(status) is dict and status.get("status_code"):
        return read(value)  # MiniMax: it may stand beside the fields of an answer, with the code 0 where all is well
    if "choices" not in value and "error" in (value.get("object"), value.get("type")):
        return read(value)
    if any(key in value for key in _ANSWER_KEYS):
        return None
    if any(value.get(key) and type(value[key]) in (str, list) for key in ("message", "detail", "errors")):
        return read(value)
    # A word that may occur in any object, so other fields decide: {"code": 500, "msg": "…"}, {"success": false, "msg": "…"}.
    if any(value.get(key) for key in _MESSAGE_KEYS) and (value.get("code") or value.get("success") is False):
        return read(value)
    return None


def read(value: object) -> Failure:
    """Return the failure described by a value that is known to be an error: an object of any shape, a text, anything."""
    if type(value) is list and value and type(value[0]) is dict and "error" in value[0]:
        value = value[0]
    if type(value) is not dict:
        return Failure(_sentence(value) or UNEXPLAINED)
    error = value.get("error")
    # From the inside out: the fields of {"error": {…}} count before those beside it.
    layers = [error, value] if type(error) is dict else [value]
    status = value.get("base_resp")
    if type(status) is dict:
        layers = [{"message": status.get("status_msg"), "type": "base_resp", "code": status.get("status_code")}]
    message = "" if type(error) is not str else _sentence(error)
    for layer in layers:
        for key in _MESSAGE_KEYS:
            message = message or _sentence(layer.get(key))
    types = [layer.get(key) for layer in layers for key in ("type", "status")]
    details = [one for layer in layers for one in _objects(layer.get("details"))]
    reasons = [one.get("reason") for one in details]
    delays = [_seconds(delay.removesuffix("s")) for one in details if type(delay := one.get("retryDelay")) is str]
    return Failure(
        message or UNEXPLAINED,
        type=next((one_line(each) for each in types if type(each) is str and each not in ("", "error")), None),
        # Gemini's own word is in the details (google.rpc.ErrorInfo); its code is the HTTP status again.
        code=_word(reasons) or _word([layer.get("code") for layer in layers]),
        param=_word([layer.get("param") for layer in layers]),
        # google.rpc.RetryInfo
        retry_after=next((delay for delay in delays if delay is not None), None),
    )


def malformed(data: str) -> Failure:
    """Return the failure that stands for an event whose data is not JSON."""
    return Failure(f"the server sent an event that is not JSON: {one_line(data, 200)}", type=MALFORMED_EVENT)


def from_response(status: int, headers: Mapping[str, str], body: bytes, *, now: float | None = None) -> Failure:
    """Return the failure that an HTTP answer with an error status tells of.

    ``headers`` have lower-case names. ``now`` is the time in seconds since the epoch that a ``retry-after`` date is counted
    from, the clock's by default.
    """
    failure = _read_body(status, headers.get("content-type", ""), body)
    retry = headers.get("x-should-retry", "").strip().lower()
    request_id = headers.get("x-request-id") or headers.get("request-id")
    failure.status = status
    failure.request_id = one_line(request_id) if request_id else None
    asked = _retry_after(headers, now)
    failure.retry_after = failure.retry_after if asked is None else asked
    failure.should_retry = {"true": True, "false": False}.get(retry)
    return failure


def one_line(text: str, longest: int = _LONGEST_MESSAGE) -> str:
    """Return the text in one line, without half characters, shortened to ``longest`` characters."""
    # Cut before the work, generously: a body may have megabytes.
    line = " ".join(whole(text[: longest * 8]).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _read_body(status: int, content_type: str, body: bytes) -> Failure:
    text = body[: _LONGEST_MESSAGE * 64].decode("utf-8", "replace").strip("\ufeff \t\r\n")
    if "html" in content_type.lower() or text[:15].lower().startswith(("<!doctype html", "<html")):
        return Failure(_web_page(status, text))
    source: str | bytes = body
    if text.startswith(("data:", "event:")):
        # LiteLLM refuses a stream with a stream: an error status, and the error as an event.
        source = text = next((event.data for event in Decoder().feed(body + b"\n\n")), text)
    try:
        value = loads(source)
    except ValueError:
        return Failure(one_line(text) or _status_line(status))
    if type(value) is str:
        return Failure(one_line(value) or _status_line(status))
    failure = recognise(value) or (read(value) if type(value) is dict else Failure(UNEXPLAINED))
    if failure.message == UNEXPLAINED:
        failure.message = one_line(f"{_status_line(status)}: {text}" if value else _status_line(status))
    return failure


def _web_page(status: int, text: str) -> str:
    """Return the message for an HTML answer: a proxy's error page, or a base URL that points at a web site."""
    from html import unescape

    start = text.lower().find("<title")
    start = text.find(">", start) + 1 if start >= 0 else 0
    title = one_line(unescape(text[start:].partition("<")[0]), 100) if start else ""
    page = f'a web page, "{title}",' if title else "a web page,"
    return f"the server answered {_status_line(status)} with {page} not with an API's error: is the base URL right?"


def _status_line(status: int) -> str:
    from http import HTTPStatus

    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"


def _sentence(value: object, depth: int = 0) -> str:
    """Return what a message field says in one line, "" if nothing. FastAPI's is a list of objects, Mistral's nests that list."""
    if type(value) is str:
        return one_line(value)
    if depth > 3:
        return ""
    if type(value) is list:
        return one_line("; ".join(filter(None, (_sentence(each, depth + 1) for each in value[:10]))))
    if type(value) is dict:
        for key in _MESSAGE_KEYS:
            said = _sentence(value.get(key), depth + 1)
            if said:
                return f"{_place(value)}{said}"
    return ""


def _objects(value: object) -> list[JsonObject]:
    return [one for one in value[:10] if type(one) is dict] if type(value) is list else []


def _place(error: JsonObject) -> str:
    """Return where a validation error of FastAPI lies: ``{"loc": ["body", "n"]}`` is ``body.n``."""
    place = error.get("loc")
    if type(place) is not list:
        return ""
    steps = [step if type(step) is str else _number(step) for step in place[:10]]
    return ".".join(filter(None, steps)) + ": "


def _word(values: list[Any]) -> str | None:
    """Return the first value that is a word or a number: vLLM and OpenRouter send an HTTP status as the code."""
    for value in values:
        word = one_line(value) if type(value) is str else _number(value)
        if word:
            return word
    return None


def _number(value: object) -> str:
    # int to str is refused for numbers of thousands of digits, and a server must not be able to make this raise.
    return str(value) if type(value) is int and abs(value) < 10**9 else ""


def _retry_after(headers: Mapping[str, str], now: float | None) -> float | None:
    """Return the wait asked for in seconds: ``retry-after-ms`` is OpenAI's own, ``retry-after`` RFC 9110, 10.2.3."""
    milliseconds = _seconds(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after", "").strip()
    seconds = _seconds(value)
    return _until(value, now) if seconds is None and value else seconds


def _seconds(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None


def _until(date: str, now: float | None) -> float | None:
    from email.utils import parsedate_to_datetime
    from time import time

    try:
        moment = parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return max(0.0, moment - (time() if now is None else now))
