"""Applies fixes to the texts of files, and refuses where an edit would change anything else."""

from collections.abc import Callable, Mapping

from lessee.core.errors import FormatError
from lessee.ops.lint.policy.fixes import yaml_edits
from lessee.ops.lint.policy.fixes.env_file_edits import without_variable
from lessee.ops.lint.policy.fixes.model import Change, Fix, Merge, Remove, RemoveVariable, SetScalar
from lessee.ops.lint.policy.fixes.yaml_values import (
    NotEditableError,
    Value,
    at,
    values_of,
    with_document,
    with_scalar,
    without,
)
from lessee.rendering.formats import outline

_BOM = "\ufeff"


def applied(fix: Fix, load: Callable[[str], str]) -> Mapping[str, str]:
    """The new texts of the files that the fix changes. Raises NotEditableError, and ConfigError of `load`."""
    texts: dict[str, str] = {}
    before: dict[str, str] = {}
    for change in fix.changes:
        if change.file not in texts:
            texts[change.file] = before[change.file] = load(change.file)
        texts[change.file] = changed(texts[change.file], change)
    return {file: text for file, text in texts.items() if text != before[file]}


def changed(text: str, change: Change) -> str:
    """The text with one change, which is held against what it should mean. Raises NotEditableError."""
    bom = _BOM if text.startswith(_BOM) else ""
    body = text.removeprefix(_BOM)
    if isinstance(change, RemoveVariable):
        return bom + _without_variable(body, change.name)
    before = values_of(body)
    expected = _expected(before, change)
    after = body if expected == before else _edited(body, change)
    if values_of(after) != expected:
        raise NotEditableError("an anchor, an alias or its layout would let the edit change other parts too")
    return bom + after


def _expected(before: Value, change: Merge | SetScalar | Remove) -> Value:
    match change:
        case Merge(document=document, path=path):
            return with_document(before, document, path)
        case SetScalar(path=path, old=old, new=new):
            found = at(before, path)
            if not isinstance(found, tuple) or found[1] not in {old, new}:
                raise NotEditableError("it is not written there")
            return before if found[1] == new else with_scalar(before, path, new)
        case _:
            return before if at(before, change.path) is None else without(before, change.path)


def _edited(text: str, change: Merge | SetScalar | Remove) -> str:
    match change:
        case Merge(document=document, path=path):
            return yaml_edits.add(text, document, path)
        case SetScalar(path=path, new=new):
            return yaml_edits.set_scalar(text, path, new)
        case _:
            return yaml_edits.remove(text, change.path)


def _without_variable(text: str, name: str) -> str:
    after = without_variable(text, name)
    try:
        kept = [each for each in outline(text, "dotenv-compose") if each != name]
        if list(outline(after, "dotenv-compose")) != kept:
            raise NotEditableError("lessee reads its lines in another way than Compose")
    except FormatError:
        raise NotEditableError("it is no valid env file") from None
    return after
