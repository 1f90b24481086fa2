"""unspool's own command, asked for everything that the simulator can answer: nothing is lost, and the end is told as it is."""

import json
import os
import shlex
import subprocess
import sys

import pytest

from support.waiting import PATIENCE

from . import asking
from .asking import CHAT, COMPLETIONS, RESPONSES

APIS = {CHAT: "chat", RESPONSES: "responses", COMPLETIONS: "completions"}
ENDS = {"length": ("length", 8), "max_output_tokens": ("length", 8), "content_filter": ("filtered", 9)}


@pytest.mark.parametrize(("path", "ask"), [pytest.param(*rest, id=name) for name, *rest in asking.ALL])
def test_the_command_passes_on_all_of_an_answer(simulator, client, tmp_path, path, ask):
    # The client has nothing stored that it is not told to.
    more = {"store": True} if ask.get("background") else {}
    options = [
        word for name, value in (ask | more).items() for word in ("-o", name, json.dumps(value)) if name != "model"
    ]
    command = shlex.split(os.environ.get("UNSPOOL_COMMAND") or f"{shlex.quote(sys.executable)} -m unspool")
    arguments = ["--no-stdin", "--json", "--base-url", simulator.url, "--api", APIS[path], "-m", ask["model"]]
    done = subprocess.run(
        [*command, *arguments, *options, "Hello"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "UNSPOOL_HOME": str(tmp_path), "OPENAI_API_KEY": "k"},
        capture_output=True,
        timeout=PATIENCE,
    )
    deltas = [json.loads(line) for line in done.stdout.splitlines()]
    whole = client.post(path, **{**ask, "background": False} if path == RESPONSES else ask)
    expected, reason = said_in(path, whole)
    assert said(deltas) == expected, done.stderr
    outcome, code = ENDS.get(reason, ("complete", 0))
    assert (deltas[-1]["outcome"], done.returncode) == (outcome, code), done.stderr
    counted = next(delta for delta in deltas if delta["type"] == "usage")
    usage = whole["usage"]
    assert counted["total_tokens"] == usage["total_tokens"]
    details = usage.get("completion_tokens_details") or usage.get("output_tokens_details") or {}
    assert (counted["reasoning_tokens"] or 0) == details.get("reasoning_tokens", 0)


def said(deltas):
    """What each choice says: its text, its refusal, its thoughts, and its calls as names and arguments."""
    choices = {}
    for delta in deltas:
        own = choices.setdefault(delta.get("choice", 0), {"text": "", "refusal": "", "reasoning": "", "calls": []})
        if delta["type"] in own:
            own[delta["type"]] += delta["text"]
        elif delta["type"] == "tool_call":
            own["calls"].append((delta["name"], delta["arguments"]))
    return list(choices.values())


def said_in(path, whole):
    """The same of an answer in one piece, and why its first choice ended."""
    if path == RESPONSES:
        reason = (whole["incomplete_details"] or {}).get("reason", "stop")
        return [
            {
                "text": "".join(part.get("text", "") for part in parts(whole, "content")),
                "refusal": "".join(part.get("refusal", "") for part in parts(whole, "content")),
                # A blank line stands between the parts of a summary.
                "reasoning": "\n\n".join(part["text"] for part in parts(whole, "summary")),
                "calls": [
                    (item["name"], item.get("arguments", item.get("input")))
                    for item in whole["output"]
                    if item["type"].endswith("_call")
                ],
            }
        ], reason
    choices = []
    for choice in whole["choices"]:
        message = choice.get("message") or {"content": choice["text"]}
        calls = [call[call["type"]] for call in message.get("tool_calls", [])]
        calls += [message["function_call"]] if "function_call" in message else []
        choices.append(
            {
                "text": message["content"] or "",
                "refusal": message.get("refusal") or "",
                "reasoning": "",
                "calls": [(call["name"], call.get("arguments", call.get("input"))) for call in calls],
            }
        )
    return choices, whole["choices"][0]["finish_reason"]


def parts(whole, name):
    return [part for item in whole["output"] for part in item.get(name, [])]
