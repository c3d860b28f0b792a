"""Worlds with one broken part each, and the one component that must report it."""

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from support.environments.usual_layout import password, unused_port
from support.servers.cluster import Cluster


class World(NamedTuple):
    """`component` alone must not be green after `how`."""

    component: str
    how: object


WORLDS = []


def reported_by(component):
    def add(how):
        WORLDS.append(World(component, how))
        return how

    return add


@reported_by("database")
def the_database_secret_is_missing(env):
    return env.removed("database/postgres")


@reported_by("database")
def the_database_password_is_wrong(env):
    return env.changed("database/postgres", password=password())


@reported_by("database")
def the_database_password_is_a_placeholder(env):
    return env.changed("database/postgres", password="your_postgres_password")


@reported_by("database")
def the_database_secret_lacks_a_key(env):
    return env.changed("database/postgres", database=None)


@reported_by("database")
def the_database_does_not_answer(env):
    return env.changed("database/postgres", port=unused_port())


@reported_by("api_keys")
def an_api_key_is_a_placeholder(env):
    return env.changed("api-keys/openrouter", api_key="sk-your_openrouter_key")


@reported_by("api_keys")
def an_api_key_is_empty(env):
    return env.changed("api-keys/openai", api_key="")


@reported_by("api_keys")
def an_api_key_is_missing(env):
    return env.removed("api-keys/brave-search")


@reported_by("api_keys")
def a_provider_rejects_its_key(env):
    return env.changed("api-keys/openai", api_key=f"sk-{password()}")


@reported_by("storage")
def the_storage_secret_is_missing(env):
    return env.removed("storage/minio")


@reported_by("storage")
def the_storage_key_is_wrong(env):
    return env.changed("storage/minio", secret_key=password())


@reported_by("storage")
def the_storage_key_is_a_placeholder(env):
    return env.changed("storage/minio", access_key="your_minio_access_key")


@reported_by("storage")
def the_bucket_does_not_exist(env):
    return env.changed("storage/minio", bucket="nowhere")


@reported_by("mcp_cache")
def the_cache_s_password_is_wrong(env):
    return env.changed("cache/database", password=password())


@reported_by("mcp_cache")
def the_cache_s_secret_is_missing(env):
    return env.removed("cache/database")


@reported_by("mcp_auth")
def the_mcp_key_is_absent(env):
    return env.changed("mcp/memory-service", api_key=None, note="the key is yet to be written")


@reported_by("mcp_auth")
def the_mcp_key_is_a_placeholder(env):
    return env.changed("mcp/memory-service", api_key="your_mcp_api_key")


@reported_by("frontend")
def a_public_variable_has_the_value_of_an_api_key(env):
    return env.changed("frontend/app", VITE_OPENROUTER_API_KEY=env.secrets["api-keys/openrouter"]["api_key"])


@reported_by("frontend")
def a_public_variable_is_a_secret_of_its_own(env):
    return env.changed("frontend/app", VITE_ADMIN_PASSWORD=password())


@reported_by("secrets")
def a_certificate_has_expired(env):
    return env.added("web/tls", **env.expired_certificate())


@reported_by("vault")
@contextmanager
def vault_is_sealed(env):
    with (
        tempfile.TemporaryDirectory() as folder,
        Cluster(Path(folder), nodes=1) as cluster,
        env.with_config(vault={"address": cluster.nodes[0].address}),
    ):
        cluster.seal(0)
        yield
