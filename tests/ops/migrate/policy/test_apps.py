"""Which files become an app, and where they lie."""

import pytest

from lessee.config.parsing import parse

CONTENTS = '{{ with secret \\"secret/data/%s\\" }}{{ .Data.data.b }}{{ end }}'


def agent(*files, path="a"):
    """Templates for `destination` or (`destination`, `command`)."""
    blocks = []
    for file in files:
        destination, command = file if isinstance(file, tuple) else (file, "")
        more = f'command = "{command}"' if command else ""
        blocks.append(f'template {{\n contents = "{CONTENTS % path}"\n destination = "{destination}"\n {more}\n}}\n')
    return "".join(blocks)


@pytest.mark.parametrize(
    ("destination", "directory", "name"),
    [
        ("/run/web/a.env", "/run/web", "web"),
        ("/run/secrets/a.env", "/run/secrets", "a"),
        ("/dev/shm/x/tls/a.pem", "/dev/shm/x/tls", "x"),
        ("/var/run/app/.pgpass", "/var/run/app", "pgpass"),
        ("/run/a b/é.env", "/run/a b", "a-b"),
    ],
)
def test_a_directory_of_its_own_on_tmpfs_stays(imported, destination, directory, name):
    found = imported("agent.hcl", agent(destination))
    assert {name: app["directory"] for name, app in found.config["apps"].items()} == {name: directory}
    assert not found.lost
    parse(found.text, source="lessee.yaml", environ={})


@pytest.mark.parametrize(
    ("destination", "directory"),
    [
        ("/etc/nginx/ssl/a.pem", "/run/secrets/nginx"),
        ("/run/a.env", "/run/secrets/a"),
        ("/running/a.env", "/run/secrets/running"),
        ("/run/lessee/x/a.env", "/run/secrets/x"),
        ("./a.env", "/run/secrets/a"),
        ("/etc/app/../app/...", "/run/secrets/app"),
    ],
)
def test_any_other_directory_is_left_and_that_is_told(imported, destination, directory):
    found = imported("agent.hcl", agent(destination))
    [app] = found.config["apps"].values()
    assert app["directory"] == directory
    assert any(f" is {app['directory']}/" in line and line.startswith("agent.hcl:3: ") for line in found.lost)
    assert "# TODO lessee import: these files were in " in found.text


def test_a_directory_inside_another_is_left(imported):
    found = imported("agent.hcl", agent("/run/web/tls/a.pem", "/run/web/b.env"))
    assert {app["directory"] for app in found.config["apps"].values()} == {"/run/web", "/run/secrets/web"}
    assert set(found.files) == {"lessee.yaml", "web/a.pem.j2", "web-2/b.env.j2"}
    parse(found.text, source="lessee.yaml", environ={})


def test_files_that_stay_share_all_their_commands(imported):
    found = imported(
        "agent.hcl", agent(("/run/web/a", "reload a"), ("/run/web/b", "reload b"), ("/run/web/c", "reload a"))
    )
    assert found.app("web")["notify"]["command"] == ["sh", "-c", "reload a && reload b"]
    assert any("/run/web have 2 commands, and all of them run when any file changes" in line for line in found.lost)
    assert "# TODO lessee import: the files of /run/web have 2 commands" in found.text


def test_a_file_without_a_command_shares_that_of_its_directory(imported):
    found = imported("agent.hcl", agent("/run/web/a", ("/run/web/b", "pkill -HUP web")))
    assert found.app("web")["notify"] == {"process": {"name": "web"}, "action": "SIGHUP"}
    assert not found.lost
    assert any("the command runs when any file of /run/web changes" in line for line in found.notes)


def test_files_that_move_are_an_app_for_each_command(imported):
    found = imported("agent.hcl", agent(("/etc/x/a", "reload a"), ("/etc/x/b", "reload b"), ("/etc/x/c", "reload a")))
    said = {
        name: ([file["template"] for file in app["files"]], app["notify"]["command"])
        for name, app in found.config["apps"].items()
    }
    assert said == {"x": (["x/a.j2", "x/c.j2"], ["reload", "a"]), "x-2": (["x-2/b.j2"], ["reload", "b"])}


def test_of_two_templates_for_a_file_the_last_is_kept(imported):
    found = imported("agent.hcl", agent("/run/web/a", "/run/web/../web/a"))
    assert len(found.app("web")["files"]) == 1
    assert any("two templates write /run/web/a" in line for line in found.lost)


def test_files_that_a_template_writes_besides_are_templates_of_their_own(imported):
    text = (
        '{{ with pkiCert "pki/issue/web" "common_name=a" }}'
        '{{ .Key | writeToFile "/run/web/key" "root" "5" "0400" "newline" }}'
        '{{ .Data.CA | writeToFile "/run/web/pem" "" "" "0644" }}'
        '{{ writeToFile "/run/web/pem" "" "" "0644" "append,newline" .Data.Cert }}'
        '{{ "x" | writeToFile "/run/web/odd" "web" "" "rwx" }}{{ timestamp | writeToFile "/x" "" "" "0600" }}{{ end }}'
    )
    found = imported("agent.hcl", f'template {{\n destination = "/run/web/all"\n contents = <<T\n{text}\nT\n}}\n')
    call = 'certificate("pki/issue/web", common_name="a")'
    assert found.files["key.j2"] == f"{{{{ {call}.private_key }}}}\n\n"
    assert found.files["pem.j2"] == f"{{{{ {call}.issuing_ca }}}}\n{{{{ {call}.certificate }}}}\n\n"
    assert found.files["all.j2"].endswith("#}\n")
    files = {file["template"]: file for file in found.app("web")["files"]}
    assert files["key.j2"] == {"template": "key.j2", "format": "text", "owner": "0:5", "mode": "0400"}
    assert files["odd.j2"]["mode"] == "0644"
    told = "\n".join(found.lost)
    assert "agent.hcl:4: the owner web:- is not in numbers" in told
    assert "agent.hcl:4: it is no mode that lessee knows" in told
    assert "agent.hcl:4: timestamp gives another time" in told


def test_no_two_files_that_are_written_have_one_name(imported):
    said = 'template {\n destination = "%s"\n contents = "%s"\n}\n'
    environ = 'env_template "A" {\n contents = "b"\n}\nexec {\n command = ["web"]\n}\n'
    found = imported("agent.hcl", said % ("/run/web/process.env", "a") + environ)
    assert found.files["process.env.j2"] == "a"
    assert found.files[found.app("web")["environ"]] == "A=b\n"
    found = imported("agent.hcl", said % ("/run/lessee.yaml/a", "a") + said % ("/run/b/a", "b"))
    assert found.files["lessee.yaml-2/a.j2"] == "a"
    assert found.app("lessee.yaml-2")["directory"] == "/run/lessee.yaml"


def test_a_template_alone_gets_a_place(imported):
    found = imported("conf/redis.conf.tpl", "x")
    assert found.config["apps"] == {
        "redis": {
            "directory": "/run/secrets/redis",
            "mode": "0644",
            "files": [{"template": "redis.conf.j2", "format": "text"}],
        }
    }
    assert any("/run/secrets/redis/redis.conf is taken" in line for line in found.notes)
    parse(found.text, source="lessee.yaml", environ={})


@pytest.mark.parametrize(
    ("paths", "secrets", "calls", "lost"),
    [
        (
            ["secret/data/a", "kv/data/b", "secret/c"],
            {"mount": "secret", "prefix": ""},
            ["a", "", "c"],
            "another KV mount",
        ),
        (["team/kv/data/a/b"], {"mount": "team/kv", "prefix": ""}, ["a/b"], ""),
        (["kv/production/a", "kv/production/b/c"], {"mount": "kv", "prefix": "{environment}/"}, ["a", "b/c"], ""),
        (["kv/production/a", "kv/b"], {"mount": "kv", "prefix": ""}, ["production/a", "b"], ""),
        (
            ["kv/production/a", "kv/staging/b", "kv/production/c"],
            {"mount": "kv", "prefix": ""},
            ["production/a", "", "production/c"],
            "belongs to another environment",
        ),
        (["kv/production"], {"mount": "kv", "prefix": ""}, ["production"], ""),
        (
            ["kv/${ENV}/a", "kv/common/b"],
            {"mount": "kv", "prefix": "{environment}/", "shared": ["common/"]},
            ["a", "common/b"],
            "",
        ),
        (["kv/apps/${ENV}/a"], {"mount": "kv", "prefix": "apps/{environment}/"}, ["a"], ""),
        (["kv/${ENV}/a", "kv/b"], {"mount": "kv", "prefix": "{environment}/"}, ["a", ""], "lies outside the prefix"),
        (["kv/${ENV}/a", "kv/${ENV}/${OTHER}"], {"mount": "kv", "prefix": "{environment}/"}, ["a", ""], "is computed"),
        (
            ["kv/${ENV}/a", "kv/${ENV}"],
            {"mount": "kv", "prefix": "{environment}/"},
            ["a", ""],
            "bears the environment's own name",
        ),
        (["kv/a-${ENV}/b"], {"mount": "kv", "prefix": ""}, [""], "is computed"),
        (["kv/data/a?version=3"], {"mount": "kv", "prefix": ""}, ["a"], ""),
    ],
)
def test_paths_are_named_under_one_mount_and_prefix(imported, paths, secrets, calls, lost):
    def call(path):
        words = path.replace("${ENV}", "%s").replace("${OTHER}", "%s")
        values = [f'(env "{name}")' for name in ("ENV", "OTHER") if f"${{{name}}}" in path]
        return f'(printf "{words}" {" ".join(values)})' if values else f'"{words}"'

    text = "\n".join(f"{{{{ with secret {call(path)} }}}}{{{{ .Data.data.x }}}}{{{{ end }}}}" for path in paths)
    found = imported("t.ctmpl", text)
    assert found.config["secrets"] == secrets
    for path, line in zip(calls, found.files["t.j2"].splitlines(), strict=True):
        assert line.startswith(f'{{{{ secret("{path}"' if path else "{# TODO")
    assert lost in "".join(found.lost)
    assert bool(found.lost) == bool(lost)
    assert ("version=3" in found.files["t.j2"]) == ("version=3" in paths[0])
    parse(found.text, source="lessee.yaml", environ={"ENV": "staging"})


def test_an_environment_of_the_agent_is_that_of_its_paths(imported):
    assert imported("t.ctmpl", '{{ secrets "kv/production" | join "," }}').config["environment"] == "production"
    default = '{{ with secret (printf "kv/%s/a" (envOrDefault "ENV" "testing")) }}{{ .Data.x }}{{ end }}'
    assert imported("t.ctmpl", default).config["environment"] == "${ENV-testing}"
    folder = '{{ range secrets (print "kv/metadata/" (env "ENV")) }}{{ . }}{{ end }}'
    assert 'in secrets("") | dictsort' in imported("t.ctmpl", folder).files["t.j2"]


def test_what_is_issued_is_no_kv(imported):
    text = '{{ with secret "%s" }}{{ .Data.y }}{{ end }}'
    text = text % "production/creds/a" + text.replace('"%s"', '"db/creds/a" "ttl=1h" ""')
    found = imported("t.ctmpl", text)
    assert any("'production/creds/a' belongs to another environment" in line for line in found.lost)
    assert found.files["t.j2"].endswith('{{ dynamic("db/creds/a", ttl="1h").y }}')
    assert found.config["secrets"] == {"mount": "secret", "prefix": ""}
