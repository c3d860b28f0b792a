"""Generates the JSON Schema of lessee.yaml, which editors use for completion and hovers."""

import json
from inspect import cleandoc
from typing import Any, assert_never, cast

from msgspec import inspect

from lessee.config.grammar import Lessee
from lessee.config.grammar.block import Form, forms, one_of
from lessee.config.grammar.scalars import Scalar

_EXPANDED = {"type": "string", "pattern": r"\$\{"}
"""A value with a variable, which is known only when the agent expands it."""


def schema_text() -> str:
    """The schema as text: the content of lessee.schema.json."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def schema() -> dict[str, Any]:
    """The schema in the dialect https://json-schema.org/draft/2020-12/schema."""
    blocks: dict[str, Any] = {}
    root = _block(cast("inspect.StructType", inspect.type_info(Lessee)), blocks)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "lessee.yaml",
        **root,
        "patternProperties": {"^x-": {}},
        "$defs": dict(sorted(blocks.items())),
    }


def _block(kind: inspect.StructType, blocks: dict[str, Any]) -> dict[str, Any]:
    required = [field.encode_name for field in kind.fields if field.required]
    properties = {field.encode_name: _field(field, blocks) for field in kind.fields}
    if kind.tag_field:
        properties = {kind.tag_field: {"const": kind.tag}, **properties}
        required = [kind.tag_field, *required]
    block: dict[str, Any] = {
        "description": cleandoc(kind.cls.__doc__ or ""),
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
    if required:
        block["required"] = required
    if one_of(kind):
        block["oneOf"] = [{"required": [name]} for name in one_of(kind)]
    return block


def _field(field: inspect.Field, blocks: dict[str, Any]) -> dict[str, Any]:
    assert isinstance(field.type, inspect.Metadata), f"{field.name} needs a description"
    assert field.type.extra_json_schema is not None, f"{field.name} needs a description"
    allowed = forms(field.type)
    schemas = [_form(form, blocks) for form in allowed]
    if not field.required:
        schemas.append({"type": "null"})
    described = {**field.type.extra_json_schema, **_any(schemas)}
    scalars = [form for form in allowed if isinstance(form, Scalar)]
    if scalars and isinstance(field.default, str | int | float):
        described["default"] = scalars[0].spell(field.default)
    return described


def _form(form: Form, blocks: dict[str, Any]) -> dict[str, Any]:
    match form:
        case Scalar():
            return _scalar(form)
        case inspect.VarTupleType():
            items = {"type": "array", "items": _any([_form(item, blocks) for item in forms(form.item_type)])}
            return {**items, "minItems": form.min_length} if form.min_length else items
        case inspect.DictType():
            return {
                "type": "object",
                "propertyNames": _key(*forms(form.key_type)),
                "additionalProperties": _any([_form(value, blocks) for value in forms(form.value_type)]),
            }
        case inspect.StructType():
            return _reference(form, blocks)
        case _:
            assert_never(form)


def _reference(kind: inspect.StructType, blocks: dict[str, Any]) -> dict[str, Any]:
    name = kind.cls.__name__.removesuffix("Block")
    if name not in blocks:
        blocks[name] = _block(kind, blocks)
    return {"$ref": f"#/$defs/{name}"}


def _scalar(scalar: Scalar) -> dict[str, Any]:
    if scalar.choices:
        return _any([{"enum": list(scalar.choices)}, _EXPANDED])
    if scalar.type == "string":
        return {"type": "string", "pattern": rf"^(?:{scalar.pattern})$|{_EXPANDED['pattern']}"}
    return _any([{"type": scalar.type}, _EXPANDED])


def _key(form: Form) -> dict[str, Any]:
    assert isinstance(form, Scalar)
    return {"pattern": f"^(?:{form.pattern})$"}


def _any(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
