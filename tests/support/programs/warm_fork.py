"""Imports what a rotating process imports, once for all processes that are forked from this one."""

import encodings.idna  # noqa: F401  # Imported for its forks, as all below.
import gc
from importlib import import_module
from pkgutil import iter_modules

import minio.crypto  # noqa: F401
import psycopg  # noqa: F401
import redis  # noqa: F401

from lessee.core.credentials import s3
from lessee.ops.rotate import kinds

for module in iter_modules(kinds.__path__, "lessee.ops.rotate.kinds."):
    import_module(module.name)

_LOGIN = s3("unused", {"endpoint": "127.0.0.1:1", "access_key": "unused", "secret_key": "unused"}, bucket=False)

# The library reads the description of each service once for all clients.
for service in ("s3", "iam"):
    kinds.aws.client(service, _LOGIN, kinds.aws.REGION).close()

# Forks share this memory until one of them collects garbage in it.
gc.collect()
gc.freeze()
