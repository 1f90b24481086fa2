"""Clients as people write and run them, each in a process of its own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.waiting import PATIENCE

from . import asking

NODE = Path(__file__).parent.parent / "node"

SCRIPT = """\
import json
import sys

import requests
import sseclient

response = requests.post(
    sys.argv[1] + "/completions",
    stream=True,
    headers={"Accept": "text/event-stream", "Authorization": "Bearer sk-test"},
    json={
        "model": "text-davinci-003",
        "prompt": "What is Python?",
        "max_tokens": 100,
        "temperature": 0,
        "stream": True,
    },
)
for event in sseclient.SSEClient(response).events():
    if event.data == "[DONE]":
        break
    print(json.loads(event.data)["choices"][0]["text"], end="", flush=True)
"""


def run(*command, **environment):
    """What a command prints, on a machine whose proxies, if any, have no part in it."""
    environment = {**os.environ, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", **environment}
    done = subprocess.run(command, env=environment, capture_output=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_the_script_everybody_writes_prints_the_answer(simulator, client, tmp_path):
    pytest.importorskip("requests")
    pytest.importorskip("sseclient")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    answer = client.post("/completions", model="text-davinci-003", prompt="What is Python?", max_tokens=100)
    assert run(sys.executable, str(script), simulator.url) == answer["choices"][0]["text"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_streams_an_answer(simulator):
    ask = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    command = ("curl", "-sN", "-H", "Content-Type: application/json", "-d", json.dumps(ask))
    assert run(*command, simulator.url + "/chat/completions").endswith("\n\ndata: [DONE]\n\n")


def node_modules():
    """Where npm has put the openai package: in $UNSPOOL_NODE_MODULES, or by `npm install` in tests/node."""
    folder = Path(os.environ.get("UNSPOOL_NODE_MODULES") or NODE / "node_modules")
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    if not (folder / "openai").is_dir():
        pytest.skip(f"no openai package in {folder}: run `npm install` in tests/node, or set UNSPOOL_NODE_MODULES")
    return folder


def test_the_openai_package_for_node_streams_all_three_endpoints(simulator, client, tmp_path):
    # An ES module finds packages beside itself, and nowhere that an environment variable could name.
    (tmp_path / "node_modules").symlink_to(node_modules(), target_is_directory=True)
    script = shutil.copy(NODE / "stream.mjs", tmp_path)
    question = "What is Python?"
    chat = client.post("/chat/completions", model="m", messages=[{"role": "user", "content": question}])
    assert json.loads(run("node", "--preserve-symlinks", script, simulator.url)) == {
        "completions": client.post("/completions", model="m", prompt=question, max_tokens=400)["choices"][0]["text"],
        "chat": chat["choices"][0]["message"]["content"],
        "responses": client.post("/responses", model="m", input=question)["output"][0]["content"][0]["text"],
    }


def test_the_openai_package_for_node_adds_up_calls_and_json(simulator, client, tmp_path):
    (tmp_path / "node_modules").symlink_to(node_modules(), target_is_directory=True)
    script = shutil.copy(NODE / "tools.mjs", tmp_path)
    functions = [tool for tool in asking.CHAT_TOOLS if tool["type"] == "function"]
    asks = {
        "calls": {"model": "m", "messages": asking.said("get weather and roll dice"), "tools": functions},
        "schema": asking.of(asking.CHAT)["schema"],
        "response": asking.of(asking.RESPONSES)["calls"],
    }
    calls = client.post(asking.CHAT, **asks["calls"])["choices"][0]["message"]["tool_calls"]
    output = client.post(asking.RESPONSES, **asks["response"])["output"]
    assert json.loads(run("node", "--preserve-symlinks", script, simulator.url, json.dumps(asks))) == {
        "calls": [[call["function"]["name"], call["function"]["arguments"]] for call in calls],
        "schema": client.post(asking.CHAT, **asks["schema"])["choices"][0]["message"]["content"],
        "response": [[item["name"], item["arguments"]] for item in output],
    }
