"""``unspool run --shard``: several processes share the lines of a file, and their parts are one result."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading

import pytest

from support.waiting import PATIENCE
from support.wire import error, head, piece, start, stream

COUNT = 24


def _asked(connection):
    return connection.json["messages"][-1]["content"]


def _echo(connection):
    connection.send(stream("chat", _asked(connection)))


def _file(unspool, count=COUNT):
    path = unspool.home / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"p{number}"}) + "\n" for number in range(count)))
    return str(path)


def _texts(printed):
    return [json.loads(line)["text"] for line in printed.splitlines()]


ALL = [f"p{number}" for number in range(COUNT)]


def test_shards_ask_each_line_once_and_their_parts_are_merged_in_order(unspool, serve):
    server, path = serve(_echo), _file(unspool)
    shares = []
    for index in range(3):
        done = unspool("run", path, "--shard", f"{index}/3", "--base-url", server.url, "-m", "m")
        assert done.returncode == 0
        shares.append(_texts(done.stdout))
    assert all(shares)
    assert sorted(text for share in shares for text in share) == sorted(ALL) == sorted(map(_asked, server.requests))
    # It asks nothing, and need not be told what the shards were told.
    merged = unspool("run", path, "--merge")
    assert (merged.returncode, _texts(merged.stdout)) == (0, ALL)
    assert merged.stderr == b"unspool: 24 of 24 answered\n"
    assert len(server.requests) == COUNT


def test_a_killed_shard_asks_again_only_for_what_was_not_complete(unspool, serve):
    path = _file(unspool)
    held, resumed = threading.Semaphore(0), threading.Event()
    answered = []

    def answer(connection):
        if len(answered) >= 3 and not resumed.is_set():
            connection.send(head() + start("chat") + piece("chat", "half"))
            held.release()
            connection.wait_closed()
        else:
            answered.append(_asked(connection))
            _echo(connection)

    server = serve(answer)
    arguments = ("run", path, "--shard", "1/2", "--concurrency", "1", "--base-url", server.url, "-m", "m")
    child = unspool.start(*arguments)
    assert held.acquire(timeout=PATIENCE)
    os.kill(child.pid, signal.SIGKILL)
    child.communicate(timeout=PATIENCE)
    status = unspool("run", path, "--status")
    assert status.returncode == 1
    assert b"1/2: 3 of " in status.stdout
    assert b", 1 failed (1 interrupted)" in status.stdout
    before, resumed_from = len(server.requests), list(answered)
    resumed.set()
    done = unspool(*arguments)
    assert done.returncode == 0
    assert set(resumed_from) <= set(_texts(done.stdout))
    assert not set(resumed_from) & {_asked(request) for request in server.requests[before:]}


def test_the_status_counts_every_part_and_names_those_that_are_missing(unspool, serve):
    server, path = serve(_echo), _file(unspool)
    arguments = ("--base-url", server.url, "-m", "m")
    unspool("run", path, "--shard", "0/2", *arguments)
    status = unspool("run", path, "--status")
    first, second, all = status.stdout.decode().splitlines()
    assert status.returncode == 1
    assert first.startswith("0/2: ")
    assert "not asked" not in first
    assert second.startswith("1/2: 0 of ")
    assert second.endswith(" not asked yet; it is missing here")
    assert all.startswith("all: ")
    unspool("run", path, "--shard", "1/2", *arguments)
    status = unspool("run", path, "--status")
    assert (status.returncode, status.stdout.splitlines()[-1]) == (0, b"all: 24 of 24 answered")


def test_what_failed_is_merged_and_decides_the_exit_code(unspool, serve):
    def answer(connection):
        connection.send(error(400, "No.") if _asked(connection) == "p3" else stream("chat", _asked(connection)))

    path = _file(unspool)
    server = serve(answer)
    for index in range(2):
        unspool("run", path, "--shard", f"{index}/2", "--base-url", server.url, "-m", "m")
    merged = unspool("run", path, "--merge")
    results = [json.loads(line) for line in merged.stdout.splitlines()]
    assert (merged.returncode, len(results), results[3]["outcome"]) == (10, COUNT, "bad_request")
    assert merged.stderr == b"unspool: 23 of 24 answered, 1 failed\n"
    assert b"all: 23 of 24 answered, 1 failed (1 bad_request)" in unspool("run", path, "--status").stdout


def test_parts_of_several_machines_with_servers_of_their_own_are_joined_by_copying(unspool, serve, tmp_path):
    path, other = _file(unspool), tmp_path / "other"
    unspool("run", path, "--shard", "0/2", "--name", "night", "--base-url", serve(_echo).url, "-m", "m")
    elsewhere = ("--shard", "1/2", "--name", "night", "--base-url", serve(_echo).url, "-m", "another")
    here = unspool.env["UNSPOOL_HOME"]
    unspool.env["UNSPOOL_HOME"] = str(other)
    unspool("run", path, *elsewhere)
    unspool.env["UNSPOOL_HOME"] = here
    missing = unspool("run", path, "--merge", "--name", "night")
    assert (missing.returncode, missing.stdout) == (1, b"")
    assert b"shard 1/2 of " in missing.stderr
    assert b"is missing" in missing.stderr
    shutil.copytree(other / "runs" / "night", unspool.streams.parent / "runs" / "night", dirs_exist_ok=True)
    assert _texts(unspool("run", path, "--merge", "--name", "night").stdout) == ALL


def test_a_line_that_was_not_asked_is_missed_by_a_merge(unspool, serve):
    path = _file(unspool, 2)
    unspool("run", path, "--base-url", serve(_echo).url, "-m", "m")
    path = _file(unspool, 3)
    merged = unspool("run", path, "--merge", "-q")
    assert (merged.returncode, _texts(merged.stdout)) == (1, ["p0", "p1"])
    assert b"2 of 3 answered, 1 without a result: shard 0/1 must finish first" in merged.stderr


def test_another_number_of_shards_is_refused_and_leaves_no_part(unspool, serve):
    server, path = serve(_echo), _file(unspool)
    arguments = ("--base-url", server.url, "-m", "m")
    unspool("run", path, "--shard", "0/2", *arguments)
    before = len(server.requests)
    for other in (("--shard", "0/3"), ()):
        done = unspool("run", path, *other, *arguments)
        assert (done.returncode, done.stdout) == (1, b"")
        assert b"give the same N as before, or --name another" in done.stderr
    assert len(server.requests) == before
    assert unspool("run", path, "--shard", "1/2", *arguments).returncode == 0
    assert unspool("run", path, "--shard", "0/3", "--name", "three", *arguments).returncode == 0


@pytest.mark.parametrize("text", ["3", "1/", "/2", "-1/2", "2/2", "0/0", "a/b", "1/2/3", "1.0/2", "٠/٢"])
def test_what_is_no_shard_is_refused(unspool, text):
    done = unspool("run", _file(unspool), "--sim", "--shard", text)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"shard" in done.stderr


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "-x", "a b", "ä" * 51])
def test_what_cannot_be_the_name_of_a_run_is_refused(unspool, name):
    done = unspool("run", _file(unspool), "--sim", f"--name={name}")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"cannot be a run's name" in done.stderr


@pytest.mark.parametrize("option", ["--merge", "--status"])
def test_there_is_nothing_to_merge_or_count_before_a_run(unspool, option):
    done = unspool("run", _file(unspool), option)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"no part of " in done.stderr
    assert unspool("run", _file(unspool), option, "--shard", "0/2").returncode == 2


def test_a_shard_that_runs_is_not_begun_again_and_holds_no_other(unspool, serve):
    server, path = serve(lambda connection: connection.wait_closed()), _file(unspool)
    arguments = ("--base-url", server.url, "-m", "m")
    child = unspool.start("run", path, "--shard", "0/2", *arguments)
    assert server.arrived.wait(PATIENCE)
    done = unspool("run", path, "--shard", "0/2", *arguments)
    assert (done.returncode, b"shard 0/2 of " in done.stderr, b"another process" in done.stderr) == (1, True, True)
    assert b"running" in unspool("run", path, "--status").stdout
    assert unspool("run", path, "--shard", "1/2", "--base-url", serve(_echo).url, "-m", "m").returncode == 0
    child.kill()
    child.communicate(timeout=PATIENCE)


def _recipe(unspool, command):
    """Run a recipe of the documentation in the folder of the prompts, and return what is merged after it."""
    environ = {**unspool.env, "PATH": f"{unspool.home / 'bin'}:{unspool.env['PATH']}"}
    done = subprocess.run(["sh", "-c", command], cwd=unspool.home, env=environ, capture_output=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return _texts(unspool("run", str(unspool.home / "prompts.jsonl"), "--merge").stdout)


@pytest.fixture
def on_path(unspool):
    """Put the command on a PATH of its own, as an installed one is."""
    folder = unspool.home / "bin"
    folder.mkdir()
    script = folder / "unspool"
    command = os.environ.get("UNSPOOL_COMMAND") or f"{shlex.quote(sys.executable)} -m unspool"
    script.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    script.chmod(0o755)


def test_the_recipe_with_xargs_answers_each_line_once(unspool, serve, on_path):
    server = serve(_echo)
    _file(unspool)
    command = f"seq 0 3 | xargs -P 4 -I{{}} sh -c 'unspool run prompts.jsonl --shard {{}}/4 --base-url {server.url} -m m > part-{{}}.jsonl'"
    assert _recipe(unspool, command) == ALL
    assert len(server.requests) == COUNT


@pytest.mark.skipif(shutil.which("parallel") is None, reason="GNU parallel is not installed")
def test_the_recipe_with_gnu_parallel_answers_each_line_once(unspool, serve, on_path):
    server = serve(_echo)
    _file(unspool)
    command = f"seq 0 3 | parallel --retries 3 'unspool run prompts.jsonl --shard {{}}/4 --base-url {server.url} -m m > part-{{}}.jsonl'"
    assert _recipe(unspool, command) == ALL
    assert len(server.requests) == COUNT


def test_the_answers_of_a_run_stay_out_of_what_a_person_asked(unspool, serve):
    server = serve(_echo)
    arguments = ("--base-url", server.url, "-m", "m")
    unspool("Mine", *arguments)
    unspool("run", _file(unspool, 3), *arguments)
    assert unspool("last").stdout.strip() == b"Mine"
    assert len(unspool("log").stdout.splitlines()) == 1
    assert unspool("search", "p1").returncode == 1
    assert b"1 answer" in unspool("stats", "--all").stdout
    unspool("-c", "More", *arguments)
    assert [one["content"] for one in server.requests[-1].json["messages"]] == ["Mine", "Mine", "More"]


def test_a_run_is_listed_by_its_name_its_beginning_or_its_file(unspool, serve):
    path = _file(unspool, 3)
    unspool("run", path, "--base-url", serve(_echo).url, "-m", "m")
    unspool("run", path, "--name", "other", "--base-url", serve(_echo).url, "-m", "m")
    for name in (path, "prompts", "other"):
        listed = unspool("log", "--run", name)
        assert (listed.returncode, len(listed.stdout.splitlines())) == (0, 3)
    assert len(unspool("search", "p1", "--run", "other").stdout.splitlines()) == 1
    assert json.loads(unspool("stats", "--run", "other", "--json").stdout)["answers"] == 3
    records = [json.loads(line) for line in unspool("log", "--run", "other", "--json").stdout.splitlines()]
    assert sorted(one["text"] for one in records) == ["p0", "p1", "p2"]
    missing = unspool("log", "--run", "none")
    assert (missing.returncode, missing.stdout) == (1, b"")
    assert b"no run has a name that begins with 'none'; there are other, prompts-" in missing.stderr


def test_an_answer_of_a_run_is_shown_exported_listed_as_it_runs_and_removed_by_its_id(unspool, serve):
    path = _file(unspool, 2)
    done = unspool("run", path, "--base-url", serve(_echo).url, "-m", "m")
    one = json.loads(done.stdout.splitlines()[0])
    assert unspool("show", one["id"]).stdout.decode().strip() == one["text"]
    assert one["text"] in unspool("export", one["id"]).stdout.decode()
    assert unspool("rm", "-y", one["id"]).returncode == 0
    assert len(unspool("log", "--run", path).stdout.splitlines()) == 1
    server = serve(lambda connection: connection.wait_closed())
    child = unspool.start("run", path, "--name", "slow", "--concurrency", "1", "--base-url", server.url, "-m", "m")
    assert server.arrived.wait(PATIENCE)
    assert len(unspool("ps").stdout.splitlines()) == 1
    child.kill()
    child.communicate(timeout=PATIENCE)


def test_a_run_is_pruned_by_age_and_never_by_number(unspool, serve):
    unspool("run", _file(unspool, 3), "--base-url", serve(_echo).url, "-m", "m")
    assert unspool("prune", "--keep", "0", "-y").stdout.startswith(b"removed 0 answers")
    assert unspool("prune", "--older-than", "0s", "-y").stdout.startswith(b"removed 3 answers")
    assert not unspool.journals()
