"""Completion of command lines: what the command offers, and that real shells put it where the cursor is."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from support.waiting import PATIENCE
from unspool.cli import commands
from unspool.cli.commands import completion
from unspool.cli.options import candidates
from unspool.sim.running import Simulator


@pytest.fixture
def offered(unspool):
    """What is offered at the end of a command line, whose last word may be empty."""

    def ask(*words, shell="zsh"):
        done = unspool("completion", "candidates", shell, *words)
        assert (done.returncode, done.stderr) == (0, b"")
        return done.stdout.decode().splitlines()

    return ask


@pytest.fixture
def kept(unspool):
    """A whole answer and one that was cut, as the short pieces of their ids, the newest first."""
    with Simulator() as simulator:  # at once, where --sim takes a model's time
        there = ("--base-url", simulator.url, "-m", "sim-1", "--no-stdin")
        unspool(*there, "--max-tokens", "4", "Count to; then $(touch bad)\n\x1b[2J")
        unspool(*there, "What is Python?")
    # What ids have in common a shell would fill in first, and chance now and then gives two the same first character.
    for path, piece in zip(unspool.journals(), ("AAAAAA", "BBBBBB"), strict=True):
        path.rename(path.with_name(f"{path.stem[:-6]}{piece}{path.suffix}"))
    return [path.stem[-6:] for path in reversed(unspool.journals())]


def values(lines):
    return [line.partition("\t")[0] for line in lines]


def test_every_command_is_offered_first(offered):
    assert values(offered("")) == list(commands.NAMES)


def test_runs_are_offered_by_name_and_else_files(unspool, offered):
    (unspool.home / "prompts.jsonl").write_text('{"prompt": "hi in 1 token"}\n')
    unspool("run", str(unspool.home / "prompts.jsonl"), "--sim", "--name", "night")
    for command in ("log", "search", "stats"):
        assert values(offered(command, "--run", "ni")) == ["night"]
        assert offered(command, "--run", "prom") == offered("-f", "prom")


def test_every_command_has_a_parser_that_knows_its_help():
    for name in commands.NAMES:
        found = candidates.candidates([name, "--h"])
        assert "--help" in [one.value for one in found], name


def test_options_of_the_default_command_are_offered_without_its_name(offered):
    assert values(offered("--format")) == ["--format"]
    assert values(offered("ask", "--format")) == ["--format"]


def test_an_option_brings_its_help_along(offered):
    assert offered("--no-std") == ["--no-stdin\tdo not read stdin"]


def test_an_option_that_is_given_is_not_offered_again_unless_it_can_be(offered):
    assert "--quiet" not in values(offered("-q", "--"))
    assert "--file" in values(offered("-f", "a", "--"))


def test_choices_are_offered_after_their_option_in_both_spellings(offered):
    assert values(offered("--format", "s")) == ["stream-json", "sse"]
    assert values(offered("--format=s")) == ["--format=stream-json", "--format=sse"]


def test_the_value_of_an_option_is_not_taken_for_an_option_or_a_command(offered):
    assert offered("-s", "--fo") == []
    assert values(offered("-s", "show", "--cid=x", "--dry")) == ["--dry-run"]


def test_nothing_but_words_follows_two_dashes(offered):
    assert offered("--", "--fo") == []


def test_files_are_left_to_the_shell(offered):
    for words in (["-f", "n"], ["-a", ""], ["--file=n"], ["--at", "x"], ["run", "p"], ["show", "./x"]):
        assert offered(*words) == [":files"], words


def test_the_second_value_of_a_pair_is_its_own(offered):
    assert values(offered("--at", "x", "image/p")) == ["image/png"]
    assert values(offered("--at", "x", "image/png", "--dry")) == ["--dry-run"]


def test_profiles_are_offered_built_in_and_configured(unspool, offered):
    folder = unspool.home / "config" / "unspool"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text('[profiles.ours]\nbase_url = "http://127.0.0.1:1/v1"\nmodel = "ours-7b"\n')
    assert offered("-P", "ou") == ["ours\thttp://127.0.0.1:1/v1"]
    assert "ollama" in values(offered("models", "--profile", ""))
    assert offered("-m", "ours") == ["ours-7b\tthe default of ours"]


def test_a_configuration_that_cannot_be_read_leaves_the_built_in_profiles(unspool, offered):
    folder = unspool.home / "config" / "unspool"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text("[[[")
    assert values(offered("-P", "olla")) == ["ollama"]


def test_actions_of_a_command_and_their_names_are_offered(unspool, offered):
    assert values(offered("keys", "")) == ["set", "remove", "list", "path"]
    assert values(offered("keys", "set", "groq")) == ["groq"]
    unspool("--save", "translate", "To French: $input")
    assert values(offered("templates", "rm", "")) == ["translate"]
    assert values(offered("-t", "tr")) == ["translate"]


def test_kept_answers_are_offered_by_id_with_their_question_the_newest_first(kept, offered):
    assert offered("show", "")[0] == f"{kept[0]}\tWhat is Python?"
    assert values(offered("show", "")) == kept
    assert values(offered("--cid", kept[1][:4].lower())) == [kept[1]]


def test_an_id_begun_at_its_beginning_is_offered_whole(unspool, kept, offered):
    ids = [path.stem for path in reversed(unspool.journals())]
    assert values(offered("rm", ids[0][:2])) == ids


def test_only_an_answer_that_is_not_whole_is_offered_to_resume(kept, offered):
    assert values(offered("resume", "")) == [kept[1]]


def test_only_a_stream_that_runs_is_offered_to_attach_and_cancel(unspool, kept, offered):
    assert offered("cancel", "") == offered("attach", "") == []


def test_a_question_with_control_characters_is_one_safe_line(kept, offered):
    assert offered("resume", "") == [f"{kept[1]}\tCount to; then $(touch bad) ␛[2J"]


def test_a_name_that_a_shell_would_obey_is_not_offered(unspool, offered):
    with Simulator() as simulator:
        for name in ("x;touch$IFS bad", "x-plain:7b"):
            unspool("--base-url", simulator.url, "--no-stdin", "-m", name, "hi")
    assert values(offered("-m", "x")) == ["x-plain:7b"]


def test_bash_is_given_only_the_piece_of_a_word_that_it_replaces(offered):
    assert offered("--format", "=", "s", shell="bash") == ["stream-json", "sse"]
    assert offered("--format", "=", shell="bash")[0] == "text"
    assert offered("-m", "gpt", shell="bash") == ["gpt-5.4-mini"]


def test_the_help_says_where_the_script_goes(unspool):
    done = unspool("completion")
    assert done.returncode == 2
    assert b"bash, zsh or fish" in done.stderr
    assert b"~/.zshrc" in unspool("completion", "--help").stdout


def needs(shell):
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"there is no {shell} here")


@pytest.fixture
def shell_path(unspool) -> Path:
    """A folder with the command in it, which is first on the path."""
    folder = unspool.home / "bin"
    folder.mkdir()
    command = folder / "unspool"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m unspool "$@"\n')
    command.chmod(0o755)
    unspool.env["PATH"] = f"{folder}{os.pathsep}{unspool.env['PATH']}"
    return folder


class Shell:
    """A shell at a terminal, in which someone types."""

    def __init__(self, argv, unspool):
        self._ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, 100))
        self._child = subprocess.Popen(
            argv, stdin=theirs, stdout=theirs, stderr=theirs, env={**unspool.env, "TERM": "xterm", "PS1": "> "}, cwd=unspool.home,
            start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        self.output = b""

    def type(self, text):
        os.write(self._ours, text.encode())

    def until(self, cue):
        """Read until this is on the screen, as pyte has it."""
        pyte = pytest.importorskip("pyte")
        deadline = time.monotonic() + PATIENCE
        while True:
            screen = pyte.Screen(100, 24)
            pyte.ByteStream(screen).feed(self.output)
            lines = "\n".join(line.rstrip() for line in screen.display)
            if cue in lines:
                return lines
            if not select.select([self._ours], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise AssertionError(f"{cue!r} is not in\n{lines}")
            self.output += os.read(self._ours, 1 << 16)

    def close(self):
        self._child.kill()
        self._child.wait()
        os.close(self._ours)


@pytest.fixture
def at_shell(unspool, shell_path):
    shells = []

    def start(*argv):
        shells.append(Shell(argv, unspool))
        return shells[-1]

    yield start
    for shell in shells:
        shell.close()


@needs("bash")
def test_bash_completes_at_its_prompt(at_shell):
    shell = at_shell("bash", "--norc", "--noprofile", "-i")
    shell.type("source <(unspool completion bash); echo re''ady\n")
    shell.until("\nready")
    shell.type("unspool doct\t--no-as\t--api=comp\t")
    shell.until("unspool doctor --no-ask --api=completions")


@needs("bash")
def test_bash_completes_the_names_of_files_with_its_own_quoting(unspool, at_shell):
    (unspool.home / "a note.txt").write_text("")
    shell = at_shell("bash", "--norc", "--noprofile", "-i")
    shell.type("source <(unspool completion bash); echo re''ady\n")
    shell.until("\nready")
    shell.type("unspool -f a\\ n\t")
    shell.until("unspool -f a\\ note.txt")


@needs("zsh")
def test_zsh_completes_at_its_prompt_and_shows_questions_beside_ids(unspool, at_shell, kept):
    shell = at_shell("zsh", "-f", "-i")
    shell.type("PS1='> '; autoload -U compinit; compinit -u -D; source <(unspool completion zsh); echo re''ady\n")
    shell.until("\nready")
    shell.type("unspool --format=stre\t --dry-r\t")
    shell.until("unspool --format=stream-json --dry-run")
    shell.type("\x15unspool show \t")
    lines = shell.until("What is Python?")
    assert kept[0] in lines


@needs("zsh")
def test_zsh_loads_the_script_from_its_path_of_functions(unspool, at_shell):
    folder = unspool.home / "functions"
    folder.mkdir()
    (folder / "_unspool").write_bytes(unspool("completion", "zsh").stdout)
    shell = at_shell("zsh", "-f", "-i")
    shell.type("PS1='> '; fpath=(~/functions $fpath); autoload -U compinit; compinit -u -D; echo re''ady\n")
    shell.until("\nready")
    shell.type("unspool doct\t--no-as\t")
    shell.until("unspool doctor --no-ask")


@needs("fish")
def test_fish_completes_and_shows_questions_beside_ids(unspool, shell_path, kept):
    (unspool.home / "notes.txt").write_text("")

    def complete(line):
        program = f"unspool completion fish | source; complete -C '{line}'"
        done = subprocess.run(
            ["fish", "--no-config", "-c", program],
            env=unspool.env,
            cwd=unspool.home,
            capture_output=True,
            timeout=PATIENCE,
        )
        assert done.stderr == b""
        return done.stdout.decode().splitlines()

    assert complete("unspool doct")[0].startswith("doctor\ttest every step")
    assert complete("unspool show ")[0] == f"{kept[0]}\tWhat is Python?"
    assert values(complete("unspool --format=st")) == ["--format=stream-json"]
    assert complete("unspool -f not")[0].startswith("notes.txt")
    assert complete("unspool --file=not")[0].startswith("--file=notes.txt")


@pytest.mark.parametrize(("shell", "check"), [("bash", ["-n"]), ("zsh", ["-n"]), ("fish", ["--no-execute"])])
def test_the_script_is_one_that_its_shell_can_read(shell, check, tmp_path):
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    script = tmp_path / "script"
    script.write_text(completion._SCRIPTS[shell])
    done = subprocess.run([shell, *check, str(script)], capture_output=True, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (0, b"")
