"""The guide "Test your app": its Python and its JavaScript pass as they stand there."""

import json
import re
import shutil
import sys
import tomllib
from pathlib import Path

import pytest

from support.pytests import run_pytest
from unspool.cli import commands
from unspool.cli.options import parser
from unspool.sim.script import Script

from . import node

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "how-to" / "testing.md"
pytestmark = pytest.mark.skipif(not GUIDE.exists(), reason="the guide is not beside the tests")


# Where `unspool` is: beside the Python that runs this.
PATH = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)


def test_the_support_bot_and_its_tests_pass(tmp_path):
    pytest.importorskip("openai")
    bot, tests = blocks("python")
    (tmp_path / "bot.py").write_text(bot)
    done = run_pytest(tmp_path, tests, "--rootdir", str(tmp_path), "--import-mode=prepend")
    assert (done.returncode, "3 passed" in done.stdout) == (0, True), done.stdout
    # Twenty lines each, as the guide promises to whoever compares.
    assert all(len(block.splitlines()) < 35 for block in (bot, tests))


@pytest.mark.parametrize("runner", ["vitest", "jest"])
def test_the_javascript_tests_pass(tmp_path, runner):
    packages = node.modules("openai", runner)
    (tmp_path / "node_modules").symlink_to(packages, target_is_directory=True)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    simulator, test, _ = blocks("js")
    if runner == "jest":
        test = test.replace('"vitest"', '"@jest/globals"')
    (tmp_path / "simulator.js").write_text(simulator)
    (tmp_path / "bot.test.js").write_text(test)
    command = [str(packages / ".bin" / runner)] + (["run"] if runner == "vitest" else ["--rootDir", str(tmp_path)])
    done = node.run(tmp_path, *command, PATH=PATH, NODE_OPTIONS="--preserve-symlinks --experimental-vm-modules")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout + done.stderr


def test_the_page_and_its_playwright_tests_pass(tmp_path):
    packages = node.modules("@playwright/test")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    (tmp_path / "node_modules").symlink_to(packages, target_is_directory=True)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    launch = {"executablePath": chromium, "args": ["--no-sandbox", "--disable-gpu"]}
    use = {"browserName": "chromium", "launchOptions": launch}
    config = {"timeout": 240_000, "expect": {"timeout": 120_000}, "use": use}
    (tmp_path / "playwright.config.js").write_text(f"export default {json.dumps(config)}")
    (page,) = blocks("html")
    simulator, _, test = blocks("js")
    for name, text in (("page.html", page), ("simulator.js", simulator), ("page.spec.js", test)):
        (tmp_path / name).write_text(text)
    done = node.run(tmp_path, str(packages / ".bin" / "playwright"), "test", "--reporter=line", PATH=PATH)
    assert (done.returncode, "2 passed" in done.stdout) == (0, True), done.stdout + done.stderr


def test_the_workflows_and_the_dockerfile_start_the_simulator_with_options_that_exist():
    yaml = pytest.importorskip("yaml")
    alone, with_service = [yaml.safe_load(block)["jobs"]["test"] for block in blocks("yaml")]
    run = alone["steps"][1]["run"]
    (command,) = re.findall(r"\((unspool .*) &\)", run)
    assert options_of_sim(command.split()[1:]).answers
    (dockerfile,) = blocks("dockerfile")
    listening = options_of_sim(json.loads(dockerfile.partition("CMD ")[2])[1:])
    (port,) = with_service["services"]["model"]["ports"]
    assert (listening.host, port) == ("0.0.0.0", f"{listening.port}:{listening.port}")


def options_of_sim(words):
    command, rest = commands.of(words)
    assert command.name == "sim"
    return parser.read(command, rest)


def test_the_file_of_answers_is_read():
    (text,) = blocks("toml")
    script = Script()
    assert len(script.read(tomllib.loads(text))) == 3
    assert script.strict


@pytest.mark.skipif(not (ROOT / ".ci").exists(), reason="the pinned versions are not beside the tests")
def test_the_clients_and_suites_of_the_guide_have_the_versions_that_are_tried():
    pinned = dict(re.findall(r'"([^"]+)": "([\d.]+)"', (ROOT / "tests" / "node" / "package.json").read_text("utf-8")))
    for path in (ROOT / ".ci").glob("*.txt"):
        pinned |= {
            name: pinned.get(name) or version
            for name, version in re.findall(r"(?m)^([\w-]+)==([\w.]+)$", path.read_text("utf-8"))
        }
    named = re.findall(r"(?m)^\| `([^`]+)`(.*?) \| ([\d.]+) \|", GUIDE.read_text("utf-8"))
    assert len(named) == 15
    for name, more, version in named:
        python = name == "openai" and "Python" in more
        known = (
            re.search(r"(?m)^openai==(.*)$", (ROOT / ".ci" / "requirements.txt").read_text("utf-8"))[1]
            if python
            else pinned[name]
        )
        assert (name, version) == (name, known)
