"""Moto's server: a stand-in for AWS Secrets Manager and SSM Parameter Store."""

import subprocess
import sys
from pathlib import Path

from botocore.session import Session

from lessee.host.openbao import free_port
from support.needs import need
from support.programs.sidecar import eventually

PROGRAM = Path(sys.prefix) / "moto/bin/moto_server"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "aws-canary"}
REGION = "eu-central-1"


class Moto:
    """A server that answers every request, with any signature."""

    def __init__(self, folder):
        need(PROGRAM.exists(), "needs moto: make .venv/moto")
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._log = (folder / "moto.log").open("wb")
        command = [PROGRAM, "--host", "127.0.0.1", "--port", str(self.port)]
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log)
        self.secrets, self.parameters = (self._client(name) for name in ("secretsmanager", "ssm"))
        eventually(self._answers, "moto")

    def close(self):
        self._process.kill()
        self._process.wait()
        self._log.close()

    def _client(self, service):
        session = Session()
        session.set_credentials(*KEYS.values())
        return session.create_client(service, region_name=REGION, endpoint_url=self.address)

    def _answers(self):
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415

        try:
            # The first call of each service loads it, which takes seconds on a busy machine.
            return self.secrets.list_secrets() and self.parameters.describe_parameters()
        except BotoCoreError:
            return None
