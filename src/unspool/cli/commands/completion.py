"""``unspool completion``: scripts with which shells complete command lines of unspool.

The scripts know nothing of the options. At each Tab they ask the command, ``unspool completion candidates SHELL WORD…``, so that they
never grow stale, and one implementation serves every shell.
"""

from __future__ import annotations

from unspool.cli.options import UsageError
from unspool.terminal.output import Notes, Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from unspool.cli.options.setup import CompletionOptions

#: The line that stands for: complete the names of files.
FILES = ":files"

_BASH = """\
_unspool() {
    COMPREPLY=()
    local line
    # In an order that means something: bash 4.4 and later keep it.
    compopt -o nosort 2>/dev/null
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


def run(options: CompletionOptions) -> int:
    """Print the script of a shell."""
    if options.shell not in _SCRIPTS:
        raise UsageError("which shell? bash, zsh or fish")
    stdout = Output(1)
    stdout.write(_SCRIPTS[options.shell])
    if stdout.is_tty:
        Notes(Output(2)).line("this script is for the shell; unspool completion --help explains where to put it")
    return 0


def offer(argv: Sequence[str]) -> int:
    """Print, for such a script, what may stand where the cursor is: after the name of the shell and the words of a command line."""
    return _tell(argv[0], argv[1:])


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
