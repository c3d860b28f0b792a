"""The block `sources`: which prefix, interval and files each kind has."""

import pytest

from lessee.config.parsing import parse
from lessee.core.errors import ConfigError

TEXT = """
environment: testing
setup: {environments: [testing, production]}
vault: {address: "https://vault"}
identities: {team-b: {namespace: b}}
secrets: {prefix: "{environment}/"}
sources:
  files: {kind: directory, directory: /run/secrets/}
  own: {kind: directory, directory: /etc/x, prefix: "{environment}/x", refresh_interval: 5s, shared_prefixes: [all]}
  repo: {kind: sops, directory: secrets, age_key_file: age.txt}
  cloud: {kind: aws-secrets-manager, region: eu-central-1, credentials_file: /aws}
  store: {kind: aws-ssm, region: eu-central-1, endpoint: "https://ssm.internal", refresh_interval: 30s}
"""


def test_each_kind_has_its_defaults():
    sources = parse(TEXT, source="lessee.yaml", environ={}).sources
    places = {
        name: (one.address, one.prefix, one.shared_prefixes, one.refresh_interval) for name, one in sources.items()
    }
    assert places == {
        "files": ("/run/secrets", "", (), None),
        "own": ("/etc/x", "testing/x/", ("all/",), 5.0),
        "repo": ("secrets", "testing/", (), None),
        "cloud": ("eu-central-1", "testing/", (), 60.0),
        "store": ("https://ssm.internal", "testing/", (), 30.0),
    }
    files = {name: one.credential_files for name, one in sources.items()}
    assert files == {"files": (), "own": (), "repo": ("age.txt",), "cloud": ("/aws",), "store": ()}
    secret = {name for name, one in sources.items() if "AWS_SECRET_ACCESS_KEY" in one.credential_variables}
    assert secret == {"cloud", "store"}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("files:", "team-b:"), "sources.team-b: `identities` has 'team-b' too, and messages name both alike"),
        (("{environment}/x", "production/x"), "sources.own.prefix: it begins with the name of another environment"),
        (("directory: /run/secrets/", "directory: secrets"), "sources.files.directory: expected an absolute path"),
        (("kind: sops", "kind: vault"), "sources.repo.kind: expected one of"),
    ],
)
def test_a_source_that_cannot_be_meant_is_a_problem(change, problem):
    with pytest.raises(ConfigError) as caught:
        parse(TEXT.replace(*change), source="lessee.yaml", environ={})
    assert problem in str(caught.value)
