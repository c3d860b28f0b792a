"""What is decided for each service, and what is left to a person."""

from lessee.core.immutable import replace
from lessee.ops.adopt.policy.app_plans import app_plans, verified, where
from lessee.ops.adopt.policy.model import (
    AppPlan,
    Delivery,
    Image,
    Notification,
    Origin,
    Part,
    Rendered,
    Source,
    StoredField,
    Use,
    text_of,
)
from support.inputs.adopted_projects import APP, IN_ENV, decide, postgres_and_app, project, service, whole

SECRET = "first-fake-password"
POSTGRES = Image("postgres:17")


def only_step(*arguments):
    _, _, (apps, steps) = decide(*arguments)
    assert apps == ()
    [step] = steps
    return step


def test_a_store_reads_a_file_and_an_app_is_launched_and_restarted():
    db, app = postgres_and_app().apps
    assert (db.delivery, db.owner_gid, db.notification) == (Delivery.VARIABLE_FILE, 999, None)
    assert (app.delivery, app.owner_gid, app.notification) == (Delivery.LAUNCHER, 0, Notification("restart"))
    assert (db.directory, app.directory) == ("/run/secrets/db", "/run/secrets/app")


def test_a_service_without_a_secret_is_no_app():
    _, _, (apps, steps) = decide([service(), service("other")], whole("A", SECRET))
    assert [app.service for app in apps] == ["app"]
    assert steps == ()


def test_labels_arguments_of_builds_and_configs_are_left_to_a_person():
    for name, what in (("labels.a", "a label"), ("build.args.A", "an argument"), ("configs.a", "a config")):
        step = only_step([service()], whole(name, SECRET))
        assert step.where == ".env:3"
        assert what in step.what
        assert SECRET not in str(step)


def test_a_name_that_a_shell_cannot_export_is_left_to_a_person():
    step = only_step([service()], whole("spring-password", SECRET))
    assert step.what == "spring-password of service app is no name that a shell can export"


def test_an_unknown_program_or_group_is_left_to_a_person():
    assert "entrypoint" in only_step([service(image=Image("x"))], whole("A", SECRET)).what
    assert "group of user app" in only_step([service(user="app")], whole("A", SECRET)).what


def test_an_app_that_cannot_be_notified_still_gets_its_files():
    _, _, (apps, steps) = decide([service(replicas=3)], whole("A", SECRET))
    assert [app.notification for app in apps] == [None]
    assert [step.where for step in steps] == ["app"]


def test_a_value_that_ends_with_a_newline_is_given_by_a_launcher():
    image = Image("postgres:17", entrypoint=("a",), command=(), shell_path="/bin/sh")
    _, _, (apps, _) = decide([service(image=image)], whole("POSTGRES_PASSWORD", f"{SECRET}\n"))
    assert [app.delivery for app in apps] == [Delivery.LAUNCHER]
    step = only_step([service(image=POSTGRES)], whole("POSTGRES_PASSWORD", f"{SECRET}\n"))
    assert "entrypoint" in step.what


def test_composes_own_secrets_are_replaced_together():
    owner = service(image=POSTGRES, secrets=(("a", "/run/secrets/a"), ("b", "/run/secrets/b"), ("c", "/etc/c")))
    _, _, (apps, steps) = decide([owner], whole("secrets.a", "a\n", field="a"), whole("secrets.b", "b", field="b"))
    assert [app.directory for app in apps] == ["/run/secrets"]
    assert steps == ()
    step = only_step([owner], whole("secrets.a", "a"))
    assert "does not render: b" in step.what
    step = only_step([owner], whole("secrets.c", "c"))
    assert "at /etc/c" in step.what


def test_a_file_of_one_line_keeps_its_end():
    use, stored, rendered = whole("secrets.a", "a", field="a")
    found = project(service(image=POSTGRES, secrets=(("a", "/run/secrets/a"),)), uses=(replace(use, end="\n"),))
    [app], _ = app_plans(found, (stored,), (rendered,))
    assert app.rendered == (Rendered("app", "secrets.a", (*rendered.parts, Part("\n"))),)


def test_a_health_check_that_is_not_known_is_left_to_a_person():
    for test in ((), ("NONE",), ("CMD-SHELL",), ("other", "x")):
        step = only_step([service(healthcheck=test)], whole("healthcheck.test[1]", SECRET))
        assert "health check is not known" in step.what


def test_a_secret_in_another_value_is_found_where_it_is_repeated():
    use, stored, rendered = whole("command[2]", SECRET)
    other = Use("app", "healthcheck.test[1]", f"cli -a {SECRET} ping", IN_ENV)
    short, short_field, short_rendered = whole("B", "short", field="b")
    user, user_field, user_rendered = whole("C", "postgres-user", field="username")
    plain = Use("app", "D", "postgres-user short", IN_ENV)
    found = project(service(healthcheck=("CMD-SHELL", other.value)), uses=(use, other, short, user, plain))
    fields, texts = (stored, short_field, user_field), (rendered, short_rendered, user_rendered)
    [app], steps = app_plans(found, fields, texts)
    assert steps == ()
    assert app.rendered[-1] == Rendered(
        "app", "healthcheck.test[1]", (Part("cli -a "), Part(path="database/postgres", field="password"), Part(" ping"))
    )
    assert [item.name for item in app.rendered] == ["command[2]", "B", "C", "healthcheck.test[1]"]


def test_a_value_that_its_parts_do_not_give_back_is_stored_as_a_whole():
    url = "postgres://u:p%2fq@db"
    part = Part(path="database/postgres", field="password", is_url_part=True)
    rendered = (Rendered("app", "URL", (Part("postgres://u:"), part, Part("@db"))), Rendered("app", "GONE", (part,)))
    stored = (StoredField("database/postgres", "password", "p/q", ()),)
    found = project(service(), uses=(Use("app", "URL", url, IN_ENV),))
    apps, steps = app_plans(found, stored, rendered[:1])
    assert apps == ()
    assert "not what its parts" in steps[0].what
    fields, texts = verified(found, stored, rendered)
    assert texts[0] == Rendered("app", "URL", (Part(path="applications/app", field="url"),))
    assert fields == (*stored, StoredField("applications/app", "url", url, (("app", "URL"),)))
    [app], steps = app_plans(found, fields, texts[:1])
    assert isinstance(app, AppPlan)
    assert steps == ()


def test_what_nothing_renders_any_more_is_not_stored():
    use, stored, rendered = whole("A", SECRET)
    found = project(service(image=APP), uses=(use,))
    unused = StoredField("a/b", "c", "x", ())
    assert verified(found, (stored, unused), (rendered,)) == ((stored,), (rendered,))


def test_parts_without_a_value_give_no_text():
    assert text_of((Part("a"), Part(path="a", field="b")), {}) is None
    assert text_of((Part(path="a", field="b", is_url_part=True),), {("a", "b"): "x/y"}) == "x%2Fy"


def test_the_place_of_a_value_is_a_line_of_a_file_or_its_service():
    assert where(Use("app", "A", "x", (Source(Origin.SHELL, "A"), *IN_ENV)), "app") == ".env:3"
    assert where(Use("app", "A", "x", (Source(Origin.SHELL, "A"),)), "app") == "app"
    assert where(None, "app") == "app"
