"""Classifies each value of a project: secret, public or plain.

It extends `lessee scan`, which sees a line at a time: in a project, a value also has a service with an image, other
variables, and a place that it may share with a value of another name. A weak default that a stack uses is a secret.
"""

import re

from lessee.core.immutable import replace
from lessee.core.sensitive.literals import is_secret_name
from lessee.ops.adopt.policy.layout import bare
from lessee.ops.adopt.policy.model import Project, Span, Use
from lessee.ops.adopt.policy.secret_parts import secret_parts
from lessee.ops.scan.policy.classifier import Classification, Verdict, classify, is_placeholder_text
from lessee.ops.scan.policy.places import Kind, Place

_PLAIN = Classification(Verdict.PLAIN)


def classified(project: Project) -> Project:
    """The project with a verdict for each of its values."""
    words = _options(project)
    uses = [_with(use, _classify(use, words.get((use.service, use.name), ""))) for use in project.uses]
    secret = {span for use in uses if use.verdict is Verdict.SECRET and use.is_variable for span in _spans(use)}
    return replace(project, uses=tuple(_same_place(use, secret) for use in uses))


def _classify(use: Use, option: str) -> Classification:
    value = use.value.strip()
    if not value:
        return _PLAIN
    if use.name.startswith("secrets."):
        return _secret("compose-secret", value) if not _NO_SECRET.search(use.name) else _PLAIN
    if not use.is_variable and not use.name.startswith(("labels.", "build.args.")):
        return _classify_text(option, value)
    name = bare(use.name)
    if _STORE_USER.fullmatch(name):
        return _secret("store-user", value)
    if _NO_SECRET.search(name):
        return _PLAIN if not secret_parts(value) else classify("", value, Place(Kind.ENV))
    return classify(name, value, Place(Kind.ENV))


def _classify_text(option: str, value: str) -> Classification:
    """A word of a command, after an option, or a text with several."""
    if option and is_secret_name(option) and not value.startswith("-"):
        return classify(option, value, Place(Kind.ENV))
    parts = secret_parts(value)
    if parts:
        return _secret("secret-in-text", value[parts[0].start : parts[0].end])
    found = classify("", value, Place(Kind.CONFIG))
    return found if found.rule in {"known-key", "private-key", "authorization"} else _PLAIN


def _options(project: Project) -> dict[tuple[str, str], str]:
    """The option before each word of a command."""
    found = {}
    before = ""
    for use in project.uses:
        at = re.fullmatch(r"(.+)\[(\d+)\]", use.name)
        if at is not None:
            if at[2] != "0" and _OPTION.fullmatch(before):
                found[use.service, use.name] = before
            before = use.value
    return found


def _same_place(use: Use, secret: set[Span]) -> Use:
    """A value whose whole text is another's secret is one too, whatever its name."""
    spans = _spans(use)
    if use.verdict is not Verdict.SECRET and use.is_variable and spans and secret.issuperset(spans):
        return replace(use, verdict=Verdict.SECRET, rule="same-place", is_placeholder=is_placeholder_text(use.value))
    return use


def _spans(use: Use) -> list[Span]:
    return [source.span for source in use.sources if source.span is not None]


def _with(use: Use, found: Classification) -> Use:
    return replace(use, verdict=found.verdict, rule=found.rule, is_placeholder=found.is_placeholder)


def _secret(rule: str, value: str) -> Classification:
    return Classification(Verdict.SECRET, rule, is_placeholder=is_placeholder_text(value))


_STORE_USER = re.compile(r"MINIO_ROOT_USER|MINIO_ACCESS_KEY|RUSTFS_ACCESS_KEY")
"""The first half of a pair of keys."""
_NO_SECRET = re.compile(r"(?:_FILE|_PATH|_?USER|_?USERNAME|_?USER_?NAME|_?EMAIL|_HOST|_PORT)$", re.IGNORECASE)
_OPTION = re.compile(r"--?[A-Za-z][\w.-]*")
