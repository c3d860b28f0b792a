"""Which keys a configuration sets: by the schema's names alone."""

from pathlib import Path

import pytest
import yaml

from lessee.config.schema import schema
from lessee.ops.doctor.policy.configuration_keys import keys_set

SCHEMA = schema()
EXAMPLE = Path(__file__).parents[3] / "config/test_config_example.yaml"


def test_keys_are_counted_by_their_path():
    files = [{"template": "a.j2"}, {"template": "b.j2", "name": "b"}]
    apps = {"web": {"directory": "/d", "files": files}, "db": {"directory": "/e", "files": files[:1]}}
    assert keys_set({"environment": "testing", "apps": apps}, SCHEMA) == {
        "environment": 1,
        "apps": 1,
        "apps.NAME": 2,
        "apps.NAME.directory": 2,
        "apps.NAME.files": 2,
        "apps.NAME.files[].template": 3,
        "apps.NAME.files[].name": 1,
    }


@pytest.mark.parametrize(
    ("document", "keys"),
    [
        (
            {"hunter2": 1, "vault": {"hunter3": {"hunter4": 5}}},
            {"(unknown key)": 1, "vault": 1, "vault.(unknown key)": 1},
        ),
        ({"environment": {"hunter2": 3}}, {"environment": 1, "environment.(unknown key)": 1}),
        ({"apps": [{"hunter2": 1}]}, {"apps": 1, "apps[].(unknown key)": 1}),
        ({1: 2, None: 3}, {"(unknown key)": 2}),
        (None, {}),
        ("hunter2", {}),
        (["hunter2"], {}),
    ],
)
def test_a_name_that_is_no_key_is_not_repeated(document, keys):
    assert keys_set(document, SCHEMA) == keys


def test_each_variant_of_a_block_has_its_keys():
    auth = {"method": "jwt", "jwt_file": "/f", "role": "r"}
    assert keys_set({"vault": {"auth": auth}}, SCHEMA) == {
        "vault": 1, "vault.auth": 1, "vault.auth.method": 1, "vault.auth.jwt_file": 1, "vault.auth.role": 1,
    }  # fmt: skip


def test_a_document_with_every_key_has_no_unknown_one():
    counts = keys_set(yaml.safe_load(EXAMPLE.read_text()), SCHEMA)
    assert len(counts) > 150
    unknown = [path for path in counts if "unknown" in path]
    assert unknown == ["(unknown key)"] * any(name.startswith("x-") for name in yaml.safe_load(EXAMPLE.read_text()))


def test_a_document_whose_aliases_multiply_it_is_not_read_to_its_end():
    text = "x0: &x0 {environment: a}\n"
    for level in range(1, 30):
        text += f"x{level}: &x{level} [{', '.join([f'*x{level - 1}'] * 9)}]\n"
    assert sum(keys_set({"apps": yaml.safe_load(text)}, SCHEMA).values()) <= 5000
    # Lists that the schema does not know are not read at all.
    assert keys_set({"apps": {"web": {"files": [yaml.safe_load(text)["x29"]]}}}, SCHEMA)["apps.NAME.files"] == 1
    many = {"apps": {"web": {"files": [{"template": "a"}] * 6000}}}
    assert sum(keys_set(many, SCHEMA).values()) == 5000
