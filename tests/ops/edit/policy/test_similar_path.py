"""A mistyped path: the secret that it probably means."""

import pytest

from lessee.ops.edit.policy.similar_path import similar_path

TREE = {
    "": ["app", "database/", "lessee/", "mcp/"],
    "database/": ["admin", "postgres", "replicas/"],
    "database/replicas/": ["first"],
    "mcp/": ["memory-service"],
}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("database/postgers", "database/postgres"),
        ("databse/postgres", "database/postgres"),
        ("database/replica/first", "database/replicas/first"),
        ("postgres", "database/postgres"),
        ("cache/memory-service", "mcp/memory-service"),
        ("something/else", None),
    ],
)
def test_the_nearest_path_is_found(wanted, found):
    assert similar_path(wanted, lambda folder: TREE[folder]) == found


def test_a_large_environment_is_searched_on_the_way_to_the_path_first():
    listed = []

    def names(folder):
        listed.append(folder)
        if not folder:
            return [f"{number:03}/" for number in range(100)]
        return ["postgres"]

    assert similar_path("099/postgrse", names) == "099/postgres"
    assert len(listed) == 40
    assert listed[1] == "099/"
