"""``python -m bench``: measure, and print the table."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from importlib import import_module
from pathlib import Path

from bench import environments
from bench.process import Unmeasurable
from bench.report import Row, insert, markdown, table
from bench.setting import setting

#: The measurements, each a module of that name with ``measure(setting)``, which yields rows.
NAMES = ("start", "events", "decoder", "first_token", "memory", "many", "gateway", "nodes", "markdown", "simulator")


def main() -> int:
    """Measure what the command line names; return 1 when a budget is not met, 2 when unspool cannot be installed, else 0."""
    words = {name: (import_module(f"bench.{name}").__doc__ or "").partition("\n")[0] for name in NAMES}
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure unspool beside other ways to stream an answer, and say which of its budgets it keeps.",
        epilog="measurements:\n" + "\n".join(f"  {name:<12} {line}" for name, line in words.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only", action="append", choices=NAMES, metavar="NAME", help="one measurement; may be repeated"
    )
    parser.add_argument(
        "--quick", action="store_true", help="fewer events and fewer repetitions: minutes less, noisier"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well, in base units")
    parser.add_argument(
        "--markdown",
        type=Path,
        metavar="FILE",
        help="put the table there as Markdown, between the marks of docs/benchmarks.md if it has them",
    )
    arguments = parser.parse_args()

    try:
        environments.unspool()
    except Unmeasurable as error:
        print(f"bench: unspool cannot be installed: {error}", file=sys.stderr)
        return 2
    measured: dict[str, list[Row]] = {}
    with setting(arguments.quick) as here:
        for name in arguments.only or NAMES:
            print(f"bench: {name}", file=sys.stderr)
            rows = measured[name] = []
            try:
                for row in import_module(f"bench.{name}").measure(here):
                    rows.append(row)
            except Unmeasurable as error:
                rows.append(Row(name, None, note=f"not measured: {error}"))
    rows = [row._replace(line=f"{name}: {row.line}") for name, rows in measured.items() for row in rows]
    print(table(f"unspool beside others, on {machine()}", rows))
    if arguments.json:
        arguments.json.write_text(
            json.dumps({"machine": machine(), "rows": [row.as_json() for row in rows]}, indent=1, ensure_ascii=False)
        )
    if arguments.markdown:
        command = "python -m bench" + "".join(f" --only {name}" for name in arguments.only or ())
        command += " --quick" if arguments.quick else ""
        insert(arguments.markdown, markdown(f"unspool {version()}, on {machine()}", rows, command))
    return 1 if any(row.is_met is False for row in rows) else 0


def version() -> str:
    """The version measured, and beside which versions of the others."""
    program = "import importlib.metadata as m; print(m.version('unspool'))"
    found = subprocess.run(
        [str(environments.unspool() / "python"), "-c", program], capture_output=True, text=True, check=True
    ).stdout.strip()
    return f"{found} beside {', '.join(environments.versions())}"


def machine() -> str:
    """Say what this was measured on, and how busy that was."""
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores{load}, Python {platform.python_version()}"


sys.exit(main())
