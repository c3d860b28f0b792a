"""Writes the labels of an app that has an entry in lessee.yaml."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from lessee.config.grammar.label_text import escape
from lessee.config.grammar.labels import PREFIX, is_template_path

_FILE_KEYS = frozenset({"template", "contents", "name", "format", "mode", "owner"})
# What YAML does not allow as itself, besides what JSON escapes.
_UNPRINTABLE = re.compile("[\x7f-\x84\x86-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def labels_of(name: str, entry: Mapping[str, object]) -> Mapping[str, str]:
    """The labels that have the same app, as a Compose file has them: `$` is `$$`.

    `entry` is the value of `apps.NAME` as YAML has it, with the texts of templates in `contents`. Raises ValueError for
    a text with a variable that the agent would expand, because it expands none in labels.
    """
    labels = {f"{PREFIX}app": name}
    for path, text in _labels(entry, ()):
        labels[PREFIX + ".".join(path)] = escape(text)
    return labels


def _labels(value: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    match value:
        case None:
            pass
        case bool():
            yield path, "true" if value else "false"
        case Mapping() if value and (not path or all(_is_element(key) for key in value)):
            for key, inner in value.items():
                if (*path, key) == ("files",) and isinstance(inner, Sequence):
                    yield from _files(inner)
                else:
                    yield from _labels(inner, (*path, str(key)))
        case Mapping() | list() | tuple():
            if value or path != ("env",):
                yield path, _flow(value)
        case str():
            yield path, _literal(value)
        case _:
            yield path, str(value)


def _is_element(key: object) -> bool:
    return isinstance(key, str) and key != "" and "." not in key


def _files(files: Sequence[object]) -> Iterator[tuple[tuple[str, ...], str]]:
    by_name = {name: file for file in files if isinstance(file, Mapping) and (name := _name(file))}
    if len(by_name) != len(files):
        yield ("files",), _flow(files)
        return
    for name, file in by_name.items():
        contents = file.get("contents")
        yield ("template", name), str(file["template"]) if contents is None else str(contents)
        for key in ("format", "mode", "owner"):
            if file.get(key) is not None:
                yield (key, name), _literal(str(file[key]))


def _name(file: Mapping[str, object]) -> str:
    """The name of a file that `lessee.template.NAME` can have; empty if it cannot."""
    template, contents, name = (file.get(key) for key in ("template", "contents", "name"))
    text = contents if template is None else template
    if not isinstance(text, str) or not file.keys() <= _FILE_KEYS or is_template_path(text) is (template is None):
        return ""
    if template is not None and "${" in text:
        raise _variable_error()
    return str(name or (text.rpartition("/")[2].removesuffix(".j2") if template is not None else ""))


def _literal(text: str) -> str:
    if "${" in text:
        raise _variable_error()
    return text


def _variable_error() -> ValueError:
    return ValueError("a text has a variable, which is not expanded in a label")


def _flow(value: object) -> str:
    """The value as YAML on one line."""
    _check(value)
    text = json.dumps(value, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _check(value: object, key: object = "") -> None:
    match value:
        case Mapping():
            for name, inner in value.items():
                _check(inner, name)
        case str():
            if key != "contents":
                _literal(value)
        case Sequence():
            for inner in value:
                _check(inner)
        case _:
            pass
