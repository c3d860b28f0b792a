"""All that is wrong with templates, and what the files from them would look like."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath

from lessee.core.errors import FormatError, LesseeError, TemplateError
from lessee.core.immutable import ImmutableStruct
from lessee.core.paths import Need, PathScope
from lessee.ops.lint.policy.findings import Finding, split_place
from lessee.ops.lint.policy.line_map import LineTrackingCompiler
from lessee.ops.lint.policy.trial_render import document, trial_render
from lessee.rendering.templates import CompiledTemplate, Compiler
from lessee.rendering.value_shapes import Shape, shapes_of


class TemplateOutput(ImmutableStruct, frozen=True):
    """A file that is to be made from a template, or the environment of a child."""

    app: str
    template: str
    format: str
    name: str
    """Of the file; empty for an environment."""
    public: frozenset[str] = frozenset()
    """As the app has it."""


class Templates:
    """Checks the templates of one folder."""

    def __init__(self, folder: PurePosixPath, load: Callable[[str], str], scope: PathScope) -> None:
        """`load` gives the text of a template by its name, or raises TemplateError."""
        self.findings: list[Finding] = []
        self.texts: dict[TemplateOutput, str] = {}
        """What the files look like: with values that are made up, or else as the template has them."""
        self.compiler = Compiler(load, scope)
        self.folder = folder
        self._load = load
        self._scope = scope

    def check(self, sheets: Iterable[TemplateOutput]) -> None:
        """Fills `findings` and `texts`."""
        for sheet in sheets:
            try:
                compiled = self.compiler.compile(sheet.template)
                compiled.prepare()
            except TemplateError as exc:
                self.findings += [self._finding(problem, sheet) for problem in exc.problems]
            else:
                self._try_out(compiled, sheet)

    def _try_out(self, compiled: CompiledTemplate, sheet: TemplateOutput) -> None:
        trees = [self.compiler.parse(self._load(name), name) for name in compiled.codes]
        shapes = shapes_of(trees, self._scope)
        end = trial_render(compiled, sheet.format, self._scope, shapes, sheet.public)
        if isinstance(end, FormatError):
            self.findings.append(self._misfit(end, sheet, shapes))
        else:
            self.texts[sheet] = end if end is not None else self._load(sheet.template)

    def _misfit(self, problem: FormatError, sheet: TemplateOutput, shapes: Mapping[Need, Shape]) -> Finding:
        """At the line of the template, of which the error knows that of the file alone."""
        template, line = split_place(problem.where)
        lined = LineTrackingCompiler(self._load, self._scope)
        rendered = document(lined.compile(sheet.template), self._scope, shapes)
        if line and rendered is not None:
            template, line = lined.source(rendered, line)
        file = str(self.folder / template)
        return Finding(
            problem.rule or "format-misfit", "error", problem.what, problem.todo, file, line, sheet.app, template
        )

    def _finding(self, problem: LesseeError, sheet: TemplateOutput) -> Finding:
        template, line = split_place(problem.where)
        # What cannot be read names the file itself.
        unread = problem.rule == "template-unreadable"
        file = problem.where if unread else str(self.folder / template)
        name = sheet.template if unread else template
        rule = problem.rule or "template-syntax"
        return Finding(rule, "error", problem.what, problem.todo, file, 0 if unread else line, sheet.app, name)
