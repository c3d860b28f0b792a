"""An audit trail on disk stays intact with several and with killed writers, and is never overwritten."""

import base64
import fcntl
import os
import random
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lessee.audit_trail import writer
from lessee.audit_trail.keys import PrivateKey, make_key, private_key, public_key
from lessee.audit_trail.policy.entries import Head, decode_entry, decode_head, encode_line, hash_line, signed_part
from lessee.audit_trail.reader import open_audit_trail
from lessee.audit_trail.writer import AuditTrailWriter
from lessee.core.errors import ConfigError, WriteError
from lessee.core.immutable import replace
from support.full_disk import no_file_may_grow_beyond
from support.models.audit_trails import action, verdict_of
from support.paths import TESTS
from support.programs.sidecar import eventually

_SMALL_SEGMENT = 2000
"""Bytes: a few entries."""
_WRITING = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from lessee.audit_trail.writer import AuditTrailWriter
from support.models.audit_trails import action
writer = AuditTrailWriter(Path(sys.argv[1]), Path(sys.argv[2]), segment_size=4000)
print("up", flush=True)
n = 0
while True:
    n += 1
    writer.add([action(n), action(), action()])
"""


@pytest.fixture
def place(tmp_path):
    return tmp_path / "trail", tmp_path / "trail.key"


def written(place, count, **settings):
    writer = AuditTrailWriter(*place, **settings)
    for n in range(count):
        writer.add([action(n)])
    writer.close()
    return place[0]


def segments(folder):
    return sorted(folder.glob("*.jsonl"))


def actions(folder):
    with open_audit_trail(folder) as trail:
        entries = [decode_entry(line.text) for line in trail.lines()]
        return [entry.action.name for entry in entries if entry is not None]


def test_a_trail_continues_over_files_and_restarts(place):
    for _ in range(4):
        folder = written(place, 10, segment_size=_SMALL_SEGMENT)
    verdict = verdict_of(folder)
    assert (verdict.entries, verdict.findings, verdict.notes) == (40, (), ())
    assert len(segments(folder)) > 3
    assert all(file.stat().st_size <= _SMALL_SEGMENT for file in segments(folder))
    assert place[1].stat().st_mode & 0o777 == 0o600


def test_concurrent_writers_make_one_chain(place):
    def write(_):
        writer = AuditTrailWriter(*place, segment_size=_SMALL_SEGMENT)
        for n in range(20):
            writer.add([action(n)])
        writer.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    verdict = verdict_of(place[0])
    assert (verdict.entries, verdict.findings, verdict.notes) == (80, (), ())


@pytest.mark.thorough
def test_a_writer_killed_thirty_times_leaves_an_intact_trail_each_time(place):
    written(place, 1)
    before = 0
    for seed in range(30):
        process = subprocess.Popen(
            [sys.executable, "-c", _WRITING, *map(str, place), str(TESTS)], stdout=subprocess.PIPE
        )
        with process.stdout:
            process.stdout.readline()
            head = place[0] / "head.json"
            seen = max(before, decode_head(head.read_bytes()).n)  # The last entry may be written without its head.
            eventually(
                lambda head=head, seen=seen, seed=seed: decode_head(head.read_bytes()).n > seen + seed % 5, "entries"
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


def test_what_a_killed_writer_left_is_repaired_and_recorded(place):
    folder = written(place, 3)
    head, file = (folder / "head.json").read_bytes(), segments(folder)[0]
    written(place, 1)
    last = file.read_bytes().splitlines(keepends=True)[-1]
    # Killed before it updated the head; the entry is valid.
    (folder / "head.json").write_bytes(head)
    assert verdict_of(folder).notes
    written(place, 1)
    assert verdict_of(folder) == replace(verdict_of(folder), entries=5, findings=(), notes=())
    assert actions(folder) == ["published"] * 5
    # Killed before it updated the head, with an entry in a new file.
    head = (folder / "head.json").read_bytes()
    written(place, 1, segment_size=1)
    (folder / "head.json").write_bytes(head)
    assert len(verdict_of(folder).notes) == 1
    written(place, 1)
    assert (verdict_of(folder).entries, verdict_of(folder).findings, verdict_of(folder).notes) == (7, (), ())
    # Killed in the middle of the first line of a new file.
    head = decode_head((folder / "head.json").read_bytes())
    (folder / "000000000008.jsonl").write_text(f'{{"n":8,"previous_hash":"{head.hash[:7]}')
    assert len(verdict_of(folder).notes) == 1
    written(place, 1)
    assert (verdict_of(folder).findings, verdict_of(folder).notes) == ((), ())
    assert actions(folder)[7:] == ["audit trail repaired", "published"]
    # Killed in the middle of a line.
    file = segments(folder)[-1]
    head = decode_head((folder / "head.json").read_bytes())
    torn = last.replace(b'"n":4', b'"n":10', 1).replace(
        decode_entry(last).previous_hash.encode(), head.hash.encode(), 1
    )[:200]
    with file.open("ab") as stream:
        stream.write(torn)
    verdict = verdict_of(folder)
    assert verdict.findings == ()
    assert "a writer was killed while it wrote this entry" in verdict.notes[0]
    written(place, 1)
    assert (verdict_of(folder).findings, verdict_of(folder).notes) == ((), ())
    assert actions(folder)[9:] == ["audit trail repaired", "published"]


@pytest.mark.parametrize("harm", ["cut", "removed", "longer", "no head", "forged head", "old head"])
def test_an_alteration_is_reported_and_stays_visible_after_more_entries(place, harm):
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
    writer = AuditTrailWriter(*place)
    reported = writer.add([action(), action()])
    writer.close()
    assert reported
    assert actions(folder)[-3:] == ["audit trail altered", "published", "published"]
    after = verdict_of(folder)
    assert after.findings
    assert any("its writer found the audit trail altered" in one.what for one in after.findings)
    assert written(place, 2) == folder
    assert verdict_of(folder).entries == after.entries + 2


def test_a_running_writer_detects_a_directory_restored_to_an_older_state(place, tmp_path):
    folder, old = place[0], tmp_path / "old"
    writer = AuditTrailWriter(*place, segment_size=_SMALL_SEGMENT)
    writer.add([action(n) for n in range(3)])
    shutil.copytree(folder, old)
    writer.add([action(n) for n in range(20)])
    for put_back in (
        lambda: folder.rename(tmp_path / "newer") and shutil.copytree(old, folder),
        lambda: shutil.rmtree(folder),
        lambda: [file.unlink() for file in folder.iterdir()],
        lambda: [file.unlink() for file in folder.glob("*.jsonl")],
    ):
        count = decode_head((folder / "head.json").read_bytes()).n
        put_back()
        assert writer.add([action()])
        found = [str(one) for one in verdict_of(folder).findings]
        assert any(f" to {count} are missing before it" in one for one in found), found
        assert any(f"entry {count + 1}: its writer found the audit trail altered" in one for one in found), found
        assert writer.add([action()]) == ""
    writer.close()


def test_a_trail_removed_before_a_restart_is_reported(place):
    folder = written(place, 5)
    for file in (*segments(folder), folder / "head.json"):
        file.unlink()
    written(place, 1)
    assert actions(folder) == ["audit trail altered", "published"]
    assert any("head.json is missing" in one.what for one in verdict_of(folder).findings)


def test_entries_truncated_together_with_the_head_are_reported_after_more_entries(place):
    folder = written(place, 6)
    (folder / "head.json").unlink()
    file = segments(folder)[0]
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:4]))
    written(place, 1)
    assert [str(one) for one in verdict_of(folder).findings] == [
        "000000000005.jsonl:1: entry 5: its writer found the audit trail altered: head.json is missing or changed"
    ]


def test_any_part_of_a_step_that_a_killed_writer_left_is_valid(place):
    folder = written(place, 3)
    head, file = folder / "head.json", segments(folder)[0]
    old, size = head.read_bytes(), file.stat().st_size
    writer = AuditTrailWriter(*place)
    writer.add([action(n) for n in range(4)])
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
    # No killed writer leaves an older head with entries that were written in later steps.
    head.write_bytes(old)
    assert [str(one) for one in verdict_of(folder).findings] == [
        f"head.json:1: entry 3: is older than the audit trail, which continues to entry {verdict.entries}"
    ]


def test_a_torn_first_entry_is_repaired(place):
    folder = written(place, 0)
    assert (verdict_of(folder).entries, verdict_of(folder).findings) == (0, ())
    (folder / "000000000001.jsonl").write_text('{"n":1,"previous_hash":"0000')
    assert len(verdict_of(folder).notes) == 1
    written(place, 1)
    assert (verdict_of(folder).findings, verdict_of(folder).notes) == ((), ())
    assert actions(folder) == ["audit trail repaired", "published"]


def test_a_writer_with_another_key_overwrites_nothing(place):
    folder = written(place, 3)
    content = place[1].read_bytes()
    place[1].unlink()
    make_key(place[1])
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for _ in range(2):
        with pytest.raises(WriteError, match="no entry of the audit trail is signed by this key"):
            written(place, 1)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    place[1].write_bytes(content)
    assert verdict_of(written(place, 1)).findings == ()


def test_a_full_disk_leaves_no_partial_entry(place, memory):
    folder = memory / "trail"
    writer = AuditTrailWriter(folder, place[1])
    writer.add([action()])
    file = segments(folder)[0]
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for size in (file.stat().st_size, file.stat().st_size + 10):
        with no_file_may_grow_beyond(size), pytest.raises(WriteError, match="File too large"):
            writer.add([action(1)])
        assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "head.new"} == before
    assert writer.add([action(2)]) == ""
    writer.close()
    assert (verdict_of(folder).entries, verdict_of(folder).findings) == (2, ())


def test_a_missing_key_is_not_recreated_and_an_invalid_one_is_rejected(place):
    written(place, 1)
    content = place[1].read_bytes()
    place[1].unlink()
    with pytest.raises(WriteError, match="the audit trail's key is missing"):
        AuditTrailWriter(*place)
    for bad, mode, text in (
        (content, 0o644, "other users may read"),
        (b"nothing", 0o600, "Ed25519 private key"),
        ((place[0] / "public.pem").read_bytes(), 0o600, "Ed25519 private key"),
    ):
        place[1].write_bytes(bad)
        place[1].chmod(mode)
        with pytest.raises(ConfigError, match=text):
            AuditTrailWriter(*place)
    place[1].write_bytes(content)
    place[1].chmod(0o600)
    assert verdict_of(written(place, 1)).findings == ()


def test_openssl_and_sha256sum_suffice_to_verify_a_trail(place, tmp_path):
    folder = written(place, 2)
    first, second = segments(folder)[0].read_bytes().splitlines()
    summed = subprocess.run(["sha256sum"], input=first, capture_output=True, check=True).stdout.split()[0].decode()
    assert decode_entry(second + b"\n").previous_hash == summed
    head = decode_head((folder / "head.json").read_bytes())
    (tmp_path / "part").write_bytes(signed_part(head))
    (tmp_path / "signature").write_bytes(base64.b64decode(head.signature))
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-rawin", "-inkey", folder / "public.pem"]
    done = subprocess.run(
        [*command, "-in", tmp_path / "part", "-sigfile", tmp_path / "signature"], check=False, capture_output=True
    )
    assert done.returncode == 0, done


EDITS = ("flip", "remove", "swap", "double", "insert", "cut", "change", "change all", "head", "forged head", "segment")


def edited(folder, copy, kind, chance, key):
    """Copy the trail with one edit; returns the first file and line that changed, or None for the end."""
    shutil.copytree(folder, copy)
    files = segments(copy)
    file = chance.choice(files)
    lines = file.read_bytes().splitlines(keepends=True)
    at = chance.randrange(len(lines))
    place = (file.name, at + 1)
    forged = decode_entry(lines[at])
    forged = replace(forged, action=replace(forged.action, subject={"app": "other"}))
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
            lines.insert(at, encode_line(replace(forged, signature=key.sign(signed_part(forged)))))
        case "cut":
            left = chance.randrange(len(lines[at]))
            lines = [*lines[:at], lines[at][:left]]
        case "change":
            lines[at] = encode_line(forged)
        case "change all":
            previous_hash = forged.previous_hash
            for index in range(at, len(lines)):
                one = forged if index == at else decode_entry(lines[index])
                one = replace(one, previous_hash=previous_hash)
                lines[index] = encode_line(replace(one, signature=key.sign(signed_part(one))))
                previous_hash = hash_line(lines[index])
        case "head":
            text = bytearray((copy / "head.json").read_bytes())
            text[chance.randrange(len(text))] ^= 1 << chance.randrange(8)
            (copy / "head.json").write_bytes(bytes(text))
            return ("head.json", 1)
        case "forged head":
            forged = Head(chance.randrange(1, 10), "0" * 64, file.name, 100)
            (copy / "head.json").write_bytes(encode_line(replace(forged, signature=key.sign(signed_part(forged)))))
            return ("head.json", 1)
        case "segment":
            file.unlink()
            return None
    file.write_bytes(b"".join(lines))
    return place


@pytest.mark.thorough
def test_two_hundred_random_edits_are_all_found_at_the_right_place(place, tmp_path):
    folder = written(place, 60, segment_size=3000)
    public, stranger = public_key(folder / "public.pem"), PrivateKey(Ed25519PrivateKey.generate())
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
    """A missing entry is reported where it is missed, which may be the first line of the next file."""
    same = (finding.file, finding.line) == where
    return same or ("missing" in finding.what and (finding.file == where[0] or finding.line == 1))


def test_a_process_killed_while_it_created_the_key_does_not_block_others(tmp_path):
    (tmp_path / f".key.{os.getpid()}").write_text("half")
    make_key(tmp_path / "key")
    assert private_key(tmp_path / "key") is not None


def test_a_key_is_created_once_and_read_again(tmp_path):
    made = make_key(tmp_path / "key")
    assert private_key(tmp_path / "key").public.pem() == made.public.pem()
    with pytest.raises(WriteError, match="File exists"):
        make_key(tmp_path / "key")
    assert [file.name for file in tmp_path.iterdir()] == ["key"]


def test_files_that_root_writes_belong_to_the_directorys_owner(place):
    owner = (12345, 12345) if os.geteuid() == 0 else (os.geteuid(), os.getegid())  # Only root can give files away.
    folder = written(place, 1)
    for path in (folder, *folder.iterdir()):
        os.chown(path, *owner)
    written(place, 3, segment_size=_SMALL_SEGMENT // 4)
    assert {(path.stat().st_uid, path.stat().st_gid) for path in folder.iterdir()} == {owner}


def test_a_long_read_does_not_block_writers_and_sees_a_snapshot(place):
    folder = written(place, 3)
    with open_audit_trail(folder) as trail:
        written(place, 3)
        assert len(list(trail.lines())) == 3
    with open_audit_trail(folder) as trail:
        assert len(list(trail.lines())) == 6


def test_a_lock_that_is_never_released_is_an_error(place, monkeypatch):
    folder = written(place, 1)
    monkeypatch.setattr(writer, "LOCK_TIMEOUT", 0.05)
    fd = os.open(folder, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_SH)
    with pytest.raises(WriteError, match="another process keeps the audit trail locked"):
        AuditTrailWriter(*place)
    os.close(fd)
    written(place, 1)
