"""The secrets that must exist, because templates, `setup.secrets`, `rotation` or `validate` name them."""

from collections.abc import Iterator
from functools import partial

from lessee.config.grammar.validate import DatabaseCheck, StorageCheck
from lessee.core.sensitive.names import SecretField
from lessee.core.severity import Level
from lessee.ops.validate.checks import Check, CheckSkippedError
from lessee.ops.validate.context import ValidationContext
from lessee.ops.validate.policy.layout import component_of
from lessee.ops.validate.policy.results import Finding, Reporter, Result

CHECK = "secrets-present"


def check_present(component: str, context: ValidationContext) -> Iterator[Check]:
    """The check of a component's secrets that no other check reads; none where the configuration names none."""
    paths = [path for path in context.expected() if component_of(path) == component and path not in _read(context)]
    if paths:
        yield Check(component, (CHECK,), partial(_check, component, context, paths))


def _read(context: ValidationContext) -> frozenset[str]:
    """The secrets whose own checks report that they are missing."""
    validate = context.config.validate
    blocks = [validate.database or DatabaseCheck(), validate.storage or StorageCheck(), validate.mcp_auth]
    paths = {block.secret for block in (*blocks, *validate.api_keys.values()) if block is not None}
    cache = validate.mcp_cache
    return frozenset(paths | ({path for path in (cache.secret, cache.redis) if path} if cache else set()))


def _check(component: str, context: ValidationContext, paths: list[str]) -> Iterator[Result]:
    reporter, expected, inventory = Reporter(component), context.expected(), context.inventory()
    findings: list[Finding] = []
    missing: set[SecretField] = set()
    unknown = 0
    for path in paths:
        ref = context.scope.secret(path)
        secret = inventory.secrets.get(ref)
        named = f"named by {', '.join(expected[path].sources)}"
        if secret is not None:
            lacking = [key for key in expected[path].keys if key not in secret.data]
            fields = {SecretField(str(ref), key) for key in lacking}
            if lacking:
                # Only `setup.secrets` names keys.
                findings.append(Finding(f"{ref} has no {', '.join(lacking)} (named by setup.secrets)"))
                missing |= fields
        elif ref in inventory.missing or ref in inventory.deleted:
            what = "is deleted" if ref in inventory.deleted else "does not exist"
            findings.append(Finding(f"{ref} {what} ({named})"))
            missing.add(SecretField(str(ref), ""))
        else:
            unknown += 1
    if findings:
        todo = "write them: `lessee setup` writes those of `setup.secrets`, `lessee set PATH KEY --create` any other"
        yield reporter.found(CHECK, Level.CRITICAL, "secrets are missing: ", findings, todo, explains=missing)
    elif unknown:
        raise CheckSkippedError(f"{unknown} of {len(paths)} secrets that the configuration names cannot be read")
    else:
        yield reporter.passed(CHECK, f"each secret that the configuration names exists ({len(paths)})")
