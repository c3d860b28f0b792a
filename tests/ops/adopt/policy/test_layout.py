"""One credential has one field in Vault, at a path that its name and its use tell."""

import pytest

from lessee.ops.adopt.policy.classification import classified
from lessee.ops.adopt.policy.layout import stored_fields, stores_of
from lessee.ops.adopt.policy.model import Image, Origin, Project, Service, Source, Span, Use
from lessee.ops.adopt.policy.providers import provider_of
from lessee.ops.adopt.policy.secret_parts import secret_parts, words_in
from lessee.ops.adopt.policy.stores import kind_of_image, kind_of_name, kind_of_scheme


def layout(services, shared=(), needs=()):
    """The fields by path, and the values as templates. `services`: an image (`.`: built), and values by name.

    `shared`: names whose values have one place in all services.
    """
    found = {
        name: Service(
            name,
            Image(image if image != "." else f"p-{name}"),
            build_context="." if image == "." else None,
            depends_on=tuple(dict(needs).get(name, ())),
        )
        for name, (image, _) in services.items()
    }
    uses = []
    for service, (_, values) in services.items():
        for name, value in values.items():
            place = Span("c", 1, int.from_bytes((name if name in shared else service + name).encode()), 1)
            uses.append(Use(service, name, value, (Source(Origin.COMPOSE, name, place, value),)))
    stored, rendered = stored_fields(classified(Project("p", "/p", (), found, tuple(uses))))
    values = {(one.path, one.field): one.value for one in stored}
    given = {(use.service, use.name): use.value for use in uses}
    for one in rendered:
        parts = [part.text or values[part.path, part.field] for part in one.parts]
        assert "".join(parts) == given[one.service, one.name] or any(part.is_url_part for part in one.parts)
    fields = {}
    for one in stored:
        fields.setdefault(one.path, {})[one.field] = one.value
    texts = {
        f"{one.service}.{one.name}": "".join(
            part.text or f"{{{part.path}#{part.field}{'|url' * part.is_url_part}}}" for part in one.parts
        )
        for one in rendered
    }
    return fields, texts


def test_a_url_and_a_database_share_one_password():
    fields, texts = layout(
        {
            "db": ("postgres:17", {"POSTGRES_USER": "app", "POSTGRES_DB": "shop", "POSTGRES_PASSWORD": "pw1"}),
            "web": (".", {"DATABASE_URL": "postgresql+asyncpg://app:pw1@db:5432/shop?x=1"}),
            "worker": (".", {"DB_HOST": "db", "DB_USER": "app", "DB_PASS": "pw1"}),
        }
    )
    assert fields == {
        "database/postgres": {
            "host": "db",
            "database": "shop",
            "username": "app",
            "port": "5432",
            "password": "pw1",
        }
    }
    path = "database/postgres"
    url = f"{{{path}#username|url}}:{{{path}#password|url}}@{{{path}#host}}:{{{path}#port}}/{{{path}#database}}"
    assert texts["web.DATABASE_URL"] == f"postgresql+asyncpg://{url}?x=1"
    assert texts["worker.DB_PASS"] == texts["db.POSTGRES_PASSWORD"] == f"{{{path}#password}}"


def test_a_url_encodes_what_it_has_in_vault():
    fields, texts = layout({"web": (".", {"A_URL": "postgres://a%40b:p%2Fw@db/x", "B_URL": "mysql://u:p!w@db"})})
    assert fields["database/postgres"]["password"] == "p/w"
    assert fields["database/postgres"]["username"] == "a@b"
    assert texts["web.A_URL"].startswith(
        "postgres://{database/postgres#username|url}:{database/postgres#password|url}@"
    )
    assert fields["database/mysql"]["password"] == "p!w"


def test_a_password_that_is_written_raw_in_a_url_stays_as_it_is():
    fields, texts = layout(
        {
            "db": ("postgres", {"POSTGRES_PASSWORD": "p%40w"}),
            "web": (".", {"A_URL": "postgres://postgres:p%40w@db"}),
        }
    )
    assert fields["database/postgres"]["password"] == "p%40w"
    assert "#password}" in texts["web.A_URL"]


def test_two_databases_have_names_of_their_own():
    fields, _ = layout(
        {
            "db": ("postgres", {"POSTGRES_PASSWORD": "pw1"}),
            "keycloak-db": ("postgres", {"POSTGRES_PASSWORD": "pw2"}),
            "keycloak": ("x", {"KC_DB_PASSWORD": "pw2", "KC_DB_URL": "jdbc:postgresql://keycloak-db/keycloak"}),
            "web": ("x", {"DB_PASSWORD": "pw9"}),
            "api": ("x", {"DB_PASSWORD": "pw8"}),
        },
        needs={"web": ["db"]},
    )
    assert {path: one["password"] for path, one in fields.items()} == {
        "database/db": "pw1",
        "database/keycloak-db": "pw2",
        "database/db-web": "pw9",
        "database/database": "pw8",
    }


def test_an_account_of_another_user_is_another_secret():
    fields, texts = layout(
        {
            "db": ("postgres", {"POSTGRES_PASSWORD": "root-pw"}),
            "web": (".", {"A_URL": "postgres://app:app-pw@db/x", "B_URL": "postgres://app:app-pw@db/y"}),
            "other": (".", {"C_URL": "postgres://app:old-pw@db/y"}),
        }
    )
    assert fields["database/postgres"]["password"] == "root-pw"
    assert fields["database/postgres-app"] == {
        "host": "db",
        "database": "x",
        "username": "app",
        "password": "app-pw",
    }
    assert texts["web.B_URL"].endswith("@{database/postgres-app#host}/y")
    assert fields["database/postgres-app-2"]["password"] == "old-pw"


def test_a_database_with_a_root_and_a_user():
    fields, texts = layout(
        {
            "db": ("mariadb:11", {"MYSQL_ROOT_PASSWORD": "r1", "MYSQL_USER": "u", "MYSQL_PASSWORD": "p1"}),
            "web": (
                "x",
                {
                    "WORDPRESS_DB_HOST": "db:3306",
                    "WORDPRESS_DB_USER": "u",
                    "WORDPRESS_DB_PASSWORD": "p1",
                    "ROOT_URL": "mysql://root:r1@db/x",
                },
            ),
        }
    )
    mysql = fields["database/mysql"]
    assert (mysql["root_password"], mysql["password"], mysql["username"], mysql["port"]) == ("r1", "p1", "u", "3306")
    assert texts["web.ROOT_URL"] == "mysql://root:{database/mysql#root_password|url}@db/x"
    fields, _ = layout({"db": ("mysql", {"MYSQL_ROOT_PASSWORD": "r1"})})
    assert fields["database/mysql"] == {"host": "db", "username": "root", "password": "r1"}


def test_an_object_store_has_a_pair_of_keys():
    fields, texts = layout(
        {
            "minio": ("minio/minio", {"MINIO_ROOT_USER": "a1", "MINIO_ROOT_PASSWORD": "s1"}),
            "web": (".", {"S3_ACCESS_KEY": "a1", "AWS_SECRET_ACCESS_KEY": "s1", "S3_SECRET_KEY": "other"}),
        }
    )
    assert fields["storage/minio"] == {"endpoint": "minio:9000", "access_key": "a1", "secret_key": "s1"}
    assert fields["applications/web"] == {"s3_secret_key": "other"}
    assert texts["web.AWS_SECRET_ACCESS_KEY"] == "{storage/minio#secret_key}"


def test_keys_of_providers_and_of_the_app():
    fields, _ = layout(
        {
            "web": (
                ".",
                {
                    "OPENAI_API_KEY": "k1",
                    "STRIPE_WEBHOOK_SECRET": "k2",
                    "AWS_ACCESS_KEY": "k3",
                    "ACME_API_KEY": "k4",
                    "SECRET_KEY": "k5",
                    "WORKER_API_KEY": "k6",
                    "DJANGO__KEY": "k7",
                },
            ),
            "worker": (".", {"OPENAI_API_KEY": "other", "SECRET_KEY": "k5-of-worker"}),
        }
    )
    assert fields == {
        "api-keys/openai": {"api_key": "k1"},
        "api-keys/stripe": {"webhook_secret": "k2"},
        "api-keys/aws": {"access_key_id": "k3"},
        "api-keys/acme": {"api_key": "k4"},
        "applications/web": {"secret_key": "k5", "worker_api_key": "k6", "django_key": "k7"},
        "api-keys/openai-worker": {"api_key": "other"},
        "applications/worker": {"secret_key": "k5-of-worker"},
    }


def test_one_place_or_one_random_value_is_one_secret():
    strong = "f3b1c9a7d2e85b60"
    fields, _ = layout(
        {
            "web": (".", {"JWT_SECRET": "weak", "APP_SECRET": strong, "SHARED_SECRET": "one"}),
            "worker": (".", {"JWT_SECRET": "weak", "APP_SECRET": strong, "SHARED_SECRET": "one"}),
            "third": (".", {"API_KEY_SECRET": "x1", "api-key-secret": "x2"}),
            "fourth": (".", {"API_KEY_SECRET": "x1"}),
        },
        shared=["SHARED_SECRET"],
    )
    assert fields == {
        "applications/web": {"jwt_secret": "weak", "app_secret": strong, "shared_secret": "one"},
        "applications/worker": {"jwt_secret": "weak"},
        "applications/third": {"api_key_secret": "x1"},
        "applications/third-third": {"api_key_secret": "x2"},
        "applications/fourth": {"api_key_secret": "x1"},
    }


def test_commands_use_the_secret_of_their_service():
    fields, texts = layout(
        {
            "a": (".", {"OTHER_PASSWORD": "r1-password"}),
            "redis": (
                "redis:7",
                {
                    "command[0]": "redis-server",
                    "command[1]": "--requirepass",
                    "command[2]": "r1-password",
                    "healthcheck.test[1]": "redis-cli -a r1-password ping",
                    "entrypoint[0]": "sh -c 'x \"${P:-r1-password}\"'",
                },
            ),
            "b": (".", {"ADMIN_PASSWORD": "weak-word", "TOKEN": "weak-word", "command[0]": "x --token=weak-word"}),
        }
    )
    assert fields["database/redis"] == {"host": "redis", "password": "r1-password"}
    assert texts["redis.command[2]"] == "{database/redis#password}"
    assert texts["redis.healthcheck.test[1]"] == "redis-cli -a {database/redis#password} ping"
    assert texts["redis.entrypoint[0]"] == "sh -c 'x \"${P:-{database/redis#password}}\"'"
    assert texts["b.command[0]"] == "x --token={applications/b#token}"


def test_a_command_with_another_password_than_its_variable_has_another_secret():
    fields, _ = layout(
        {"redis": ("redis", {"REDIS_PASSWORD": "one-1", "command[0]": "redis-server --requirepass two-2"})}
    )
    assert fields["database/redis"]["password"] == "one-1"
    assert fields["database/redis-redis"]["password"] == "two-2"


def test_a_text_with_several_secrets():
    fields, texts = layout({"web": (".", {"SETTINGS": "a:\n  password: x1\nb:\n  password: y2\n"})})
    assert fields == {"applications/web": {"settings_password": "x1", "settings_password_2": "y2"}}
    assert texts["web.SETTINGS"] == (
        "a:\n  password: {applications/web#settings_password}\nb:\n  password: {applications/web#settings_password_2}\n"
    )


def test_a_url_of_an_unknown_kind_is_the_apps_own():
    fields, texts = layout({"web": (".", {"SMTP_URL": "smtp://u:p1@mail:25"})})
    assert fields == {"applications/web": {"smtp_url": "p1"}}
    assert "p1" not in texts["web.SMTP_URL"]


def test_secrets_of_compose_have_the_names_of_their_variables():
    fields, _ = layout(
        {
            "db": ("postgres", {"POSTGRES_PASSWORD_FILE": "/run/secrets/app_pg", "secrets.app_pg": "p1"}),
            "web": (".", {"secrets.app_pg": "p1", "secrets.tls": "-----\nx\n"}),
        },
        shared=["secrets.app_pg"],
    )
    assert fields["database/postgres"]["password"] == "p1"
    assert fields["applications/web"] == {"tls": "-----\nx\n"}


def test_another_host_name_is_the_only_system_if_it_is_local_or_the_password_is_equal():
    services = {"postgres": ("postgres", {"POSTGRES_PASSWORD": "pw-1"})}
    fields, _ = layout(services | {"web": (".", {"A_URL": "postgres://postgres:pw-1@alias/x"})})
    assert list(fields) == ["database/postgres"]
    fields, _ = layout(services | {"web": (".", {"A_URL": "postgres://postgres:pw-2@localhost/x"})})
    assert list(fields) == ["database/postgres", "database/postgres-postgres"]
    fields, _ = layout(services | {"web": (".", {"A_URL": "postgres://postgres:pw-2@far.away/x"})})
    assert list(fields) == ["database/postgres", "database/far-away"]


def test_other_accounts_of_a_system_have_fields_of_their_own():
    fields, _ = layout(
        {
            "db": (
                "postgres",
                {
                    "POSTGRES_PASSWORD": "p1",
                    "POSTGRES_NON_ROOT_PASSWORD": "p2",
                    "POSTGRESQL_REPLICATION_PASSWORD": "p3",
                    "UNRELATED_TOKEN": "p4",
                },
            ),
            "search": ("getmeili/meilisearch", {"MEILI_MASTER_KEY": "m1"}),
            "cache": ("redis", {"REDIS_AUTH": "r1"}),
            "mq": ("rabbitmq", {"RABBITMQ_DEFAULT_PASS": "q1", "RABBITMQ_ERLANG_COOKIE": "q2"}),
            "web": (".", {"BROKER": "amqp://guest:q1@mq:5672//", "DB_PASSWORD": "zz", "DB_HOST": "db"}),
        }
    )
    assert fields["database/postgres"] == {
        "host": "db",
        "username": "postgres",
        "password": "p1",
        "non_root_password": "p2",
        "replication_password": "p3",
    }
    assert fields["database/postgres-web"] == {"host": "db", "password": "zz"}
    assert fields["database/meilisearch"] == {"host": "search", "master_key": "m1"}
    assert fields["database/redis"] == {"host": "cache", "password": "r1"}
    rabbitmq = fields["messaging/rabbitmq"]
    assert (rabbitmq["password"], rabbitmq["erlang_cookie"], rabbitmq["port"]) == ("q1", "q2", "5672")
    assert "database" not in rabbitmq
    assert fields["applications/db"] == {"unrelated_token": "p4"}


def test_a_database_without_a_system_in_the_project():
    fields, _ = layout(
        {"web": (".", {"DB_PASSWORD": "p1", "DB_HOST": "db.far.away"}), "b": (".", {"DB_PASSWORD": "p2"})}
    )
    assert fields["database/database"] == {"host": "db.far.away", "password": "p1"}
    assert "p2" in {one["password"] for one in fields.values()}


def test_images_that_are_built_are_known_by_their_variables():
    services = {
        "mydb": (".", {"MYSQL_PASSWORD": "x1"}),
        "web": (".", {"MYSQL_PASSWORD": "x1"}),
    }
    found = {name: Service(name, Image(f"p-{name}"), build_context=".") for name in services}
    uses = tuple(Use(name, "MYSQL_PASSWORD", "x1", ()) for name in services)
    assert list(stores_of(Project("p", "/p", (), found, uses))) == ["mydb"]


POSTGRES_17, REDIS_7 = "postgres:17", "redis:7"


@pytest.mark.parametrize(
    ("image", "settings", "variables", "is_store"),
    [
        (POSTGRES_17, {}, {"POSTGRES_PASSWORD": "x1"}, True),
        (POSTGRES_17, {"command": ("postgres", "-c", "fsync=off")}, {"POSTGRES_HOST": "0.0.0.0"}, True),  # noqa: S104
        (POSTGRES_17, {"command": ("sh", "-c", "chown x /y && exec docker-entrypoint.sh postgres")}, {}, True),
        (REDIS_7, {"entrypoint": ("/bin/sh", "-c"), "command": ("redis-server --requirepass x1",)}, {}, True),
        (REDIS_7, {}, {"REDIS_MASTER_HOST": "db", "SELF_URL": "redis://:x1@one:6379"}, True),
        (POSTGRES_17, {}, {"SITE_URL": "https://db/", "OTHER": "postgres://u:p@[db/x", "HOST": "one:1"}, True),
        # Clients.
        (POSTGRES_17, {"entrypoint": ("/app",)}, {"DATABASE_URL": "postgresql://u:x1@db:5432/a"}, False),
        (POSTGRES_17, {}, {"JDBC": "jdbc:postgresql://db:5432/a"}, False),
        (POSTGRES_17, {}, {"POSTGRES_PASSWORD": "x1", "POSTGRES_HOST": "db:5432"}, False),
        (POSTGRES_17, {"command": ("bash", "-c", "while sleep 9; do pg_dump -U postgres; done")}, {}, False),
        (REDIS_7, {"command": ("redis-cli", "-h", "cache", "monitor")}, {}, False),
    ],
)
def test_a_client_with_the_image_of_a_store_is_none(image, settings, variables, is_store):
    services = {"one": Service("one", Image(image), **settings), "db": Service("db", Image(POSTGRES_17))}
    uses = tuple(Use("one", name, value, ()) for name, value in variables.items())
    assert ("one" in stores_of(Project("p", "/p", (), services, uses))) is is_store


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        ("postgres:17-alpine", "postgres"),
        ("docker.io/bitnami/postgresql@sha256:0", "postgres"),
        ("registry:5000/library/mariadb", "mysql"),
        ("prometheuscommunity/postgres-exporter", None),
        ("dpage/pgadmin4", None),
        ("mongo-express", None),
        ("nginx", None),
    ],
)
def test_images(image, kind):
    found = kind_of_image(image)
    assert (found and found.name) == kind


def test_schemes_and_names():
    assert kind_of_scheme("postgresql+psycopg").name == "postgres"
    assert kind_of_scheme("mongodb+srv").name == "mongodb"
    assert kind_of_scheme("https") is None
    assert kind_of_name("SPRING_DATASOURCE_PASSWORD").name == "database"
    assert kind_of_name("APP_TOKEN") is None
    assert kind_of_name("MONGO_INITDB_ROOT_PASSWORD").folder == "database"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("OPENAI_API_KEY", ("openai", "api_key")),
        ("MY_AZURE_OPENAI_KEY", ("azure-openai", "api_key")),
        ("GITHUB_TOKEN", ("github", "token")),
        ("AWS_SECRET_KEY", ("aws", "secret_access_key")),
        ("AWS_ACCESS_KEY_ID", ("aws", "access_key_id")),
        ("AcmeApiKey", ("acme", "api_key")),
        ("SOME_NEW__API_KEY", ("some-new", "api_key")),
        ("APP_API_KEY", None),
        ("DD_SECRET_KEY", None),
    ],
)
def test_providers(name, expected):
    assert provider_of(name) == expected


def test_parts_do_not_overlap_and_are_in_order():
    text = "ab://u:p1@h b=1 mysql -px2 --password=y3 root:z4@tcp(db:1)/x"
    assert [text[part.start : part.end] for part in secret_parts(text)] == ["p1", "x2", "y3", "z4"]
    assert [part.key for part in secret_parts("redis-cli -a x")] == ["password"]
    assert secret_parts("x --password $P --token=/run/x") == []
    assert len(secret_parts("a\npassword=x1\n")) == 1


def test_words_of_a_text():
    assert words_in("a b", []) == []
    assert words_in("longer long -plong x-long long= --long", ["long", "longer"]) == [(0, 6), (7, 11), (14, 18)]
