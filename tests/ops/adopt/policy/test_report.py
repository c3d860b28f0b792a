"""The plan as text: everything that happens, and no value."""

from lessee.core.immutable import replace
from lessee.ops.adopt.policy.model import (
    AppPlan,
    Delivery,
    Edit,
    Image,
    ManualStep,
    Notification,
    Origin,
    Part,
    Plan,
    Project,
    Rendered,
    Service,
    Source,
    Span,
    StoredField,
    Use,
)
from lessee.ops.adopt.policy.report import plan_lines, summary
from lessee.ops.scan.policy.classifier import Verdict

SECRET = "canary-5512"
SPAN = Span(".env", 2, 10, 20)


def plan():
    uses = (
        Use("api", "URL", f"pg://app:{SECRET}@db", (Source(Origin.PROJECT_ENV, "PW", SPAN),), Verdict.SECRET),
        Use("api", "LOG_LEVEL", SECRET, ()),
        Use("api", "command[1]", SECRET, ()),
        Use("api", "TOKEN", "changeme", (Source(Origin.SHELL, "TOKEN"),), Verdict.SECRET, is_placeholder=True),
        Use("db", "PASSWORD", SECRET, (), Verdict.SECRET),
        Use("job", "PASSWORD", SECRET, (), Verdict.SECRET),
        Use("job", "API_KEY", "", ()),
    )
    services = {name: Service(name, Image("i")) for name in ("api", "db", "job", "web")}
    url = (Part("pg://"), Part(path="db/pg", field="username"), Part(":"), Part(path="db/pg", field="password"))
    stored = StoredField("db/pg", "password", SECRET, (("api", "URL"),)), StoredField("db/pg", "username", "app", ())
    apps = (
        AppPlan("api", Delivery.LAUNCHER, (Rendered("api", "URL", url),), 0, Notification("restart")),
        AppPlan("db", Delivery.VARIABLE_FILE, (Rendered("db", "PASSWORD", url[3:]),), 999, None),
    )
    steps = (ManualStep("compose.yaml:9", "TOKEN is a placeholder", "write it"),)
    return Plan(Project("shop", "/shop", ("compose.yaml",), services, uses), "production", stored, apps, (), steps)


def test_the_plan_has_all_names_and_no_value():
    edits = (
        Edit(SPAN, "ref"),
        Edit(Span(".env", 3, 30, 30), "COMPOSE_FILE=a\n"),
        Edit(Span("compose.yaml", 2, 9, 9), "  lessee-agent: {} # why\n"),
        Edit(Span(".env", 4, 40, 41), "a.yaml:b.yaml"),
        Edit(Span("app.env", 1, 0, 0), "# "),
    )
    lines = list(plan_lines(plan(), ["lessee/lessee.yaml", "compose.lessee.yaml"], edits))
    assert lines == [
        "project shop: 4 services, environment production",
        "api: gets its secrets in its environment, from a file; notified by restart",
        "  LOG_LEVEL  plain",
        "  TOKEN      placeholder",
        "  URL        secret  db/pg#username,password",
        "db: gets its secrets in a file that its image reads; it reads them when it starts",
        "  PASSWORD  secret  db/pg#password",
        "job:",
        "  API_KEY   empty",
        "  PASSWORD  secret",
        "new files, without a secret:",
        "  + compose.lessee.yaml",
        "  + lessee/lessee.yaml",
        "changes of your files, once the stack is healthy; plaintext becomes a reference:",
        "  ~ .env:2  PW",
        "  ~ .env:3  COMPOSE_FILE, so that `docker compose up` uses the override",
        "  ~ compose.yaml:2  lessee-agent, so that Compose starts nothing without the override",
        "  ~ .env:4  COMPOSE_FILE, so that `docker compose up` uses the override",
        "left to you:",
        "  ! compose.yaml:9: TOKEN is a placeholder; write it",
    ]
    assert SECRET not in "\n".join(lines)
    assert summary(plan()) == "plan: 2 values in 1 secret, 2 apps, 1 manual step"


def test_an_empty_plan_is_one_line():
    project = Project("shop", "/shop", ("compose.yaml",), {"web": Service("web", Image("i"))}, ())
    nothing = Plan(project, "production", (), (), (), ())
    assert list(plan_lines(nothing, (), ())) == ["project shop: 1 service, environment production"]
    assert summary(nothing) == "plan: 0 values in 0 secrets, 0 apps, 0 manual steps"


def test_a_step_that_may_end_with_an_engine_is_marked():
    step = ManualStep("web", "its shell is not known", "build it", needs_image=True)
    given = replace(plan(), manual_steps=(*plan().manual_steps, step))
    marked = {line for line in plan_lines(given, (), (), is_guessed=True) if line.startswith(("  !", "  ?"))}
    assert marked == {
        "  ! compose.yaml:9: TOKEN is a placeholder; write it",
        "  ? web: its shell is not known; build it",
    }
    assert "  ! web: its shell is not known; build it" in plan_lines(given, (), ())
