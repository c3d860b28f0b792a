"""Classifies each value of a project: secret, public or plain."""

from lessee.core.immutable import replace
from lessee.ops.adopt.policy.model import Project, Use
from lessee.ops.scan.policy.classifier import classify
from lessee.ops.scan.policy.places import Kind, Place


def classified(project: Project) -> Project:
    """The project with a verdict for each of its values."""
    return replace(project, uses=tuple(_classified(use) for use in project.uses))


def _classified(use: Use) -> Use:
    found = classify(use.name, use.value, Place(Kind.ENV))
    return replace(use, verdict=found.verdict, rule=found.rule, is_placeholder=found.is_placeholder)
