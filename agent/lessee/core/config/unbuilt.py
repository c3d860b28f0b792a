"""What lessee.yaml may say and this version of lessee does not do yet."""

from collections.abc import Mapping

from lessee.core.config.grammar.problems import Path, Problems

BUILT: Mapping[str, tuple[str, ...]] = {
    "apps.*.fallback": (),
}
"""The keys that this version does not do in full, each with the values that it does do."""

_FEW = 5


def tell_unbuilt(values: Mapping[Path, object], problems: Problems) -> None:
    """Tells of every key whose value this version cannot act on."""
    for path, value in values.items():
        built = BUILT.get(_pattern(path))
        if built is not None and value not in built:
            todo = f"so far it does {', '.join(built)}" if 0 < len(built) <= _FEW else ""
            problems.follow(path, "this version of lessee does not do this yet", todo=todo)


def _pattern(path: Path) -> str:
    named = ("apps", "*", *path[2:]) if len(path) > 1 and path[0] == "apps" else path
    return ".".join("*" if isinstance(part, int) else part for part in named)
