"""Agents report the versions that their apps use, and a rotator sorts the consumers of a version."""

import pytest

from lessee.core.consumers import (
    GENERATION_KEY,
    MAX_KEY_BYTES,
    MAX_KEYS,
    ConfirmationStatus,
    Consumer,
    confirmation_status,
    custom_metadata,
    instance_name,
    metadata_key,
    metadata_path,
)

NEW = Consumer("simba", "host-1", {"database/postgres": 4})
OLD = Consumer("simba", "host-2", {"database/postgres": 3, "other": 9})
UNRELATED = Consumer("mail", "host-1", {"other": 9})


def read(document, name="simba", instance="host"):
    return Consumer(name, instance, {path: int(version) for path, version in document.items()})


def test_a_consumer_of_this_version_or_a_newer_one_has_confirmed():
    assert confirmation_status([NEW], "database/postgres", 4) == ConfirmationStatus(confirmed=("simba/host-1",))
    assert confirmation_status([NEW], "database/postgres", 3) == ConfirmationStatus(confirmed=("simba/host-1",))


def test_a_consumer_of_an_older_version_is_missing():
    found = confirmation_status([NEW, OLD], "database/postgres", 4)
    assert found == ConfirmationStatus(("simba/host-1",), ("simba/host-2",))
    assert found.is_known
    assert not found.is_complete


def test_a_consumer_of_other_secrets_does_not_count():
    assert not confirmation_status([UNRELATED], "database/postgres", 4).is_known
    assert confirmation_status([NEW, UNRELATED], "database/postgres", 4).is_complete


@pytest.mark.parametrize(("found", "missing"), [([], ("mail", "simba")), ([NEW], ("mail",))])
def test_a_named_app_is_missing_until_one_of_its_agents_reports(found, missing):
    assert confirmation_status(found, "database/postgres", 4, ("simba", "mail")).missing == missing


def test_a_report_of_many_versions_fits_into_custom_metadata_and_is_read_again():
    paths = [f"folder/secret-{number:03}" for number in range(130)] + ["ä" * 200, "x" * MAX_KEY_BYTES]
    versions = {path: number + 1 for number, path in enumerate(paths)}
    documents = custom_metadata(versions, 7)
    assert len(documents) == 3
    for document in documents:
        assert len(document) <= MAX_KEYS
        assert all(len(key.encode()) <= MAX_KEY_BYTES for key in document)
        assert document[GENERATION_KEY] == "7"
    consumers = [read(document, instance=str(number)) for number, document in enumerate(documents)]
    for path, version in versions.items():
        assert len(confirmation_status(consumers, path, version).confirmed) == 1
        assert not confirmation_status(consumers, path, version).missing
        assert len(confirmation_status(consumers, path, version + 1).missing) == 1
    assert len({metadata_key(path) for path in paths}) == len(paths)


def test_a_report_without_versions_is_empty():
    assert custom_metadata({}, 7) == []


def test_the_generation_number_is_not_the_version_of_a_secret():
    [document] = custom_metadata({"generation": 2}, 9)
    assert confirmation_status([read(document)], "generation", 2).confirmed == ("simba/host",)


def test_an_instance_name_is_one_path_element_and_differs_by_directory():
    name = instance_name("web-1.example", "/run/secrets/simba")
    assert name.startswith("web-1-example-")
    assert name == instance_name("web-1.example", "/run/secrets/simba")
    assert name != instance_name("web-1.example", "/run/secrets/other")
    for host in ("../x", "", ".", "a/b", "ä" * 300, "x\n"):
        name = instance_name(host, "/d")
        assert name.strip(".")
        assert not set(name) & set("/+*{} \n.")
        assert len(name) <= 70
    assert metadata_path("secret", "testing/", "simba", "i") == "secret/metadata/testing/lessee/consumers/simba/i"
