"""What a process that rotates imports and reads at its start, done once for all those that are forked off this one."""

import encodings.idna  # noqa: F401  # Here to be there, as all below.
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

_NOBODY = s3("nobody", {"endpoint": "127.0.0.1:1", "access_key": "nobody", "secret_key": "nothing"}, bucket=False)

# The library reads a description of each service, once for all clients.
for service in ("s3", "iam"):
    kinds.aws.client(service, _NOBODY, kinds.aws.REGION).close()

# They share the memory of all this for as long as none of them collects it.
gc.collect()
gc.freeze()
