"""Every fault against every endpoint, through the command: the outcome, the exit code, and what is printed of the answer.

The same table stands in docs/reference/faults.md, with what other clients do beside it, which ``python -m bench.faults`` measures.
``python tests/cli/test_faults_outcomes.py`` writes it there, and those of docs/how-to/simulator.md.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from unspool.outcome import EXIT_CODES
from unspool.sim.faults.dialects import TABLE as DIALECTS
from unspool.sim.faults.quirks import QUIRKS
from unspool.sim.faults.table import BY_NAME, TABLE
from unspool.sim.running import Simulator
from unspool.sim.simulator import SimulatorSettings

DOCS = Path(__file__).parents[2] / "docs"
BESIDE = Path(__file__).parents[2] / "bench" / "faults.json"
CLIENTS = ("openai", "llm", "curl")
APIS = ("responses", "chat", "completions")
PATHS = {"responses": "/responses", "chat": "/chat/completions", "completions": "/completions"}

# What is printed: all of the answer, its beginning (which may be nothing), nothing, all of it with other characters, or what
# is left when some of the events are not as they were sent.
WHOLE, BEGUN, NOTHING, DAMAGED = "all", "its beginning", "nothing", "damaged"
EMOJI, SEPARATED = "all, in emoji", "all, in U+2028"

# The faults, the outcome at each endpoint (None where the fault makes no sense), and what is printed.
OUTCOMES = (
    ("status=400", "bad_request", NOTHING),
    ("status=401", "unauthorized", NOTHING),
    ("status=403", "unauthorized", NOTHING),
    ("status=404", "bad_request", NOTHING),
    ("status=422", "bad_request", NOTHING),
    ("status=500", "server_error", NOTHING),
    ("status=503,x-should-retry:false", "server_error", NOTHING),
    ("rate-limit=300ms", "rate_limited", NOTHING),
    ("quota", "rate_limited", NOTHING),
    ("loading", "server_error", NOTHING),
    ("html", "unreachable", NOTHING),
    ("html=502", "server_error", NOTHING),
    ("json-error", "server_error", NOTHING),
    ("empty", "cut", NOTHING),
    ("unstreamed", "complete", WHOLE),
    ("hang-up", "cut", NOTHING),
    ("slow-headers=50ms", "complete", WHOLE),
    ("stall=5,50ms", "complete", WHOLE),
    ("stall=5", "cut", BEGUN),
    ("stall-byte=100", "cut", BEGUN),
    ("cut=0", "cut", NOTHING),
    ("cut=7", "cut", BEGUN),
    ("cut=7,clean", "cut", BEGUN),
    ("cut=7,reset", "cut", BEGUN),
    ("cut=7,short", "cut", BEGUN),
    ("cut=end", "complete", WHOLE),
    ("cut=end,reset", "complete", WHOLE),
    ("cut=end,short", "complete", WHOLE),
    ("cut-byte=900", "cut", BEGUN),
    ("cut-byte=900,clean", "cut", BEGUN),
    ("cut-byte=900,reset", "cut", BEGUN),
    ("unterminated", "complete", WHOLE),
    ("one-byte", "complete", WHOLE),
    ("split-utf8", "complete", EMOJI),
    ("split-emoji", "complete", EMOJI),
    ("u2028", "complete", SEPARATED),
    ("line-ends=cr", "complete", WHOLE),
    ("line-ends=crlf", "complete", WHOLE),
    ("line-ends=cr; one-byte; bom", "complete", WHOLE),
    ("bom", "complete", WHOLE),
    ("no-space", "complete", WHOLE),
    ("comments", "complete", WHOLE),
    ("pings", "complete", WHOLE),
    ("pings=empty", "complete", WHOLE),
    ("retry-line=3000", "complete", WHOLE),
    ("gzip", "complete", WHOLE),
    ("gzip=truncated", "complete", WHOLE),
    ("gzip; cut=7,clean", "cut", BEGUN),
    ("content-type=application/json", "complete", WHOLE),
    ("content-type=text/html", "complete", WHOLE),
    ("malformed=4", "server_error", DAMAGED),
    ("error=6,nested", "server_error", BEGUN),
    ("error=6,flat", "server_error", BEGUN),
    ("error=6,string", "server_error", BEGUN),
    ("error=6,object", "server_error", BEGUN),
    ("error=6,event", "server_error", BEGUN),
    ("error=6,field", "server_error", BEGUN),
    ("error=6,failed", ("server_error", None, None), BEGUN),
    ("sequence=duplicated", ("server_error", None, None), DAMAGED),
    ("sequence=lost", ("server_error", None, None), DAMAGED),
    ("sequence=reordered", ("server_error", None, None), DAMAGED),
    ("sequence=missing", ("complete", None, None), WHOLE),
    ("keepalive=4", "complete", WHOLE),
    ("done=on", "complete", WHOLE),
    ("done=off", "complete", WHOLE),
    ("done=twice", "complete", WHOLE),
    ("done=spaced", "complete", WHOLE),
    ("done=more", "complete", WHOLE),
    ("no-finish", ("cut", "complete", "complete"), WHOLE),
    ("no-finish; done=off", "cut", WHOLE),
    ("finish=length", "length", WHOLE),
    ("finish=content_filter", "filtered", WHOLE),
    ("usage=none", "complete", WHOLE),
    ("usage=every", "complete", WHOLE),
    ("usage=finish", "complete", WHOLE),
    ("usage=x_groq", "complete", WHOLE),
    ('set=response.completed,{"response":{"metadata":{"a":1.10}}}', "complete", WHOLE),
    ("drop=finish&choices.index=1", "complete", WHOLE),
    (r'insert=each,": ping\n\n"', "complete", WHOLE),
    ('item={"type":"custom","id":"i"}', ("complete", None, None), WHOLE),
    ('append=role,{"x":1}', "complete", WHOLE),
    ("unset=object,service_tier", "complete", WHOLE),
    ("finish-with-text", "complete", WHOLE),
    ("framing=untyped", "complete", WHOLE),
    ("framing=lines", "complete", WHOLE),
    ("framing=doubled", "complete", WHOLE),
    ("framing=bare", "complete", WHOLE),
    ("header=server:llama.cpp", "complete", WHOLE),
    ("needs=messages,role=user,name", (None, "bad_request", None), NOTHING),
    # Habits of real servers, by their names.
    ("done-instead", ("cut", None, None), WHOLE),
    ("done-alone", "cut", NOTHING),
    ("other-api", "cut", NOTHING),
    ("held-open", "complete", WHOLE),
    ("heartbeat-words", "complete", WHOLE),
    ("error-line", "server_error", BEGUN),
    ("limited-first", "rate_limited", NOTHING),
    ("too-long-first", "bad_request", NOTHING),
    ("minimax-error", "unauthorized", NOTHING),
    ("code-msg-200", "server_error", NOTHING),
    ("sensitive", (None, "filtered", "filtered"), WHOLE),
    ("network-error", (None, "server_error", "server_error"), WHOLE),
    ("native-finish", (None, "length", "length"), WHOLE),
    ("no-deltas", ("complete", None, None), WHOLE),
    ("items-alone", ("complete", None, None), WHOLE),
    ("nan", "complete", WHOLE),
    ("huge-integer", "complete", WHOLE),
)


def each_api(outcome):
    return dict(zip(APIS, (outcome,) * 3 if isinstance(outcome, str) else outcome, strict=True))


@pytest.fixture(scope="module")
def simulator():
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def ask(unspool, simulator):
    def ask(api, faults, url=""):
        # Only what is silent for ever has to wait for this.
        silent = faults.startswith("stall") and "," not in faults
        limits = ("--retries", "0", "--max-tokens", "400", *(("--idle-timeout", "200ms") if silent else ()))
        if not url:
            simulator.script(faults)
        options = ("--base-url", url or simulator.url, "--api", api, "-m", "m-1", "--no-stdin", *limits)
        return unspool(*options, "-N", "Hello")

    return ask


JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def answers(simulator):
    """The answer of each endpoint to the letter, as a plain HTTP client has it."""
    import urllib.request

    def whole(path, **body):
        data = json.dumps({"model": "m-1", **body}).encode()
        with urllib.request.urlopen(urllib.request.Request(simulator.url + path, data, JSON)) as answer:
            return json.load(answer)

    chat = whole(PATHS["chat"], messages=[{"role": "user", "content": "Hello"}])
    return {
        "responses": whole(PATHS["responses"], input="Hello")["output"][0]["content"][0]["text"],
        "chat": chat["choices"][0]["message"]["content"],
        "completions": whole(PATHS["completions"], prompt="Hello", max_tokens=400)["choices"][0]["text"],
    }


@pytest.mark.parametrize(("faults", "outcome", "printed"), OUTCOMES, ids=[row[0] for row in OUTCOMES])
def test_a_fault_has_its_outcome_at_every_endpoint(ask, answers, faults, outcome, printed):
    for api, expected in each_api(outcome).items():
        if expected is None:
            continue
        done = ask(api, faults)
        assert (api, done.returncode) == (api, EXIT_CODES[expected]), done.stderr
        assert done.stderr.count(b"\n") == (expected != "complete")
        check(done.stdout.decode(), answers[api], printed)


def check(text, whole, printed):
    if printed == BEGUN:
        assert whole.startswith(text)
        assert text != whole
    elif printed != DAMAGED:
        wanted = {NOTHING: "", EMOJI: whole.replace(".", "😀"), SEPARATED: whole.replace(" ", "\u2028")}
        assert text == wanted.get(printed, whole)


def test_every_fault_and_every_form_of_its_value_is_in_the_table():
    tried = " ".join(row[0] for row in OUTCOMES)
    for fault in TABLE:
        assert re.search(rf"\b{fault.name}\b", tried), fault.name
        if "|" in fault.value:
            for value in fault.value.strip("[]").split("|"):
                default = value in ("lf", "whole", "data")
                assert default or f"{fault.name}={value}" in tried, f"{fault.name}={value}"


@pytest.mark.parametrize("dialect", [each.name for each in DIALECTS])
def test_the_text_comes_whole_from_each_endpoint_that_a_dialect_has(ask, answers, dialect):
    with Simulator(SimulatorSettings(dialect=dialect)) as simulator:
        for api in APIS:
            done = ask(api, "", simulator.url)
            if api in next(each for each in DIALECTS if each.name == dialect).endpoints:
                assert (done.returncode, done.stdout.decode(), done.stderr) == (0, answers[api], b"")
            else:
                assert (done.returncode, done.stdout) == (10, b"")


# The tables of the guide


def _code(text):
    """Text as code in a cell of a table, where an escaped bar would be shown with its backslash on the site."""
    return f"<code>{text.replace('|', '&#124;')}</code>" if "|" in text else f"`{text}`"


def faults_table():
    rows = [f"| {_code(fault.form)} | {fault.does} | `{fault.example}` |" for fault in BY_NAME.values()]
    return ["| fault | what it does | example |", "|---|---|---|", *rows]


def quirks_table():
    def endpoints(quirk):
        return "all" if len(quirk.where) == len(APIS) else ", ".join(quirk.where)

    rows = [f"| `{each.name}` | {each.does} | {endpoints(each)} |" for each in QUIRKS.values()]
    return ["| name | what the server does | endpoints |", "|---|---|---|", *rows]


def dialects_table():
    def cells(dialect):
        return " | ".join("yes" if api in dialect.endpoints else "–" for api in APIS)

    rows = [f"| `{each.name}` | {each.says} | {cells(each)} |" for each in DIALECTS]
    return ["| dialect | what is different | responses | chat | completions |", "|---|---|---|---|---|", *rows]


def outcomes_table():
    beside = json.loads(BESIDE.read_text("utf-8"))["faults"]

    def cell(outcome):
        return "–" if outcome is None else f"{outcome}, {EXIT_CODES[outcome]}"

    def row(faults, outcome, printed):
        outcomes = each_api(outcome)
        others = [beside_cell(beside[faults][client], outcomes) for client in CLIENTS]
        return f"| `{faults}` | {' | '.join([*map(cell, outcomes.values()), printed, *others])} |"

    head = "| faults | responses | chat | completions | printed of the answer | `openai` | `llm` | `curl` |"
    return [head, "|---|---|---|---|---|---|---|---|", *(row(*each) for each in OUTCOMES)]


def beside_cell(found, outcomes):
    """What another client did at each endpoint, said once where it is the same at all; bold where it is a success that is none."""
    if not found:
        return "–"
    said = {api: f"**{one}**" if is_false(one, outcomes[api]) else one for api, one in found.items()}
    ways = {}
    for api, one in said.items():
        ways.setdefault(one, []).append(api)
    if len(ways) == 1:
        return next(iter(ways))
    return "; ".join(f"{one} ({', '.join(apis)})" for one, apis in ways.items())


def is_false(found, outcome):
    """Whether a client reported success (exit code 0) where the answer was not whole, or where it did not print it."""
    code, _, printed = found.partition(", ")
    return code == "0" and (outcome != "complete" or printed != "all")


def summary():
    """How often other clients report success for an answer that is not whole."""
    beside = json.loads(BESIDE.read_text("utf-8"))
    lines = []
    for client in CLIENTS:
        met = [(faults, each_api(outcome), beside["faults"][faults][client]) for faults, outcome, _ in OUTCOMES]
        met = [(faults, outcomes, found) for faults, outcomes, found in met if found]
        broken = [one for one in met if any(one[1][api] != "complete" for api in one[2])]
        taken = [one for one in broken if any(is_false(one[2][api], one[1][api]) for api in one[2])]
        lost = [one for one in met if one not in broken and any(is_false(one[2][api], "complete") for api in one[2])]
        whole = [one for one in met if one not in broken]
        refused = [one for one in whole if any(not one[2][api].startswith("0,") for api in one[2])]
        lines.append(
            f"- `{client}` {beside['versions'][client]} reports success in {len(taken)} of the {len(broken)} rows in which the answer is"
            f" incomplete. Of the {len(whole)} in which it is complete, it fails in {len(refused)}, and silently prints something else in {len(lost)}."
        )
    return lines


TABLES = {
    "how-to/simulator.md": {"faults": faults_table, "quirks": quirks_table, "dialects": dialects_table},
    "explanation/comparison.md": {"summary": summary},
    "reference/faults.md": {"summary": summary, "outcomes": outcomes_table},
}


def with_tables(name):
    """The text of a guide with each table between its marks written anew."""
    guide = (DOCS / name).read_text("utf-8")
    for mark, table in TABLES[name].items():
        between = re.compile(rf"(<!-- {mark} -->\n).*?(<!-- end -->)", re.DOTALL)
        text = "\n".join(table()) + "\n"
        guide, count = between.subn(lambda found, text=text: found[1] + text + found[2], guide)
        assert count == 1, f"{name} has no place for the table of {mark}"
    return guide


@pytest.mark.skipif(not DOCS.exists(), reason="the guides are not installed")
@pytest.mark.parametrize("name", TABLES)
def test_the_guide_has_the_tables_that_hold(name):
    assert (DOCS / name).read_text("utf-8") == with_tables(name), "run: python tests/cli/test_faults_outcomes.py"


@pytest.mark.skipif(not BESIDE.exists(), reason="the measurements are not installed")
def test_every_row_was_met_by_the_other_clients_too():
    beside = json.loads(BESIDE.read_text("utf-8"))
    assert list(beside["faults"]) == [row[0] for row in OUTCOMES], "run: python -m bench.faults"
    for faults, outcome, _ in OUTCOMES:
        sensible = {api for api, one in each_api(outcome).items() if one is not None}
        assert set(beside["faults"][faults]["openai"]) == set(beside["faults"][faults]["curl"]) == sensible
        assert set(beside["faults"][faults]["llm"]) == sensible - {"responses"}


if __name__ == "__main__":
    for name in TABLES:
        (DOCS / name).write_text(with_tables(name), "utf-8")
