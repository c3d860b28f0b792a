"""Ways to break the object store, each with the check that must fail."""

import json
import secrets
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lessee.host.openbao import free_port
from support.environments.breakages import CRITICAL, WARNING, Table
from support.programs.sidecar import eventually
from support.servers.detours import Detour
from support.servers.s3_server import S3Server

ROWS = Table()
broken = ROWS.broken


@broken("storage", "s3-secret", CRITICAL)
def the_secret_of_the_store_lacks_a_key(env):
    return env.with_secret("storage/minio", bucket=None)


@broken("storage", "s3-reachable", CRITICAL)
def the_store_has_another_port(env):
    return env.with_secret("storage/minio", endpoint=f"127.0.0.1:{free_port()}")


@broken("storage", "s3-tls", CRITICAL)
@contextmanager
def objects_cross_the_network(env):
    with Detour(env.store.port) as way, env.with_secret("storage/minio", endpoint=f"{way.host}:{way.port}"):
        yield


@broken("storage", "s3-tls", CRITICAL)
def the_store_has_no_tls(env):
    return env.with_secret("storage/minio", secure=True)


@broken("storage", "s3-tls", CRITICAL)
def the_store_has_a_certificate_of_another_authority(env):
    endpoint = f"https://127.0.0.1:{env.store.tls_port}"
    return env.with_secret("storage/minio", endpoint=endpoint, ca_file=str(env.stranger))


@broken("storage", "s3-key", CRITICAL)
def the_key_of_the_store_is_wrong(env):
    return env.with_secret("storage/minio", secret_key=env.value())


@broken("storage", "s3-key", CRITICAL)
def the_access_key_is_unknown(env):
    return env.with_secret("storage/minio", access_key=env.value())


@broken("storage", "s3-bucket", CRITICAL)
def the_bucket_is_missing(env):
    return _as(env, "admin", bucket="nowhere")


@broken("storage", "s3-list", WARNING)
def the_key_may_not_list(env):
    return _as(env, "unlisting")


@broken("storage", "s3-put-get", CRITICAL)
def the_key_may_not_write(env):
    return _as(env, "reader")


@broken("storage", "s3-put-get", CRITICAL)
def the_key_may_not_read(env):
    return _as(env, "writer")


@broken("storage", "s3-delete", CRITICAL)
@contextmanager
def the_key_may_not_delete(env):
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:DeleteObject", "Resource": "arn:aws:s3:::docs/*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
    env.admin.put_bucket_policy(Bucket="docs", Policy=policy)
    yield
    env.admin.delete_bucket_policy(Bucket="docs")
    for left in env.admin.list_objects_v2(Bucket="docs", Prefix="lessee-validate")["Contents"]:
        env.admin.delete_object(Bucket="docs", Key=left["Key"])


@broken("storage", "s3-rejects-anonymous", CRITICAL)
def clients_without_a_key_may_read(env):
    return env.with_secret("storage/minio", bucket="open")


@broken("storage", "s3-rejects-wrong-key", CRITICAL, "s3-rejects-anonymous")
@contextmanager
def the_store_checks_no_signatures(env):
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        store = S3Server(folder, free_port())
        stack.callback(store.close)
        keys = {"access_key_id": "any", "secret_access_key": secrets.token_hex(8)}
        eventually(lambda: store.accepts(**keys), "the store")
        with env.with_secret("storage/minio", endpoint=f"127.0.0.1:{store.port}"):
            yield


def _as(env, name, **fields):
    access_key, secret_key = env.keys[name]
    return env.with_secret("storage/minio", access_key=access_key, secret_key=secret_key, **fields)
