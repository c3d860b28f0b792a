"""What the files of a trail are called."""

import re

HEAD = "head.json"
NEW = "head.new"
"""What is about to take the place of another."""
PUBLIC = "public.pem"
_SEGMENT = re.compile(r"([0-9]{12})(?:-([1-9][0-9]{0,3}))?\.jsonl", re.ASCII)


def segment(n: int, again: int = 0) -> str:
    """The file that begins with this entry. `again`: how many there are already that say so."""
    return f"{n:012}{f'-{again}' if again else ''}.jsonl"


def first_of(name: str) -> int | None:
    """The entry that a file begins with; None where it is none of the trail's."""
    found = _SEGMENT.fullmatch(name)
    return int(found[1]) if found else None


def order(name: str) -> tuple[int, int]:
    """Files of the trail sort by this."""
    found = _SEGMENT.fullmatch(name)
    assert found is not None
    return int(found[1]), int(found[2] or 0)
