"""The commands in the blocks of a page that a shell runs."""

import re
import shlex

_BLOCK = re.compile(r"^ *```(?:console|sh|bash)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_CONTROL = "|&;<>()"
_BEFORE = {"until", "if", "while", "!", "sudo", "do", "then", "exec"}


def typed_commands(page, program):
    """The arguments of each call of this program."""
    for block in _BLOCK.findall(page):
        for line in block.replace("\\\n", " ").splitlines():
            for words in _simple_commands(line.strip().removeprefix("$ ")):
                if words and words[0] == program:
                    yield words[1:]


def _simple_commands(line):
    """The words of each command of a line; what is redirected ends one."""
    text = re.sub(r"(^|\s)#.*", "", re.sub(r"\d>", ">", line))
    lexer = shlex.shlex(text, posix=True, punctuation_chars=_CONTROL)
    lexer.whitespace_split = True
    words = []
    for token in [*lexer, ";"]:
        if set(token) <= set(_CONTROL):
            while words and (words[0] in _BEFORE or re.match(r"\w+=", words[0])):
                words.pop(0)
            yield words
            words = []
        else:
            words.append(token)
