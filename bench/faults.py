"""What other clients make of each fault of the simulator: ``python -m bench.faults`` measures, and writes ``bench/faults.json``.

Every fault of the table in ``tests/cli/test_faults_outcomes.py`` meets the openai SDK's plain loops, the ``llm`` command and curl, asked for
the same short answer as unspool. Then ``python tests/cli/test_faults_outcomes.py`` writes docs/reference/faults.md anew.
"""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

from bench import environments
from bench.process import Program
from unspool import sse
from unspool.jsontext import parse
from unspool.sim.running import Simulator
from unspool.sim.simulator import SimulatorSettings

HERE = Path(__file__).parent
RESULT = HERE / "faults.json"
OUTCOMES = HERE.parent / "tests" / "cli" / "test_faults_outcomes.py"

PATHS = {"responses": "/responses", "chat": "/chat/completions", "completions": "/completions"}
BODIES: dict[str, dict[str, Any]] = {
    "responses": {"input": "Hello", "max_output_tokens": 400},
    "chat": {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 400},
    "completions": {"prompt": "Hello", "max_tokens": 400},
}
#: Which of the endpoints each can ask.
CLIENTS = {"openai": ("responses", "chat", "completions"), "llm": ("chat", "completions"), "curl": tuple(PATHS)}

# What hangs longer is taken to hang for ever. A start of llm takes a second, or several on a busy machine.
_PATIENCE = 30.0


def main() -> int:
    """Measure, and write the result; with ``--missing``, only what the last result has not."""
    table = runpy.run_path(str(OUTCOMES))
    known = json.loads(RESULT.read_text("utf-8")) if "--missing" in sys.argv[1:] else {}
    known = known.get("faults", {}) if known.get("versions") == _versions() else {}
    faults: dict[str, dict[str, dict[str, str]]] = {}
    for fault, outcome, printed in table["OUTCOMES"]:
        if fault in known:
            faults[fault] = known[fault]
            continue
        print(f"bench: {fault}", file=sys.stderr)
        outcomes = table["each_api"](outcome)
        faults[fault] = {}
        with Simulator(SimulatorSettings(faults=[fault])) as broken, Simulator() as sound:
            whole = {api: _text(_post(sound.url, api), api) for api in PATHS}
            for client, apis in CLIENTS.items():
                asked = [api for api in apis if outcomes[api] is not None]
                faults[fault][client] = {api: _meet(client, api, broken.url, whole[api], printed) for api in asked}
    result = {"versions": _versions(), "faults": faults}
    RESULT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return 0


def _post(url: str, api: str) -> bytes:
    data = json.dumps({"model": "m-1", "stream": True, **BODIES[api]}).encode()
    headers = {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url + PATHS[api], data, headers)) as answer:
        body: bytes = answer.read()
    return body


def _meet(client: str, api: str, url: str, whole: str, printed: str) -> str:
    """Return how a client ended, and what it had printed: ``"0, its beginning"``, ``"APIError, nothing"``, ``"hangs, nothing"``."""
    with tempfile.TemporaryDirectory(prefix="unspool-bench-") as home:
        program = _program(client, api, url, Path(home))
        process = subprocess.Popen(
            program.command,
            env=program.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        hangs = False
        try:
            output, errors = process.communicate(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            hangs = True
            process.kill()
            output, errors = process.communicate()
    text = _text(output, api) if client == "curl" else output.decode("utf-8", "surrogatepass")
    if client == "llm":
        text = text.removesuffix("\n")
    ended = "hangs" if hangs else str(process.returncode)
    if client == "openai" and process.returncode == 1:
        ended = errors.decode().strip().rpartition("\n")[2]
    return f"{ended}, {_part(text, whole, printed)}"


def _part(text: str, whole: str, printed: str) -> str:
    """What a text is of the whole answer, in the words of the table."""
    if "emoji" in printed:
        whole = whole.replace(".", "😀")
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    elif "U+2028" in printed:
        whole = whole.replace(" ", "\u2028")
    if text == whole:
        return "all"
    if not text:
        return "nothing"
    return "its beginning" if whole.startswith(text) else "damaged"


def _text(body: bytes, api: str) -> str:
    """The answer in the bytes that curl prints: what a perfect reader of them could make of it."""
    decoder = sse.Decoder()
    events = [*decoder.feed(body), *decoder.close(dispatch_incomplete=True)]
    if not events and isinstance(answer := parse(body), dict):
        return _of_one_piece(answer)
    pieces = []
    for event in events:
        value = parse(event.data.encode("utf-8", "surrogatepass")) if event.data.startswith("{") else None
        if not isinstance(value, dict):
            continue
        if api == "responses":
            pieces.append(value.get("delta", "") if value.get("type") == "response.output_text.delta" else "")
            continue
        for choice in value.get("choices") or ():
            pieces.append((choice.get("delta") or {}).get("content") or choice.get("text") or "")
    return "".join(pieces)


def _of_one_piece(answer: dict[str, Any]) -> str:
    if "output" in answer:
        return str(answer["output"][0]["content"][0]["text"])
    if "choices" not in answer:
        return ""
    choice = answer["choices"][0]
    return str(choice["message"]["content"] if "message" in choice else choice["text"])


def _program(client: str, api: str, url: str, home: Path) -> Program:
    environment = {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "HOME": str(home),
        "LLM_USER_PATH": str(home / "llm"),
        "OPENAI_BASE_URL": url,
        "OPENAI_API_KEY": "no-key",
    }
    if client == "curl":
        # As a careful person would: an error's status is an error, and silence is not waited for.
        body = json.dumps({"model": "m-1", "stream": True, **BODIES[api]})
        options = (
            "-sSN",
            "--compressed",
            "--fail-with-body",
            "--max-time",
            "5",
            "-H",
            "Content-Type: application/json",
        )
        return Program((environments.curl(), *options, "-d", body, url + PATHS[api]), environment)
    if client == "openai":
        python = str(environments.rival("openai") / "python")
        return Program((python, str(HERE / "rivals" / "sdk_answer.py"), api), environment)
    (home / "llm").mkdir()
    kind = "\n  completion: true" if api == "completions" else ""
    model = f"- model_id: simulated\n  model_name: m-1\n  api_base: {url}{kind}\n"
    (home / "llm" / "extra-openai-models.yaml").write_text(model)
    program = str(environments.rival("llm") / "llm")
    return Program((program, "-m", "simulated", "--no-log", "-o", "max_tokens", "400", "Hello"), environment)


def _versions() -> dict[str, str]:
    def of(name: str) -> str:
        code = f"from importlib.metadata import version; print(version({name!r}))"
        python = str(environments.rival(name) / "python")
        return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()

    curl = subprocess.run([environments.curl(), "--version"], check=True, capture_output=True, text=True).stdout
    return {"openai": of("openai"), "llm": of("llm"), "curl": curl.split()[1]}


if __name__ == "__main__":
    sys.exit(main())
