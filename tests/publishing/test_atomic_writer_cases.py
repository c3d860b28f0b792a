"""The 58 cases that Kubernetes tries its AtomicWriter with, tried with lessee: what a pod may rely on, an app may too.

The cases are those of `pkg/volume/util/atomic_writer_test.go`, with names and texts of our own. The names pass through
lessee.yaml, as a user's do. Where lessee decides otherwise, the case says why.
"""

import stat

import pytest
import yaml

from lessee.config.parsing import parse
from lessee.core.errors import ConfigError, WriteError
from lessee.core.generation import File, Generation
from lessee.publishing.publication import Publisher
from support.models.generations import assert_tidy

BINARY = bytes(range(256))


@pytest.fixture
def app(memory):
    return memory / "app"


@pytest.fixture
def publisher(app):
    publisher = Publisher(app, owner=(None, None), mode=0o444, allow_disk=False)
    yield publisher
    publisher.close()


def configured(payload):
    """The names and modes of an app's files, by a lessee.yaml with these. Raises ConfigError."""
    files = [
        {"template": f"{number}.j2", "name": name, "mode": f"{mode:04o}", "format": "text"}
        for number, (name, (_, mode)) in enumerate(payload.items())
    ]
    text = yaml.safe_dump({"environment": "testing", "apps": {"app": {"directory": "/run/app", "files": files}}})
    return parse(text, source="lessee.yaml", environ={}).apps["app"].files


def generation(payload):
    """A generation of these files; a text alone has the mode 0644."""
    payload = {name: wanted if isinstance(wanted, tuple) else (wanted, 0o644) for name, wanted in payload.items()}
    # lessee.yaml has no app without files, but an app that only has an environment publishes none.
    files = configured(payload) if payload else ()
    contents = [content if isinstance(content, bytes) else content.encode() for content, _ in payload.values()]
    return Generation(
        "app", tuple(File(file.name, content, file.mode) for file, content in zip(files, contents, strict=True))
    )


def texts(*names):
    """Files whose texts are their names."""
    return {name: name for name in names}


def publish(publisher, wanted):
    staged = publisher.stage(wanted)
    if staged is None:
        return False
    publisher.publish(staged)
    publisher.prune(range(10**9))
    return True


def visible(app):
    """The paths that a reader of the directory finds, who skips names with two leading dots: folders are None."""
    found = {}

    def walk(folder, prefix):
        for path in folder.iterdir():
            if path.name.startswith(".."):
                continue
            name = f"{prefix}{path.name}"
            found[name] = None if path.is_dir() else (path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
            if path.is_dir():
                walk(path, f"{name}/")

    walk(app, "")
    return found


def assert_published(app, wanted):
    """A reader finds exactly these files, by links to the one live generation, and nothing else is left."""
    files = {name: file for name, file in visible(app).items() if file is not None}
    assert files == {file.name: (file.content, file.mode) for file in wanted.files}
    assert_tidy(app, {file.name.partition("/")[0] for file in wanted.files})


# -- the directory: 1 case -----------------------------------------------------------------------------------


def test_a_publisher_needs_a_directory_that_exists_or_can_be_made(memory):
    (memory / "there").mkdir()
    Publisher(memory / "there", owner=(None, None), mode=0o440, allow_disk=False).close()
    # Kubernetes refuses a directory that does not exist, as the kubelet makes it. Here no other program does: the agent
    # makes it with the app's owner and mode, and refuses only one that cannot be made.
    Publisher(memory / "absent", owner=(None, None), mode=0o440, allow_disk=False).close()
    assert stat.S_IMODE((memory / "absent").stat().st_mode) == 0o750
    (memory / "file").touch()
    with pytest.raises(WriteError, match="is not a directory"):
        Publisher(memory / "file" / "absent", owner=(None, None), mode=0o440, allow_disk=False)


# -- the names: 9 cases alone, and 7 in a set of files -------------------------------------------------------

NAMES = {
    "in folders": ("conf/app/d/main.yaml", True),
    "in none": ("a-name-of-letters-and-hyphens.yaml", True),
    "a path of more than 4096 bytes": ("x" * 4097, False),
    "an element of more than 255 bytes": ("x" * 256, False),
    "absolute": ("/dev/null", False),
    "two leading dots": ("..hidden.yaml", False),
    "out of the directory, from inside": ("a/b/../../../../etc/passwd", False),
    "through a parent": ("a/../etc/evil", False),
    "empty": ("", False),
}


@pytest.mark.parametrize(("name", "valid"), NAMES.values(), ids=NAMES)
def test_a_name(publisher, app, name, valid):
    if valid:
        assert publish(publisher, generation({name: "text"}))
        assert_published(app, generation({name: "text"}))
        return
    with pytest.raises(ConfigError, match="expected a file name"):
        generation({name: "text"})
    # And not only lessee.yaml refuses it.
    with pytest.raises(WriteError, match="is not a valid file name"):
        publisher.stage(Generation("app", (File(name, b"text", 0o644),)))
    assert list(app.iterdir()) == []


PAYLOADS = {
    "two names": (texts("app.env", "key.pem"), {"app.env", "key.pem"}),
    "a path of more than 4096 bytes": (texts("x" * 4097), None),
    "absolute": (texts("/dev/null"), None),
    "two leading dots": (texts("..hidden.yaml"), None),
    "through a parent": (texts("tls/../etc/shadow"), None),
    "empty": (texts(""), None),
    "several slashes": (texts("tls////key.pem"), {"tls/key.pem"}),
}


@pytest.mark.parametrize(("payload", "names"), PAYLOADS.values(), ids=PAYLOADS)
def test_a_set_of_names(publisher, app, payload, names):
    if names is None:
        with pytest.raises(ConfigError, match="expected a file name"):
            generation(payload)
    else:
        publish(publisher, generation(payload))
        assert {name for name, file in visible(app).items() if file is not None} == names


# -- the first publication: 12 cases -------------------------------------------------------------------------

FIRST = {
    "one of the names is reserved": ({"app.env": "a", "..data2": "b", "app.bin": (BINARY, 0o644)}, False),
    "one of the names leads up": ({"tls/../key.pem": "a"}, False),
    "two files": ({"app.env": "a", "key.pem": "b"}, True),
    "binary": ({"app.bin": (BINARY, 0o644), ".app.bin": (BINARY, 0o644)}, True),
    # Kubernetes has 0777 and 0666 here and below. lessee.yaml refuses a mode that lets every user write.
    "modes": ({"app.env": ("a", 0o775), "key.pem": ("b", 0o400)}, True),
    "dot files": (texts("app.env", "key.pem", ".pgpass", ".env.local"), True),
    "modes of dot files": (
        {"app.env": ("a", 0o405), "key.pem": ("b", 0o440), ".pgpass": ("c", 0o775), ".env.local": ("d", 0o664)},
        True,
    ),
    "folders": (texts("tls/server.pem", "db/app.env"), True),
    "modes in folders": ({"tls/server.pem": ("a", 0o400), "db/app.env": ("b", 0o644)}, True),
    "folders with several slashes": (texts("tls//server.pem", "db///db/app.env"), True),
    "folders in folders": (texts("tls/server.pem", "db/app.env", "tls/ca/root.pem", "db/replica/app.env"), True),
    # Kubernetes has files and folders of similar names here, and modes, and a deep path.
    "all together": (
        texts("tls.log", "db.old", ".env", "tls/server.pem", "db/app.env", "tls/ca/root.pem")
        | {"db/replica/app.env": ("x", 0o400), "1/2/3/4/5/6/7/8/9/10/.hidden.so": ("y", 0o775)},
        True,
    ),
}


@pytest.mark.parametrize(("payload", "valid"), FIRST.values(), ids=FIRST)
def test_a_first_publication(publisher, app, payload, valid):
    if valid:
        assert publish(publisher, generation(payload))
        assert_published(app, generation(payload))
        return
    with pytest.raises(ConfigError, match="expected a file name"):
        generation(payload)
    files = tuple(File(name, b"text", 0o644) for name in payload)
    with pytest.raises(WriteError, match="is not a valid file name"):
        publisher.stage(Generation("app", files))
    assert list(app.iterdir()) == []


# -- the next publication: 12 cases --------------------------------------------------------------------------

FLAT, DEEP = texts("app.env", "key.pem"), texts("tls/server.pem", "db/app.env")
NEXT = {
    "other texts and a mode": (FLAT, {"app.env": "2", "key.pem": ("2", 0o640)}, True),
    "the same": (FLAT, FLAT, False),
    "the same in folders": (DEEP, DEEP, False),
    "a new folder": (DEEP, DEEP | texts("mq/app.env"), True),
    "a new deep folder": (DEEP, DEEP | texts("mq/one/2/3/4/5/app.env"), True),
    "a deep folder in an old one": (DEEP, DEEP | texts("db/2/3/4/5/app.env"), True),
    "a folder less": (DEEP, texts("tls/server.pem"), True),
    "a deep folder less": (texts("tls/server.pem", "db/1/2/3/app.env"), texts("tls/server.pem"), True),
    "the end of a path less": (
        texts("tls/server.pem", "db/1/2/a.env", "db/1/2/3/b.env"),
        texts("tls/server.pem", "db/1/2/a.env"),
        True,
    ),
    "the long end of a path less": (
        texts("tls/server.pem", "db/1/2/a.env", "db/1/2/3/4/5/b.env"),
        texts("tls/server.pem", "db/1/2/a.env"),
        True,
    ),
    "nothing left": (texts("tls/server.pem", "db/1/2/a.env", "db/1/2/3/4/5/b.env"), {}, True),
    "one for another": (texts("tls/server.pem"), texts("db/app.env"), True),
}


@pytest.mark.parametrize(("first", "second", "changes"), NEXT.values(), ids=NEXT)
def test_a_next_publication(publisher, app, first, second, changes):
    publish(publisher, generation(first))
    assert_published(app, generation(first))
    before = (app / "..data").readlink()
    assert publish(publisher, generation(second)) is changes
    assert_published(app, generation(second))
    # Readers, and those who watch the directory, see a change only where there is one.
    assert ((app / "..data").readlink() != before) is changes


# -- many publications: 7 cases ------------------------------------------------------------------------------

FOUR = ("tls/server.pem", "db/app.env", "tls/ca/root.pem", "db/replica/app.env")


def numbered(number, *names, mode=0o644):
    return {name: (f"{name} {number}", mode) for name in names}


MANY = {
    "texts and modes": [
        numbered(1, "app.env", "key.pem"),
        numbered(2, "app.env", "key.pem", mode=0o400),
        numbered(3, "app.env", "key.pem", mode=0o600),
    ],
    "a mode in a folder": [
        numbered(1, "tls/server.pem", "db/app.env"),
        numbered(2, "tls/server.pem") | numbered(2, "db/app.env", mode=0o400),
    ],
    "one after the other": [numbered(number, "app.env", "key.pem") for number in range(4)],
    "folders in folders": [numbered(1, *FOUR), numbered(2, *FOUR)],
    "a new folder, and slashes": [
        numbered(1, "tls/server.pem", "db//app.env", "tls/ca/root.pem", "db/replica////replica/app.env"),
        numbered(2, *FOUR, "mq/new/app.env"),
    ],
    "new files in a new folder": [
        numbered(2, *FOUR, "mq/new/app.env"),
        numbered(2, *FOUR, "mq/new/app.env", "mq/new/app2.env", "mq/new/app3.env"),
    ],
    "fewer and fewer": [
        numbered(1, "tls/server.pem", "db//app.env", "tls/ca/root.pem", "mq/a/b/app.env"),
        numbered(2, "tls/server.pem", "db/app.env"),
        numbered(1, "tls/server.pem"),
    ],
}


@pytest.mark.parametrize("payloads", MANY.values(), ids=MANY)
def test_publications_in_a_row(publisher, app, payloads):
    for payload in payloads:
        assert publish(publisher, generation(payload))
        assert_published(app, generation(payload))


# -- what disappears: 7 cases --------------------------------------------------------------------------------

REMOVED = {
    "a file": (("app.env", "key.pem"), ("app.env",), {"key.pem"}),
    "a folder": (("app.env", "tls/key.pem"), ("app.env",), {"tls", "tls/key.pem"}),
    "a folder in a folder": (("app.env", "tls/a/key.pem"), ("app.env",), {"tls", "tls/a", "tls/a/key.pem"}),
    "a deep folder": (
        ("app.env", "tls/1/2/3/4/key.pem"),
        ("app.env",),
        {"tls", "tls/1", "tls/1/2", "tls/1/2/3", "tls/1/2/3/4", "tls/1/2/3/4/key.pem"},
    ),
    "two deep folders": (
        ("app.env", "tls/1/2/3/4/key.pem", "db/a/b/c/key.pem"),
        ("app.env",),
        {"tls", "tls/1", "tls/1/2", "tls/1/2/3", "tls/1/2/3/4", "tls/1/2/3/4/key.pem"}
        | {"db", "db/a", "db/a/b", "db/a/b/c", "db/a/b/c/key.pem"},
    ),
    "folders next to what stays": (
        ("app.env", "db/1/2/3/4/key.pem", "db/1/2/c/key.pem", "db/1/2/stays.txt"),
        ("app.env", "db/1/2/stays.txt"),
        {"db/1/2/3", "db/1/2/3/4", "db/1/2/3/4/key.pem", "db/1/2/c", "db/1/2/c/key.pem"},
    ),
    "folders next to what is new": (
        ("app.env", "db/1/2/3/4/key.pem", "db/1/2/c/key.pem"),
        ("app.env", "db/1/2/new.txt"),
        {"db/1/2/3", "db/1/2/3/4", "db/1/2/3/4/key.pem", "db/1/2/c", "db/1/2/c/key.pem"},
    ),
}


@pytest.mark.parametrize(("before", "after", "removed"), REMOVED.values(), ids=REMOVED)
def test_what_is_not_published_any_more_disappears(publisher, app, before, after, removed):
    publish(publisher, generation(texts(*before)))
    earlier = visible(app).keys()
    publish(publisher, generation(texts(*after)))
    assert earlier - visible(app).keys() == removed


# -- the links: 3 cases --------------------------------------------------------------------------------------

LINKS = {
    "files": (("app.env", "key.pem"), {"app.env", "key.pem"}),
    "folders": (("tls/server.pem", "db/app.env"), {"tls", "db"}),
    "unclean names": (("./app.env", "tls///server.pem"), {"app.env", "tls"}),
}


@pytest.mark.parametrize(("names", "links"), LINKS.values(), ids=LINKS)
def test_one_link_for_each_file_and_first_folder_leads_to_the_live_generation(publisher, app, names, links):
    if links == {"tls", "db"}:
        # Kubernetes only makes links here, and has a file and a folder of one name with them. No file system holds
        # both, and lessee says so before it writes anything.
        impossible = (*names, "tls/server.pem/txt")
        with pytest.raises(ConfigError, match=r"is a file named tls/server\.pem, which cannot be a directory too"):
            generation(texts(*impossible))
        with pytest.raises(WriteError, match=r"tls/server\.pem is a file, so that tls/server\.pem/txt cannot be"):
            publisher.stage(Generation("app", tuple(File(name, b"text", 0o644) for name in impossible)))
        assert list(app.iterdir()) == []
    publish(publisher, generation(texts(*names)))
    found = {path.name: str(path.readlink()) for path in app.iterdir() if not path.name.startswith("..")}
    assert found == {name: f"..data/{name}" for name in links}


def test_these_are_58_cases():
    assert 1 + sum(map(len, (NAMES, PAYLOADS, FIRST, NEXT, MANY, REMOVED, LINKS))) == 58
