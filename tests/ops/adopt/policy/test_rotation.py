"""Which stores of an adopted project are rotated, how, and what is left to a person."""

import pytest
import yaml

from lessee.core.immutable import replace
from lessee.ops.adopt.policy.app_plans import app_plans
from lessee.ops.adopt.policy.config_text import lessee_yaml
from lessee.ops.adopt.policy.model import Deployment, Image, Part, Plan, Rendered, StoredField, Use
from lessee.ops.adopt.policy.override_text import override
from lessee.ops.adopt.policy.root_logins import with_root_logins
from lessee.ops.adopt.policy.rotation import RotatedStore, Rotations, StoreTarget, rotation_block, rotations
from lessee.ops.adopt.policy.rotator_text import rotator_service
from support.inputs.adopted_projects import DEPLOYMENT, postgres_and_app, project, service, whole

APP = "app"


def found_in(image, plain, *secrets, path, app="app", **settings):
    """The rotation of a store with these plain variables, and secret ones with their fields; the app has the first."""
    values = [whole(name, f"fake-{field}", "store", path, field) for name, field in secrets]
    values += [whole("PASSWORD", f"fake-{secrets[0][1]}", APP, path, secrets[0][1])]
    texts = [Use("store", name, value, ()) for name, value in plain.items()]
    shell = Image(image, entrypoint=("docker-entrypoint.sh",), command=("serve",), shell_path="/bin/sh")
    uses, stored, rendered = zip(*values, strict=True)
    one = project(
        service("store", shell, **settings), service(APP, replace(shell, reference=app)), uses=(*uses, *texts)
    )
    stored, rendered = with_root_logins(stored, rendered)
    apps, _ = app_plans(one, stored, rendered)
    return rotations(one, stored, apps)


def blocks(found):
    """The targets as lessee.yaml has them."""
    plan = postgres_and_app()
    return yaml.safe_load(lessee_yaml(plan, DEPLOYMENT, rotation_block(found))).get("rotation", {})


def fields(found):
    return {(one.path, one.field): one.value for one in found.fields}


def test_the_superuser_of_postgres_changes_its_own_password():
    found = found_in(
        "postgres:17",
        {"POSTGRES_USER": "shop", "POSTGRES_DB": "orders"},
        ("POSTGRES_PASSWORD", "password"),
        path="database/postgres",
    )
    assert blocks(found) == {
        "postgres": {
            "kind": "postgres",
            "secret": "database/postgres",
            "roles": ["shop"],
            "consumers": ["app", "store"],
        }
    }
    assert fields(found) == {
        ("database/postgres", "host"): "store",
        ("database/postgres", "port"): "5432",
        ("database/postgres", "username"): "shop",
        ("database/postgres", "database"): "orders",
    }
    assert found.services == ("store",)
    assert found.steps == ()


def test_two_stores_with_one_password_are_left_to_a_person():
    """A rotation would change it in one of them alone."""
    values = [whole("POSTGRES_PASSWORD", "fake-password", name, "database/postgres", "password") for name in ("a", "b")]
    uses, stored, rendered = zip(*values, strict=True)
    image = Image("postgres:17", entrypoint=("docker-entrypoint.sh",), command=("postgres",), shell_path="/bin/sh")
    one = project(service("a", image), service("b", image), uses=uses)
    apps, _ = app_plans(one, stored, rendered)
    found = rotations(one, stored, apps)
    assert found.targets == ()
    assert [step.what for step in found.steps] == [
        f"{name} and {other} have one password, and a rotation changes it in one store alone"
        for name, other in (("a", "b"), ("b", "a"))
    ]


def test_what_is_rotated_is_not_pending_and_a_person_may_choose_one():
    targets = tuple(StoreTarget(name, f"my-{name}", f"x/{name}", ()) for name in ("minio", "postgres", "redis"))
    found = Rotations(targets)
    minio, postgres, redis = targets
    assert found.pending(()) == targets
    done = RotatedStore("minio", "my-minio", "x/minio", 1, is_done=True)
    begun = RotatedStore("redis", "my-redis", "x/redis", 1)
    assert found.pending((done, begun)) == (postgres, redis)
    assert found.pending((), ["my-redis", "minio"]) == (minio, redis)
    assert found.unknown(["my-redis", "minio", "web"]) == ("web",)


def test_without_a_user_it_is_the_images_own():
    found = found_in("postgres", {}, ("POSTGRES_PASSWORD", "password"), path="database/postgres")
    assert fields(found)["database/postgres", "username"] == "postgres"
    assert fields(found)["database/postgres", "database"] == "postgres"


def test_root_of_mariadb_changes_its_own_accounts_and_the_apps_user():
    found = found_in(
        "mariadb:11",
        {"MARIADB_USER": "shop", "MARIADB_DATABASE": "orders"},
        ("MARIADB_PASSWORD", "password"),
        ("MARIADB_ROOT_PASSWORD", "root_password"),
        path="database/mysql",
    )
    assert blocks(found) == {
        "mysql": {
            "kind": "mysql",
            "secret": "database/mysql",
            "admin_secret": "database/mysql-root",
            "users": ["shop"],
            "consumers": ["app", "store"],
        },
        "mysql-root": {
            "kind": "mysql",
            "secret": "database/mysql-root",
            "users": ["root"],
            "more_account_hosts": ["localhost", "127.0.0.1", "::1"],
            "consumers": ["store"],
        },
    }
    assert fields(found)["database/mysql", "database"] == "orders"
    assert fields(found)["database/mysql-root", "username"] == "root"


def test_an_app_that_logs_in_as_root_is_a_consumer_of_root():
    found = found_in("mariadb", {}, ("MARIADB_ROOT_PASSWORD", "root_password"), path="database/mysql")
    assert blocks(found)["mysql-root"]["consumers"] == ["app", "store"]


def test_a_password_that_an_app_keeps_in_a_file_of_its_own_is_left_to_a_person():
    """Nextcloud's image reads the variable at its first start only: a new password would lock the app out."""
    found = found_in(
        "mariadb",
        {"MYSQL_USER": "shop"},
        ("MYSQL_PASSWORD", "password"),
        ("MYSQL_ROOT_PASSWORD", "root_password"),
        path="database/mysql",
        app="nextcloud:apache",
    )
    assert sorted(blocks(found)) == ["mysql-root"]
    assert {path for path, _ in fields(found)} == {"database/mysql-root"}
    [step] = found.steps
    assert step.what == "app keeps the password of store in its config/config.php, so it is not rotated"
    assert "`lessee set database/mysql password`" in step.todo


def test_a_user_without_a_database_has_none():
    found = found_in(
        "mariadb",
        {"MYSQL_USER": "shop"},
        ("MYSQL_PASSWORD", "password"),
        ("MYSQL_ROOT_PASSWORD", "root_password"),
        path="database/mysql",
    )
    assert ("database/mysql", "database") not in fields(found)


def test_the_default_user_of_redis_has_both_passwords():
    found = found_in("redis:8", {}, ("REDIS_PASSWORD", "password"), path="database/redis")
    assert blocks(found)["redis"] == {
        "kind": "redis",
        "secret": "database/redis",
        "user": "default",
        "consumers": ["app", "store"],
    }


def test_the_administrator_of_rabbitmq_keeps_its_name():
    plain = {"RABBITMQ_DEFAULT_USER": "shop", "RABBITMQ_DEFAULT_VHOST": "orders"}
    image = "rabbitmq:4-management"
    found = found_in(image, plain, ("RABBITMQ_DEFAULT_PASS", "password"), path="messaging/rabbitmq")
    target = blocks(found)["rabbitmq"]
    assert (target["user"], target["keep_name"]) == ("shop", True)
    assert fields(found)["messaging/rabbitmq", "management_url"] == "http://store:15672"
    assert fields(found)["messaging/rabbitmq", "vhost"] == "orders"
    del plain["RABBITMQ_DEFAULT_VHOST"]
    found = found_in(image, plain, ("RABBITMQ_DEFAULT_PASS", "password"), path="messaging/rabbitmq")
    assert ("messaging/rabbitmq", "vhost") not in fields(found)


def test_minio_reads_its_new_password_when_it_starts_again():
    found = found_in("minio/minio", {}, ("MINIO_ROOT_PASSWORD", "secret_key"), path="storage/minio")
    assert blocks(found)["minio"] == {
        "kind": "vault",
        "secret": "storage/minio",
        "keys": {"secret_key": {"generate": 40}},
        "consumers": ["app", "store"],
    }
    assert [target.restarts for target in found.targets] == [True]


@pytest.mark.parametrize(
    ("image", "plain", "secret", "path", "what"),
    [
        (
            "postgres",
            {"POSTGRES_HOST_AUTH_METHOD": "trust"},
            "POSTGRES_PASSWORD",
            "database/postgres",
            "without a pass",
        ),
        ("mysql:8", {"MYSQL_USER": "shop"}, "MYSQL_PASSWORD", "database/mysql", "in clear text"),
        ("mariadb", {"MYSQL_USER": "shop"}, "MYSQL_PASSWORD", "database/mysql", "no administrator's password"),
        ("mariadb", {}, "MYSQL_PASSWORD", "database/mysql", "not one that lessee knows"),
        ("rabbitmq:4", {"RABBITMQ_DEFAULT_USER": "a"}, "RABBITMQ_DEFAULT_PASS", "messaging/rabbitmq", "no management"),
        ("rabbitmq:4-management", {}, "RABBITMQ_DEFAULT_PASS", "messaging/rabbitmq", "the user guest may log in only"),
        ("mongo:7", {}, "MONGO_INITDB_ROOT_PASSWORD", "database/mongodb", "does not rotate mongodb"),
        ("elasticsearch", {}, "ELASTIC_PASSWORD", "database/elasticsearch", "does not rotate elasticsearch"),
    ],
)
def test_what_cannot_be_rotated_is_left_to_a_person_with_a_command(image, plain, secret, path, what):
    found = found_in(image, plain, (secret, "password"), path=path)
    [step] = found.steps
    assert (found.targets, found.fields) == ((), ())
    assert what in step.what
    assert "so its password is not rotated" in step.what
    assert step.where == ".env:3"
    assert rotation_block(found) == ()


def test_a_store_on_the_hosts_network_is_left_to_a_person():
    found = found_in(
        "postgres", {}, ("POSTGRES_PASSWORD", "password"), path="database/postgres", network_mode="host"
    )  # fmt: skip
    assert "network_mode" in found.steps[0].what


def test_another_field_is_not_rotated():
    found = found_in("redis", {}, ("REDIS_MASTER_PASSWORD", "master_password"), path="database/redis")
    assert "not one that lessee knows" in found.steps[0].what


def test_a_store_without_a_secret_has_no_rotation():
    assert rotations(project(service("db", Image("postgres"))), (), ()).targets == ()


def test_a_field_that_the_apps_get_stays_as_it_is():
    name = whole("POSTGRES_USER", "shop", "store", "database/postgres", "username")
    password = whole("POSTGRES_PASSWORD", "fake", "store", "database/postgres", "password")
    uses, stored, rendered = zip(name, password, strict=True)
    one = project(service("store", Image("postgres", shell_path="/bin/sh")), uses=uses)
    apps, _ = app_plans(one, stored, rendered)
    found = rotations(one, stored, apps)
    assert ("database/postgres", "username") not in fields(found)
    assert found.targets[0].settings[1] == ("roles", ["shop"])


def test_the_root_of_a_database_has_a_secret_of_its_own():
    stored = (StoredField("d/m", "password", "a", ()), StoredField("d/m", "root_password", "b", ()))
    parts = (Part(text="x"), Part(path="d/m", field="root_password"), Part(path="d/m", field="password"))
    fields_, rendered = with_root_logins(stored, (Rendered("a", "X", parts),))
    assert [(one.path, one.field) for one in fields_] == [("d/m", "password"), ("d/m-root", "password")]
    assert [(part.path, part.field) for part in rendered[0].parts] == [
        ("", ""),
        ("d/m-root", "password"),
        ("d/m", "password"),
    ]


def test_the_rotator_reaches_the_stores_and_has_only_its_own_login():
    plan = postgres_and_app()
    found = rotations(plan.project, plan.secrets, plan.apps)
    deployment = Deployment("https://host.docker.internal:8200", image="registry:5000/lessee:1")
    services = yaml.safe_load(override(plan, deployment, rotator_service(plan, deployment, found)))["services"]
    rotator = services["lessee-rotator"]
    assert rotator["profiles"] == ["rotate"]
    assert rotator["image"] == "registry:5000/lessee:1"
    assert rotator["networks"] == ["lessee-vault", "default"]
    assert rotator["volumes"] == [
        "./lessee:/etc/lessee:ro",
        "./.lessee/identity/production/production-p-rotator:/run/identity/production/production-p-rotator:ro",
    ]
    assert rotator["extra_hosts"] == ["host.docker.internal:host-gateway"]
    vault = yaml.safe_load(lessee_yaml(plan, deployment, rotation_block(found)))["vault"]
    assert vault["auth"]["role_id_file"] == "/run/identity/production/production-p-rotator/role_id"


def test_a_vault_elsewhere_needs_no_name_of_the_host():
    plan = postgres_and_app()
    found = rotations(plan.project, plan.secrets, plan.apps)
    assert not any("extra_hosts" in line for line in rotator_service(plan, DEPLOYMENT, found))


def test_without_a_target_there_is_no_rotator():
    plan: Plan = postgres_and_app()
    found = rotations(project(), (), ())
    assert list(rotator_service(plan, DEPLOYMENT, found)) == []
    assert override(plan, DEPLOYMENT, rotator_service(plan, DEPLOYMENT, found)) == override(plan, DEPLOYMENT)
