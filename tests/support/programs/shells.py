"""Real shells, in which a person types the start of a command and has the shell complete it."""

import os
import shutil
import subprocess

from support.needs import need
from support.programs.terminal import Terminal

_BASH = """
PS1='ready> ' PS2='' HISTFILE=; set +o history
bind 'set enable-bracketed-paste off'; bind 'set completion-query-items 0'; bind 'set page-completions off'
. "$SCRIPT"
"""
_ZSH = r"""
PROMPT='ready> ' PROMPT_EOL_MARK= RPROMPT=
unsetopt zle_bracketed_paste 2>/dev/null; unset zle_bracketed_paste; unsetopt beep prompt_sp
autoload -Uz compinit && compinit -u -D
eval "$(<$SCRIPT)"
zle -C all-matches complete-word _generic
bindkey -e; bindkey '^Xa' all-matches
zstyle ':completion:all-matches::::' completer _all_matches _complete
zstyle ':completion:all-matches:*' insert yes
zstyle ':completion:*' verbose no
"""


class _Interactive:
    """A shell that inserts all completions of the last word, and then prints the words of its line."""

    def __init__(self, folder, script, command, start, insert):
        (folder / "script").write_text(script)
        (folder / "start").write_text(start)
        self._insert = insert
        environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "TERM": "dumb", "LC_ALL": "C.UTF-8"}
        self._terminal = Terminal(*command, cwd=folder, env=environ | {"SCRIPT": str(folder / "script"), "PS1": "$"})
        self._terminal.type(". ./start; echo REA''DY\n")
        self._terminal.until("READY")

    def complete(self, line):
        """What the shell offers in place of the last word."""
        # At the start of the line, so that the shell reads the words as it will run them.
        self._terminal.type(f"{line}{self._insert}\x01print_words \n")
        self._terminal.until("BEGIN\r\n")
        words = self._terminal.until("END\r\n").split("\r\n")[:-1]
        return words[len(line.split()) - (not line.endswith(" ")) :]

    def close(self):
        self._terminal.close()


_PRINT = "print_words() { echo 'BEGIN'; printf '%s\\n' \"$@\"; echo 'END'; }\n"


def bash(folder, script):
    need(shutil.which("bash"), "needs Bash: apt install bash")
    return _Interactive(folder, script, ["bash", "--norc", "--noprofile", "-i"], _BASH + _PRINT, "\x1b*")


def zsh(folder, script):
    need(shutil.which("zsh"), "needs zsh: apt install zsh")
    return _Interactive(folder, script, ["zsh", "-f", "-i"], _ZSH + _PRINT, "\x18a")


class Fish:
    """fish, whose `complete --do-complete` is what its line editor asks."""

    def __init__(self, folder, script):
        self._folder = folder
        (folder / "script").write_text(script)

    def complete(self, line):
        done = subprocess.run(
            ["fish", "--no-config", "-c", 'source script; complete --do-complete "$argv[1]"', line],
            cwd=self._folder,
            env={"PATH": os.environ["PATH"], "HOME": str(self._folder), "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert done.stderr == ""
        found = [one.partition("\t")[0] for one in done.stdout.splitlines()]
        # The line editor offers words with these letters elsewhere only where no word begins with them.
        typed = line.rpartition(" ")[2]
        return [one for one in found if one.startswith(typed)] or found

    def close(self):
        """It has ended."""


def fish(folder, script):
    need(shutil.which("fish"), "needs fish: apt install fish")
    return Fish(folder, script)


SHELLS = {"bash": bash, "zsh": zsh, "fish": fish}
