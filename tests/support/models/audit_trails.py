"""Audit trails for tests: actions to record, and the verdict on a trail on disk."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lessee.audit_trail.keys import PrivateKey, public_key
from lessee.audit_trail.policy.entries import Action, Actor, Entry, Head, encode_line, hash_line, signed_part
from lessee.audit_trail.policy.verification import Line, verify
from lessee.audit_trail.reader import open_audit_trail
from lessee.core.immutable import replace

ACTOR = Actor("operator", 1000, "rafiki", "pride-rock")


def action(n=0, **fields):
    return replace(
        Action("2026-11-28T12:00:00.000Z", ACTOR, "testing", "published", {"app": "web", "n": n}, "done"), **fields
    )


class Chain:
    """An intact audit trail in memory, and the key that signs it."""

    def __init__(self, length, *, file="000000000001.jsonl"):
        self.key = PrivateKey(Ed25519PrivateKey.generate())
        self.file = file
        self.lines = []
        self.head = Head()
        for n in range(length):
            self.add(action(n))

    def add(self, recorded, **fields):
        entry = self.signed(replace(Entry(self.head.n + 1, self.head.hash, self.head.n, recorded), **fields))
        line = encode_line(entry)
        self.lines.append(line)
        self.head = self.signed(Head(entry.n, hash_line(line), self.file, sum(map(len, self.lines))))

    def signed(self, record, key=None):
        return replace(record, signature=(key or self.key).sign(signed_part(record)))

    def verdict(self, lines=None, head=None, **settings):
        texts = self.lines if lines is None else lines
        made = [Line(self.file, number, text) for number, text in enumerate(texts, 1)]
        text = encode_line(self.head) if head is None else head
        return verify(lambda: made, text or None, self.key.public.is_genuine, **settings)

    def found(self, *arguments, **settings):
        return [str(one) for one in self.verdict(*arguments, **settings).findings]


def verdict_of(folder, public=None):
    """The verdict on an audit trail on disk."""
    public = public or public_key(folder / "public.pem")
    with open_audit_trail(folder) as trail:
        return verify(trail.lines, trail.head, public.is_genuine)
