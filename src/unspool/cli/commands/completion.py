"""``unspool completion``: what a shell is told so that Tab completes command lines of unspool.

The scripts know nothing of the options. At each Tab they ask the command, ``unspool completion candidates SHELL WORD…``, so that they
never grow stale, and one implementation serves every shell.
"""

from __future__ import annotations

from unspool.cli.options import scan
from unspool.terminal.output import Notes, Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

#: The line that stands for: complete the names of files.
FILES = ":files"

_BASH = """\
_unspool() {
    COMPREPLY=()
    local line
    while IFS= read -r line; do
        if [[ $line == :files ]]; then
            compopt -o default 2>/dev/null
        else
            COMPREPLY+=("$line")
        fi
    done < <("${1/#\\~/$HOME}" completion candidates bash "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _unspool unspool
"""

# -U: the candidates have been chosen already, by more than how they begin; -V: in an order that means something.
_ZSH = """\
#compdef unspool
_unspool() {
    local value description files=0
    local -a values shown
    while IFS=$'\\t' read -r value description; do
        if [[ $value == :files ]]; then
            files=1
        else
            values+=("$value")
            shown+=("${(r:26:)value}${description:+  $description}")
        fi
    done < <("${words[1]/#\\~/$HOME}" completion candidates zsh "${(@Q)words[2,CURRENT]}" 2>/dev/null)
    if (( files )); then
        compset -P '--*='
        _files
    else
        compadd -l -U -V unspool -d shown -a values
    fi
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _unspool "$@"
else
    compdef _unspool unspool
fi
"""

_FISH = """\
function __unspool_candidates
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    for line in ($words[1] completion candidates fish $words[2..-1] "$current" 2>/dev/null)
        if test "$line" = :files
            set -l option (string match -r '^--[^=]*=' -- "$current")
            for path in (__fish_complete_path (string replace -r '^--[^=]*=' '' -- "$current"))
                echo -- "$option"$path
            end
        else
            echo -- $line
        end
    end
end
complete -c unspool -f -k -a '(__unspool_candidates)'
"""

_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
_EXAMPLES = """\
  source <(unspool completion bash)        bash: put this line into ~/.bashrc
  source <(unspool completion zsh)         zsh: into ~/.zshrc, after compinit
  unspool completion fish > ~/.config/fish/completions/unspool.fish\
"""


def run(name: str, argv: list[str]) -> int:
    """Print the script of a shell, or for such a script what may stand where the cursor is."""
    # The words of a command line that is not this one: they are not parsed as if they were.
    if argv[:1] == ["candidates"] and len(argv) > 2:
        return _tell(argv[1], argv[2:])
    arguments = scan((), argv, "shell")
    if arguments is None or len(arguments["shell"]) != 1 or arguments["shell"][0] not in _SCRIPTS:
        from unspool.cli.options.parser import build, read

        parser = build(
            "unspool completion",
            (),
            rest="shell",
            metavar="SHELL",
            rest_help="bash, zsh or fish",
            examples=_EXAMPLES,
            description="Print what makes a shell complete command lines: commands, options, their values, and the ids of kept answers.",
        )
        arguments = read(parser, argv)
        if len(arguments["shell"]) != 1 or arguments["shell"][0] not in _SCRIPTS:
            parser.error("which shell? bash, zsh or fish")
    stdout = Output(1)
    stdout.write(_SCRIPTS[arguments["shell"][0]])
    if stdout.is_tty:
        Notes(Output(2)).line(f"this is for the shell to read; unspool {name} --help says where to put it")
    return 0


def _tell(shell: str, words: Sequence[str]) -> int:
    from unspool.cli.options.candidates import candidates

    partial = words[-1]
    if shell == "bash":
        words, partial = _rejoined(words)
    found = candidates(words)
    if found is None:
        Output(1).write(FILES + "\n")
        return 0
    # bash replaces no more than the last of the pieces it has cut the word into.
    kept = len(words[-1]) - len(partial)
    lines = []
    for one in found:
        lines.append(one.value[kept:] if shell == "bash" else f"{one.value}\t{one.description}".rstrip())
    Output(1).write("".join(line + "\n" for line in lines))
    return 0


def _rejoined(words: Sequence[str]) -> tuple[list[str], str]:
    """The words as they were typed, and the piece of the last one that is to be replaced.

    bash cuts words at ``=`` and ``:``, which are pieces of their own then.
    """
    whole: list[str] = []
    for at, word in enumerate(words):
        cut = word in ("=", ":") or (at > 0 and words[at - 1] in ("=", ":"))
        # An option after a lone colon is a word of its own, as is what follows an option's name without a "=".
        if cut and whole and not (word[:1] == "-" and word != "-"):
            whole[-1] += word
        else:
            whole.append(word)
    last = words[-1]
    return whole, "" if last in ("=", ":") else last
