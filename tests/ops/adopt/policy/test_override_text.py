"""The override of an adopted project. tests/e2e/test_adopt_override.py lets Compose read overrides of many shapes."""

import yaml

from lessee.core.immutable import replace
from lessee.ops.adopt.policy import launcher
from lessee.ops.adopt.policy.model import Deployment, Image, Origin, Plan, Source, Span, Use
from lessee.ops.adopt.policy.override_text import is_launched, override
from support.inputs.adopted_projects import APP, DEPLOYMENT, SHELL, plan, postgres_and_app, project, service, whole


class _Loader(yaml.SafeLoader):
    """Reads Compose's tags."""


_LIST, _RESET = "!override", "!reset"
_Loader.add_constructor(_LIST, lambda loader, node: (_LIST, loader.construct_sequence(node, deep=True)))
_Loader.add_constructor(_RESET, lambda loader, node: (_RESET, loader.construct_sequence(node)))


def written(of, deployment=DEPLOYMENT, **options):
    text = override(of, deployment, **options)
    return yaml.load(text, _Loader)  # noqa: S506  # Above: a safe loader.


def only_service(*arguments):
    return written(plan(*arguments))["services"]["app"]


def test_a_store_gets_the_name_of_its_file_and_keeps_its_start():
    db = written(postgres_and_app())["services"]["db"]
    assert db == {
        "environment": {"POSTGRES_PASSWORD": "", "POSTGRES_PASSWORD_FILE": "/run/secrets/db/POSTGRES_PASSWORD"},
        "volumes": ["lessee-files-db:/run/secrets/db:ro"],
        "depends_on": {"lessee-agent": {"condition": "service_healthy"}},
    }


def test_an_app_is_launched_in_the_holders_namespace():
    app = written(postgres_and_app())["services"]["app"]
    script = launcher.SCRIPT.replace("$", "$$")
    assert app == {
        "environment": {"DATABASE_URL": ""},
        "entrypoint": ["/bin/sh", "-c", script, "/run/secrets/app"],
        "command": ["python3", "app.py"],
        "healthcheck": {"test": ["CMD-SHELL", ". /run/secrets/app/environment.sh; test -e /tmp/ok"]},
        "pid": "service:lessee-holder",
        "restart": "unless-stopped",
        "volumes": ["lessee-files-app:/run/secrets/app:ro", "lessee-pid-app:/run/lessee-launcher"],
        "depends_on": {"lessee-agent": {"condition": "service_healthy"}},
    }


def of_env_file(service_name, name, file=".env", *more):
    return Use(service_name, name, "x", (Source(Origin.ENV_FILE, name, Span(file, 1, 0, 1)), *more))


def test_compose_file_reaches_no_service_whose_env_file_is_that_of_the_project():
    given = postgres_and_app()
    elsewhere = Source(Origin.COMPOSE, "COMPOSE_FILE", Span("compose.yaml", 1, 0, 1))
    uses = (
        of_env_file("app", "LOG_LEVEL"),
        of_env_file("plain", "LOG_LEVEL"),
        of_env_file("other", "LOG_LEVEL", "other.env"),
        of_env_file("own", "LOG_LEVEL"),
        Use("own", "COMPOSE_FILE", "a", (elsewhere,)),
        Use("own", "OTHER", "a", (Source(Origin.SHELL, "A"),)),
    )
    given = replace(given, project=replace(given.project, uses=(*given.project.uses, *uses)))
    services = written(given, setting=".env")["services"]
    assert services["app"]["environment"] == {"COMPOSE_FILE": "", "DATABASE_URL": ""}
    assert services["plain"] == {"environment": {"COMPOSE_FILE": ""}}
    assert {"other", "own"}.isdisjoint(services)
    assert "COMPOSE_FILE" not in services["db"]["environment"]
    assert "plain" not in written(given)["services"]


def test_a_service_without_variables_gets_none_but_compose_file():
    secrets = (("token", "/run/secrets/token"),)
    given = plan([service(secrets=secrets)], whole("secrets.token", "first-fake-password"))
    assert "environment" not in written(given)["services"]["app"]
    given = replace(given, project=replace(given.project, uses=(*given.project.uses, of_env_file("app", "A"))))
    assert written(given, setting=".env")["services"]["app"]["environment"] == {"COMPOSE_FILE": ""}


def test_the_agent_and_the_holder_mount_what_the_services_read():
    services = written(postgres_and_app())["services"]
    agent, holder = services["lessee-agent"], services["lessee-holder"]
    assert (agent["user"], agent["group_add"], agent["cap_add"], agent["cap_drop"]) == (
        "0:0",
        ["999"],
        ["KILL"],
        ["ALL"],
    )
    assert "lessee-files-db:/run/secrets/db" in agent["volumes"]
    assert "lessee-pid-app:/run/lessee-launcher/app:ro" in agent["volumes"]
    assert "lessee-pid-app:/hold/lessee-pid-app" in holder["volumes"]
    assert "extra_hosts" not in agent


def test_a_vault_on_this_machine_is_reached_through_the_gateway():
    deployment = Deployment("https://host.docker.internal:8200", image="registry.example.com:5000/lessee:1")
    agent = written(postgres_and_app(), deployment)["services"]["lessee-agent"]
    assert agent["extra_hosts"] == ["host.docker.internal:host-gateway"]
    assert agent["image"] == "registry.example.com:5000/lessee:1"


def test_the_files_are_in_memory_and_belong_to_the_group_of_the_service():
    volumes = written(postgres_and_app())["volumes"]
    assert volumes["lessee-files-db"]["driver_opts"]["o"] == "size=1m,mode=0750,uid=0,gid=999,noexec,nosuid,nodev"
    assert {volume["driver_opts"]["type"] for volume in volumes.values()} == {"tmpfs"}


def test_the_projects_own_command_stays_unless_it_has_a_secret():
    own = service(command=("serve", "$HOME"), image=Image("app", entrypoint=("/e.sh",), shell_path=SHELL))
    found = only_service([own], whole("A", "secret-value"))
    assert "command" not in found
    assert found["entrypoint"][3:] == ["/run/secrets/app", "/e.sh"]
    found = only_service([own], whole("command[1]", "secret-value"))
    assert found["command"] == ["serve", "(lessee: command[1])"]
    own = service(entrypoint=("serve", "--key", "secret-value"))
    found = only_service([own], whole("entrypoint[2]", "secret-value"))
    assert found["entrypoint"][4:] == ["serve", "--key", "(lessee: entrypoint[2])"]
    assert "environment" not in found


def test_another_shell_starts_the_launcher_where_the_image_has_no_usual_one():
    image = Image("app", entrypoint=(), command=("a",), shell_path="/busybox/sh")
    assert only_service([service(image=image)], whole("A", "x"))["entrypoint"][0] == "/busybox/sh"


def test_a_health_check_of_words_gets_the_variables():
    own = service(healthcheck=("CMD", "check", "$x"))
    test = only_service([own], whole("A", "x"))["healthcheck"]["test"]
    assert test == ["CMD", "/bin/sh", "-c", '. /run/secrets/app/environment.sh; exec "$$@"', "sh", "check", "$$x"]


def test_a_health_check_of_the_image_gets_the_variables():
    image = Image("app", entrypoint=(), command=("a",), shell_path=SHELL, healthcheck=("CMD-SHELL", "b"))
    assert only_service([service(image=image)], whole("A", "x"))["healthcheck"]["test"][1].endswith("environment.sh; b")
    assert "healthcheck" not in only_service([service(image=image, healthcheck=("NONE",))], whole("A", "x"))


def test_a_health_check_of_a_store_gets_only_the_variables_that_it_names():
    def test_of(*healthcheck):
        store = service(image=Image("mysql:8"), healthcheck=healthcheck)
        return only_service([store], whole("MYSQL_ROOT_PASSWORD", "x")).get("healthcheck", {}).get("test")

    assert test_of("CMD-SHELL", "mysqladmin ping") is None
    assert test_of("CMD-SHELL", "ping -p$MYSQL_ROOT_PASSWORD")[1].endswith("ping -p$$MYSQL_ROOT_PASSWORD")
    assert test_of("CMD", "sh", "-c", "ping -p${MYSQL_ROOT_PASSWORD}")[-1] == "ping -p$${MYSQL_ROOT_PASSWORD}"


def test_a_health_check_with_a_secret_is_a_rendered_file():
    store = service(image=Image("mysql:8"), healthcheck=("CMD-SHELL", "secret-value"))
    values = whole("MYSQL_ROOT_PASSWORD", "secret-value"), whole("healthcheck.test[1]", "secret-value")
    assert only_service([store], *values)["healthcheck"]["test"][-1] == ":; . /run/secrets/app/healthcheck.sh"
    values = whole("A", "secret-value"), whole("healthcheck.test[2]", "secret-value")
    test = only_service([service(healthcheck=("CMD", "a", "secret-value"))], *values)
    assert test["healthcheck"]["test"][-1] == ". /run/secrets/app/environment.sh; . /run/secrets/app/healthcheck.sh"


def test_composes_own_secrets_give_way_to_the_folder_with_their_files():
    both = service(secrets=(("a", "/run/secrets/a"), ("b", "/etc/b")))
    found = only_service([both], whole("secrets.a", "x"))
    assert found["secrets"] == (_LIST, [{"source": "b", "target": "/etc/b"}])
    assert found["volumes"][0] == "lessee-files-app:/run/secrets:ro"
    found = only_service([service(secrets=(("a", "/run/secrets/a"),))], whole("secrets.a", "x"))
    assert found["secrets"] == (_RESET, [])
    assert found["entrypoint"][3] == "/run/secrets"


def test_what_is_not_notified_keeps_its_namespace_and_its_policy():
    found = only_service([service(replicas=2)], whole("A", "x"))
    assert "pid" not in found
    assert "restart" not in found
    assert found["volumes"] == ["lessee-files-app:/run/secrets/app:ro"]
    assert "restart" not in only_service([service(restart="always")], whole("A", "x"))


def test_an_app_whose_image_reads_files_waits_for_them_and_is_restarted():
    image = Image("wordpress", entrypoint=("docker-entrypoint.sh",), command=("apache2-foreground",), shell_path=SHELL)
    of = plan([service(image=image)], whole("WORDPRESS_DB_PASSWORD", "x"))
    assert is_launched(of.apps[0])
    app = written(of)["services"]["app"]
    assert app["environment"]["WORDPRESS_DB_PASSWORD_FILE"] == "/run/secrets/app/WORDPRESS_DB_PASSWORD"
    assert app["command"] == ["apache2-foreground"]


def test_names_and_words_stay_strings():
    of = plan([service("true", APP)], whole("A", "x", of="true"))
    assert "true" in written(of)["services"]
    own = service(entrypoint=("a\n\x07b", "yes", "1", '"\\', "ü"))
    assert only_service([own], whole("A", "x"))["entrypoint"][4:] == list(own.entrypoint)


def test_a_project_without_secrets_has_only_the_agent():
    services = written(Plan(project(service()), "production", (), (), (), ()))["services"]
    assert set(services) == {"lessee-holder", "lessee-agent"}
    assert services["lessee-agent"]["user"] == "0:0"
