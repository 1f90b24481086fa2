"""What ``--json`` prints is what the published JSON Schema says: at all endpoints, whatever becomes of the answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from unspool import outcome
from unspool.cli import main
from unspool.sim.faults.table import TABLE
from unspool.sim.running import Simulator

from .pages import DOCS

SCHEMA = DOCS / "reference" / "stream-json.schema.json"
pytestmark = pytest.mark.skipif(not SCHEMA.exists(), reason="the documentation is not beside the tests")
APIS = ("responses", "chat", "completions")
TOOL = '{"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}'


@pytest.fixture(scope="module")
def validator() -> Any:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(SCHEMA.read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator() as running:
        yield running


@pytest.fixture
def lines(
    validator: Any,
    simulator: Simulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Callable[..., list[dict[str, Any]]]:
    """Run the command with ``--json`` and return the lines, each of which the schema takes."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("UNSPOOL_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def run(*arguments: str, url: str = simulator.url) -> list[dict[str, Any]]:
        given = (
            "ask",
            "-q",
            "--json",
            "--no-stdin",
            "--retries",
            "0",
            "--idle-timeout",
            "0.3",
            "-m",
            "m-1",
            "--base-url",
            url,
        )
        main([*given, *arguments])
        printed = [json.loads(line) for line in capfd.readouterr().out.split("\n") if line]
        for one in printed:
            errors = [error.message for error in validator.iter_errors(one)]
            assert not errors, (one, errors[:3])
        assert [one["type"] for one in printed].count("end") == 1
        assert printed[-1]["type"] == "end"
        return printed

    return run


def kinds(printed: list[dict[str, Any]]) -> set[str]:
    return {one["type"] for one in printed}


@pytest.mark.parametrize("api", APIS)
def test_every_line_of_a_whole_answer_is_as_the_schema_says(lines: Any, api: str) -> None:
    printed = lines("--api", api, "--stats", "json", "Hi in 5 tokens")
    assert kinds(printed) == {"start", "text", "finish", "usage", "stats", "end"}


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("fault", [each.name for each in TABLE])
def test_every_line_under_a_fault_is_as_the_schema_says(lines: Any, simulator: Simulator, api: str, fault: str) -> None:
    simulator.script(next(each.example for each in TABLE if each.name == fault).replace("2s", "20ms"))
    assert lines("--api", api, "--stats", "json", "Hi in 9 tokens")


@pytest.mark.parametrize("api", ["responses", "chat"])
def test_tool_calls_reasoning_and_refusals_are_as_the_schema_says(lines: Any, tmp_path: Path, api: str) -> None:
    (tmp_path / "tool.json").write_text(TOOL)
    assert {"tool_call_delta", "tool_call"} <= kinds(
        lines("--api", api, "--tool", str(tmp_path / "tool.json"), "get weather")
    )
    assert "refusal" in kinds(lines("--api", api, "Tell me [refuse]"))
    thinking = (
        ("-o", "reasoning", '{"effort":"low","summary":"auto"}')
        if api == "responses"
        else ("-o", "reasoning_effort", "low")
    )
    printed = lines("--api", api, *thinking, "-m", "gpt-5.4", "What is Python?")
    assert api == "chat" or "reasoning" in kinds(printed)


@pytest.mark.parametrize("api", ["responses", "chat"])
def test_partial_objects_are_as_the_schema_says(lines: Any, api: str) -> None:
    assert {"partial", "object"} <= kinds(lines("--api", api, "--schema", "name, age int", "Invent a person"))


def test_an_answer_that_never_began_is_as_the_schema_says(lines: Any) -> None:
    (end,) = lines("Hi", url="http://127.0.0.1:9/v1")
    assert end["outcome"] == "unreachable"


def test_the_schema_names_every_outcome(validator: Any) -> None:
    assert set(validator.schema["$defs"]["outcome"]["enum"]) >= set(outcome.EXIT_CODES)


def test_the_schema_refuses_what_is_not_said(validator: Any) -> None:
    assert not validator.is_valid({"type": "text", "text": "", "choice": 0, "at": 0.1})
    assert not validator.is_valid({"type": "other"})
    assert not validator.is_valid({"type": "end", "outcome": "complete"})
