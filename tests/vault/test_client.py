"""Reuse of the token of an earlier agent, against a real OpenBao."""

import queue

import pytest

from lessee.core.tokens import Token
from lessee.host.clock import boot_time
from lessee.protocol import commands as cmd
from lessee.vault.auth.login import TokenLogin
from lessee.vault.client import Client
from lessee.vault.transport import Address, Transport
from support.programs.sidecar import eventually

TTL = 600


@pytest.fixture
def mail():
    return queue.SimpleQueue()


@pytest.fixture
def client(bao, mail):
    one = Client(Transport(Address(bao.address)), TokenLogin(None, ""), mail.put, boot_time)
    yield one
    one.close()


def test_a_reused_token_counts_from_its_first_issue(bao, client, mail):
    # If it counted from each start, each start would postpone the renewal.
    made = bao.ask("POST", "auth/token/create", {"ttl": f"{TTL}s"})["auth"]
    of_before = Token(made["accessor"], boot_time(), TTL, renewable=True, id="t")
    accessor = {"accessor": made["accessor"]}
    eventually(lambda: bao.ask("POST", "auth/token/lookup-accessor", accessor)["data"]["ttl"] < TTL - 1, "a second")

    client.restore_tokens([(of_before, made["client_token"])])
    client.obey(cmd.Login(1, fresh=False))

    adopted = mail.get(timeout=10)
    assert adopted.reused
    assert adopted.token.ttl == TTL
    assert adopted.token.sent_at < boot_time() - 1
