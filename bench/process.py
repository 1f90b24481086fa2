"""Runs a program and counts what it cost."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

_LAUNCHER = Path(__file__).with_name("launcher.py")


class Unmeasurable(Exception):
    """Something cannot be measured here; the message says what and why."""


class Program(NamedTuple):
    """A command line, the environment that is all it gets, and the text it has to print (None for any)."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    expected: str | None = None


class Cost(NamedTuple):
    """CPU seconds, in user code and in the kernel, and what was printed."""

    cpu: float
    output: bytes


def run(program: Program) -> Cost:
    """Run a program, its stdout a pipe that is read as fast as it comes, and return its cost.

    Raises Unmeasurable when the program fails or does not print what it has to.
    """
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                program.command,
                env=program.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        except OSError as error:
            raise Unmeasurable(f"{program.command[0]}: {error.strerror}") from error
        assert process.stdout is not None
        with process.stdout as pipe:
            output = pipe.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            last = errors.read().decode(errors="replace").strip().rpartition("\n")[2]
            raise Unmeasurable(f"{_name(program)} ended with {process.returncode}: {last}")
    if program.expected is not None and output.decode(errors="replace").strip() != program.expected.strip():
        raise Unmeasurable(f"{_name(program)} did not print the whole answer")
    return Cost(usage.ru_utime + usage.ru_stime, output)


def cheapest(programs: Iterable[Program], rounds: int) -> list[float]:
    """Return the least CPU seconds of each program over some rounds, all of them once in each round.

    Taking turns lets a busy minute of the machine fall on all of them alike.
    """
    programs = list(programs)
    taken = [[run(program).cpu for program in programs] for _ in range(rounds)]
    return [min(column) for column in zip(*taken, strict=True)]


def can_count() -> bool:
    """Whether `instructions` can count here."""
    return shutil.which("valgrind") is not None


def instructions(program: Program) -> float:
    """Return the instructions that a program executes, in user code. Raises Unmeasurable, also where there is no valgrind."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise Unmeasurable("valgrind is not installed")
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        counted = (
            valgrind,
            "--tool=cachegrind",
            "--cache-sim=no",
            "--cachegrind-out-file=/dev/null",
            f"--log-file={log}",
            *program.command,
        )
        run(program._replace(command=counted))
        found = re.search(r"I\s+refs:\s+([\d,]+)", log.read_text())
    if found is None:
        raise Unmeasurable(f"valgrind counted nothing for {_name(program)}")
    return float(found[1].replace(",", ""))


def peak_memory(program: Program) -> float:
    """Return the most bytes of memory that a program held at one time."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "peak")
        launched = (sys.executable, "-I", "-S", str(_LAUNCHER), str(report), *program.command)
        run(program._replace(command=launched))
        return float(report.read_text())


def _name(program: Program) -> str:
    return " ".join(os.path.basename(part) for part in program.command[:2])
