"""The guide "Test your app": its Python and its JavaScript pass as they stand there."""

import re
import sys
import tomllib
from pathlib import Path

import pytest

from unspool.sim.script import Script

from . import node
from .test_pytest_plugin import run_pytest

GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "testing.md"
pytestmark = pytest.mark.skipif(not GUIDE.exists(), reason="the guide is not beside the tests")


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
    simulator, test = blocks("js")
    if runner == "jest":
        test = test.replace('"vitest"', '"@jest/globals"')
    (tmp_path / "simulator.js").write_text(simulator)
    (tmp_path / "bot.test.js").write_text(test)
    command = [str(packages / ".bin" / runner)] + (["run"] if runner == "vitest" else ["--rootDir", str(tmp_path)])
    # Where `unspool` is: beside the Python that runs this.
    path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    done = node.run(tmp_path, *command, PATH=path, NODE_OPTIONS="--preserve-symlinks --experimental-vm-modules")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout + done.stderr


def test_the_file_of_answers_is_read():
    (text,) = blocks("toml")
    script = Script()
    assert len(script.read(tomllib.loads(text))) == 3
    assert script.strict
