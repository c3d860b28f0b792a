"""Leaves secrets of the user's shell where they are: no file has them, and Compose prefers them to any file."""

from collections.abc import Collection

from lessee.core.immutable import replace
from lessee.ops.adopt.policy.model import ManualStep, Origin, Project, Use
from lessee.ops.scan.policy.classifier import Verdict


def without_shell_values(
    project: Project, adopted: Collection[tuple[str, str]]
) -> tuple[Project, tuple[ManualStep, ...]]:
    """The classified project without secrets that only the shell has, and a step for each of them.

    `adopted`: service and name of what is in Vault already; such a service reads no variable of the shell any more.
    """
    found = {(use.service, use.name): use for use in project.uses if _is_of_shell(use)}
    steps = tuple(_step(use, project) for key, use in found.items() if key not in adopted)
    left = tuple(use for use in project.uses if (use.service, use.name) not in found)
    return replace(project, uses=left), steps


def _is_of_shell(use: Use) -> bool:
    return (
        use.verdict is Verdict.SECRET
        and bool(use.sources)
        and all(source.origin is Origin.SHELL for source in use.sources)
    )


def _step(use: Use, project: Project) -> ManualStep:
    names = ", ".join(dict.fromkeys(source.name for source in use.sources))
    file = project.project_env[-1] if project.project_env else ".env"
    where = use.service if use.name == names else f"{use.service}.{use.name}"
    todo = f"write it into {file}, and run `lessee adopt` again"
    return ManualStep(where, f"{names} is a variable of your shell, which adopt does not change", todo)
