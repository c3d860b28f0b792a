"""What a process that rotates imports and reads at its start, done once for all those that are forked off this one."""

import minio.crypto  # noqa: F401  # Here to be there, as all below.
import psycopg  # noqa: F401
import redis  # noqa: F401

from lessee.core.validation.credentials import s3
from lessee.rotation.kinds import api_key, approle, aws, command, manual, postgres, vault  # noqa: F401

_NOBODY = s3("nobody", {"endpoint": "127.0.0.1:1", "access_key": "nobody", "secret_key": "nothing"}, bucket=False)

# The library reads a description of each service, once for all clients.
for service in ("s3", "iam"):
    aws.client(service, _NOBODY, aws.REGION).close()
