"""``unspool models``: what a server offers."""

from __future__ import annotations

from unspool import outcome
from unspool.api import failure as failures
from unspool.cli.access import advice, check, whom_to_ask, with_simulator
from unspool.cli.options import CommandError
from unspool.client.http import Request, route_to, whole
from unspool.jsontext import dumps, parse
from unspool.masking import Mask, secrets_of
from unspool.outcome import Ending
from unspool.terminal.output import Notes, Output
from unspool.terminal.safety import one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.cli.options.setup import ModelsOptions
    from unspool.client.http.whole import Reply
    from unspool.config.target import Target


def run(options: ModelsOptions) -> int:
    """Print the ids of a server's models, sorted, one a line."""
    return with_simulator(options, _list)


def _list(options: ModelsOptions) -> int:
    notes = Notes(Output(2))
    target = whom_to_ask(options, None)
    check(target, notes)
    ending, models = fetch(target, options.timeout, use_proxy=not options.sim)
    if ending is not None:
        raise CommandError(outcome.sentence(ending, None, advice(ending, target)), ending.exit_code)
    stdout = Output(1)
    if options.json:
        stdout.write(stdout.safe(dumps(models) + "\n"))
        return 0
    # On a terminal the default is marked; a program gets names only.
    marked = target.model if stdout.is_tty else None
    stdout.write("".join(f"{one}{' (default)' if one == marked else ''}\n" for one in names(models)))
    return 0


def fetch(target: Target, timeout: float, *, use_proxy: bool = True) -> tuple[Ending | None, object]:
    """Return the server's list of models, or how getting it failed."""
    headers = {"Accept": "application/json", **target.headers, **target.auth_headers()}
    reply = whole.fetch(
        Request("GET", target.url("/models"), headers, route=route_to(target, use_proxy=use_proxy)), timeout
    )
    return read_list(target, reply)


def read_list(target: Target, reply: Reply) -> tuple[Ending | None, object]:
    """Return the list of models that a server answered with, or what is wrong with its answer."""
    if reply.fault is not None:
        return Ending(reply.fault.outcome, reply.fault.message), None
    if reply.status != 200:
        failure = failures.from_response(reply.status, reply.headers, reply.body)
        message = Mask([target.key], secrets_of(target.headers, target.query)).text(failure.message)
        return Ending(outcome.of_failure(failure), message, failure=failure), None
    models = parse(reply.body)
    if not isinstance(models, dict | list):
        return Ending(
            outcome.UNREACHABLE, f"the answer of {target.base_url} is not a list of models; check the base URL"
        ), None
    return None, models


def names(models: object) -> list[str]:
    """The ids in a server's list of models, sorted and safe to show."""
    entries = models.get("data", models.get("models")) if isinstance(models, dict) else models
    listed = entries if isinstance(entries, list) else []
    found = [one.get("id") or one.get("name") for one in listed if isinstance(one, dict)]
    return sorted(one_line(str(one)) for one in found if one)
