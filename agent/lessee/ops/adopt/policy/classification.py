"""Classifies each value of a project: secret, public or plain.

It extends `lessee scan`, which sees a line at a time: in a project, a value also has a service with an image, other
variables, and a place that it may share with a value of another name. A weak default that a stack uses is a secret.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import groupby

from lessee.core.immutable import replace
from lessee.core.sensitive.literals import is_secret_name
from lessee.ops.adopt.policy.layout import bare
from lessee.ops.adopt.policy.model import Project, Span, Use
from lessee.ops.adopt.policy.secret_parts import secret_parts, words_in
from lessee.ops.adopt.policy.sources import has_part
from lessee.ops.adopt.policy.use_names import ServiceField
from lessee.ops.scan.policy.classifier import Classification, Verdict, classify, is_placeholder_text, is_strong
from lessee.ops.scan.policy.places import Kind, Place

_PLAIN = Classification(Verdict.PLAIN)
_ENV = Place(Kind.ENV)


def classified(project: Project) -> Project:
    """The project with a verdict for each of its values. A secret keeps only the sources that have a part of it."""
    variables = [_with(use, _of_variable(use)) for use in project.uses if _is_variable(use)]
    keys = {source.span for use in variables if use.rule == _ACCESS_KEY for source in use.sources}
    variables = [_same_place(use, keys) for use in variables]
    known = _known(variables)
    texts = [use for use in project.uses if not _is_variable(use)]
    verdicts = {(use.service, use.name): use for use in [*variables, *_of_texts(texts, known)]}
    uses = tuple(verdicts[use.service, use.name] for use in project.uses)
    return replace(project, uses=tuple(map(_with_its_sources, uses)))


def _is_variable(use: Use) -> bool:
    """Whether it has a name that tells what it is."""
    return use.kind not in {ServiceField.WORD, ServiceField.CONFIG}


def _of_variable(use: Use) -> Classification:
    name, value = bare(use.name), use.value.strip()
    if not value or _UNSET.fullmatch(value):
        return _PLAIN
    if _KEY_ID.search(name) and not _NO_ACCESS_KEY.search(value):
        return Classification(Verdict.SECRET, _ACCESS_KEY, is_placeholder=is_placeholder_text(value))
    if _PLAIN_NAME.search(name):
        return classify("", value, _ENV) if secret_parts(value) else _PLAIN
    if use.kind is ServiceField.SECRET:
        return _secret("compose-secret", value)
    if _DSN.search(name) and "://" not in value and "=" not in value:
        return _PLAIN
    found = classify(name, value, _ENV)
    if found.verdict is not Verdict.PLAIN:
        return found
    if parts := secret_parts(value):
        return _secret("secret-in-text", value[parts[0].start : parts[0].end])
    return _secret("named-secret", value) if _is_live(name, value) else _PLAIN


def _is_live(name: str, value: str) -> bool:
    """Whether a name alone makes a secret of a value, which need not look like one: the program uses it as it is."""
    if _NO_SECRET.match(value):
        return False
    is_named = is_strong(name, _ENV) or _SALT.search(name) is not None
    return _PASSWORD.search(name) is not None or (is_named and not value.isdecimal())


def _of_texts(uses: list[Use], known: Mapping[str, frozenset[str]]) -> Iterator[Use]:
    """The words of commands, and other texts. `known`: the secrets of each service, and under `""` those of all."""
    for (service, _), group in groupby(uses, key=_whole):
        words = list(group)
        for at, use in enumerate(words):
            before = words[at - 1].value if at else ""
            program = " ".join(word.value for word in words[:at])
            found = _of_text(use.value.strip(), before, program, known.get(service, frozenset()), known[""])
            yield _with(use, found)


def _of_text(value: str, before: str, program: str, own: frozenset[str], known: frozenset[str]) -> Classification:
    option = before if _OPTION.fullmatch(before) else ""
    is_value = bool(value) and not value.startswith("-") and not value.startswith("$")
    if is_value and ((option and is_secret_name(option)) or (option in _SHORT and _CLIENT.search(program))):
        return _secret("secret-in-text", value)
    if value.startswith("-p") and value[2:] in own:
        return _secret("secret-in-text", value[2:])
    if parts := secret_parts(value):
        return _secret("secret-in-text", value[parts[0].start : parts[0].end])
    if words_in(value, known):
        return _secret("known-secret", "")
    found = classify("", value, Place(Kind.CONFIG))
    return found if found.rule in {"known-key", "private-key", "authorization"} else _PLAIN


def _known(uses: list[Use]) -> dict[str, frozenset[str]]:
    """The secrets in the variables of each service; under `""` those of all that no text has by chance."""
    found: dict[str, set[str]] = {}
    plain = {use.value for use in uses if use.verdict is not Verdict.SECRET}
    for use in uses:
        if use.verdict is Verdict.SECRET:
            values = _secrets(use)
            found.setdefault(use.service, set()).update(values)
            found.setdefault("", set()).update(v for v in values if len(v) >= _LEAST and v not in plain)
    return {"": frozenset()} | {service: frozenset(values) for service, values in found.items()}


def _secrets(use: Use) -> list[str]:
    """The secrets in a value."""
    value = use.value.strip()
    return [value[part.start : part.end] for part in secret_parts(value)] or [value]


def _same_place(use: Use, keys: "set[Span | None]") -> Use:
    """A user of an object store under another name is half of a pair of keys too."""
    spans = {source.span for source in use.sources if source.span is not None}
    if use.verdict is Verdict.SECRET or not spans or not spans <= keys:
        return use
    return replace(use, verdict=Verdict.SECRET, rule=_ACCESS_KEY, is_placeholder=is_placeholder_text(use.value))


def _with_its_sources(use: Use) -> Use:
    """A secret with those of its sources that have a part of it: a URL is also made of a user and a host."""
    if use.verdict is not Verdict.SECRET:
        return use
    places = [(part.start, part.end) for part in secret_parts(use.value)] or [_whole_value(use.value)]
    having = [source for source in use.sources if has_part(source, use.value, places)] or list(use.sources)
    named = [source for source in having if not _PLAIN_NAME.search(source.name)] or having
    return replace(use, sources=tuple(named))


def _whole(use: Use) -> tuple[str, str]:
    """The text that a word is a part of."""
    return use.service, use.name.partition("[")[0] if use.kind is ServiceField.WORD else use.name


def _whole_value(value: str) -> tuple[int, int]:
    """The place of a value without the spaces around it."""
    start = len(value) - len(value.lstrip())
    return start, start + len(value.strip())


def _with(use: Use, found: Classification) -> Use:
    return replace(use, verdict=found.verdict, rule=found.rule, is_placeholder=found.is_placeholder)


def _secret(rule: str, value: str) -> Classification:
    return Classification(Verdict.SECRET, rule, is_placeholder=is_placeholder_text(value))


_ACCESS_KEY = "access-key"
_LEAST = 8
_KEY_ID = re.compile(r"MINIO_ROOT_USER$|(?:^|_)ACCESS_KEY(?:_?ID)?$|accessKey(?:Id)?$", re.IGNORECASE)
"""The first half of a pair of keys."""
_NO_ACCESS_KEY = re.compile(r"://|^/|\s")
_PLAIN_NAME = re.compile(
    r"(?:_FILE|_?PATH|_?USER|_?USER\d+|_?USERNAME|_?USER_?NAME|_?E?MAIL|_HOST|_PORT|_FROM|_ADDR|_ADDRESS|_DB|_DATABASE)$",
    re.IGNORECASE,
)
_PASSWORD = re.compile(r"(?:PASS|PASSWD|PASSWORD|PWD|PASSPHRASE)$", re.IGNORECASE)
_SALT = re.compile(r"(?:^|_)SALT$", re.IGNORECASE)
"""What a program mixes into the hashes of its keys and passwords; a decimal one is a number of rounds."""
_DSN = re.compile(r"DSN$", re.IGNORECASE)
_UNSET = re.compile(r"null|none|true|false|yes|no|on|off|undefined", re.IGNORECASE)
_NO_SECRET = re.compile(r"[/~.]|https?://[^\s@]*$|\$|[\[{]\s*[\]}]$")
"""Paths, addresses without a password, references, and empty lists."""
_OPTION = re.compile(r"--?[A-Za-z][\w.-]*")
_SHORT = frozenset({"-a", "--pass"})
_CLIENT = re.compile(r"\b(?:redis|valkey)-cli\b")
