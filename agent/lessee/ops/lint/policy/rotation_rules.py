"""The rules for the block `rotation`: what is valid, and yet does not do what an operator expects."""

from collections.abc import Iterator

from yaml.nodes import MappingNode

from lessee.config import Config
from lessee.config.grammar.nodes import line_of_key
from lessee.ops.lint.policy.findings import Finding
from lessee.ops.rotate.policy.schedule import period_warning

_TODO = "make `rotation_period` longer, or `confirmation_timeout` shorter"


def check_rotation(config: Config, root: MappingNode, file: str) -> Iterator[Finding]:
    """Check all targets; `root` is the configuration's YAML, and `file` its name."""
    for name, target in config.rotation.items():
        if warning := period_warning(target):
            line = line_of_key(root, ("rotation", name, "rotation_period"))
            yield Finding("short-rotation-period", "warning", f"rotation.{name}: {warning}", _TODO, file, line)
