"""What belongs to an environment, and to one path in it."""

import pytest

from lessee.config.parsing import parse
from lessee.core.errors import ConfigError, UsageError
from lessee.ops.access.policy.reach import Region
from lessee.ops.incident.policy.exposure import KvLocation, Mount, determine_exposure, without_missing

SECRET, OLD = Mount("secret/", "kv", 2), Mount("old/", "kv", 1)
DATABASE, PKI = Mount("production/database/", "database"), Mount("production/pki/", "pki")
OTHER, SHARED_DB = Mount("production2/database/", "database"), Mount("database/", "database")
MOUNTS = (SECRET, OLD, DATABASE, PKI, OTHER, SHARED_DB, Mount("production/kv/", "kv", 2))


def config(text=""):
    return parse(f"environment: production\n{text}", source="lessee.yaml", environ={})


def at(path, text=""):
    return determine_exposure(config(text), "production", path, MOUNTS, ())


def test_an_environment_is_its_kv_folder_and_the_engines_below_its_name():
    exposed = determine_exposure(config("secrets: {shared_prefixes: [common/]}"), "production", None, MOUNTS, ())
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
    assert exposed.other_engines == (OTHER, SHARED_DB)
    assert exposed.lease_prefixes == ("production/database/", "production/pki/")
    assert exposed.shared == (KvLocation(SECRET, "common/"),)


def test_kv_version_1_has_no_views():
    exposed = determine_exposure(config("secrets: {mount: old}"), "production", None, (OLD,), ())
    assert exposed.regions == (Region("old/production/"),)


def test_leases_of_shared_engines_are_revoked_but_access_to_them_is_not():
    named = ("database/creds/simba", "production/database/creds/simba")
    exposed = determine_exposure(config(), "production", None, MOUNTS, named)
    assert exposed.lease_prefixes == ("production/database/", "production/pki/", "database/creds/simba")
    assert not any("database/creds/simba" in region for region in exposed.regions if region.root[:2] != "pr")


def test_a_missing_kv_mount_is_an_error():
    with pytest.raises(ConfigError, match=r"'secret' is not a KV mount of this server; .*the KV mounts are: old/"):
        determine_exposure(config(), "production", None, (OLD, DATABASE), ())
    with pytest.raises(ConfigError, match="the KV mounts are: none"):
        determine_exposure(config("secrets: {mount: database}"), "production", None, (SHARED_DB,), ())


@pytest.mark.parametrize(
    ("path", "location", "prefixes"),
    [
        ("api-keys/a", KvLocation(SECRET, "production/api-keys/a"), ()),
        ("/api-keys/", KvLocation(SECRET, "production/api-keys/"), ()),
        ("production/api-keys/a", KvLocation(SECRET, "production/api-keys/a"), ()),
        ("secret/production/api-keys/a", KvLocation(SECRET, "production/api-keys/a"), ()),
        ("common/a", KvLocation(SECRET, "common/a"), ()),
        ("production/kv/a", KvLocation(MOUNTS[-1], "a"), ()),
        ("production/database/creds/simba", None, ("production/database/creds/simba",)),
        ("database/postgres", KvLocation(SECRET, "production/database/postgres"), ("database/postgres",)),
    ],
)
def test_a_path_is_in_kv_or_in_an_engine_or_both(path, location, prefixes):
    exposed = at(path, "secrets: {shared_prefixes: [common/]}")
    assert (exposed.locations, exposed.lease_prefixes) == (() if location is None else (location,), prefixes)
    wanted = [] if location is None else list(location.regions)
    assert list(exposed.regions) == [*wanted, *map(Region, prefixes)]


def test_missing_locations_are_not_exposed():
    exposed = at("database/postgres")
    assert without_missing(exposed, ()).regions == exposed.locations[0].regions
    left = without_missing(exposed, exposed.locations)
    assert (left.locations, left.lease_prefixes, left.regions) == (
        (),
        ("database/postgres",),
        (Region("database/postgres"),),
    )
    own = at("production/database/creds/simba")
    assert without_missing(own, ()) == own
    lost = at("api-keys/typo")
    with pytest.raises(UsageError, match="--path 'api-keys/typo': no such path in production"):
        without_missing(lost, lost.locations)


@pytest.mark.parametrize("path", ["testing/api-keys/a", "/", "", "../testing/api-keys/a", "a/./b", "a//b"])
def test_a_path_outside_the_environment_is_rejected(path):
    with pytest.raises(UsageError, match="is not in production"):
        at(path)
