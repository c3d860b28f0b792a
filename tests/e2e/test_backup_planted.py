"""An attacker who may only add files to a store removes no archive, and chooses none to restore."""

import itertools
import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from lessee.host.openbao import OpenBao
from support.environments.backups import Backups, canary, make_key
from support.full_disk import starting_with_a_full_disk
from support.inputs.forged_archives import Forger
from support.servers.s3_server import BUCKET, S3Bucket

NOW = datetime.now(UTC).replace(microsecond=0)
SCHEDULE = [timedelta(days=days, hours=3) for days in (0, 1, 2, 3, 4, 5, 13, 20)]
"""The ages of archives that a save keeps at any time of day, also if a new day or week begins before the save."""
_NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def vault(tmp_path_factory):
    with OpenBao(tmp_path_factory.mktemp("vault")) as server:
        for number in range(4):
            server.put(f"large/{number}", value=canary(number) * 6000)  # An archive of several chunks of age.
        yield server


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    with S3Bucket(tmp_path_factory.mktemp("s3")) as store:
        yield store


class Directory:
    """The directory of archives, as an attacker uses it."""

    def __init__(self, backups):
        self.path = backups.archives

    def add(self, name, content):
        (self.path / name).write_bytes(content)

    def names(self):
        return {path.name for path in self.path.glob("lessee-*")}

    def where(self, name):
        return str(self.path / name)


class Bucket:
    """The bucket of archives, as an attacker uses it."""

    def __init__(self, backups, s3, prefix):
        self.s3, self.prefix = s3, f"{prefix}/"
        for name in S3Bucket.user:
            backups.environ[f"AWS_{name.upper()}"] = S3Bucket.user[name]
        backups.config["backup"] = {"s3": {"endpoint": s3.endpoint, "bucket": BUCKET, "prefix": self.prefix}}

    def add(self, name, content):
        self.s3.put(self.prefix + name, content)

    def names(self):
        return {name.removeprefix(self.prefix) for name in self.s3.names() if name.startswith(self.prefix)}

    def where(self, name):
        return f"s3://{BUCKET}/{self.prefix}{name}"


@pytest.fixture(params=["directory", "bucket"])
def attacked(request, vault, tmp_path, memory):
    """Backups with an archive, and a forger who has it and knows the public key."""
    backups = Backups(vault.address, tmp_path, memory)
    archive = backups.save()
    forger = Forger(backups.key, archive)
    store = Directory(backups)
    if request.param == "bucket":
        store = Bucket(backups, request.getfixturevalue("s3"), f"planted{next(_NUMBERS)}")
    archive.unlink()
    return backups, store, forger, re.fullmatch(r"lessee-(.*)-\d{8}T\d{6}Z\.age", archive.name)[1]


def of_age(forger, age, **changes):
    """An archive as lessee has saved it some time ago."""
    return forger.with_manifest(forger.manifest(created=moment(age).isoformat(), **changes), authenticated=True)


def moment(age):
    return NOW - age


def name_at(cluster, age):
    return f"lessee-{cluster}-{moment(age):%Y%m%dT%H%M%SZ}.age"


def planted(forger, own):
    """What an attacker without the identity can make, by kind."""
    without_seal = forger.with_manifest(forger.manifest())
    return {
        "nothing": b"",
        "a text": b"an archive\n",
        "an archive without a seal": without_seal,
        "an old archive again": own,
        "an old archive, cut": own[:-100],
    }


@pytest.mark.thorough
def test_planted_files_of_every_day_remove_no_archive(attacked):
    """Files with names of each day and week, the future too: by their names, they were the newest of each."""
    backups, store, forger, cluster = attacked
    own = {name_at(cluster, age): of_age(forger, age) for age in SCHEDULE}
    kinds = planted(forger, own[name_at(cluster, SCHEDULE[-1])])
    copies = {"an old archive again", "an old archive, cut"}
    for name, content in own.items():
        store.add(name, content)
    false = {}
    for days in range(-10, 40):
        for minutes, kind in enumerate(kinds):
            name = name_at(cluster, timedelta(days=days, minutes=minutes - 20))
            store.add(name, kinds[kind])
            false[name] = kind
    said = backups.backup("save")
    assert set(own) <= store.names()
    assert "removed" not in said
    others = [name for name, kind in false.items() if kind not in copies]
    assert set(others) <= store.names()
    assert said.count("left alone: ") == 6
    assert f"left alone: {len(others) - 5} more; `lessee backup list` lists them" in said


def test_latest_is_no_planted_file(attacked):
    backups, store, forger, cluster = attacked
    old, newest = SCHEDULE[4], SCHEDULE[0]
    for age in (old, newest):
        store.add(name_at(cluster, age), of_age(forger, age))
    for number, content in enumerate(planted(forger, of_age(forger, old)).values(), 1):
        store.add(name_at(cluster, timedelta(days=-number)), content)
    said = backups.backup("verify", "latest")
    assert f"{store.where(name_at(cluster, newest))}: restored and equal" in said


def test_a_cut_copy_of_the_newest_archive_is_not_latest(attacked):
    """Its seal is right: only its end shows that it is cut."""
    backups, store, forger, cluster = attacked
    own = of_age(forger, SCHEDULE[0])
    store.add(name_at(cluster, SCHEDULE[0]), own)
    store.add(name_at(cluster, timedelta(days=-1)), own[:-20])
    said = backups.backup("verify", "latest")
    assert f"{store.where(name_at(cluster, SCHEDULE[0]))}: restored and equal" in said


def test_a_store_without_a_sealed_archive_has_no_latest(attacked):
    backups, store, forger, cluster = attacked
    store.add(name_at(cluster, SCHEDULE[0]), forger.with_manifest(forger.manifest()))
    text = backups.backup("restore", "latest", "--yes", code=65, text="no archive with a seal of this key")
    assert f"left alone: {store.where(name_at(cluster, SCHEDULE[0]))}: the archive has no seal of this key" in text


def test_archives_of_another_key_are_not_ours(attacked, tmp_path):
    backups, store, forger, cluster = attacked
    store.add(name_at(cluster, SCHEDULE[0]), of_age(forger, SCHEDULE[0]))
    make_key(tmp_path / "other")
    arguments = ("verify", "latest", "--key-file", str(tmp_path / "other"))
    text = backups.backup(*arguments, code=65, text="no archive with a seal of this key")
    assert "the key does not decrypt this archive" in text


def test_the_time_in_the_seal_counts_and_not_the_name(attacked):
    """Archives of the last days in files whose names say that they are old, and the reverse."""
    backups, store, forger, cluster = attacked
    days = [timedelta(days=days, hours=2) for days in range(40)]
    for age, named in zip(days, reversed(days), strict=True):
        store.add(name_at(cluster, named), of_age(forger, age))
    backups.backup("save")
    # Today's archive counts as a day and a week; the younger than a day stays anyway.
    stay = {name_at(cluster, named) for age, named in zip(days, reversed(days), strict=True) if age.days < 6}
    assert stay <= store.names()
    assert name_at(cluster, days[0]) not in store.names()


def test_nothing_younger_than_a_day_is_removed_unless_asked(attacked):
    backups, store, forger, cluster = attacked
    ages = [timedelta(hours=hours) for hours in (1, 2, 3, 12, 23)]
    for age in ages:
        store.add(name_at(cluster, age), of_age(forger, age))
    backups.config["backup"]["keep"] = {"last": 1, "daily": 1, "weekly": 1}
    assert "removed" not in backups.backup("save")
    assert {name_at(cluster, age) for age in ages} <= store.names()
    backups.config["backup"]["keep"] = {"within": "0s", "last": 3, "daily": 1, "weekly": 1}
    said = backups.backup("prune", "--plan")
    assert said.count("to remove: ") == 3
    assert {name_at(cluster, age) for age in ages} <= store.names()
    assert backups.backup("prune").count("removed ") == 3
    assert len(store.names()) == 3
    assert backups.backup("prune") == ""


@pytest.mark.thorough
def test_a_pinned_archive_stays_whatever_its_age(attacked):
    backups, store, forger, cluster = attacked
    old = timedelta(days=400)
    store.add(name_at(cluster, old), of_age(forger, old, pinned=True))
    store.add(name_at(cluster, old * 2), of_age(forger, old * 2))
    backups.config["backup"]["keep"] = {"within": "0s", "last": 1, "daily": 1, "weekly": 1}
    said = backups.backup("save", "--pin")
    assert f"removed {store.where(name_at(cluster, old * 2))}" in said
    assert name_at(cluster, old) in store.names()
    (new,) = store.names() - {name_at(cluster, old)}
    said = backups.backup("list")
    assert re.search(rf"Z pinned {re.escape(store.where(new))}$", said, re.MULTILINE)
    assert "restored and equal" in backups.backup("verify", "latest")


def test_an_archive_is_pinned_and_unpinned_later(attacked):
    backups, store, forger, cluster = attacked
    old, older = timedelta(days=400), timedelta(days=800)
    for age in (old, older):
        store.add(name_at(cluster, age), of_age(forger, age, pinned=age == older))
    where = store.where(name_at(cluster, old))
    assert backups.backup("pin", name_at(cluster, old)) == f"pinned {where}\n"
    assert backups.backup("pin", where) == f"already pinned {where}\n"
    assert backups.backup("unpin", store.where(name_at(cluster, older))).startswith("unpinned ")
    listed = backups.backup("list")
    assert f"{moment(old):%Y-%m-%dT%H:%M:%S}Z pinned {where}\n" in listed
    assert f"        {store.where(name_at(cluster, older))}\n" in listed
    assert "restored and equal" in backups.backup("verify", name_at(cluster, old))
    backups.config["backup"]["keep"] = {"within": "0s", "last": 1, "daily": 1, "weekly": 1}
    said = backups.backup("save")
    assert f"removed {store.where(name_at(cluster, older))}\n" in said
    assert name_at(cluster, old) in store.names()
    # The archive without the pin is put there again, and is the same archive.
    store.add(name_at(cluster, timedelta(days=399)), of_age(forger, old))
    assert "removed" not in backups.backup("prune", "--plan")


def test_copies_are_pinned_together(attacked):
    backups, store, forger, cluster = attacked
    one, two = name_at(cluster, SCHEDULE[0]), name_at(cluster, SCHEDULE[1])
    for name in (one, two):
        store.add(name, of_age(forger, SCHEDULE[0]))
    said = backups.backup("pin", "latest")
    assert sorted(said.splitlines()) == sorted(f"pinned {store.where(name)}" for name in (one, two))


def test_a_cut_copy_does_not_prevent_a_pin(attacked):
    backups, store, forger, cluster = attacked
    own, cut = name_at(cluster, SCHEDULE[0]), name_at(cluster, timedelta(days=-1))
    content = of_age(forger, SCHEDULE[0])
    store.add(own, content)
    store.add(cut, content[:-20])
    said = backups.backup("pin", "latest")
    assert said.startswith(f"pinned {store.where(own)}\nleft alone: {store.where(cut)}: the archive is truncated")
    # As long as one copy is pinned, the archive is: so this is no success.
    store.add(cut, of_age(forger, SCHEDULE[0], pinned=True)[:-20])
    text = f"{store.where(cut)}: a copy that is not complete is still pinned, and so is the archive; delete this copy"
    backups.backup("unpin", own, code=65, text=text)


def test_a_full_disk_leaves_an_archive_as_it_is(vault, tmp_path, memory):
    backups = Backups(vault.address, tmp_path, memory)
    archive = backups.save()
    content = archive.read_bytes()
    for size in (0, len(content) // 2):
        under = starting_with_a_full_disk(size)
        backups.backup("pin", "latest", before=under, code=73, text="File too large")
        assert archive.read_bytes() == content
        assert {path.suffix for path in backups.archives.iterdir()} == {".age", ".lock"}
    assert backups.backup("pin", "latest") == f"pinned {archive}\n"


@pytest.mark.thorough
def test_what_cannot_be_pinned_stays_as_it_is(attacked):
    backups, store, forger, cluster = attacked
    own = of_age(forger, SCHEDULE[0])
    contents = {name_at(cluster, SCHEDULE[0]): forger.with_manifest(forger.manifest())}
    contents[name_at(cluster, SCHEDULE[1])] = own[:-20]
    for name, content in contents.items():
        store.add(name, content)
    unsealed, cut = contents
    backups.backup("pin", unsealed, code=65, text=f"{store.where(unsealed)}: the archive has no seal of this key")
    backups.backup("pin", cut, code=65, text=f"{store.where(cut)}: the archive is truncated or altered")
    backups.backup("unpin", "other.age", code=65, text="no such archive in the stores")
    said = backups.backup("list")
    assert "Z pinned " not in said
    assert store.names() >= set(contents)
    backups.backup("verify", cut, code=65)


@pytest.mark.thorough
def test_latest_is_of_the_server_and_not_of_another_one_with_the_same_key(attacked):
    backups, store, forger, cluster = attacked
    own, other = name_at(cluster, SCHEDULE[1]), name_at("other", SCHEDULE[0])
    foreign = {"cluster_id": "another", "cluster_name": "testing"}
    store.add(other, of_age(forger, SCHEDULE[0], **foreign))
    # Of one cluster alone, the server that was lost: `restore` asks for --force then.
    backups.backup("restore", "latest", "--yes", code=77, text="the archive is of another cluster, testing")
    store.add(own, of_age(forger, SCHEDULE[1]))
    assert f"{store.where(own)}: restored and equal" in backups.backup("verify", "latest")
    assert f"restored {store.where(own)} with 0 writes" in backups.backup("restore", "latest", "--yes")
    assert backups.backup("pin", "latest") == f"pinned {store.where(own)}\n"
    address = backups.config["vault"]
    backups.config["vault"] = {"address": "http://127.0.0.1:9"}
    text = "the stores have archives of several clusters, and the server does not say which one it is"
    backups.backup("verify", "latest", code=69, text=text)
    backups.config["vault"] = address
    (third := dict(foreign)).update(cluster_id="third", cluster_name="third")
    store.add(own, of_age(forger, SCHEDULE[1], **third))
    text = backups.backup("restore", "latest", "--yes", "--force", code=65, text="only archives of other clusters")
    assert "testing (another), third (third)" in text


def test_the_newest_archive_of_another_key_is_not_latest_and_counts_for_nothing(attacked, tmp_path):
    """A host that saves with its own key into the same store."""
    backups, store, forger, cluster = attacked
    make_key(tmp_path / "other")
    # The files of the other key are newer, and as many as retention has places for.
    for days in (0, 1, 2):
        store.add(name_at(cluster, timedelta(days=days, hours=5)), of_age(forger, timedelta(days=days, hours=5)))
    own = {name_at(cluster, timedelta(days=days, hours=5)) for days in (0, 1, 2)}
    other = {"LESSEE_BACKUP_KEY_FILE": str(tmp_path / "other")}
    backups.config["backup"]["keep"] = {"within": "0s", "last": 3, "daily": 1, "weekly": 1}
    backups.backup("save", env=other)
    assert own <= store.names()
    (new,) = store.names() - own
    said = backups.backup("verify", "latest")
    assert f"{store.where(name_at(cluster, timedelta(hours=5)))}: restored and equal" in said
    assert f"{store.where(new)}: restored and equal" in backups.backup("verify", "latest", env=other)
    assert "to remove" not in backups.backup("prune", "--plan")


def test_list_names_what_counts_and_what_does_not(attacked):
    backups, store, forger, cluster = attacked
    one, two = name_at(cluster, SCHEDULE[0]), name_at(cluster, SCHEDULE[1])
    store.add(one, of_age(forger, SCHEDULE[0]))
    store.add(two, b"x")
    store.add("notes.txt", b"x")
    said = backups.backup("list")
    assert f"{moment(SCHEDULE[0]):%Y-%m-%dT%H:%M}" in said
    assert f"        {store.where(one)}\n" in said
    assert f"left alone: {store.where(two)}: no archive, or one without its beginning" in said
    assert "notes" not in said


def test_without_the_key_file_save_removes_nothing_and_says_so(attacked):
    """The host that saves has public keys alone: it cannot tell a forged archive from its own."""
    backups, store, forger, cluster = attacked
    old = [timedelta(days=400), timedelta(days=401)]
    for age in old:
        store.add(name_at(cluster, age), of_age(forger, age))
    backups.config["backup"] |= {"recipients": [backups.public], "keep": {"last": 1, "daily": 1, "weekly": 1}}
    said = backups.backup("save", env={"LESSEE_BACKUP_KEY_FILE": ""})
    assert "no old archive removed: that takes the key file; run `lessee backup prune` where it is" in said
    assert {name_at(cluster, age) for age in old} <= store.names()
    said = backups.backup("prune")
    assert said.splitlines()[0] == f"removed {store.where(name_at(cluster, old[1]))}"
    assert "the archive has no seal of this key" in said


def test_an_archive_of_another_cluster_under_our_name_stays(attacked):
    backups, store, forger, cluster = attacked
    old = timedelta(days=400)
    store.add(name_at(cluster, old), of_age(forger, old, cluster_id="another"))
    assert "removed" not in backups.backup("save")
    assert name_at(cluster, old) in store.names()


@pytest.mark.parametrize("kind", ["recipients without end", "a line without end"])
def test_an_endless_header_of_age_delays_no_save(attacked, kind):
    """The library's effort grows with the square of the header's size: a minute for 800 kB."""
    backups, store, _, cluster = attacked
    head, unit = b"age-encryption.org/v1\n", b"-> X25519 " + b"A" * 43 + b"\n" + b"A" * 43 + b"\n"
    content = head + unit * 40_000 if kind == "recipients without end" else head + b"-> X25519 " + b"A" * (4 << 20)
    store.add(name_at(cluster, SCHEDULE[0]), content)
    said = backups.backup("save", timeout=60)
    assert "left alone: " in said
    backups.backup("verify", store.where(name_at(cluster, SCHEDULE[0])), code=65, timeout=60)


def test_the_audit_trail_has_what_was_removed(attacked, tmp_path):
    backups, store, forger, cluster = attacked
    backups.config["audit_trail"] = {"directory": str(tmp_path / "trail"), "key_file": str(tmp_path / "trail.key")}
    backups.config["backup"]["keep"] = {"within": "0s", "last": 1, "daily": 1, "weekly": 1}
    old = [timedelta(days=days) for days in (400, 401)]
    for age in old:
        store.add(name_at(cluster, age), of_age(forger, age))
    backups.backup("prune")
    text = "".join(path.read_text() for path in (tmp_path / "trail").rglob("*") if path.is_file())
    assert "backups pruned" in text
    assert json.dumps(f"removed {store.where(name_at(cluster, old[1]))}") in text
