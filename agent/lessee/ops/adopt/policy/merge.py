"""Merges what a run finds with what earlier runs have adopted: their plaintext is in no file any more."""

from collections.abc import Mapping

from lessee.core.immutable import ImmutableStruct, replace
from lessee.ops.adopt.policy.model import Project, Rendered, StoredField, Use, text_of


class Adopted(ImmutableStruct, frozen=True):
    """What is moved to Vault: by this run, by earlier ones, or by all."""

    uses: tuple[Use, ...]
    stored: tuple[StoredField, ...]
    rendered: tuple[Rendered, ...]


def merged(project: Project, found: Adopted, earlier: Adopted) -> Adopted:
    """All that the project needs. `earlier` has the values of Vault; of it, only what still has its service stays.

    `found` has all uses of the project now. A new secret whose place an earlier one has, with another value, gets its
    own place.
    """
    fresh = {(one.service, one.name) for one in found.rendered}
    present = {(use.service, use.name) for use in found.uses}
    values = {(field.path, field.field): field.value for field in earlier.stored}
    texts = {(one.service, one.name): text_of(one.parts, values) for one in earlier.rendered}
    rendered = tuple(
        one
        for one in earlier.rendered
        if one.service in project.services
        and (one.service, one.name) not in fresh | present
        and texts[one.service, one.name] is not None
    )
    kept = {(one.service, one.name) for one in rendered}
    uses = tuple(
        replace(use, value=text, sources=())
        for use in earlier.uses
        if (use.service, use.name) in kept and (text := texts[use.service, use.name]) is not None
    )
    needed = {(part.path, part.field) for one in rendered for part in one.parts if part.path}
    stored = {(field.path, field.field): field for field in earlier.stored if (field.path, field.field) in needed}
    found = _moved_aside(found, stored)
    for field in found.stored:
        known = stored.get((field.path, field.field))
        users = field.uses if known is None else tuple(dict.fromkeys((*known.uses, *field.uses)))
        stored[field.path, field.field] = replace(field, uses=users)
    # What is known keeps its order, so that the templates change only where they must.
    order = {(one.service, one.name): at for at, one in enumerate(earlier.rendered)}
    every = sorted((*found.rendered, *rendered), key=lambda one: order.get((one.service, one.name), len(order)))
    return Adopted((*found.uses, *uses), tuple(stored.values()), tuple(every))


def _moved_aside(found: Adopted, stored: Mapping[tuple[str, str], StoredField]) -> Adopted:
    names = {
        field.path: f"{field.path}-{field.uses[0][0]}"
        for field in found.stored
        if (known := stored.get((field.path, field.field))) is not None and known.value != field.value
    }
    if not names:
        return found
    return replace(
        found,
        stored=tuple(replace(field, path=names.get(field.path, field.path)) for field in found.stored),
        rendered=tuple(
            replace(one, parts=tuple(replace(part, path=names.get(part.path, part.path)) for part in one.parts))
            for one in found.rendered
        ),
    )
