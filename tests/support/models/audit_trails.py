"""Trails for tests: acts to record, and a look at what stands on the disk."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lessee.audit_trail.keys import Private, public_key
from lessee.audit_trail.policy.entries import Act, Actor, Entry, Head, hash_of, line_of, signed_part
from lessee.audit_trail.policy.verification import Line, verify
from lessee.audit_trail.reader import reading
from lessee.core.immutable import replace

ACTOR = Actor("operator", 1000, "rafiki", "pride-rock")


def act(n=0, **fields):
    return replace(
        Act("2026-11-28T12:00:00.000Z", ACTOR, "testing", "published", {"app": "web", "n": n}, "done"), **fields
    )


class Chain:
    """A trail in memory, whole, and who can sign in it."""

    def __init__(self, length, *, file="000000000001.jsonl"):
        self.key = Private(Ed25519PrivateKey.generate())
        self.file = file
        self.lines = []
        self.head = Head()
        for n in range(length):
            self.add(act(n))

    def add(self, made, **fields):
        entry = self.signed(replace(Entry(self.head.n + 1, self.head.hash, self.head.n, made), **fields))
        line = line_of(entry)
        self.lines.append(line)
        self.head = self.signed(Head(entry.n, hash_of(line), self.file, sum(map(len, self.lines))))

    def signed(self, made, key=None):
        return replace(made, signature=(key or self.key).sign(signed_part(made)))

    def verdict(self, lines=None, head=None, **settings):
        texts = self.lines if lines is None else lines
        made = [Line(self.file, number, text) for number, text in enumerate(texts, 1)]
        text = line_of(self.head) if head is None else head
        return verify(lambda: made, text or None, self.key.public.is_genuine, **settings)

    def found(self, *arguments, **settings):
        return [str(one) for one in self.verdict(*arguments, **settings).findings]


def verdict_of(folder, public=None):
    """Of a trail on the disk."""
    public = public or public_key(folder / "public.pem")
    with reading(folder) as trail:
        return verify(trail.lines, trail.head, public.is_genuine)
