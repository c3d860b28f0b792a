"""What only the user's shell has stays there, and each such secret is a step for a person."""

from lessee.core.immutable import replace
from lessee.ops.adopt.policy.model import Origin, Source, Span, Use
from lessee.ops.adopt.policy.shell_values import without_shell_values
from lessee.ops.scan.policy.classifier import Verdict
from support.inputs.adopted_projects import project, service

IN_SHELL = Source(Origin.SHELL, "DB_PASSWORD", None, "of-the-shell")
IN_FILE = Source(Origin.PROJECT_ENV, "DB_PASSWORD", Span(".env", 1, 12, 24), "of-the-shell")


def use(name, *sources, verdict=Verdict.SECRET):
    return Use("app", name, "of-the-shell", sources, verdict)


def test_a_secret_of_the_shell_alone_is_a_step_with_its_variable():
    one, other = use("DB_PASSWORD", IN_SHELL), use("DATABASE_URL", IN_SHELL)
    found, steps = without_shell_values(project(service(), uses=[one, other]), ())
    assert found.uses == ()
    what = "DB_PASSWORD is a variable of your shell, which adopt does not change"
    todo = "write it into .env, and run `lessee adopt` again"
    assert list(map(str, steps)) == [f"app: {what}; {todo}", f"app.DATABASE_URL: {what}; {todo}"]


def test_what_a_file_has_too_and_what_is_no_secret_is_adopted_as_ever():
    uses = (
        use("DB_PASSWORD", IN_SHELL, IN_FILE),
        use("LOG_LEVEL", IN_SHELL, verdict=Verdict.PLAIN),
        use("OF_THE_IMAGE"),
    )
    found = project(service(), uses=uses)
    assert without_shell_values(found, ()) == (found, ())


def test_what_was_adopted_before_needs_no_step():
    found, steps = without_shell_values(
        project(service(), uses=[use("DB_PASSWORD", IN_SHELL)]), {("app", "DB_PASSWORD")}
    )
    assert (found.uses, steps) == ((), ())


def test_the_step_names_the_file_that_is_interpolated_last():
    found = project(service(), uses=[use("DB_PASSWORD", IN_SHELL)])
    for files, name in ((("common.env", "local.env"), "local.env"), ((), ".env")):
        [step] = without_shell_values(replace(found, project_env=files), ())[1]
        assert step.todo == f"write it into {name}, and run `lessee adopt` again"
