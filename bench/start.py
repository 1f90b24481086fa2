"""How much is executed from the command's start to its end, for an answer of one token."""

from __future__ import annotations

from collections.abc import Iterator

from bench import environments
from bench.process import Program, Unmeasurable, cheapest, instructions
from bench.report import Budget, Row
from bench.setting import Setting, attempt

_LIMIT = 110e6
_CONFIG_LIMIT = 30e6
_IMPORT_LIMIT = 8e6
_SCRIPT = "some versions of pip write a script that imports re, others one that does not"
_CONFIG = """\
profile = "lab"

[profiles.lab]
base_url = "{url}/v1"
api = "chat"
model = "n=1"
key_env = "OPENAI_API_KEY"
"""


def measure(setting: Setting) -> Iterator[Row]:
    """Yield the rows: unspool itself, with a configuration file, and what others cost until they have done the same or less."""
    count, unit, note = instructions, "instructions", ""
    asking = setting.command()
    try:
        instructions(_bare(setting))
    except Unmeasurable as error:
        note = f"CPU seconds, for {error}"
        unit = "s"
        count = _cpu
    ours = count(asking)
    limit = Budget("unspool", _LIMIT) if unit == "instructions" else None
    yield Row('unspool "hi"', ours, unit=unit, budget=limit, note=note)
    yield Row("the same without pip's script", count(_scriptless(asking, setting)), "with it", ours, unit, note=_SCRIPT)
    configured = count(_configured(setting))
    more = Budget("more", _CONFIG_LIMIT) if unit == "instructions" else None
    yield Row('unspool "hi", with a config.toml', configured, "without one", ours, unit, more, note)
    bare = count(_bare(setting))
    more = Budget("more", _IMPORT_LIMIT) if unit == "instructions" else None
    yield Row("import unspool", count(_bare(setting, "import unspool")), "python -c pass", bare, unit, more, note)
    rivals = {
        "python -c pass": lambda: _bare(setting),
        "curl": lambda: setting.curl("n=1"),
        "the tutorial's script": lambda: setting.rival("tutorial", "tutorial.py", "n=1"),
        "import openai, no more": lambda: _import_openai(setting),
        "llm hi": lambda: _llm(setting),
    }
    for name, program in rivals.items():
        theirs, why = attempt(lambda program=program: count(program()))
        yield Row('unspool "hi"', ours, name, theirs, unit, note=why)


def _cpu(program: Program) -> float:
    return cheapest([program], 15)[0]


def _configured(setting: Setting) -> Program:
    program = setting.command()
    folder = setting.home / ".config" / "unspool"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "elsewhere.toml").write_text(_CONFIG.format(url=setting.url))
    environment = {**program.environment, "UNSPOOL_CONFIG": str(folder / "elsewhere.toml")}
    del environment["OPENAI_BASE_URL"]
    return Program((program.command[0], "hi"), environment, program.expected)


def _scriptless(asking: Program, setting: Setting) -> Program:
    python = str(environments.unspool() / "python")
    return asking._replace(command=(python, "-c", "from unspool.cli import program; program()", *asking.command[1:]))


def _bare(setting: Setting, statement: str = "pass") -> Program:
    return Program((str(environments.unspool() / "python"), "-c", statement), setting.environment)


def _import_openai(setting: Setting) -> Program:
    return Program((str(environments.rival("openai") / "python"), "-c", "import openai"), setting.environment)


def _llm(setting: Setting) -> Program:
    folder = setting.home / "llm"
    folder.mkdir(exist_ok=True)
    (folder / "extra-openai-models.yaml").write_text(
        f"- model_id: load\n  model_name: n=1\n  api_base: {setting.url}/v1\n"
    )
    command = (str(environments.rival("llm") / "llm"), "-m", "load", "hi")
    return Program(command, setting.environment, setting.command().expected)
