"""Writes templates for variables whose values contain references in place."""

import re
from collections.abc import Mapping

from lessee.core.inline_references import InlineReference, InlineReferenceError, may_have_reference, split

FILE = "env.sh"
"""The file of `env` without `env_file`: a program that `environment` of Compose serves too starts from a shell."""
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r"}


def references_of(environ: Mapping[str, str]) -> Mapping[str, str]:
    """The variables with a reference."""
    return {name: text for name, text in sorted(environ.items()) if may_have_reference(text)}


def malformed(variables: Mapping[str, str]) -> Mapping[str, InlineReferenceError]:
    """What is wrong with the references of variables, by name."""
    found = {}
    for name, text in variables.items():
        try:
            split(text)
        except InlineReferenceError as exc:
            found[name] = exc
    return found


def template_of(variables: Mapping[str, str], *, exports: bool = False, before: str | None = None) -> str:
    """A template of all variables, after what the template `before` renders. `exports`: a shell passes them on."""
    word = "export " if exports else ""
    include = f"{{% include {_quoted(before)} %}}\n" if before is not None else ""
    return include + "".join(f"{word}{name}={{{{ {_expression(text)} }}}}\n" for name, text in variables.items())


def _expression(text: str) -> str:
    return " ~ ".join(_quoted(part) if isinstance(part, str) else _call(part) for part in split(text)) or '""'


def _call(reference: InlineReference) -> str:
    keywords = (f", {name}={_quoted(value) if isinstance(value, str) else value}" for name, value in reference.place)
    keys = "".join(f"[{_quoted(key)}]" for key in reference.keys)
    call = f"secret({_quoted(reference.path)}{''.join(keywords)}){keys}"
    return f"({call} | urlencode)" if reference.urlencode else call


def _quoted(text: str) -> str:
    return '"' + re.sub(r'[\\"\n\r]', lambda found: _ESCAPES[found[0]], text) + '"'
