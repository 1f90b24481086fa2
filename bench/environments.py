"""A virtual environment for each thing measured: unspool as a user would install it, and each rival at fixed versions.

They are kept in ``.bench/`` and made anew when what they hold changes. Nothing is measured from the source tree: an installed wheel
has its bytecode beside it, and that is what users run.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from functools import cache
from pathlib import Path

from bench.process import Unmeasurable

_ROOT = Path(__file__).parent.parent
_CACHE = _ROOT / ".bench"
_RIVALS = Path(__file__).parent / "rivals"
_PINS = _ROOT / ".ci" / "requirements.txt"


@cache
def unspool() -> Path:
    """Build the wheel, install it, and return the folder of its programs."""
    sources = sorted(path for path in (_ROOT / "src").rglob("*") if path.suffix in (".py", ".typed"))
    contents = [path.read_bytes() for path in [*sources, _ROOT / "pyproject.toml", _PINS]]
    wheels = _CACHE / "wheel"

    def install(pip: list[str]) -> None:
        shutil.rmtree(wheels, ignore_errors=True)
        _call([*pip, "wheel", "--no-deps", "--wheel-dir", str(wheels), str(_ROOT)])
        [wheel] = wheels.glob("*.whl")
        _call([*pip, "install", "--constraint", str(_PINS), f"{wheel}[valkey]"])

    return _made("unspool", contents, install)


def rival(name: str) -> Path:
    """Install what ``rivals/<name>.txt`` lists and return the folder of its programs. Raises Unmeasurable."""
    found = _try_rival(name)
    if isinstance(found, Unmeasurable):
        raise found
    return found


@cache
def _try_rival(name: str) -> Path | Unmeasurable:
    # A failure is remembered too: without a network each attempt takes minutes.
    try:
        return _rival(name)
    except Unmeasurable as error:
        return error


def _rival(name: str) -> Path:
    requirements = _RIVALS / f"{name}.txt"
    return _made(
        name,
        [requirements.read_bytes()],
        lambda pip: _call([*pip, "install", "--no-deps", "--requirement", str(requirements)]),
    )


def versions() -> list[str]:
    """The rivals and their versions, as their pins say."""
    named = ("openai", "llm", "httpx-sse", "requests", "sseclient-py", "rich", "streamdown")
    pins = {line.strip() for path in sorted(_RIVALS.glob("*.txt")) for line in path.read_text().splitlines()}
    return sorted(pin.replace("==", " ") for pin in pins if pin.partition("==")[0] in named)


def curl() -> str:
    """Return the system's curl. Raises Unmeasurable."""
    found = shutil.which("curl")
    if found is None:
        raise Unmeasurable("curl is not installed")
    return found


def _made(name: str, contents: list[bytes], install: Callable[[list[str]], None]) -> Path:
    folder = _CACHE / name
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    digest = hashlib.sha256(
        b"\0".join([sys.version.encode(), sysconfig.get_platform().encode(), *contents])
    ).hexdigest()
    made = folder / "made-of"
    if not made.exists() or made.read_text() != digest:
        print(f"bench: installing {name}", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        _call([sys.executable, "-m", "venv", str(folder)])
        install([str(programs / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet"])
        made.write_text(digest)
    return programs


def _call(command: list[str]) -> None:
    # pip compiles what it installs, unless it is told that nobody wants bytecode.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr or done.stdout).strip().rpartition("\n")[2]
        raise Unmeasurable(f"{' '.join(command[1:5])} failed: {last}")
