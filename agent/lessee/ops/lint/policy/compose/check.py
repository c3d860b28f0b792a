"""All that is wrong with Compose files, by themselves and beside a configuration."""

from collections.abc import Callable, Iterable, Iterator

from lessee.ops.lint.policy.compose.reader import Reading
from lessee.ops.lint.policy.compose.rules import literal_secrets, misfits
from lessee.ops.lint.policy.compose.shadows import shadows
from lessee.ops.lint.policy.compose.stack import Stack
from lessee.ops.lint.policy.findings import Finding
from lessee.ops.lint.policy.project import Checked


def check_compose(
    paths: Iterable[str], checked: Checked, load: Callable[[str], str], load_env: Callable[[str], str | None]
) -> Iterator[Finding]:
    """`load` gives the text of a Compose file or raises ConfigError, `load_env` that of an `env_file` that is there."""
    reading = Reading(load)
    services = reading.services(paths)
    yield from reading.findings
    yield from literal_secrets(services.values())
    if checked.sound is not None:
        stack = Stack(services, checked.sound.config)
        yield from misfits(stack, checked.sound.root, checked.file)
        yield from shadows(stack, checked.texts, load_env)
