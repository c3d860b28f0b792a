"""Reuse of the token of an earlier agent, against a real OpenBao."""

import itertools
import queue
import threading

import pytest

from lessee.core.paths import Folder, Ref
from lessee.core.tokens import Token
from lessee.host.clock import boot_time
from lessee.host.openbao import ROOT_TOKEN
from lessee.protocol import commands as cmd
from lessee.vault.auth.login import TokenLogin
from lessee.vault.client import READER_THREADS, SLOW_ANSWER, Client
from lessee.vault.transport import Address, Transport
from support.programs.sidecar import eventually
from support.servers.fault_proxy import Delay, Proxy

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


def test_a_listing_that_has_not_changed_is_the_same_object(bao, client, mail):
    # So neither its answer is decoded nor its secrets are compared again.
    client.token = ROOT_TOKEN
    numbers = itertools.count(1)

    def listed():
        client.obey(cmd.ListFolder(next(numbers), Folder("secret", "listed/"), 2, detailed=True))
        return mail.get(timeout=30).secrets

    bao.put("listed/one", a=1)
    bao.put("listed/two", a=1)
    first = listed()
    assert listed() is first
    bao.put("listed/two", a=2)
    second = listed()
    assert {name: metadata.version for name, metadata in second.items()} == {"one": 1, "two": 2}
    bao.ask("DELETE", "secret/metadata/listed/one")
    assert set(listed()) == {"two"}


class SlowProxy(Proxy):
    """Answers the first reads late, and no later one before six of them wait."""

    def __init__(self, port):
        self.reads, self.requested, self.together = itertools.count(1), threading.Event(), threading.Event()
        super().__init__(port)

    def fault_of(self, _path):
        number = next(self.reads)
        if number <= READER_THREADS:
            self.requested.wait(timeout=60)
            return Delay(3 * SLOW_ANSWER)
        if number == READER_THREADS + 6:
            self.together.set()
        assert self.together.wait(timeout=60)
        return None


def test_a_round_over_many_folders_does_not_wait_for_each_slow_answer(bao, mail):
    with SlowProxy(bao.port) as proxy:
        one = Client(Transport(Address(proxy.address)), TokenLogin(None, ""), mail.put, boot_time)
        one.token = ROOT_TOKEN
        for number in range(READER_THREADS + 12):
            bao.put(f"round/{number}/secret", a=1)
            one.obey(cmd.ListFolder(number, Folder("secret", f"round/{number}/"), 2, detailed=True))
        proxy.requested.set()
        assert {len(mail.get(timeout=60).secrets) for _ in range(READER_THREADS + 12)} == {1}
        one.close()


def test_a_value_is_hidden_before_its_answer_is_posted_and_not_by_the_loop(bao):
    order = queue.SimpleQueue()

    def learn(source, values):
        order.put((threading.current_thread().name, source, list(values)))

    with_token = TokenLogin(None, "")
    one = Client(Transport(Address(bao.address)), with_token, order.put, boot_time, learn)
    one.token = ROOT_TOKEN
    bao.put("learned/one", a="canary")
    one.obey(cmd.ReadSecret(1, Ref("secret", "learned/one"), 2))
    assert order.get(timeout=30) == ("lessee-reader", "secret/learned/one", ["canary"])
    assert order.get(timeout=30).secret.data == {"a": "canary"}
    one.close()
