"""What belongs to an environment, and what one path means there."""

import pytest

from lessee.config.parsing import parse
from lessee.core.errors import ConfigError, UsageError
from lessee.ops.access.policy.reach import Region
from lessee.ops.incident.policy.exposure import Kept, Mount, exposure, without

SECRET, OLD = Mount("secret/", "kv", 2), Mount("old/", "kv", 1)
DATABASE, PKI = Mount("production/database/", "database"), Mount("production/pki/", "pki")
OTHER, SHARED_DB = Mount("production2/database/", "database"), Mount("database/", "database")
MOUNTS = (SECRET, OLD, DATABASE, PKI, OTHER, SHARED_DB, Mount("production/kv/", "kv", 2))


def config(text=""):
    return parse(f"environment: production\n{text}", source="lessee.yaml", environ={})


def at(path, text=""):
    return exposure(config(text), "production", path, MOUNTS, ())


def test_an_environment_is_its_folder_in_each_view_and_the_engines_below_its_name():
    exposed = exposure(config("secrets: {shared: [common/]}"), "production", None, MOUNTS, ())
    assert exposed.regions == (
        Region("secret/data/production/"),
        Region("secret/metadata/production/"),
        Region("secret/detailed-metadata/production/"),
        Region("secret/subkeys/production/"),
        Region("production/kv/data/"),
        Region("production/kv/metadata/"),
        Region("production/kv/detailed-metadata/"),
        Region("production/kv/subkeys/"),
        Region("production/database/"),
        Region("production/pki/"),
    )
    assert exposed.engines == (DATABASE, PKI)
    assert exposed.others == (OTHER, SHARED_DB)
    assert exposed.leased == ("production/database/", "production/pki/")
    assert exposed.shared == (Kept(SECRET, "common/"),)


def test_kv_version_1_has_no_views():
    exposed = exposure(config("secrets: {mount: old}"), "production", None, (OLD,), ())
    assert exposed.regions == (Region("old/production/"),)


def test_leases_that_templates_name_elsewhere_are_its_own_and_nobody_is_struck_for_them():
    named = ("database/creds/simba", "production/database/creds/simba")
    exposed = exposure(config(), "production", None, MOUNTS, named)
    assert exposed.leased == ("production/database/", "production/pki/", "database/creds/simba")
    assert not any("database/creds/simba" in region for region in exposed.regions if region.root[:2] != "pr")


def test_without_the_kv_mount_nothing_can_be_told():
    with pytest.raises(ConfigError, match=r"'secret' is no KV mount of this server; .*there are: old/"):
        exposure(config(), "production", None, (OLD, DATABASE), ())
    with pytest.raises(ConfigError, match="there are: none"):
        exposure(config("secrets: {mount: database}"), "production", None, (SHARED_DB,), ())


@pytest.mark.parametrize(
    ("path", "kept", "leased"),
    [
        ("api-keys/a", Kept(SECRET, "production/api-keys/a"), ()),
        ("/api-keys/", Kept(SECRET, "production/api-keys/"), ()),
        ("production/api-keys/a", Kept(SECRET, "production/api-keys/a"), ()),
        ("secret/production/api-keys/a", Kept(SECRET, "production/api-keys/a"), ()),
        ("common/a", Kept(SECRET, "common/a"), ()),
        ("production/kv/a", Kept(MOUNTS[-1], "a"), ()),
        ("production/database/creds/simba", None, ("production/database/creds/simba",)),
        ("database/postgres", Kept(SECRET, "production/database/postgres"), ("database/postgres",)),
    ],
)
def test_a_path_is_one_of_kv_or_of_an_engine_or_both(path, kept, leased):
    exposed = at(path, "secrets: {shared: [common/]}")
    assert (exposed.kept, exposed.leased) == (() if kept is None else (kept,), leased)
    wanted = [] if kept is None else list(kept.regions)
    assert list(exposed.regions) == [*wanted, *map(Region, leased)]


def test_what_is_not_there_is_no_part_of_it():
    exposed = at("database/postgres")
    assert without(exposed, ()).regions == exposed.kept[0].regions
    left = without(exposed, exposed.kept)
    assert (left.kept, left.leased, left.regions) == ((), ("database/postgres",), (Region("database/postgres"),))
    own = at("production/database/creds/simba")
    assert without(own, ()) == own
    lost = at("api-keys/typo")
    with pytest.raises(UsageError, match="--path 'api-keys/typo': nothing is there in production"):
        without(lost, lost.kept)


@pytest.mark.parametrize("path", ["testing/api-keys/a", "/", "", "../testing/api-keys/a", "a/./b", "a//b"])
def test_a_path_of_another_environment_or_through_it_is_refused(path):
    with pytest.raises(UsageError, match="is nothing of production"):
        at(path)
