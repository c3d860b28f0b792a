"""Compose projects as `lessee adopt` resolves them, and plans for them."""

from lessee.ops.adopt.policy.app_plans import app_plans
from lessee.ops.adopt.policy.model import (
    Deployment,
    Image,
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

SHELL = "/bin/sh"
APP = Image("app", entrypoint=(), command=("python3", "app.py"), shell_path=SHELL)
DEPLOYMENT = Deployment("https://vault:8200")
SPAN = Span(".env", 3, 10, 20)
IN_ENV = (Source(Origin.PROJECT_ENV, "X", SPAN),)
PASSWORD = Part(path="database/postgres", field="password")


def project(*services, uses=()):
    return Project("p", ".", ("compose.yaml",), {item.name: item for item in services}, tuple(uses), (".env",))


def service(name="app", image=APP, **settings):
    return Service(name, image, **settings)


def whole(name, value, of="app", path="database/postgres", field="password"):
    """A use whose value is one field, with that field and how it is rendered."""
    found = Use(of, name, value, IN_ENV)
    stored = StoredField(path, field, value, ((of, name),))
    return found, stored, Rendered(of, name, (Part(path=path, field=field),))


def decide(services, *values):
    """The project with these values (of `whole`), its fields, and what `app_plans` decides."""
    uses, stored, rendered = zip(*values, strict=True)
    found = project(*services, uses=uses)
    return found, stored, app_plans(found, stored, rendered)


def plan(services, *values):
    found, stored, (apps, steps) = decide(services, *values)
    return Plan(found, "production", stored, apps, (), steps)


def postgres_and_app(password="first-fake-password"):  # noqa: S107  # A fake.
    """The simplest stack: a PostgreSQL with a password, and an app with a URL that contains it."""
    url = f"postgresql://postgres:{password}@db:5432/app"
    parts = (Part("postgresql://postgres:"), Part(path="database/postgres", field="password", is_url_part=True))
    found = project(
        service("db", Image("postgres:17"), healthcheck=("CMD-SHELL", "pg_isready")),
        service("app", healthcheck=("CMD-SHELL", "test -e /tmp/ok")),
        uses=(Use("db", "POSTGRES_PASSWORD", password, IN_ENV), Use("app", "DATABASE_URL", url, IN_ENV)),
    )
    stored = (StoredField("database/postgres", "password", password, (("db", "POSTGRES_PASSWORD"),)),)
    rendered = (
        Rendered("db", "POSTGRES_PASSWORD", (PASSWORD,)),
        Rendered("app", "DATABASE_URL", (*parts, Part("@db:5432/app"))),
    )
    apps, steps = app_plans(found, stored, rendered)
    return Plan(found, "production", stored, apps, (), steps)
