"""The simulator as an ASGI application: which path is answered by what, who may ask, and what every response carries."""

from __future__ import annotations

import math
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from unspool.sim.clock import Clock
from unspool.sim.control import Control
from unspool.sim.endpoints import chat, completions, embeddings, fields, models, responses
from unspool.sim.endpoints.models import Rules
from unspool.sim.endpoints.request_identity import RequestIdentity
from unspool.sim.errors import RequestError
from unspool.sim.faults.dialects import BY_NAME
from unspool.sim.faults.middleware import BeforeAnswer, FaultChooser, FaultMiddleware
from unspool.sim.faults.stream_plan import FaultPlan
from unspool.sim.lifecycle import Lifecycle
from unspool.sim.limits import Exceeded, Limits
from unspool.sim.origins import OriginMiddleware
from unspool.sim.pace import Delay, Pace, delay
from unspool.sim.script import Asked, Find, Script, ScriptedAnswer
from unspool.sim.streaming import PLAN, RECEIVED, EventStream, PacedFrames, WholeAnswer
from unspool.sim.tapes.matcher import STRICT, TapeMatcher
from unspool.sim.tapes.player import Player

#: A pace at which a person sees the answer stream: a third of a second to the first token, then 50 tokens a second.
REALISTIC_TTFT = 0.3
REALISTIC_ITL = 0.02

# For five minutes OpenAI streams a response again ("…because it is more than 5 minutes old").
_RESUMABLE_FOR = 300.0

# "About every 30 s", users report.
_KEEPALIVE = 30.0

# "X-Client-Request-Id" in the API reference: ASCII, at most so long.
_LONGEST_REQUEST_ID = 512


@dataclass(slots=True, kw_only=True)
class SimulatorSettings:
    """The settings of a simulator.

    ``ttft`` and ``itl`` are its pace: the times to the first token and between tokens, in seconds, or as `unspool.sim.pace.Delay`
    reads them, such as ``"20ms±5"``. ``burst`` tokens come at a time, and all streams together get ``total_tps`` in a second.
    ``rpm`` and ``tpm`` are the requests and tokens a minute that all clients together may use before they are refused with 429.
    ``seed`` changes the ids it gives, and what is drawn for each time.
    ``require_key`` is the only API key it accepts; None accepts any, and none. ``clock`` gives the Unix time in seconds; a
    `unspool.sim.clock.VirtualClock` moves all of the above by hand. Without one the time in answers is always the same, so that the same
    request is answered with the same bytes.

    ``resumable_for`` is the age in seconds, by that clock, up to which a background response is streamed again; 0 is never.
    ``event_ids`` adds an ``id`` line, equal to the sequence number, to the events of responses, and lets ``Last-Event-ID`` stand
    for ``starting_after``. OpenAI sends none, and its Python SDK fails on comments that follow one.
    ``drop_after`` closes each connection that streams, whatever the endpoint, uncleanly after so many events, at least 1; a client
    gets to the end of a background response by resuming it again and again, and of anything else only if it is shorter.

    ``faults`` are what every request meets with, as `unspool.sim.faults.table` writes them; ``script`` is what the first requests meet with
    instead, one after the other. A request's own ``X-Unspool-Fault`` header counts before both. ``dialect`` is the server that it
    takes after, a name of `unspool.sim.faults.dialects`.

    ``tapes`` are journals, and folders of them, that answer the requests they match in so far as ``tape_match`` says, but for what ``tape_ignore`` names
    (`unspool.sim.tapes.matcher.TapeMatcher`), ``tape_speed`` times as
    fast as they were recorded. Other requests are answered as without tapes, or with ``tapes_only`` refused with 404.
    ``models`` are the only names answered to, None is any; ``context_window`` is how many tokens each of them takes, None as many as
    the model of that name at OpenAI. ``strict`` has OpenAI's models insist on their endpoints and their parameters' names; ``lenient``
    lets fields pass that OpenAI does not know, as other servers do. ``keepalive`` is the silence in seconds, of a response that is
    streamed, after which a ``keepalive`` event is sent; 0 is never.

    ``answers`` are files of scripted answers (`unspool.sim.script`), which come before all others; with ``answers_only`` a request that
    none of them matches is refused with 404. ``control`` lets them be set over HTTP; None is where the server is reached by a loopback
    address. ``origins`` are the web pages that may ask besides those of this machine; "*" is any.
    """

    ttft: Delay | str | float = 0.0
    itl: Delay | str | float = 0.0
    burst: int = 1
    total_tps: float | None = None
    rpm: int | None = None
    tpm: int | None = None
    seed: int = 0
    require_key: str | None = None
    clock: Clock | Callable[[], float] | None = None
    resumable_for: float = _RESUMABLE_FOR
    event_ids: bool = False
    drop_after: int | None = None
    faults: Sequence[str] = ()
    script: Sequence[str] = ()
    dialect: str = "openai"
    tapes: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = ()
    tape_match: str = STRICT
    tape_ignore: Sequence[str] = ()
    tape_speed: float = math.inf
    tapes_only: bool = False
    models: Sequence[str] | None = None
    context_window: int | None = None
    strict: bool = False
    lenient: bool = False
    keepalive: float = _KEEPALIVE
    answers: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = ()
    answers_only: bool = False
    control: bool | None = None
    origins: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.drop_after is not None and self.drop_after < 1:
            raise ValueError(f"drop_after is a number of events, at least 1, but it is {self.drop_after}")
        if not self.tape_speed > 0:
            raise ValueError(f"tape_speed is a number above zero, or infinity, but it is {self.tape_speed}")
        if self.burst < 1:
            raise ValueError(f"burst is a number of tokens, at least 1, but it is {self.burst}")
        if self.total_tps is not None and self.total_tps <= 0:
            raise ValueError(f"total_tps is above 0, but it is {self.total_tps}")
        if self.dialect not in BY_NAME:
            raise ValueError(f"there is no dialect {self.dialect!r}, only {', '.join(BY_NAME)}")
        delay(self.ttft)
        delay(self.itl)

    @property
    def answer_paths(self) -> tuple[str | os.PathLike[str], ...]:
        """The files of scripted answers."""
        return (self.answers,) if isinstance(self.answers, str | os.PathLike) else tuple(self.answers)

    @property
    def tape_paths(self) -> tuple[str | os.PathLike[str], ...]:
        """The tapes, and folders of them."""
        return (self.tapes,) if isinstance(self.tapes, str | os.PathLike) else tuple(self.tapes)

    @property
    def rules(self) -> Rules:
        """The rules of its endpoints. Servers other than OpenAI accept unknown fields, and refuse to answer in plain text."""
        return Rules(
            self.models,
            context_window=self.context_window,
            strict=self.strict,
            lenient=self.lenient or self.dialect != "openai",
            refusals=self.dialect in ("openai", "azure", "openresponses"),
            bytes_in_deltas=self.dialect == "openresponses",
            completes_at_limit=self.dialect == "llamacpp",
            reasoning_field="reasoning" if self.dialect in _REASONING else "reasoning_content",
        )


def fault_chooser(settings: SimulatorSettings) -> FaultChooser:
    """Make the chooser of each request's faults. Raises ValueError for settings that name an unknown fault."""
    cut = () if settings.drop_after is None else (f"cut={settings.drop_after}",)
    return FaultChooser([*settings.faults, *cut], settings.script, BY_NAME[settings.dialect])


def script(settings: SimulatorSettings) -> Script:
    """The scripted answers of the settings' files. Raises ValueError, OSError."""
    loaded = Script(strict=settings.answers_only)
    for path in settings.answer_paths:
        loaded.load(path)
    return loaded


def app(
    settings: SimulatorSettings | None = None,
    faults: FaultChooser | None = None,
    tapes: TapeMatcher | None = None,
    answers: Script | None = None,
    *,
    on_miss: Callable[[str], object] = lambda text: None,
) -> ASGIApp:
    """Make the application, to be run by any ASGI server. ``faults``, ``tapes`` and ``answers`` are the settings' own if none are given.

    ``on_miss`` is called with the reason when there are tapes and none answers a request.
    """
    settings = settings or SimulatorSettings()
    if tapes is None:
        tapes = TapeMatcher(settings.tape_paths, match=settings.tape_match, ignore=settings.tape_ignore)
    if answers is None:
        answers = script(settings)
    faults = faults or fault_chooser(settings)
    given = settings.clock
    clock = given if isinstance(given, Clock) else Clock(given or time.time)
    desk = _Desk(settings, clock, answers)
    lifecycle = Lifecycle(
        pace=desk.pace,
        event_ids=settings.event_ids,
        clock=clock,
        resumable_for=settings.resumable_for,
        rules=desk.rules,
        keepalive=settings.keepalive,
        finder=desk.finder,
        faulty=desk.faulty,
    )
    one_response = responses.PATH + "/{id}"
    routes = [
        desk.route("GET", models.PATH, desk.list_models),
        desk.route("GET", models.PATH + "/{model:path}", desk.one_model),
        *(
            desk.route("POST", endpoint.PATH, desk.answer(kind))
            for endpoint, kind in ((completions, completions.Completion), (chat, chat.ChatCompletion))
        ),
        desk.route("POST", embeddings.PATH, desk.embed),
        desk.route("POST", responses.PATH, lifecycle.create),
        desk.route("POST", responses.PATH + "/input_tokens", lifecycle.count_input),
        desk.route("POST", responses.PATH + "/compact", lifecycle.compact),
        desk.route("GET", one_response, lifecycle.retrieve),
        desk.route("DELETE", one_response, lifecycle.delete),
        desk.route("POST", one_response + "/cancel", lifecycle.cancel),
        desk.route("GET", one_response + "/input_items", lifecycle.list_input),
    ]
    desk.paths = [
        f"{method} {route.path}" for route in routes for method in sorted((route.methods or set()) - {"HEAD"})
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: desk.unmatched, Exception: desk.broken})
    # OpenAI does not redirect /v1/models/ to /v1/models, and a client must not be spoilt.
    app.router.redirect_slashes = False
    player = Player(app, tapes, speed=settings.tape_speed, only=settings.tapes_only, clock=clock, on_miss=on_miss)
    control = Control(FaultMiddleware(player, faults, clock), answers, faults, clock, allowed=settings.control)
    return OriginMiddleware(control, settings.origins)


# The dialects that have thoughts in ``delta.reasoning``.
_REASONING = ("ollama", "vllm", "openrouter", "groq")

# The requests that the rate limits count: those that have something computed.
_LIMITED = (responses.PATH, chat.PATH, completions.PATH, embeddings.PATH)

_Handler = Callable[[Request, RequestIdentity], Awaitable[Response]]


class _Desk:
    """The entrance of every request and the exit of every response: checks keys, writes error bodies, adds headers."""

    def __init__(self, settings: SimulatorSettings, clock: Clock, script: Script) -> None:
        self._settings = settings
        self._clock = clock
        self._script = script
        self.paths: list[str] = []
        # Without a clock of the test's, the time in answers stands still: the same request is answered with the same bytes.
        self._dates: Callable[[], float] = clock if settings.clock is not None else lambda: models.CREATED
        self.rules = settings.rules
        self.pace = Pace(
            settings.ttft,
            settings.itl,
            burst=settings.burst,
            total_tps=settings.total_tps,
            seed=settings.seed,
            clock=clock,
        )
        self._limits = Limits(clock, rpm=settings.rpm, tpm=settings.tpm)

    def route(self, method: str, path: str, handler: _Handler) -> Route:
        async def endpoint(request: Request) -> Response:
            try:
                body = await request.body()
            except ClientDisconnect:
                # The client has gone; an exception would be logged as the application's fault.
                return Response()
            identity = self._identity(request, body)
            try:
                self._check_key(request)
                _check_request(request, body)
                if method == "POST" and path in _LIMITED:
                    self._limits.take(body)
                response = await handler(request, identity)
            except RequestError as error:
                self._mark(request, "refused")
                response = self._refused(error)
            except Exceeded as error:
                told = RequestError(str(error), status=429, type=error.kind, code="rate_limit_exceeded")
                response = self._refused(told, error.headers())
            return self._signed(response, request, identity)

        return Route("/v1" + path, endpoint, methods=[method])

    def answer(self, kind: type[completions.Completion | chat.ChatCompletion]) -> _Handler:
        """The handler of an endpoint that answers prompts and keeps nothing."""

        async def handler(request: Request, identity: RequestIdentity) -> Response:
            answer = kind(fields.parse(await request.body()), identity, self.rules, self.finder(request))
            script = answer.script
            pace = self.pace if script is None else self.pace.varied(script.ttft, script.itl)
            timing = pace.of(identity.id("pace_"))
            response: Response
            if answer.stream:
                response = EventStream(PacedFrames(answer.frames(), timing))
            else:
                response = WholeAnswer(answer.whole, timing, answer.tokens)
            return response if script is None else self.faulty(request, script, response)

        return handler

    def finder(self, request: Request) -> Find:
        """Return a function that finds the scripted answer to this request."""

        def find(asked: Asked) -> ScriptedAnswer | None:
            asked.request = request.scope.get(RECEIVED)
            return self._script.find(asked)

        return find

    def faulty(self, request: Request, script: ScriptedAnswer, response: Response) -> Response:
        """The response with the faults of a scripted answer, which the request's plan gets."""
        plan = request.scope.get(PLAN)
        if plan is None or not (script.fault or script.fault_once):
            return response
        script.plan(plan)
        if plan.refusal is not None:
            plan.refusal = BY_NAME[self._settings.dialect].worded(plan.refusal)
        return BeforeAnswer(plan, self._clock, response) if plan.precedes else response

    async def embed(self, request: Request, identity: RequestIdentity) -> Response:
        return JSONResponse(embeddings.answer(fields.parse(await request.body()), self.rules))

    async def list_models(self, request: Request, identity: RequestIdentity) -> Response:
        return JSONResponse(models.listing(self.rules))

    async def one_model(self, request: Request, identity: RequestIdentity) -> Response:
        return JSONResponse(models.one(request.path_params["model"], self.rules))

    async def unmatched(self, request: Request, error: Exception) -> Response:
        """Answer a request that no route takes."""
        status = error.status_code if isinstance(error, HTTPException) else 404
        if status == 405:
            refused = RequestError(
                f"Not allowed to {request.method} on {request.url.path}.", status=405, code="method_not_supported"
            )
        else:
            words = f"Invalid URL ({request.method} {request.url.path}). The simulator has {', '.join(self.paths)}."
            refused = RequestError(words, status=status)
        headers = getattr(error, "headers", None)
        return self._signed(self._refused(refused, headers), request, self._identity(request, b""))

    async def broken(self, request: Request, error: Exception) -> Response:
        """Answer when the simulator itself has failed; the server logs the error."""
        failed = RequestError("The simulator failed to answer this request.", status=500, type="server_error")
        return self._signed(JSONResponse(failed.body(), 500), request, self._identity(request, b""))

    def _identity(self, request: Request, body: bytes) -> RequestIdentity:
        settings = self._settings
        return RequestIdentity(
            seed=settings.seed, method=request.method, path=request.url.path, body=body, clock=self._dates
        )

    def _mark(self, request: Request, answered_by: str) -> None:
        if (received := request.scope.get(RECEIVED)) is not None:
            received.answered_by = answered_by

    def _check_key(self, request: Request) -> None:
        required = self._settings.require_key
        if required is None:
            return
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise RequestError(
                "You didn't provide an API key. Send it in an Authorization header using Bearer auth.", status=401
            )
        if not secrets.compare_digest(key.encode(), required.encode()):
            raise RequestError(f"Incorrect API key provided: {_masked(key)}.", status=401, code="invalid_api_key")

    def _refused(self, error: RequestError, headers: Mapping[str, str] | None = None) -> Response:
        body = BY_NAME[self._settings.dialect].error(error.body()["error"], error.status)
        return JSONResponse(body, error.status, headers)

    def _signed(self, response: Response, request: Request, identity: RequestIdentity) -> Response:
        """Put OpenAI's own headers on a response, or the one that others have too, and those of the plan."""
        plan: FaultPlan | None = request.scope.get(PLAN)
        if plan is not None:
            response.headers.update(plan.every)
        if self._settings.dialect != "openai":
            response.headers["x-request-id"] = identity.id("req_")
            return response
        response.headers.update(
            {
                "x-request-id": identity.id("req_"),
                "openai-version": "2020-10-01",
                "openai-organization": "unspool-simulator",
                "openai-processing-ms": str(round(delay(self._settings.ttft).mean * 1000)),
                **self._limits.headers(),
            }
        )
        return response


def _check_request(request: Request, body: bytes) -> None:
    """Reject an invalid request before its fields are read."""
    type = request.headers.get("content-type")
    # Without a type it is taken for JSON.
    if body and type is not None and type.partition(";")[0].strip().lower() != "application/json":
        raise RequestError(
            f"Unsupported content type: '{type}'. This API method only accepts 'application/json' requests.",
            code="unsupported_content_type",
        )
    id = request.headers.get("x-client-request-id", "")
    if not id.isascii() or len(id) > _LONGEST_REQUEST_ID:
        raise RequestError(
            f"X-Client-Request-Id must be ASCII of at most {_LONGEST_REQUEST_ID} characters.",
            param="X-Client-Request-Id",
        )


def _masked(key: str) -> str:
    """Part of a key, enough to recognise it. A short key is hidden completely."""
    return f"{key[:3]}{'*' * 8}{key[-4:]}" if len(key) >= 16 else "*" * 8
