"""Revoking the tokens that an agent has left in a real OpenBao, with and without an outage."""

import json
import time

import pytest

from lessee.config.parsing import parse
from lessee.vault.cleanup import revoke_all
from support.servers.fault_proxy import Fault, Proxy


@pytest.fixture
def proxy(bao):
    with Proxy(bao.port) as proxy:
        yield proxy


@pytest.fixture
def tokens(bao):
    policies = {"policies": ["default"], "ttl": "1h"}
    return [bao.ask("POST", "auth/token/create", policies)["auth"]["client_token"] for _ in range(3)]


def end(proxy, tokens, patience):
    block = {"address": proxy.address, "auth": {"method": "approle", "role_id": "ended"}}
    vault = parse(json.dumps({"vault": block}), source="lessee.yaml", environ={}).vault
    return revoke_all(vault, [vault], {}, tokens, [], deadline=time.monotonic() + patience)


def test_all_tokens_are_revoked_and_one_that_has_ended_already_is_no_error(bao, proxy, tokens):
    assert end(proxy, [tokens[0]], 10) == []
    assert end(proxy, tokens, 10) == []
    for token in tokens:
        with pytest.raises(RuntimeError, match="403"):
            bao.ask("GET", "auth/token/lookup-self", token=token)


def test_at_the_deadline_no_further_token_is_tried_but_one_always_is(proxy, tokens):
    proxy.fault = Fault.DROP
    [why] = end(proxy, tokens, 0)
    assert proxy.count("revoke-self") == 1
    assert why
