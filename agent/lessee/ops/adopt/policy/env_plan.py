"""Plans the import of an env file: which values are secrets, where they are stored, and the template of the rest."""

import re
from collections.abc import Iterator, Sequence
from urllib.parse import unquote

from lessee.core.errors import FormatError
from lessee.core.immutable import ImmutableStruct, replace
from lessee.core.redaction import MASK
from lessee.ops.adopt.policy import layout
from lessee.ops.adopt.policy.env_readers import Reader, line_of, variables_of
from lessee.ops.adopt.policy.env_template import Replacement, field_code, plain, template_of, whole_value
from lessee.ops.adopt.policy.model import Origin, Part, Project, Source, Span, StoredField, Use, text_of
from lessee.ops.scan.policy.classifier import URL, Verdict, classify, is_for_browsers
from lessee.ops.scan.policy.places import Kind, Place
from lessee.ops.scan.policy.search import search
from lessee.rendering.formats.literals import Literal

_LIVE = Place(Kind.ENV)
"""A file that a program reads is no example, so that a weak password in it is a secret too."""
_WORD = re.compile(r"[a-z]*")
_SHORTEST = 6
_LONG = 8
"""Characters of a secret that is looked for in other values and in comments; a word may be there by chance."""
_REFERENCE = "\ufffc"


class Options(ImmutableStruct, frozen=True):
    """`prefix`: what precedes the paths of all secrets. `secret`, `public`: the names that the operator passed."""

    app: str
    prefix: str = ""
    secret: frozenset[str] = frozenset()
    public: frozenset[str] = frozenset()


class Imported(ImmutableStruct, frozen=True):
    """A variable whose value, or a part of it, is in Vault. `fields`: `PATH#FIELD`."""

    name: str
    line: int
    fields: tuple[str, ...]


class EnvPlan(ImmutableStruct, frozen=True):
    """What becomes of the file."""

    hidden = ("expected",)

    variables: tuple[Imported, ...]
    stored: tuple[StoredField, ...]
    template: str
    expected: str
    """The text that its readers must find in the rendered file: the user's, with masked secrets in comments."""
    masked: tuple[int, ...]
    """The lines of comments that contain a secret, which the template has not."""
    plain: int
    """How many variables stay in the template as they are."""


def plan(text: str, source: str, reader: Reader, options: Options) -> EnvPlan:
    """Plan the import. Raises FormatError with the line of what a person has to decide."""
    return _Planner(text, source, reader, options).plan()


class _Planner:
    def __init__(self, text: str, source: str, reader: Reader, options: Options) -> None:
        self._text = text
        self._source = source
        self._reader = reader
        self._options = options
        self._literals = variables_of(self._text, reader, source)

    def plan(self) -> EnvPlan:
        secrets = self._secrets()
        fields, parts = self._layout(secrets)
        replacements = [self._replacement(literal, parts[literal.name]) for literal in secrets]
        masks = list(self._masks([one.value for one in fields]))
        expected = _replaced(self._text, masks)
        masked = sorted({line_of(self._text, one.begin) for one in masks})
        template = template_of(self._text, [*replacements, *(replace(one, code=plain(one.code)) for one in masks)])
        if "sh" in self._reader.formats and "\r" in template:
            what = "a shell reads the carriage returns of this file as parts of values"
            raise FormatError(what, where=self._source, todo=f"remove them: `sed -i 's/\\r$//' {self._source}`")
        # The agent reads templates with line ends of one kind.
        template = template.replace("\r\n", "\n").replace("\r", "\n")
        imported = tuple(self._imported(literal, parts[literal.name]) for literal in secrets)
        return EnvPlan(imported, fields, template, expected, tuple(masked), len(self._literals) - len(secrets))

    def _imported(self, literal: Literal, parts: Sequence[Part]) -> Imported:
        names = dict.fromkeys(f"{part.path}#{part.field}" for part in parts if part.path)
        return Imported(literal.name, line_of(self._text, literal.at), tuple(names))

    def _secrets(self) -> tuple[Literal, ...]:
        """The variables with a secret; all of one name have one value."""
        found = [literal for literal in self._literals if self._is_secret(literal)]
        found = [*found, *(self._with_known_secrets(found))]
        names = {literal.name for literal in found}
        atoms: dict[str, tuple[str, ...]] = {}
        secrets = tuple(literal for literal in self._literals if literal.name in names)
        for literal in secrets:
            if is_for_browsers(literal.name):
                what = f"{literal.name} is in the download of every visitor, and its value is a secret"
                todo = (
                    "let a server add the key (templates/frontend/README.md), remove the line, and rotate the key; "
                    f"if the value is public, pass --exclude {literal.name}"
                )
                raise self._error(literal, what, todo)
            if atoms.setdefault(literal.name, literal.atoms) != literal.atoms:
                what = f"{literal.name} is set twice, to different values"
                raise self._error(literal, what, "remove the line that the reader does not use")
        return secrets

    def _is_secret(self, literal: Literal) -> bool:
        value = "".join(literal.atoms)
        if literal.name in self._options.public or not value:
            return False
        if literal.name in self._options.secret:
            return True
        # A reference may be the user of a URL.
        texts = {value, _without_references(literal)} if "://" in value else {value}
        return any(classify(literal.name, text, _LIVE).verdict is Verdict.SECRET for text in texts)

    def _with_known_secrets(self, secrets: Sequence[Literal]) -> Iterator[Literal]:
        """Other variables whose value contains one of these secrets."""
        values = [part for literal in secrets for part in _secret_parts(literal) if _is_distinct(part)]
        known = {literal.name for literal in secrets} | self._options.public
        for literal in self._literals:
            value = "".join(literal.atoms)
            if literal.name not in known and any(secret in value for secret in values):
                yield literal

    def _layout(self, secrets: Sequence[Literal]) -> tuple[tuple[StoredField, ...], dict[str, tuple[Part, ...]]]:
        """The fields to store, and of which parts each value consists."""
        names = {literal.name: Verdict.SECRET for literal in secrets}
        uses = {one.name: self._use(one, names.get(one.name, Verdict.PLAIN)) for one in self._literals}
        project = Project(self._options.app, "", (), {}, tuple(uses.values()))
        stored, rendered = layout.stored_fields(project)
        values = {(one.path, one.field): one.value for one in stored}
        parts = {one.name: one.parts for one in rendered}
        # A password in a URL with references is that of an account, if one has it.
        shared = {one.value: Part(path=one.path, field=one.field) for one in stored if one.field == "password"}
        parts |= {
            one.name: (shared[uses[one.name].value],)
            for one in secrets
            if one.value is None and uses[one.name].value in shared
        }
        for name in names:
            if text_of(parts.get(name, ()), values) != uses[name].value:
                # It was taken apart, and its parts do not give the same bytes.
                word = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "value"
                # The number tells apart two names of the same letters.
                whole = Part(path=f"applications/{self._options.app}/{word}-{len(values)}", field="value")
                parts[name], values[whole.path, whole.field] = (whole,), uses[name].value
        prefix = f"{self._options.prefix}/" if self._options.prefix else ""
        used: dict[tuple[str, str], list[tuple[str, str]]] = {}
        for name in names:
            for part in parts[name]:
                used.setdefault((part.path, part.field), []).append((self._options.app, name))
        fields = [
            StoredField(prefix + path, field, value, tuple(used[path, field]))
            for (path, field), value in values.items()
            if (path, field) in used
        ]
        return tuple(fields), {
            name: tuple(replace(part, path=prefix + part.path) if part.path else part for part in parts[name])
            for name in names
        }

    def _use(self, literal: Literal, verdict: Verdict) -> Use:
        """The value to store; of a value with references, the secret in it."""
        is_mixed = literal.value is None and verdict is Verdict.SECRET
        value = self._mixed_secret(literal) if is_mixed else "".join(literal.atoms)
        span = Span(self._source, line_of(self._text, literal.at), literal.begin, literal.end)
        return Use(self._options.app, literal.name, value, (Source(Origin.ENV_FILE, literal.name, span),), verdict)

    def _mixed_secret(self, literal: Literal) -> str:
        found = URL.search(_without_references(literal))
        old = self._text[literal.begin : literal.end]
        if found is None or _REFERENCE in found["password"] or old.count(found["password"]) != 1:
            what = f"{literal.name} contains both a secret and references to other variables"
            raise self._error(literal, what, "put the secret into a variable of its own, and refer to that")
        return found["password"]

    def _replacement(self, literal: Literal, parts: Sequence[Part]) -> Replacement:
        if literal.value is not None:
            return whole_value(self._text, literal, parts, self._reader.formats[0])
        password = self._mixed_secret(literal)
        begin = self._text.index(password, literal.begin)
        return Replacement(begin, begin + len(password), "".join(map(field_code, parts)))

    def _masks(self, stored: Sequence[str]) -> Iterator[Replacement]:
        """The secrets in comments. Raises FormatError for one in other text, which the reader may use."""
        skeleton = _replaced(
            self._text, [Replacement(one.at, one.end, "\n" * self._lines_of(one)) for one in self._literals]
        )
        found = {hit.value for hit in search(skeleton, _LIVE).hits if len(hit.value) > 1}
        values = sorted({*found, *filter(_is_distinct, stored)}, key=len, reverse=True)
        for begin, text in self._gaps():
            at = begin
            for line in text.splitlines(keepends=True):
                for start, end in _places(line, values if line.strip() else ()):
                    if not line.lstrip().startswith(("#", ";")):
                        what = "the line sets no variable, and contains a secret"
                        raise FormatError(
                            what, where=f"{self._source}:{line_of(self._text, at)}", todo="correct or remove the line"
                        )
                    yield Replacement(at + start, at + end, MASK)
                at += len(line)

    def _gaps(self) -> Iterator[tuple[int, str]]:
        """What is between the variables, and where it begins."""
        ends = [0, *(literal.end for literal in self._literals)]
        starts = [*(literal.at for literal in self._literals), len(self._text)]
        for end, start in zip(ends, starts, strict=True):
            yield end, self._text[end:start]

    def _lines_of(self, literal: Literal) -> int:
        return self._text.count("\n", literal.begin, literal.end)

    def _error(self, literal: Literal, what: str, todo: str) -> FormatError:
        return FormatError(what, where=f"{self._source}:{line_of(self._text, literal.at)}", todo=todo)


def _places(line: str, values: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Where the values are; the longest first, and none overlaps another."""
    taken: list[tuple[int, int]] = []
    for value in values:
        at = line.find(value)
        while at >= 0:
            end = at + len(value)
            if all(end <= begin or at >= stop for begin, stop in taken):
                taken.append((at, end))
            at = line.find(value, end)
    yield from sorted(taken)


def _replaced(text: str, replacements: Sequence[Replacement]) -> str:
    parts, at = [], 0
    for one in sorted(replacements, key=lambda one: one.begin):
        parts += [text[at : one.begin], one.code]
        at = one.end
    return "".join(parts) + text[at:]


def _without_references(literal: Literal) -> str:
    return "".join(_REFERENCE if at % 2 else atom for at, atom in enumerate(literal.atoms))


def _secret_parts(literal: Literal) -> Iterator[str]:
    value = "".join(literal.atoms)
    yield value
    for url in URL.finditer(value):
        yield url["password"]
        yield unquote(url["password"])


def _is_distinct(value: str) -> bool:
    """Whether the value is not in a text by chance, as a short one or a word may be."""
    return len(value) >= _LONG or (len(value) >= _SHORTEST and not _WORD.fullmatch(value))
