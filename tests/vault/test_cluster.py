"""Several addresses: the selection of a node of a real cluster, and consistency after our own changes."""

import threading
from urllib.parse import urlsplit

import pytest

from lessee.core.failures import Kind
from lessee.host.openbao import free_port
from lessee.vault.transport import Address, RequestFailedError, Transport
from support.programs.sidecar import eventually
from support.servers.cluster import Cluster
from support.servers.fault_proxy import Fault, Proxy, Status


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    """The cluster of all tests here, with KV version 1 at kv/."""
    with Cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        cluster.ask(cluster.active(), "POST", "sys/mounts/kv", {"type": "kv", "options": {"version": "1"}})
        yield cluster


@pytest.fixture
def cluster(nodes):
    """With all nodes unsealed, and one value at kv/value that all of them have."""
    for i, node in enumerate(nodes.nodes):
        if node.process is None:
            nodes.start(i)
        nodes.unseal(i)
    nodes.active()
    nodes.agree("kv/value", {"n": 0})
    return nodes


@pytest.fixture
def connect_to(cluster):
    """A transport to these addresses, with the root token."""
    transports = []

    def connect(*urls, retry_delays=(0.1, 0.3, 0.6)):
        transports.append(Rooted(Transport(Address(urls[0], urls=urls), retry_delays=retry_delays), cluster.root_token))
        return transports[-1]

    yield connect
    for rooted in transports:
        rooted.transport.close()


class Rooted:
    def __init__(self, transport, token):
        self.transport = transport
        self._token = token

    def get(self):
        return self.transport.request("GET", "kv/value", token=self._token).data["n"]

    def put(self, n):
        self.transport.request("POST", "kv/value", token=self._token, body={"n": n})


def urls(cluster, *, first):
    """All addresses, in an order that starts with that of node `first`."""
    ordered = [node.address for node in cluster.nodes]
    return [*ordered[first:], *ordered[:first]]


def failure(call, *args):
    with pytest.raises(RequestFailedError) as caught:
        call(*args)
    assert "127.0.0.1" not in caught.value.failure.text
    return caught.value.failure


def proxy_to(address):
    return Proxy(urlsplit(address).port)


def test_the_active_node_is_used_whatever_its_place_in_the_list(cluster, connect_to):
    active = cluster.nodes[cluster.active()].address
    for first in range(3):
        rooted = connect_to(*urls(cluster, first=first))
        assert rooted.get() == 0
        assert rooted.transport.address == active


@pytest.mark.thorough
def test_after_the_active_node_dies_reads_continue_immediately_and_writes_after_the_election(cluster, connect_to):
    active = cluster.active()
    rooted = connect_to(*urls(cluster, first=active))
    rooted.put(1)
    cluster.agree("kv/value", {"n": 2})
    assert rooted.get() == 2
    cluster.stop(active)
    assert rooted.get() == 2  # From a standby, in the same request.
    failed = failure(rooted.put, 3)
    assert failed.kind is Kind.UNAVAILABLE
    assert "redirects" in failed.text
    elected = cluster.active()
    rooted.put(4)
    assert rooted.get() == 4
    assert rooted.transport.address == cluster.nodes[elected].address


def test_a_sealed_node_is_skipped(cluster, connect_to):
    active = cluster.active()
    sealed = (active + 1) % 3
    cluster.seal(sealed)
    rooted = connect_to(*urls(cluster, first=sealed))
    assert rooted.get() == 0
    assert rooted.transport.address == cluster.nodes[active].address


def test_a_read_is_repeated_at_another_node_when_its_node_is_sealed(cluster, connect_to):
    active = cluster.active()
    rooted = connect_to(*urls(cluster, first=active))
    assert rooted.get() == 0
    cluster.seal(active)
    assert rooted.get() == 0
    assert rooted.transport.address != cluster.nodes[active].address


@pytest.mark.thorough
def test_if_no_node_serves_the_error_counts_the_reasons(cluster, connect_to):
    rooted = connect_to(*urls(cluster, first=0))
    assert rooted.get() == 0
    for i in (1, 2):
        cluster.stop(i)
    cluster.seal(0)
    for failed in (failure(rooted.get), failure(rooted.put, 1)):
        assert failed.kind is Kind.UNAVAILABLE
        assert "addresses serves" in failed.text
        assert "connection refused at 2" in failed.text
        assert "sealed or in maintenance (503) at 1" in failed.text
    for i in range(3):
        cluster.start(i) if i else cluster.unseal(0)
    cluster.active()
    assert rooted.get() == 0


def test_a_read_whose_connection_breaks_is_tried_once_more_and_a_write_is_not(cluster, connect_to):
    with proxy_to(cluster.nodes[cluster.active()].address) as proxy:
        proxy.on_path("kv/value", Fault.DROP)
        rooted = connect_to(proxy.address, f"http://127.0.0.1:{free_port()}")
        assert failure(rooted.get).kind is Kind.UNAVAILABLE
        assert proxy.count("kv/value") == 2
        assert failure(rooted.put, 1).kind is Kind.UNAVAILABLE
        assert proxy.count("kv/value") == 3


def test_concurrent_threads_search_the_active_node_once(cluster, connect_to):
    together = threading.Barrier(8)
    with proxy_to(cluster.nodes[cluster.active()].address) as proxy:
        rooted = connect_to(proxy.address, f"http://127.0.0.1:{free_port()}")

        def ask():
            together.wait()
            rooted.get()

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (proxy.count("sys/health"), proxy.count("kv/value")) == (1, 8)


def test_a_single_address_is_not_checked_and_no_check_sends_a_token(cluster, connect_to):
    with proxy_to(cluster.nodes[0].address) as proxy:
        assert connect_to(proxy.address).get() == 0
        assert proxy.count("sys/health") == 0
        connect_to(proxy.address, f"http://127.0.0.1:{free_port()}").get()
        looks = [request for request in proxy.requests if "sys/health" in request.path]
        assert [set(look.headers) & {"X-Vault-Token", "X-Vault-Index"} for look in looks] == [set()]


def test_a_standby_is_retried_until_it_has_our_last_change(cluster, connect_to):
    standby = next(i for i in range(3) if i != cluster.active())
    rooted = connect_to(cluster.nodes[standby].address, retry_delays=(0.1,) * 100)
    seen = []
    for n in range(1, 6):
        while_served(rooted.put, n)
        seen.append(while_served(rooted.get))
    assert seen == [1, 2, 3, 4, 5]


def while_served(call, *args):
    """What a standby answers; on a busy machine it loses its active node at times, and redirects until there is one."""
    answers = []

    def ask():
        try:
            answers.append(call(*args))
        except RequestFailedError as exc:
            if "redirects" not in exc.failure.text:
                raise
        return answers

    return eventually(ask)[0]


class Behind(Proxy):
    """A server that answers 412 several times to a request that names a state."""

    times = 0

    def fault_of(self, _path):
        if self.times and "X-Vault-Index" in self.requests[-1].headers:
            self.times -= 1
            return Status(412)
        return None


@pytest.fixture
def behind(cluster):
    with Behind(urlsplit(cluster.nodes[cluster.active()].address).port) as proxy:
        yield proxy


def test_a_412_is_retried_without_an_error(behind, connect_to):
    rooted = connect_to(behind.address, retry_delays=(0, 0, 0))
    behind.times = 2
    assert rooted.get() == 0  # There is no change of ours yet.
    rooted.put(1)
    assert behind.times == 2
    assert rooted.get() == 1
    assert (behind.times, behind.count("kv/value")) == (0, 5)


def test_a_node_that_does_not_catch_up_is_unavailable_after_three_retries(behind, connect_to):
    rooted = connect_to(behind.address, retry_delays=(0, 0, 0))
    rooted.put(1)
    behind.times = 100
    failed = failure(rooted.get)
    assert (failed.kind, failed.text) == (Kind.UNAVAILABLE, "the node has not caught up (412)")
    assert behind.times == 96
    behind.times = 0
    assert rooted.get() == 1
