"""Identities: logins with a `vault:` block."""

import json

import pytest

from lessee.config.parsing import parse
from lessee.host.clock import boot_time
from lessee.vault.client_factory import address_of, auth_method_of
from lessee.vault.transport import RequestFailedError, Transport


class Identity:
    """The transport and the auth method of a `vault:` block in lessee.yaml."""

    def __init__(self, auth, **block):
        vault = parse(json.dumps({"vault": {"auth": auth, **block}}), source="lessee.yaml", environ={}).vault
        self.transport = Transport(address_of(vault, {}))
        self.method = auth_method_of(vault.auth, {})

    def login(self):
        return self.method.login(self.transport, boot_time)

    def failure(self):
        with pytest.raises(RequestFailedError) as caught:
            self.login()
        return caught.value.failure


@pytest.fixture
def identities():
    made = []

    def make(auth, **block):
        made.append(Identity(auth, **block))
        return made[-1]

    yield make
    for one in made:
        one.transport.close()
