"""What is known of images by their names."""

import pytest

from lessee.ops.adopt.policy.known_images import file_variable, image, known, numbers, user_of, usual_user
from lessee.ops.adopt.policy.model import Image


@pytest.mark.parametrize(
    "reference",
    [
        "postgres",
        "postgres:17-alpine",
        "docker.io/library/postgres:17",
        "registry.example.com:5000/library/postgres",
        "public.ecr.aws/docker/library/postgres:16",
        "localhost/postgres",
        "postgres:17@sha256:0123",
        "POSTGRES",
    ],
)
def test_an_image_is_known_from_each_registry(reference):
    assert file_variable(reference, "POSTGRES_PASSWORD") == "POSTGRES_PASSWORD_FILE"


@pytest.mark.parametrize("reference", ["someone/postgres", "my-postgres", "postgres-exporter", "app", "", "a:b:c@d"])
def test_an_image_of_another_name_is_not_known(reference):
    assert known(reference) is None
    assert user_of(reference) is None
    assert file_variable(reference, "POSTGRES_PASSWORD") is None


@pytest.mark.parametrize(
    ("reference", "name", "file"),
    [
        ("mysql:8", "MYSQL_ROOT_PASSWORD", "MYSQL_ROOT_PASSWORD_FILE"),
        ("mariadb:11", "MARIADB_PASSWORD", "MARIADB_PASSWORD_FILE"),
        ("mongo", "MONGO_INITDB_ROOT_PASSWORD", "MONGO_INITDB_ROOT_PASSWORD_FILE"),
        ("minio/minio", "MINIO_ROOT_PASSWORD", "MINIO_ROOT_PASSWORD_FILE"),
        ("grafana/grafana", "GF_SECURITY_ADMIN_PASSWORD", "GF_SECURITY_ADMIN_PASSWORD__FILE"),
        ("lscr.io/linuxserver/sonarr", "API_KEY", "FILE__API_KEY"),
        ("bitnami/postgresql", "POSTGRESQL_PASSWORD", "POSTGRESQL_PASSWORD_FILE"),
        ("bitnami/postgresql", "POSTGRESQL_PASSWORD_FILE", None),
        ("wordpress", "WORDPRESS_DB_PASSWORD", "WORDPRESS_DB_PASSWORD_FILE"),
        ("postgres", "DATABASE_URL", None),
        ("redis", "REDIS_PASSWORD", None),
    ],
)
def test_the_variable_that_names_a_file_is_the_one_that_the_image_reads(reference, name, file):
    assert file_variable(reference, name) == file


def test_the_user_depends_on_the_distribution_of_the_image():
    assert user_of("postgres:17") == (999, 999)
    assert user_of("postgres:17-alpine3.20") == (70, 70)
    assert user_of("mysql:8-alpine") == (999, 999)
    assert user_of("wordpress") is None


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", (0, 0)),
        ("app", (5, 6)),
        ("5", (5, 6)),
        ("7", (7, 0)),
        ("app:staff", (5, 50)),
        ("app:8", (5, 8)),
        ("app:none", (5, None)),
        ("none", (None, None)),
        ("broken", (None, None)),
        ("short", (None, None)),
    ],
)
def test_a_user_has_the_numbers_of_the_image(user, expected):
    passwd = "root:x:0:0::/:/bin/sh\napp:x:5:6::/:/bin/sh\nbroken:x:?:?::\nshort:x\n"
    assert numbers(user, passwd, "root:x:0:\nstaff:x:50:\nstaff\n") == expected


def test_a_usual_user_is_known_without_an_image():
    assert usual_user("node") == (1000, 1000)
    assert usual_user("app") is None


def test_a_base_image_is_known_by_its_name():
    assert image("node:22-alpine").entrypoint == ("docker-entrypoint.sh",)
    assert image("app") == Image("app")


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("nginx:1.27-alpine", "SIGQUIT"),
        ("docker.io/library/httpd", "SIGWINCH"),
        ("php:8.3-fpm-alpine", "SIGQUIT"),
        ("php:8.3-apache", "SIGWINCH"),
        ("php:8.3-cli", ""),
        ("wordpress", "SIGWINCH"),
        ("wordpress:6-php8.3-fpm", "SIGQUIT"),
        ("wordpress:cli-2", ""),
        ("nextcloud:29@sha256:00", "SIGWINCH"),
        ("node:22", ""),
    ],
)
def test_the_stop_signal_of_an_image_is_known_by_its_name(reference, expected):
    assert image(reference).stop_signal == expected
