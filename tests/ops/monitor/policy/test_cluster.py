"""The state of one cluster takes no entries of another."""

from lessee.ops.monitor.policy.cluster import Cluster
from support.models.alert_rules import access

ONE = [access(), access(cluster="system_1"), access(cluster="auth_token_1"), access(cluster="system_1")]


def test_a_cluster_is_learned_from_its_permanent_mounts():
    cluster = Cluster({})
    assert cluster.check(ONE) is None
    assert cluster.known == {"system": "system_1", "auth_token": "auth_token_1"}
    assert cluster.check([access(), *ONE]) is None


def test_entries_of_another_cluster_are_refused_and_teach_nothing():
    cluster = Cluster({"system": "system_1"})
    error = cluster.check([access(cluster="auth_token_2"), access(cluster="system_2")])
    assert "it is the log of another cluster" in error
    assert "system_2 was system_1 there" in error
    assert "--take-ownership" in error
    assert cluster.known == {"system": "system_1"}


def test_a_replaced_cluster_is_forgotten():
    cluster = Cluster({"system": "system_1"}, replaceable=True)
    assert cluster.check([access(cluster="system_1"), access(cluster="system_2")]) is None
    assert cluster.known == {"system": "system_2"}
    assert "system_3 was system_2" in Cluster(cluster.known).check([access(cluster="system_3")])
