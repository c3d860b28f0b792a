"""Java's own Properties reads the format properties, from bytes and from text."""

import json
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lessee.core.errors import FormatError
from lessee.rendering.document import Document, Placeholder
from lessee.rendering.formats import properties, write
from support.inputs.hostile_values import VALUES
from support.needs import need

AUTHOR = (
    *("a", "b=", "c : ", "d ", "\n", "\r\n", "\r", "\\\n  ", "\\\r\n", "\\\n#", "\\", "\\\\", "\\t", "\\q", "\\u00e9"),
    *("\\u12", "\\ud83d", "\\ude00", "# ", "\n!", " ", "\f", "\t", "=", ":", "é", "😀"),
)
author = st.lists(st.sampled_from(AUTHOR), max_size=14).map("".join)

READER = r"""
import java.io.*;
import java.nio.charset.StandardCharsets;
import java.util.*;

class Reader {
    public static void main(String[] files) throws IOException {
        PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), false, "US-ASCII");
        for (String file : new Scanner(System.in).tokens().toList()) {
            out.println("[" + read(file, true) + "," + read(file, false) + "]");
        }
        out.flush();
    }

    static String read(String file, boolean bytes) throws IOException {
        List<String> pairs = new ArrayList<>();
        Properties properties = new Properties() {
            @Override
            public Object put(Object key, Object value) {
                pairs.add("[" + quote((String) key) + "," + quote((String) value) + "]");
                return null;
            }
        };
        try (InputStream stream = new FileInputStream(file)) {
            if (bytes) properties.load(stream);
            else properties.load(new InputStreamReader(stream, StandardCharsets.UTF_8));
        } catch (IllegalArgumentException malformed) {
            return "null";
        }
        return "[" + String.join(",", pairs) + "]";
    }

    static String quote(String text) {
        StringBuilder quoted = new StringBuilder("\"");
        for (char unit : text.toCharArray()) quoted.append(String.format("\\u%04x", (int) unit));
        return quoted.append('"').toString();
    }
}
"""


@pytest.fixture(scope="module")
def java(tmp_path_factory):
    """A function that reads texts with Java, as bytes and as UTF-8: pairs in order, or None for an invalid file."""
    need(shutil.which("javac"), "needs Java: apt install default-jdk-headless")
    folder = tmp_path_factory.mktemp("java")
    source = folder / "Reader.java"
    source.write_text(READER)
    subprocess.run(["javac", "-d", folder, source], check=True, timeout=60)

    def read(*texts):
        paths = [folder / f"{number}.properties" for number in range(len(texts))]
        for path, text in zip(paths, texts, strict=True):
            path.write_bytes(text.encode())
        names = "\n".join(map(str, paths))
        command = ["java", "-Xshare:auto", "-cp", folder, "Reader"]
        done = subprocess.run(command, input=names, capture_output=True, text=True, check=True, timeout=60)
        return [json.loads(line) for line in done.stdout.splitlines()]

    return read


def document(*parts):
    """Marked text of strings and of values in lists."""
    return Document("x", tuple(part if isinstance(part, str) else Placeholder(part[0], "a value") for part in parts))


def test_every_hostile_value_reads_back_unchanged(java):
    bare = [part for n, value in enumerate(VALUES) for part in (f"k{n} = ", [value], "\n")]
    glued = [part for n, value in enumerate(VALUES) for part in (f"k{n}:a \\\n  ", [value], " b\r\n")]
    texts = [write(document(*parts), "properties") for parts in (bare, glued)]
    expected = [
        [[f"k{n}", value] for n, value in enumerate(VALUES)],
        [[f"k{n}", f"a {value} b"] for n, value in enumerate(VALUES)],
    ]
    for text, read in zip(expected, java(*texts), strict=True):
        assert read == [text, text]


def test_every_hostile_value_except_the_empty_one_is_a_key(java):
    keys = [value for value in VALUES if value]
    text = write(document(*(part for key in keys for part in ([key], "=1\n"))), "properties")
    assert java(text) == [[[[key, "1"] for key in keys]] * 2]
    with pytest.raises(FormatError, match="makes an empty key"):
        write(document([""], "=1\n"), "properties")


def test_verification_reads_a_file_as_java_does(java):
    texts = []

    @given(author)
    @settings(max_examples=1500)
    def collect(text):
        # A last line of nothing but a break that ends no line is an entry without a name for Java.
        texts.append(f"{text}\nz=")

    collect()
    for text, (_, theirs) in zip(texts, java(*texts), strict=True):
        try:
            ours = [[entry.key, entry.value] for entry in properties._read(text) if entry.key is not None]
        except FormatError:
            ours = None
        assert theirs == ours, text
