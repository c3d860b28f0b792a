"""The systems whose credentials are rotated in tests: one class each, by the name of its kind."""

from systems.minio import ServiceAccounts
from systems.s3 import AccessKeys
from systems.vault import InVault

SYSTEMS = {"minio": ServiceAccounts, "s3": AccessKeys, "vault": InVault}
