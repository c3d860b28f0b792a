"""What an agent says of an app, and how a rotator reads it."""

from lessee.core.consumers import (
    GENERATION,
    LONGEST_KEY,
    MOST_KEYS,
    Consumer,
    documents,
    instance_of,
    key_of,
    place,
    standing,
)


def read(document, name="simba", instance="host"):
    return Consumer(name, instance, {path: int(version) for path, version in document.items()})


def test_who_is_behind_is_missing_and_who_reads_something_else_does_not_count():
    consumers = [
        Consumer("simba", "a", {"db": 3, "other": 1}),
        Consumer("simba", "b", {"db": 2}),
        Consumer("nala", "c", {"other": 9}),
    ]
    found = standing(consumers, "db", 3, named=("simba", "zazu"))
    assert (found.confirmed, found.missing) == (("simba/a",), ("simba/b", "zazu"))
    assert found.is_known
    assert not standing(consumers, "nobody's", 1).is_known


def test_all_that_an_app_says_fits_into_what_kv_takes_and_is_found_again():
    paths = [f"folder/secret-{number:03}" for number in range(130)] + ["ä" * 200, "x" * LONGEST_KEY]
    versions = {path: number + 1 for number, path in enumerate(paths)}
    said = documents(versions, 7)
    assert len(said) == 3
    for document in said:
        assert len(document) <= MOST_KEYS
        assert all(len(key.encode()) <= LONGEST_KEY for key in document)
        assert document[GENERATION] == "7"
    consumers = [read(document, instance=str(number)) for number, document in enumerate(said)]
    for path, version in versions.items():
        assert len(standing(consumers, path, version).confirmed) == 1
        assert not standing(consumers, path, version).missing
        assert len(standing(consumers, path, version + 1).missing) == 1
    assert len({key_of(path) for path in paths}) == len(paths)


def test_who_has_nothing_to_say_says_nothing():
    assert documents({}, 7) == []


def test_the_generation_is_no_secret_s_version():
    [said] = documents({"generation": 2}, 9)
    assert standing([read(said)], "generation", 2).confirmed == ("simba/host",)


def test_an_instance_is_one_element_of_a_path_and_another_beside_another_directory():
    one = instance_of("web-1.example", "/run/secrets/simba")
    assert one.startswith("web-1-example-")
    assert one == instance_of("web-1.example", "/run/secrets/simba")
    assert one != instance_of("web-1.example", "/run/secrets/other")
    for host in ("../x", "", ".", "a/b", "ä" * 300, "x\n"):
        name = instance_of(host, "/d")
        assert name.strip(".")
        assert not set(name) & set("/+*{} \n.")
        assert len(name) <= 70
    assert place("secret", "testing/", "simba", "i") == "secret/metadata/testing/lessee/consumers/simba/i"
