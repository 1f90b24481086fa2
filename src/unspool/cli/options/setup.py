"""The commands that look at servers and keep what asking them needs, as data."""

from __future__ import annotations

from unspool.cli import commands
from unspool.cli.options import Command, Option, Options, Words, seconds
from unspool.cli.options.shared import MODEL_OPTION, SERVER_OPTIONS, ServerOptions


class ModelsOptions(ServerOptions):
    """The options of ``unspool models``."""

    json: bool = False
    timeout: float = 30.0


class DoctorOptions(ServerOptions):
    """The options of ``unspool doctor``."""

    model: str | None = None
    no_ask: bool = False
    json: bool = False
    timeout: float = 30.0


class ConfigOptions(ServerOptions):
    """The options of ``unspool config``."""

    json: bool = False


class KeyOptions(Options):
    """For an action on a setting."""

    key: str = ""


class SettingOptions(KeyOptions):
    """For an action on a setting and a value."""

    value: str = ""


class NoOptions(Options):
    """For a command that takes none."""


class NameOptions(Options):
    """For an action that takes a name."""

    name: str = ""


class OptionalNameOptions(Options):
    """For an action that may take a name."""

    name: str | None = None


class CompletionOptions(Options):
    """The options of ``unspool completion``."""

    shell: str = ""


_TIMEOUT = Option("--timeout TIME", "time limit for each request (default: {default} s)", type=seconds)
_SERVERS_ONLY = "it takes options only; choose the server with -P or --base-url"

MODELS = Command(
    "models",
    "list the models of a server",
    lambda options: commands.models.run(options),
    ModelsOptions,
    (*SERVER_OPTIONS, Option("--json", "print the server's list, as JSON"), _TIMEOUT),
    description="List the models of a server, sorted, one per line.",
    examples="unspool models\nunspool models -P ollama",
    excess=_SERVERS_ONLY,
)
DOCTOR = Command(
    "doctor",
    "test every step from the configuration to the first token",
    lambda options: commands.doctor.run(options),
    DoctorOptions,
    (
        MODEL_OPTION,
        *SERVER_OPTIONS,
        Option("--no-ask", "do not send a request to the model"),
        Option("--json", "print one JSON object per step and line"),
        _TIMEOUT,
    ),
    description="Test every step from the configuration to the first token. The output contains no key, so you can paste it into a bug report.",
    examples="""\
unspool doctor
unspool doctor -P ollama -m llama3.2
unspool doctor --no-ask            skips the request to the model, which costs a few tokens
unspool doctor --json\
""",
    excess=_SERVERS_ONLY,
)
FAULTS = Command(
    "faults",
    "list the faults that the simulator can inject",
    lambda options: commands.faults.run(options),
    NoOptions,
    description="List the faults that the simulator can inject, one per line.",
    examples="unspool faults\nunspool sim --fault cut=7",
)
_KEY_NAME = Words(
    "name",
    "NAME",
    "a profile (openai, groq, …), or the host[:port] of a server without one",
    least=1,
    missing="which key? Name a profile, such as openai, or the host of a server",
)
KEYS = Command(
    "keys",
    "store, list and remove API keys",
    lambda options: commands.keys.list_names(options),
    NoOptions,
    description="Store API keys in a file that only you can read.",
    examples="""\
unspool keys set openai              prompts for the key
pass show openai | unspool keys set openai
unspool keys list\
""",
    excess="its actions are set, remove, list and path",
    actions=(
        Command(
            "keys set",
            "store a key; it is prompted for, or read from stdin",
            lambda options: commands.keys.store(options),
            NameOptions,
            words=(_KEY_NAME,),
            examples="unspool keys set openai",
            excess="for safety the key is not a command-line argument: it is prompted for, or read from stdin",
        ),
        Command(
            "keys remove",
            "remove a key",
            lambda options: commands.keys.remove(options),
            NameOptions,
            words=(_KEY_NAME,),
            examples="unspool keys remove openai",
        ),
        Command(
            "keys list",
            "list the names of the stored keys (the default)",
            lambda options: commands.keys.list_names(options),
            NoOptions,
        ),
        Command("keys path", "print the path of the key file", lambda options: commands.keys.path(options), NoOptions),
    ),
)
_SETTING = Words(
    "key",
    "KEY",
    "model, profile, api, sync, reasoning, think_tags, breaks, aliases.NAME, or a key of a profile such as profiles.NAME.model",
    least=1,
    missing="which setting? unspool config lists them",
)
CONFIG = Command(
    "config",
    "show and change settings",
    lambda options: commands.config.show(options),
    ConfigOptions,
    (*SERVER_OPTIONS, Option("--json", "print one JSON object per line")),
    description="Show the current settings and where each comes from.",
    examples="""\
unspool config
unspool config set model gpt-5.4
unspool config set aliases.fast gpt-5.4-nano      then: unspool -m fast
unspool config set profile ollama
unspool config edit\
""",
    excess="its actions are set, unset, edit and path",
    actions=(
        Command(
            "config set",
            "change a setting in the configuration file",
            lambda options: commands.config.store(options),
            SettingOptions,
            words=(_SETTING, Words("value", "VALUE", "the value", least=1, missing="which value?")),
            examples="unspool config set aliases.fast gpt-5.4-nano",
        ),
        Command(
            "config unset",
            "remove a setting from the configuration file",
            lambda options: commands.config.remove(options),
            KeyOptions,
            words=(_SETTING,),
            examples="unspool config unset model",
        ),
        Command(
            "config edit",
            "open the configuration file in $VISUAL or $EDITOR",
            lambda options: commands.config.edit(options),
            NoOptions,
        ),
        Command(
            "config path",
            "print the path of the configuration file",
            lambda options: commands.config.path(options),
            NoOptions,
        ),
    ),
)
_TEMPLATE = Words("name", "NAME", "the template", least=1, missing="which template? unspool templates lists them")
TEMPLATES = Command(
    "templates",
    "list, show, edit and remove templates",
    lambda options: commands.templates.list_all(options),
    NoOptions,
    description="Manage templates, which are prompts to use again: unspool … --save NAME saves one, unspool -t NAME uses it.",
    examples="""\
unspool 'Translate to $lang: $input' --save translate
unspool -t translate -p lang French "Good morning"
unspool templates
unspool templates edit translate\
""",
    excess="its actions are list, show, edit, rm and path",
    actions=(
        Command(
            "templates list",
            "list the templates with their parameters (the default)",
            lambda options: commands.templates.list_all(options),
            NoOptions,
        ),
        Command(
            "templates show",
            "print a template",
            lambda options: commands.templates.show(options),
            NameOptions,
            words=(_TEMPLATE,),
            examples="unspool templates show translate",
        ),
        Command(
            "templates edit",
            "edit a template, or create one, in $VISUAL or $EDITOR",
            lambda options: commands.templates.edit(options),
            NameOptions,
            words=(_TEMPLATE,),
            examples="unspool templates edit translate",
        ),
        Command(
            "templates rm",
            "remove a template",
            lambda options: commands.templates.remove(options),
            NameOptions,
            words=(_TEMPLATE,),
            examples="unspool templates rm translate",
        ),
        Command(
            "templates path",
            "print the folder of the templates, or the file of one",
            lambda options: commands.templates.path(options),
            OptionalNameOptions,
            words=(Words("name", "NAME", "the template"),),
            examples="unspool templates path translate",
        ),
    ),
)
COMPLETION = Command(
    "completion",
    "print a shell's completion script",
    lambda options: commands.completion.run(options),
    CompletionOptions,
    words=(Words("shell", "SHELL", "bash, zsh or fish", least=1, missing="which shell? bash, zsh or fish"),),
    description="Print a completion script for your shell. It completes commands, options, their values, and the ids of saved answers.",
    examples="""\
source <(unspool completion bash)        bash: put this line into ~/.bashrc
source <(unspool completion zsh)         zsh: into ~/.zshrc, after compinit
unspool completion fish > ~/.config/fish/completions/unspool.fish\
""",
    excess="one shell at a time",
)

COMMANDS = (MODELS, DOCTOR, FAULTS, CONFIG, KEYS, TEMPLATES, COMPLETION)
