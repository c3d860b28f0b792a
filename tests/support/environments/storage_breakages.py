"""How the object store is broken, and which check must fail then."""

import json
import secrets
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lessee.host.openbao import free_port
from support.environments.breakages import CRITICAL, WARNING, Table
from support.environments.sound_environment import PATIENCE
from support.programs.sidecar import eventually
from support.servers.detours import Detour
from support.servers.s3_server import S3Server

ROWS = Table()
broken = ROWS.broken


@broken("storage", "s3-secret", CRITICAL)
def the_secret_of_the_store_lacks_a_key(it):
    return it.with_secret("storage/minio", bucket=None)


@broken("storage", "s3-reachable", CRITICAL)
def the_store_is_elsewhere(it):
    return it.with_secret("storage/minio", endpoint=f"127.0.0.1:{free_port()}")


@broken("storage", "s3-tls", CRITICAL)
@contextmanager
def objects_cross_the_network(it):
    with Detour(it.store.port) as way, it.with_secret("storage/minio", endpoint=f"{way.host}:{way.port}"):
        yield


@broken("storage", "s3-tls", CRITICAL)
def the_store_speaks_no_tls(it):
    return it.with_secret("storage/minio", secure=True)


@broken("storage", "s3-tls", CRITICAL)
def the_certificate_of_the_store_is_of_another_authority(it):
    endpoint = f"https://127.0.0.1:{it.store.tls_port}"
    return it.with_secret("storage/minio", endpoint=endpoint, ca_file=str(it.stranger))


@broken("storage", "s3-key", CRITICAL)
def the_key_of_the_store_is_wrong(it):
    return it.with_secret("storage/minio", secret_key=it.value())


@broken("storage", "s3-key", CRITICAL)
def the_store_knows_no_such_key(it):
    return it.with_secret("storage/minio", access_key=it.value())


@broken("storage", "s3-bucket", CRITICAL)
def the_bucket_is_not_there(it):
    return _as(it, "admin", bucket="nowhere")


@broken("storage", "s3-list", WARNING)
def the_key_may_not_list(it):
    return _as(it, "unlisting")


@broken("storage", "s3-put-get", CRITICAL)
def the_key_may_not_write(it):
    return _as(it, "reader")


@broken("storage", "s3-put-get", CRITICAL)
def the_key_may_not_read(it):
    return _as(it, "writer")


@broken("storage", "s3-delete", CRITICAL)
@contextmanager
def the_key_may_not_delete(it):
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:DeleteObject", "Resource": "arn:aws:s3:::docs/*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
    it.admin.put_bucket_policy(Bucket="docs", Policy=policy)
    yield
    it.admin.delete_bucket_policy(Bucket="docs")
    for left in it.admin.list_objects_v2(Bucket="docs", Prefix="lessee-validate")["Contents"]:
        it.admin.delete_object(Bucket="docs", Key=left["Key"])


@broken("storage", "s3-refuses-anonymous", CRITICAL)
def anybody_may_read(it):
    return it.with_secret("storage/minio", bucket="open")


@broken("storage", "s3-refuses-wrong-key", CRITICAL, "s3-refuses-anonymous")
@contextmanager
def the_store_checks_nothing(it):
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        store = S3Server(folder, free_port())
        stack.callback(store.close)
        keys = {"access_key_id": "any", "secret_access_key": secrets.token_hex(8)}
        eventually(lambda: store.accepts(**keys), "the store", PATIENCE)
        with it.with_secret("storage/minio", endpoint=f"127.0.0.1:{store.port}"):
            yield


def _as(it, name, **fields):
    access_key, secret_key = it.keys[name]
    return it.with_secret("storage/minio", access_key=access_key, secret_key=secret_key, **fields)
