"""The format xml, tested with libxml2 and Java's own parsers, which read all values from one file."""

import base64
import re
import shutil
import subprocess

import pytest
from lxml import etree

from lessee.rendering.document import Document, Placeholder
from lessee.rendering.formats import write
from support.inputs.hostile_values import VALUES
from support.needs import need

FORBIDDEN = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
KEPT = [value for value in VALUES if not FORBIDDEN.search(value)]

# The events of each parser: one per line, with texts in base64, and adjacent texts joined.
JAVA = """
import java.io.File;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import javax.xml.parsers.*;
import org.w3c.dom.*;
import org.xml.sax.Attributes;
import org.xml.sax.helpers.DefaultHandler;

class Reader {
    static StringBuilder out = new StringBuilder(), text = new StringBuilder();

    public static void main(String[] arguments) throws Exception {
        File file = new File(arguments[1]);
        if (arguments[0].equals("dom")) {
            show(DocumentBuilderFactory.newInstance().newDocumentBuilder().parse(file).getDocumentElement());
        } else {
            SAXParserFactory.newInstance().newSAXParser().parse(file, new DefaultHandler() {
                public void startElement(String uri, String local, String name, Attributes attributes) {
                    tell("start " + name);
                    for (int i = 0; i < attributes.getLength(); i++) {
                        attribute(attributes.getQName(i), attributes.getValue(i));
                    }
                }
                public void characters(char[] chars, int start, int length) { text.append(chars, start, length); }
                public void endElement(String uri, String local, String name) { tell("end " + name); }
            });
        }
        System.out.print(out);
    }

    static void show(Node node) {
        if (node instanceof Text) {
            text.append(node.getNodeValue());
        } else if (node instanceof Element) {
            tell("start " + node.getNodeName());
            NamedNodeMap attributes = node.getAttributes();
            for (int i = 0; i < attributes.getLength(); i++) {
                attribute(attributes.item(i).getNodeName(), attributes.item(i).getNodeValue());
            }
            for (Node child = node.getFirstChild(); child != null; child = child.getNextSibling()) show(child);
            tell("end " + node.getNodeName());
        }
    }

    static void tell(String line) {
        if (text.length() > 0) out.append("text ").append(encode(text.toString())).append("\\n");
        text.setLength(0);
        out.append(line).append("\\n");
    }

    static void attribute(String name, String value) { tell("attribute " + name + " " + encode(value)); }

    static String encode(String text) {
        return Base64.getEncoder().encodeToString(text.getBytes(StandardCharsets.UTF_8));
    }
}
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Every value that XML can represent, in each possible position."""
    parts = ["<?xml version='1.0' encoding='UTF-8'?>\n<all><!-- &<> -->"]
    for value in KEPT:
        placeholder = Placeholder(value, "database/postgres: password")
        parts += [
            '<v d="',
            placeholder,
            "\" s='",
            placeholder,
            "'>",
            placeholder,
            "<c><![CDATA[",
            placeholder,
            "<]]></c>&amp;",
            placeholder,
            "</v>",
        ]
    path = tmp_path_factory.mktemp("xml") / "all.xml"
    path.write_bytes(write(Document("all.xml.j2", (*parts, "</all>")), "xml").encode())
    return path


def expected_events():
    """The events that a parser must find in the file."""
    yield "start all"
    for value in KEPT:
        yield from ("start v", f"attribute d {encode(value)}", f"attribute s {encode(value)}")
        yield from [f"text {encode(value)}"] if value else []
        yield from ("start c", f"text {encode(f'{value}<')}", "end c", f"text {encode(f'&{value}')}", "end v")
    yield "end all"


def encode(text):
    return base64.b64encode(text.encode()).decode()


def test_libxml2_reads_every_value_unchanged(file):
    root = etree.parse(str(file)).getroot()
    assert len(root) == 1 + len(KEPT)
    for element, value in zip(root[1:], KEPT, strict=True):
        assert dict(element.attrib) == {"d": value, "s": value}
        assert (element.text or "", element[0].text, element[0].tail) == (value, f"{value}<", f"&{value}")


@pytest.mark.thorough
@pytest.mark.parametrize("parser", ["dom", "sax"])
def test_java_reads_every_value_unchanged(file, parser):
    need(shutil.which("java"), "needs Java: apt install default-jdk-headless")
    program = file.with_name("Reader.java")
    program.write_text(JAVA)
    run = subprocess.run(["java", program, parser, file], capture_output=True, check=True)
    assert run.stdout.decode().splitlines() == list(expected_events())
