"""Checks that fallbacks can serve their apps, before Vault is unavailable."""

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from yaml.nodes import MappingNode

from lessee.config import SecretsFallback, VariablesFallback
from lessee.config.grammar.nodes import line_of_key
from lessee.core.errors import LesseeError
from lessee.core.paths import Need, Ref
from lessee.ops.lint.policy.findings import Finding, split_location
from lessee.rendering.app_templates import CompiledApp
from lessee.rendering.fallback.files import problems, unset, unused
from lessee.rendering.fallback.masks import MISFIT
from lessee.rendering.templates import Compiler
from lessee.rendering.value_shapes import ANY, shapes_of

UNSET = "fallback-unset"
"""The rule for a variable that is not set here; it may be set for the agent."""


def check_fallback(
    compiled_app: CompiledApp,
    compiler: Compiler,
    environ: Mapping[str, str],
    root: MappingNode,
    file: str,
    folder: PurePosixPath,
) -> Iterator[Finding]:
    """Check an app's fallback. `file` is the configuration, `root` its YAML, `folder` the template directory."""
    app = compiled_app.app
    if not isinstance(app.fallback, VariablesFallback | SecretsFallback):
        return
    line = line_of_key(root, ("apps", app.name, "fallback"))

    def of_configuration(problem: LesseeError) -> Finding:
        return Finding(problem.rule, "error", problem.what, problem.todo, file, line, app.name)

    wrong = list(problems(compiled_app))
    for problem in wrong:
        template, at = split_location(problem.where)
        if template:
            place = str(folder / template)
            yield Finding(problem.rule, "error", problem.what, problem.todo, place, at, app.name, template)
        else:
            yield of_configuration(problem)
    if not wrong:
        yield from map(of_configuration, (*_keys(compiled_app, app.fallback, compiler), *unused(compiled_app)))
    if missing := unset(app.fallback, environ):
        message = f"not set in this environment: {', '.join(missing)}"
        yield Finding(UNSET, "warning", message, "set them for the agent", file, line, app.name)


def _keys(
    compiled_app: CompiledApp, fallback: VariablesFallback | SecretsFallback, compiler: Compiler
) -> Iterator[LesseeError]:
    """The keys of secrets that templates read and the fallback lacks."""
    if not isinstance(fallback, SecretsFallback):
        return
    texts = {name: code.text for compiled in compiled_app.templates for name, code in compiled.codes.items()}
    shapes = shapes_of([compiler.parse(text, name) for name, text in texts.items()], compiled_app.scope)
    for path, named in fallback.secrets.items():
        read = {
            key
            for need in compiled_app.references
            if _is(path, need, compiled_app)
            for key in shapes[need].inner
            if need in shapes
        }
        for key in sorted(read - named.keys() - {ANY}):
            what = f"a template reads {key} of {path}, but `fallback` does not have it"
            yield LesseeError(what, todo=f"add `{key}: VARIABLE`", rule=MISFIT)


def _is(path: str, need: Need, compiled_app: CompiledApp) -> bool:
    ref = compiled_app.scope.secret(path)
    return isinstance(need, Ref) and (ref.mount, ref.path, ref.identity) == (need.mount, need.path, need.identity)
