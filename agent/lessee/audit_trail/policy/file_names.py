"""The file names of an audit trail."""

import re

HEAD = "head.json"
NEW_FILE = "head.new"
"""The new version of a file, before it replaces the old one."""
PUBLIC = "public.pem"
_SEGMENT = re.compile(r"([0-9]{12})(?:-([1-9][0-9]{0,3}))?\.jsonl", re.ASCII)


def segment_name(n: int, duplicate: int = 0) -> str:
    """The name of the file that begins with this entry. `duplicate`: how many files already have this number."""
    return f"{n:012}{f'-{duplicate}' if duplicate else ''}.jsonl"


def first_entry(name: str) -> int | None:
    """The number of the entry that a file begins with; None if the file is not part of an audit trail."""
    found = _SEGMENT.fullmatch(name)
    return int(found[1]) if found else None


def sort_key(name: str) -> tuple[int, int]:
    """The sort key of a file: by its first entry."""
    found = _SEGMENT.fullmatch(name)
    assert found is not None
    return int(found[1]), int(found[2] or 0)
