"""Whether what was brought back is what was saved."""

from collections.abc import Iterator

from lessee.ops.backup.policy.records import Secret


def differences(saved: Secret, found: Secret | None) -> Iterator[str]:
    """In words without a value; none where every version is there, and those that were deleted are not."""
    if found is None:
        yield f"{saved.where}: it is not there"
        return
    if found.current != saved.current:
        yield f"{saved.where}: its newest version is {found.current}, not {saved.current}"
    theirs = {version.number: version for version in found.versions}
    for version in saved.versions:
        other = theirs.get(version.number)
        if (other.fingerprint if other is not None else "") != version.fingerprint:
            yield f"{saved.where}: version {version.number} differs"
    for name in sorted(saved.settings.keys() | found.settings.keys()):
        if (saved.settings.get(name) or None) != (found.settings.get(name) or None):
            yield f"{saved.where}: its {name} differs"


def is_younger(secret: Secret, moment: str) -> bool:
    """Whether it was written or deleted after a moment, by the server's clock and in whole seconds."""
    marks = (mark[:19] for version in secret.versions for mark in (version.created, version.deleted))
    return any(mark >= moment[:19] for mark in marks)
