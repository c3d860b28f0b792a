"""The block `sources`: where templates read secrets besides Vault."""

from typing import Annotated

from lessee.config.grammar import scalars
from lessee.config.grammar.block import Block, describe


class SourceBlock(Block, frozen=True, kw_only=True, tag_field="kind"):
    """Where templates read secrets besides Vault, as in secret("…", source="NAME")."""

    prefix: Annotated[
        scalars.Prefix | None,
        describe(
            "The prefix of every path in this source; {environment} is replaced. Default: that of `secrets`; of a "
            "directory, none."
        ),
    ] = None
    shared_prefixes: Annotated[
        tuple[scalars.SharedFolder, ...],
        describe("Path prefixes that all environments share; the agent reads paths below them without `prefix`."),
    ] = ()
    apps: Annotated[
        tuple[scalars.Name, ...] | None, describe("The only apps whose templates may read this source. Default: all.")
    ] = None
    refresh_interval: Annotated[
        scalars.RefreshInterval | None,
        describe("How often the agent reads again. Default: that of the app; of a source in a cloud, a minute."),
    ] = None


class DirectorySource(SourceBlock, frozen=True, kw_only=True, tag="directory"):
    """A directory of files: of a Kubernetes Secret, in /run/secrets, or of systemd's credentials."""

    directory: Annotated[
        scalars.AbsolutePath,
        describe("The directory. A path is a file in it, with the key `value`, or a directory of files, its keys."),
    ]


class SopsSource(SourceBlock, frozen=True, kw_only=True, tag="sops"):
    """A directory of YAML, JSON and dotenv files that SOPS encrypted for age recipients. It needs the extra `sops`."""

    directory: Annotated[
        scalars.FilePath,
        describe("The directory, relative to the directory of this file. A path is a file in it, without its ending."),
    ]
    age_key_file: Annotated[
        scalars.FilePath, describe("The path of the file with the age identities, as `age-keygen -o FILE` writes it.")
    ]


class AwsSource(SourceBlock, frozen=True, kw_only=True):
    """A service of AWS. It needs the extra `aws`, and the credentials come from where AWS's SDKs find them."""

    region: Annotated[scalars.Name, describe("The region of the service.")]
    credentials_file: Annotated[
        scalars.FilePath | None,
        describe("The path of a shared credentials file. Default: as AWS's SDKs find credentials."),
    ] = None
    profile: Annotated[scalars.Text | None, describe("The profile in the files of AWS. Default: $AWS_PROFILE.")] = None
    endpoint: Annotated[
        scalars.VaultAddress | None, describe("The URL of the service, such as a VPC endpoint. Default: AWS's own.")
    ] = None


class SecretsManagerSource(AwsSource, frozen=True, kw_only=True, tag="aws-secrets-manager"):
    """AWS Secrets Manager: a path is a secret's name, and its keys are those of its JSON, or `value`."""


class ParameterStoreSource(AwsSource, frozen=True, kw_only=True, tag="aws-ssm"):
    """SSM Parameter Store: a path is a parameter's name, with the key `value`."""


Settings = DirectorySource | SopsSource | SecretsManagerSource | ParameterStoreSource
