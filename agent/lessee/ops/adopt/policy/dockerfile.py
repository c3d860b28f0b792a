"""What the Dockerfile of a service says of its image, where the Engine does not have the image yet."""

import json
import re
from collections.abc import Callable, Iterator, Mapping

from lessee.core.immutable import replace
from lessee.ops.adopt.policy.model import Image

Base = Callable[[str], Image]
"""What is known of an image that a stage begins with."""

_INSTRUCTION = re.compile(r"\s*([A-Za-z]+)(?:\s+(.*))?", re.DOTALL)
_CONTINUED = re.compile(r"[\\`][ \t]*$")
_OPTION = re.compile(r"--[a-z]+(?:-[a-z]+)*(?:=\S*)?\s+")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::?-([^{}]*))?[^{}]*\})")
_STAGE = re.compile(r"(?P<base>\S+)(?:\s+AS\s+(?P<name>\S+))?", re.IGNORECASE)
_SHELL = ("/bin/sh", "-c")


def image_of(text: str, reference: str, base_of: Base, *, target: str = "", arguments: Mapping[str, str] = {}) -> Image:
    """The image that this Dockerfile builds; what it does not say is not known."""
    stages: dict[str, Image] = {}
    last = Image(reference)
    known = dict[str, str]()
    for instruction, rest in _instructions(text):
        if instruction == "ARG" and not stages:
            name, _, default = rest.partition("=")
            known[name.strip()] = arguments.get(name.strip(), default.strip().strip("\"'"))
        elif instruction == "FROM":
            if target and target in stages:
                break
            last, name = _begin(rest, stages, base_of, known)
            stages[name] = last
        elif stages:
            last = _applied(last, instruction, rest)
            stages[next(reversed(stages))] = last
    return replace(stages.get(target, last), reference=reference)


def _begin(rest: str, stages: Mapping[str, Image], base_of: Base, known: Mapping[str, str]) -> tuple[Image, str]:
    found = _STAGE.match(_without_options(rest))
    base = _expanded(found["base"], known) if found else ""
    name = (found["name"] if found else None) or str(len(stages))
    if base in stages:
        return stages[base], name
    if base == "scratch":
        return Image(base, entrypoint=(), command=(), shell_path=""), name
    return base_of(base), name


def _applied(image: Image, instruction: str, rest: str) -> Image:
    match instruction:
        case "ENTRYPOINT":  # It resets the command of the base.
            return replace(image, entrypoint=_words(rest), command=())
        case "CMD":
            return replace(image, command=_words(rest))
        case "USER":
            return replace(image, user="" if "$" in rest else rest.strip(), uid=None, gid=None)
        case "STOPSIGNAL":
            return replace(image, stop_signal="" if "$" in rest else rest.strip())
        case "HEALTHCHECK":
            return replace(image, healthcheck=_test(_without_options(rest)))
        case "RUN" if not rest.lstrip().startswith("["):
            return replace(image, shell_path=image.shell_path or _SHELL[0])
        case _:
            return image


def _test(rest: str) -> tuple[str, ...]:
    kind, _, command = rest.strip().partition(" ")
    if kind.upper() != "CMD":
        return ()
    words = _words(command)
    return ("CMD-SHELL", words[2]) if words[:2] == _SHELL and not command.lstrip().startswith("[") else ("CMD", *words)


def _words(rest: str) -> tuple[str, ...]:
    """The exec form is JSON; any other text is the command of a shell."""
    try:
        words = json.loads(rest)
    except ValueError:
        words = None
    if isinstance(words, list) and all(isinstance(word, str) for word in words):
        return tuple(words)
    return (*_SHELL, rest.strip())


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    parts: list[str] = []
    end = ""
    for line in text.splitlines():
        if end:  # In a here-document of RUN or COPY.
            end = "" if line.strip() == end else end
            continue
        if line.lstrip().startswith("#") or (not parts and not line.strip()):
            continue
        is_continued = _CONTINUED.search(line)
        parts.append(line[: is_continued.start()] if is_continued else line)
        if not is_continued:
            found = _INSTRUCTION.fullmatch(" ".join(parts))
            parts = []
            if found:
                here = re.search(r"<<-?[\"']?(\w+)", found[2] or "") if found[1].upper() in {"RUN", "COPY"} else None
                end = here[1] if here else ""
                yield found[1].upper(), found[2] or ""


def _without_options(rest: str) -> str:
    rest = rest.lstrip()
    while found := _OPTION.match(rest):
        rest = rest[found.end() :].lstrip()
    return rest


def _expanded(text: str, known: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda found: known.get(found[1] or found[2], "") or found[3] or "", text)
