"""Spring and Tomcat read every hostile user and password from the templates, except those that they would replace."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lessee.core.errors import FormatError, TemplateError
from support import readmes
from support.inputs.hostile_values import VALUES
from support.models.template_library import HOSTILE, NUMBERS, rendered, written
from support.needs import need

JARS = Path("/usr/share/java")
HOW = "apt install libspring-core-java libtomcat10-java"
PROPERTIES, CONTEXT = "java/application.properties.j2", "java/context.xml.j2"
URL = "jdbc:postgresql://db:5432/simba"
KEPT = [value for value in VALUES if "${" not in value]
IN_XML = [value for value in KEPT if not re.search("[^\t\n\r -\ufffd\U00010000-\U0010ffff]", value)]

# The classes that replace ${…}: Spring's property resolver, and Tomcat's digester.
SPRING = r"""
import java.io.*;
import java.util.*;
import org.springframework.core.env.*;

class Reader {
    public static void main(String[] files) throws Exception {
        for (String file : new Scanner(System.in).tokens().toList()) {
            Properties properties = new Properties();
            try (InputStream stream = new FileInputStream(file)) { properties.load(stream); }
            MutablePropertySources sources = new MutablePropertySources();
            sources.addLast(new PropertiesPropertySource("file", properties));
            PropertyResolver resolver = new PropertySourcesPropertyResolver(sources);
            List<String> found = new ArrayList<>();
            for (String name : properties.stringPropertyNames()) {
                found.add(name);
                found.add(resolver.getProperty(name));
            }
            System.out.println(Quoted.list(found));
        }
    }
}
"""
TOMCAT = r"""
import java.io.*;
import java.util.*;
import org.apache.tomcat.util.digester.*;
import org.xml.sax.Attributes;

class Reader {
    public static void main(String[] files) throws Exception {
        for (String file : new Scanner(System.in).tokens().toList()) {
            List<String> found = new ArrayList<>();
            Digester digester = new Digester();
            digester.addRule("Context/Resource", new Rule() {
                @Override
                public void begin(String space, String name, Attributes attributes) {
                    for (int index = 0; index < attributes.getLength(); index++) {
                        found.add(attributes.getQName(index));
                        found.add(attributes.getValue(index));
                    }
                }
            });
            try (InputStream stream = new FileInputStream(file)) { digester.parse(stream); }
            System.out.println(Quoted.list(found));
        }
    }
}
"""
QUOTED = r"""
class Quoted {
    static String list(List<String> texts) {
        StringBuilder list = new StringBuilder("[");
        for (String text : texts) {
            list.append(list.length() == 1 ? "\"" : ",\"");
            for (char unit : text.toCharArray()) list.append(String.format("\\u%04x", (int) unit));
            list.append('"');
        }
        return list.append(']').toString();
    }
}
"""


def reader(folder, source, jars):
    """Runs a Java program that reads files; returns the names and values of each."""
    need(shutil.which("javac"), "needs Java: apt install default-jdk-headless")
    paths = [folder, *(JARS / f"{jar}.jar" for jar in jars)]
    need(all(path.exists() for path in paths), f"needs {' and '.join(jars)}: {HOW}")
    names = ":".join(map(str, paths))
    (folder / "Reader.java").write_text(source + QUOTED)
    subprocess.run(["javac", "-cp", names, "-d", folder, folder / "Reader.java"], check=True, timeout=60)

    def read(*files):
        done = subprocess.run(
            ["java", "-Xshare:auto", "-cp", names, "Reader"],
            input="\n".join(map(str, files)),
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        lists = [json.loads(line) for line in done.stdout.splitlines()]
        return [dict(zip(found[::2], found[1::2], strict=True)) for found in lists]

    return read


@pytest.fixture(scope="module")
def spring(tmp_path_factory):
    return reader(tmp_path_factory.mktemp("spring"), SPRING, ["spring3-core", "commons-logging"])


@pytest.fixture(scope="module")
def tomcat(tmp_path_factory):
    jars = [f"tomcat10-{part}" for part in ("util-scan", "util", "juli", "coyote")]
    return reader(tmp_path_factory.mktemp("tomcat"), TOMCAT, jars)


@pytest.mark.thorough
def test_spring_reads_every_hostile_user_and_password_except_those_it_would_replace(spring, tmp_path):
    files = each(tmp_path, PROPERTIES, "properties", KEPT)
    for value, found in zip(KEPT, spring(*files), strict=True):
        assert found == {f"spring.datasource.{key}": text for key, text in (("url", URL), *pair(value).items())}


@pytest.mark.thorough
def test_tomcat_reads_every_hostile_user_and_password_that_xml_can_represent_and_it_would_not_replace(tomcat, tmp_path):
    files = each(tmp_path, CONTEXT, "xml", IN_XML)
    for value, found in zip(IN_XML, tomcat(*files), strict=True):
        assert {"url": URL} | pair(value) == {key: found[key] for key in ("url", "username", "password")}
        assert found["name"] == "jdbc/app"
    for value in set(KEPT) - set(IN_XML):
        with pytest.raises(FormatError, match="contains a character that XML does not allow"):
            written(CONTEXT, "xml", secret_of(value))


@pytest.mark.parametrize(("template", "format_"), [(PROPERTIES, "properties"), (CONTEXT, "xml")])
def test_values_that_the_clients_would_replace_are_rejected(template, format_):
    for value in set(VALUES) - set(KEPT):
        with pytest.raises(TemplateError, match=r"username or password contains \$\{"):
            written(template, format_, secret_of(value))


def test_numbers_and_booleans_are_users_and_passwords(spring, tomcat, tmp_path):
    for read, template, format_ in ((spring, PROPERTIES, "properties"), (tomcat, CONTEXT, "xml")):
        for text, found in zip(NUMBERS.values(), read(*each(tmp_path, template, format_, NUMBERS)), strict=True):
            assert [found[key] for key in found if key.endswith(("username", "password"))] == [text, text]


def test_the_clients_replace_these_values(spring, tomcat, tmp_path):
    harmless = secret_of("harmless")
    for name, template, format_ in (("a", PROPERTIES, "properties"), ("b", CONTEXT, "xml")):
        (tmp_path / name).write_text(written(template, format_, harmless).replace("harmless", "${UNSET:-x}"))
    assert spring(tmp_path / "a")[0]["spring.datasource.password"] == "-x"
    assert tomcat(tmp_path / "b")[0]["password"] == "x"


def test_the_java_program_prints_the_values_unchanged(bao, sidecar, spring, tomcat):
    value = HOSTILE.replace("${", "$ {")
    bao.put("testing/database/postgres", **secret_of(value)["database/postgres"])
    folder = rendered(sidecar, PROPERTIES, CONTEXT)
    assert spring(folder / "application.properties")[0]["spring.datasource.password"] == value
    assert tomcat(folder / "context.xml")[0]["password"] == value


def each(folder, template, format_, values):
    """One file for each value."""
    files = [folder / str(number) for number in range(len(values))]
    for file, value in zip(files, values, strict=True):
        file.write_bytes(written(template, format_, secret_of(value)).encode())
    return files


def pair(value):
    return {"username": value, "password": value}


def secret_of(value):
    return {"database/postgres": {"host": "db", "port": 5432, "database": "simba", **pair(value)}}


def test_the_readme_explains_how_to_use_each_template(tmp_path):
    readmes.check("java", tmp_path)
