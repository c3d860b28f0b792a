"""A trail on the disk stays whole whoever writes and whatever ends them, and is never written over."""

import base64
import fcntl
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lessee.audit_trail import writer
from lessee.audit_trail.keys import Private, make_key, private_key, public_key
from lessee.audit_trail.policy.entries import Head, entry_of, hash_of, head_of, line_of, signed_part
from lessee.audit_trail.reader import reading
from lessee.audit_trail.writer import Writer
from lessee.core.errors import ConfigError, WriteError
from lessee.core.immutable import replace
from support.models.audit_trails import act, verdict_of
from support.paths import TESTS
from support.programs.sidecar import eventually

_SMALL = 2000
"""Bytes of a segment: a handful of entries."""
_WRITING = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from lessee.audit_trail.writer import Writer
from support.models.audit_trails import act
writer = Writer(Path(sys.argv[1]), Path(sys.argv[2]), segment_size=4000)
print("up", flush=True)
n = 0
while True:
    n += 1
    writer.add([act(n), act(), act()])
"""


@pytest.fixture
def place(tmp_path):
    return tmp_path / "trail", tmp_path / "trail.key"


def written(place, count, **settings):
    writer = Writer(*place, **settings)
    for n in range(count):
        writer.add([act(n)])
    writer.close()
    return place[0]


def segments(folder):
    return sorted(folder.glob("*.jsonl"))


def acts(folder):
    with reading(folder) as trail:
        entries = [entry_of(line.text) for line in trail.lines()]
        return [entry.act.act for entry in entries if entry is not None]


def test_it_goes_on_over_files_and_starts_and_is_whole(place):
    for _ in range(4):
        folder = written(place, 10, segment_size=_SMALL)
    verdict = verdict_of(folder)
    assert (verdict.entries, verdict.findings, verdict.notes) == (40, (), ())
    assert len(segments(folder)) > 3
    assert all(file.stat().st_size <= _SMALL for file in segments(folder))
    assert place[1].stat().st_mode & 0o777 == 0o600


def test_several_writers_at_once_make_one_chain(place):
    def write(_):
        writer = Writer(*place, segment_size=_SMALL)
        for n in range(20):
            writer.add([act(n)])
        writer.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    verdict = verdict_of(place[0])
    assert (verdict.entries, verdict.findings, verdict.notes) == (80, (), ())


def test_killed_thirty_times_while_it_writes_it_is_whole_each_time(place):
    written(place, 1)
    before = 0
    for seed in range(30):
        process = subprocess.Popen(
            [sys.executable, "-c", _WRITING, *map(str, place), str(TESTS)], stdout=subprocess.PIPE
        )
        with process.stdout:
            process.stdout.readline()
            head = place[0] / "head.json"
            seen = max(before, head_of(head.read_bytes()).n)  # The last one may stand there without its head.
            eventually(
                lambda head=head, seen=seen, seed=seed: head_of(head.read_bytes()).n > seen + seed % 5, "entries"
            )
            process.send_signal(signal.SIGKILL)
            process.wait()
        verdict = verdict_of(place[0])
        assert verdict.findings == ()
        assert verdict.entries > before
        before = verdict.entries
    written(place, 1)
    verdict = verdict_of(place[0])
    assert (verdict.findings, verdict.notes) == ((), ())


def test_what_a_writer_that_was_ended_left_is_mended_and_told(place):
    folder = written(place, 3)
    head, file = (folder / "head.json").read_bytes(), segments(folder)[0]
    written(place, 1)
    last = file.read_bytes().splitlines(keepends=True)[-1]
    # Ended before the head; that entry counts.
    (folder / "head.json").write_bytes(head)
    assert verdict_of(folder).notes
    written(place, 1)
    assert verdict_of(folder) == replace(verdict_of(folder), entries=5, findings=(), notes=())
    assert acts(folder) == ["published"] * 5
    # Ended before the head, where that entry begins another file.
    head = (folder / "head.json").read_bytes()
    written(place, 1, segment_size=1)
    (folder / "head.json").write_bytes(head)
    assert len(verdict_of(folder).notes) == 1
    written(place, 1)
    assert (verdict_of(folder).entries, verdict_of(folder).findings, verdict_of(folder).notes) == (7, (), ())
    # Ended in the middle of the first line of another file.
    head = head_of((folder / "head.json").read_bytes())
    (folder / "000000000008.jsonl").write_text(f'{{"n":8,"before":"{head.hash[:7]}')
    assert len(verdict_of(folder).notes) == 1
    written(place, 1)
    assert (verdict_of(folder).findings, verdict_of(folder).notes) == ((), ())
    assert acts(folder)[7:] == ["trail mended", "published"]
    # Ended in the middle of the line.
    file = segments(folder)[-1]
    head = head_of((folder / "head.json").read_bytes())
    torn = last.replace(b'"n":4', b'"n":10', 1).replace(entry_of(last).before.encode(), head.hash.encode(), 1)[:200]
    with file.open("ab") as stream:
        stream.write(torn)
    verdict = verdict_of(folder)
    assert verdict.findings == ()
    assert "ended in the middle" in verdict.notes[0]
    written(place, 1)
    assert (verdict_of(folder).findings, verdict_of(folder).notes) == ((), ())
    assert acts(folder)[9:] == ["trail mended", "published"]


@pytest.mark.parametrize("harm", ["cut", "removed", "longer", "no head", "forged head", "old head"])
def test_what_was_altered_is_told_and_shows_for_good_though_writers_go_on(place, harm):
    folder = written(place, 6)
    head, file = folder / "head.json", segments(folder)[0]
    old = head.read_bytes()
    written(place, 3)
    text = file.read_bytes()
    if harm == "cut":
        file.write_bytes(text[:-100])
    elif harm == "removed":
        file.unlink()
    elif harm == "longer":
        file.write_bytes(text + text[-300:])
    elif harm == "no head":
        head.unlink()
    elif harm == "forged head":
        head.write_bytes(head.read_bytes().replace(b'"n":9', b'"n":8'))
    else:
        head.write_bytes(old)
    before = verdict_of(folder)
    assert before.findings
    writer = Writer(*place)
    said = writer.add([act(), act()])
    writer.close()
    assert said
    assert acts(folder)[-3:] == ["trail found altered", "published", "published"]
    after = verdict_of(folder)
    assert after.findings
    assert any("its writer found the trail altered" in one.what for one in after.findings)
    assert written(place, 2) == folder
    assert verdict_of(folder).entries == after.entries + 2


def test_a_writer_that_lives_sees_the_whole_folder_put_back_to_an_older_state(place, tmp_path):
    folder, old = place[0], tmp_path / "old"
    writer = Writer(*place, segment_size=_SMALL)
    writer.add([act(n) for n in range(3)])
    shutil.copytree(folder, old)
    writer.add([act(n) for n in range(20)])
    for put_back in (
        lambda: folder.rename(tmp_path / "newer") and shutil.copytree(old, folder),
        lambda: shutil.rmtree(folder),
        lambda: [file.unlink() for file in folder.iterdir()],
        lambda: [file.unlink() for file in folder.glob("*.jsonl")],
    ):
        count = head_of((folder / "head.json").read_bytes()).n
        put_back()
        assert writer.add([act()])
        found = [str(one) for one in verdict_of(folder).findings]
        assert any(f" to {count} are missing before it" in one for one in found), found
        assert any(f"entry {count + 1}: its writer found the trail altered" in one for one in found), found
        assert writer.add([act()]) == ""
    writer.close()


def test_a_trail_that_is_taken_away_before_another_start_does_not_begin_as_if_nothing_were(place):
    folder = written(place, 5)
    for file in (*segments(folder), folder / "head.json"):
        file.unlink()
    written(place, 1)
    assert acts(folder) == ["trail found altered", "published"]
    assert any("head.json is missing" in one.what for one in verdict_of(folder).findings)


def test_the_last_entries_cannot_be_cut_off_with_the_head_and_be_forgotten_when_a_writer_goes_on(place):
    folder = written(place, 6)
    (folder / "head.json").unlink()
    file = segments(folder)[0]
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:4]))
    written(place, 1)
    assert [str(one) for one in verdict_of(folder).findings] == [
        "000000000005.jsonl:1: entry 5: its writer found the trail altered: head.json is missing or changed"
    ]


def test_of_what_was_written_at_once_a_writer_that_was_ended_leaves_any_part_and_it_counts(place):
    folder = written(place, 3)
    head, file = folder / "head.json", segments(folder)[0]
    old, size = head.read_bytes(), file.stat().st_size
    writer = Writer(*place)
    writer.add([act(n) for n in range(4)])
    writer.close()
    text = file.read_bytes()
    for left in range(size, len(text) + 1, 37):
        head.write_bytes(old)
        file.write_bytes(text[:left])
        assert verdict_of(folder).findings == (), left
        written(place, 1)
        verdict = verdict_of(folder)
        torn = not text[:left].endswith(b"\n")
        whole = text[:left].count(b"\n")
        assert (verdict.entries, verdict.findings, verdict.notes) == (whole + torn + 1, (), ())
    # An older head with what was written later is none that a writer left.
    head.write_bytes(old)
    assert [str(one) for one in verdict_of(folder).findings] == [
        f"head.json:1: entry 3: is older than the trail, which goes to entry {verdict.entries}"
    ]


def test_ended_in_the_middle_of_the_very_first_entry_it_is_mended(place):
    folder = written(place, 0)
    assert (verdict_of(folder).entries, verdict_of(folder).findings) == (0, ())
    (folder / "000000000001.jsonl").write_text('{"n":1,"before":"0000')
    assert len(verdict_of(folder).notes) == 1
    written(place, 1)
    assert (verdict_of(folder).findings, verdict_of(folder).notes) == ((), ())
    assert acts(folder) == ["trail mended", "published"]


def test_with_another_key_nothing_is_written_over(place):
    folder = written(place, 3)
    kept = place[1].read_bytes()
    place[1].unlink()
    make_key(place[1])
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for _ in range(2):
        with pytest.raises(WriteError, match="nothing of the trail is signed by this key"):
            written(place, 1)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    place[1].write_bytes(kept)
    assert verdict_of(written(place, 1)).findings == ()


def test_a_full_disk_leaves_nothing_half_written(place, memory):
    folder = memory / "trail"
    writer = Writer(folder, place[1])
    writer.add([act()])
    file = segments(folder)[0]
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        for size in (file.stat().st_size, file.stat().st_size + 10):
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
            try:
                with pytest.raises(WriteError, match="File too large"):
                    writer.add([act(1)])
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "head.new"} == before
    finally:
        signal.signal(signal.SIGXFSZ, handler)
    assert writer.add([act(2)]) == ""
    writer.close()
    assert (verdict_of(folder).entries, verdict_of(folder).findings) == (2, ())


def test_a_key_that_is_gone_is_not_made_anew_and_a_bad_one_is_refused(place):
    written(place, 1)
    kept = place[1].read_bytes()
    place[1].unlink()
    with pytest.raises(WriteError, match="the trail's key is gone"):
        Writer(*place)
    for content, mode, text in (
        (kept, 0o644, "others may read"),
        (b"nothing", 0o600, "no private key"),
        ((place[0] / "public.pem").read_bytes(), 0o600, "no private key"),
    ):
        place[1].write_bytes(content)
        place[1].chmod(mode)
        with pytest.raises(ConfigError, match=text):
            Writer(*place)
    place[1].write_bytes(kept)
    place[1].chmod(0o600)
    assert verdict_of(written(place, 1)).findings == ()


def test_openssl_and_sha256sum_are_enough_to_verify_it(place, tmp_path):
    folder = written(place, 2)
    first, second = segments(folder)[0].read_bytes().splitlines()
    summed = subprocess.run(["sha256sum"], input=first, capture_output=True, check=True).stdout.split()[0].decode()
    assert entry_of(second + b"\n").before == summed
    head = head_of((folder / "head.json").read_bytes())
    (tmp_path / "part").write_bytes(signed_part(head))
    (tmp_path / "signature").write_bytes(base64.b64decode(head.signature))
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-rawin", "-inkey", folder / "public.pem"]
    done = subprocess.run(
        [*command, "-in", tmp_path / "part", "-sigfile", tmp_path / "signature"], check=False, capture_output=True
    )
    assert done.returncode == 0, done


EDITS = ("flip", "remove", "swap", "double", "insert", "cut", "change", "change all", "head", "forged head", "segment")


def edited(folder, copy, kind, chance, key):
    """The trail with one edit; gives the first file and line that it touches, or None for the end."""
    shutil.copytree(folder, copy)
    files = segments(copy)
    file = chance.choice(files)
    lines = file.read_bytes().splitlines(keepends=True)
    at = chance.randrange(len(lines))
    place = (file.name, at + 1)
    forged = entry_of(lines[at])
    forged = replace(forged, act=replace(forged.act, subject={"app": "other"}))
    match kind:
        case "flip":
            byte = chance.randrange(len(lines[at]))
            text = bytearray(lines[at])
            text[byte] ^= 1 << chance.randrange(8)
            lines[at] = bytes(text)
        case "remove":
            del lines[at]
        case "swap":
            other = chance.choice([one for one in range(len(lines)) if one != at])
            lines[at], lines[other] = lines[other], lines[at]
            place = (file.name, min(at, other) + 1)
        case "double":
            lines.insert(at + 1, lines[at])
            place = (file.name, at + 2)
        case "insert":
            lines.insert(at, line_of(replace(forged, signature=key.sign(signed_part(forged)))))
        case "cut":
            left = chance.randrange(len(lines[at]))
            lines = [*lines[:at], lines[at][:left]]
        case "change":
            lines[at] = line_of(forged)
        case "change all":
            before = forged.before
            for index in range(at, len(lines)):
                one = forged if index == at else entry_of(lines[index])
                one = replace(one, before=before)
                lines[index] = line_of(replace(one, signature=key.sign(signed_part(one))))
                before = hash_of(lines[index])
        case "head":
            text = bytearray((copy / "head.json").read_bytes())
            text[chance.randrange(len(text))] ^= 1 << chance.randrange(8)
            (copy / "head.json").write_bytes(bytes(text))
            return ("head.json", 1)
        case "forged head":
            forged = Head(chance.randrange(1, 10), "0" * 64, file.name, 100)
            (copy / "head.json").write_bytes(line_of(replace(forged, signature=key.sign(signed_part(forged)))))
            return ("head.json", 1)
        case "segment":
            file.unlink()
            return None
    file.write_bytes(b"".join(lines))
    return place


def test_two_hundred_random_edits_are_all_found_and_the_place_is_named(place, tmp_path):
    folder = written(place, 60, segment_size=3000)
    public, stranger = public_key(folder / "public.pem"), Private(Ed25519PrivateKey.generate())
    missed, misplaced = [], []
    for seed in range(200):
        chance = random.Random(seed)  # noqa: S311  # The same edits in each run.
        kind = EDITS[seed % len(EDITS)]
        copy = tmp_path / "edited"
        where = edited(folder, copy, kind, chance, stranger)
        findings = verdict_of(copy, public).findings
        if not findings:
            missed.append((seed, kind, where))
        elif where is not None and not any(near(one, where) for one in findings):
            misplaced.append((seed, kind, where, [str(one) for one in findings]))
        shutil.rmtree(copy)
    assert missed == []
    assert misplaced == []


def near(finding, where):
    """What is gone has no place: it is named where it is found missing, which may be the next file's first line."""
    same = (finding.file, finding.line) == where
    return same or ("missing" in finding.what and (finding.file == where[0] or finding.line == 1))


def test_who_was_killed_while_it_made_the_key_bars_nobody(tmp_path):
    (tmp_path / f".key.{os.getpid()}").write_text("half")
    make_key(tmp_path / "key")
    assert private_key(tmp_path / "key") is not None


def test_a_key_is_made_once_and_read_again(tmp_path):
    made = make_key(tmp_path / "key")
    assert private_key(tmp_path / "key").public.pem() == made.public.pem()
    with pytest.raises(WriteError, match="File exists"):
        make_key(tmp_path / "key")
    assert [file.name for file in tmp_path.iterdir()] == ["key"]


def test_a_trail_that_root_writes_to_stays_its_owners(place):
    owner = (12345, 12345) if os.geteuid() == 0 else (os.geteuid(), os.getegid())  # Only root can give files away.
    folder = written(place, 1)
    for path in (folder, *folder.iterdir()):
        os.chown(path, *owner)
    written(place, 3, segment_size=_SMALL // 4)
    assert {(path.stat().st_uid, path.stat().st_gid) for path in folder.iterdir()} == {owner}


def test_who_reads_for_long_lets_others_write_and_does_not_see_it(place):
    folder = written(place, 3)
    with reading(folder) as trail:
        written(place, 3)
        assert len(list(trail.lines())) == 3
    with reading(folder) as trail:
        assert len(list(trail.lines())) == 6


def test_one_who_never_lets_go_is_told_of(place, monkeypatch):
    folder = written(place, 1)
    monkeypatch.setattr(writer, "PATIENCE", 0.05)
    fd = os.open(folder, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_SH)
    with pytest.raises(WriteError, match="somebody holds the trail"):
        Writer(*place)
    os.close(fd)
    written(place, 1)
