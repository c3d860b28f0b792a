"""Checks templates, and renders them with sample values."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath

from lessee.config.grammar.problems import Path, spell
from lessee.core.errors import FormatError, LesseeError, TemplateError
from lessee.core.immutable import ImmutableStruct
from lessee.core.path_scope import PathScope
from lessee.core.paths import Need
from lessee.ops.lint.policy.findings import Finding, split_location
from lessee.ops.lint.policy.line_map import LineTrackingCompiler
from lessee.ops.lint.policy.trial_render import document, failure_without_optional, trial_render
from lessee.ops.lint.policy.unfinished_imports import unfinished_in_template
from lessee.rendering.templates import CompiledTemplate, Compiler
from lessee.rendering.value_shapes import Shape, shapes_of


class TemplateOutput(ImmutableStruct, frozen=True):
    """The output of a template: a file, or the environment of a child."""

    app: str
    template: str
    format: str
    name: str
    """The name of the file; empty for an environment."""
    public: frozenset[str] = frozenset()
    """The app's `public_variables`."""
    key: Path = ()
    """The key of the configuration that names the template."""


_NEEDED = "optional-needed"


class Templates:
    """Checks the templates of one directory."""

    def __init__(
        self,
        folder: PurePosixPath,
        load: Callable[[str], str],
        scope: PathScope,
        locate: Callable[[Path], tuple[str, int]] | None = None,
        inline: Mapping[str, tuple[str, int]] = {},  # Never changed.
    ) -> None:
        """`load` returns the text of a template by its name, or raises TemplateError.

        `locate` returns the file and line of a key of the configuration, `inline` has those of templates in it.
        """
        self.findings: list[Finding] = []
        self.texts: dict[TemplateOutput, str] = {}
        """The contents of the files with sample values, or the template's text where these fail."""
        self.compiler = Compiler(load, scope)
        self.folder = folder
        self._load = load
        self._scope = scope
        self._locate = locate
        self._inline = inline

    def check(self, outputs: Iterable[TemplateOutput]) -> None:
        """Fill `findings` and `texts`."""
        for output in outputs:
            try:
                compiled = self.compiler.compile(output.template)
                compiled.prepare()
            except TemplateError as exc:
                self.findings += [self._finding(problem, output) for problem in exc.problems]
            else:
                self._try_out(compiled, output)
                self._find_unfinished(compiled, output)

    def _try_out(self, compiled: CompiledTemplate, output: TemplateOutput) -> None:
        trees = [self.compiler.parse(self._load(name), name) for name in compiled.codes]
        shapes = shapes_of(trees, self._scope)
        outcome = trial_render(compiled, output.format, self._scope, shapes, output.public)
        if isinstance(outcome, FormatError):
            self.findings.append(self._mismatch(outcome, output, shapes))
        else:
            self.texts[output] = outcome if outcome is not None else self._load(output.template)
        if isinstance(outcome, str):
            self._try_without_optional(compiled, output, shapes)

    def _try_without_optional(
        self, compiled: CompiledTemplate, output: TemplateOutput, shapes: Mapping[Need, Shape]
    ) -> None:
        problem = failure_without_optional(compiled, output.format, self._scope, shapes)
        if problem is not None:
            what = f"it cannot be rendered without what is optional: {problem.what}"
            todo = "test it with `{% if %}`, add `| default(…)`, or remove `optional=true`"
            where = problem.where if problem.where.startswith(tuple(compiled.codes)) else output.template
            self.findings.append(self._finding(LesseeError(what, where=where, todo=todo, rule=_NEEDED), output))

    def _find_unfinished(self, compiled: CompiledTemplate, output: TemplateOutput) -> None:
        for name, code in compiled.codes.items():
            if name not in self._inline:
                self.findings += unfinished_in_template(code.text, str(self.folder / name), output.app, name)

    def _mismatch(self, problem: FormatError, output: TemplateOutput, shapes: Mapping[Need, Shape]) -> Finding:
        """The finding with the template's line; the error has only the line of the rendered file."""
        template, line = split_location(problem.where)
        tracker = LineTrackingCompiler(self._load, self._scope)
        rendered = document(tracker.compile(output.template), self._scope, shapes)
        if line and rendered is not None:
            template, line = tracker.source(rendered, line)
        rule = problem.rule or "format-mismatch"
        if template in self._inline:
            return self._at_key(rule, problem, template, line, output)
        file = str(self.folder / template)
        return Finding(rule, "error", problem.what, problem.todo, file, line, output.app, template)

    def _at_key(self, rule: str, problem: LesseeError, template: str, line: int, output: TemplateOutput) -> Finding:
        """The finding at the key that has the template's text, whose lines are not always those of the file."""
        where = f"{template}, line {line}" if line else template
        what, place = f"{where}: {problem.what}", self._inline[template]
        return Finding(rule, "error", what, problem.todo, *place, output.app, template)

    def _finding(self, problem: LesseeError, output: TemplateOutput) -> Finding:
        template, line = split_location(problem.where)
        if template in self._inline:
            return self._at_key(problem.rule or "template-syntax", problem, template, line, output)
        # For an unreadable template, `where` is the file itself.
        unread = problem.rule == "template-unreadable"
        if unread and output.key and self._locate is not None and problem.where == str(self.folder / output.template):
            what = f"{spell(output.key)}: {output.template}: {problem.what}"
            at = self._locate(output.key)
            return Finding(problem.rule, "error", what, problem.todo, *at, output.app, output.template)
        file = problem.where if unread else str(self.folder / template)
        name = output.template if unread else template
        rule = problem.rule or "template-syntax"
        return Finding(rule, "error", problem.what, problem.todo, file, 0 if unread else line, output.app, name)
