"""The grouping of files into apps, and their directories."""

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
def test_a_directory_below_run_is_unchanged(imported, destination, directory, name):
    found = imported("agent.hcl", agent(destination))
    assert {name: app["directory"] for name, app in found.config["apps"].items()} == {name: directory}
    assert not found.losses
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
def test_files_of_any_other_directory_move_and_are_a_loss(imported, destination, directory):
    found = imported("agent.hcl", agent(destination))
    [app] = found.config["apps"].values()
    assert app["directory"] == directory
    assert any(f" moves to {app['directory']}/" in line and line.startswith("agent.hcl:3: ") for line in found.losses)
    assert "# TODO lessee import: these files were in " in found.text


def test_files_of_a_subdirectory_stay_where_they_are(imported):
    found = imported("agent.hcl", agent("/run/web/tls/a.pem", "/run/web/b.env", "/run/web/b/b.env", "/run/db/a.pem"))
    assert set(found.files) == {"lessee.yaml", "web/tls/a.pem.j2", "web/b.env.j2", "web/b/b.env.j2", "db/a.pem.j2"}
    assert not found.losses
    apps = parse(found.text, source="lessee.yaml", environ={}).apps
    assert {app.directory: [(file.template, file.name) for file in app.files] for app in apps.values()} == {
        "/run/web": [
            ("web/tls/a.pem.j2", "tls/a.pem"),
            ("web/b.env.j2", "b.env"),
            ("web/b/b.env.j2", "b/b.env"),
        ],
        "/run/db": [("db/a.pem.j2", "a.pem")],
    }


@pytest.mark.parametrize(
    ("nested", "directory"),
    [
        (("/run/web/tls/a.pem", "reload a"), "/run/secrets/web"),
        ("/run/web/..tls/a.pem", "/run/secrets/tls"),
        (f"/run/web/{'a/' * 32}b", "/run/secrets/a"),
    ],
)
def test_files_of_a_subdirectory_move_where_they_cannot_stay(imported, nested, directory):
    found = imported("agent.hcl", agent(nested, ("/run/web/b.env", "reload b")))
    assert {app["directory"] for app in found.config["apps"].values()} == {"/run/web", directory}
    assert any(f" moves to {directory}/" in line for line in found.losses)
    parse(found.text, source="lessee.yaml", environ={})


def test_an_exclusive_directory_may_have_files_in_subdirectories_alone(imported):
    annotations = {
        "agent-inject": "true",
        "role": "r",
        "agent-inject-secret-a": "kv/a",
        "agent-inject-file-a": "tls/a.pem",
    }
    lines = "\n".join(f"        vault.hashicorp.com/{key}: '{value}'" for key, value in annotations.items())
    pod = f"apiVersion: v1\nkind: Pod\nmetadata:\n    name: web\n    annotations:\n{lines}\n"
    found = imported("pod.yaml", pod)
    [app] = parse(found.text, source="lessee.yaml", environ={}).apps.values()
    assert (app.directory, [file.name for file in app.files]) == ("/vault/secrets", ["tls/a.pem"])
    assert not found.losses


def test_files_of_one_directory_share_their_commands(imported):
    found = imported(
        "agent.hcl", agent(("/run/web/a", "reload a"), ("/run/web/b", "reload b"), ("/run/web/c", "reload a"))
    )
    assert found.app("web")["notify"]["command"] == [
        *("sh", "-c"),
        "failed=0; reload a || failed=$?; reload b || failed=$?; exit $failed",
    ]
    assert any("/run/web have 2 commands, and a change of any file runs all of them" in line for line in found.losses)
    assert "# TODO lessee import: the files of /run/web have 2 commands" in found.text


def test_a_file_without_a_command_shares_the_command_of_its_directory(imported):
    found = imported("agent.hcl", agent("/run/web/a", ("/run/web/b", "pkill -HUP web")))
    assert found.app("web")["notify"] == {"process": {"name": "web"}, "action": "SIGHUP"}
    assert not found.losses
    assert any("a change of any file of /run/web runs the command" in line for line in found.notes)


def test_moved_files_become_an_app_for_each_command(imported):
    found = imported("agent.hcl", agent(("/etc/x/a", "reload a"), ("/etc/x/b", "reload b"), ("/etc/x/c", "reload a")))
    apps = {
        name: ([file["template"] for file in app["files"]], app["notify"]["command"])
        for name, app in found.config["apps"].items()
    }
    assert apps == {"x": (["x/a.j2", "x/c.j2"], ["reload", "a"]), "x-b": (["x-b/b.j2"], ["reload", "b"])}


def test_the_last_of_two_templates_for_a_file_is_used(imported):
    found = imported("agent.hcl", agent("/run/web/a", "/run/web/../web/a"))
    assert len(found.app("web")["files"]) == 1
    assert any("two templates write /run/web/a" in line for line in found.losses)


def test_files_of_write_to_file_become_templates(imported):
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
    assert found.files["all.j2"].endswith('") }}\n')
    files = {file["template"]: file for file in found.app("web")["files"]}
    assert files["key.j2"] == {"template": "key.j2", "format": "text", "owner": "0:5", "mode": "0400"}
    assert files["odd.j2"]["mode"] == "0644"
    losses = "\n".join(found.losses)
    assert "agent.hcl:4: the owner web:- is not numeric" in losses
    assert "agent.hcl:4: invalid file mode" in losses
    assert "agent.hcl:4: timestamp returns another time" in losses


def test_generated_files_have_unique_names(imported):
    block = 'template {\n destination = "%s"\n contents = "%s"\n}\n'
    environ = 'env_template "A" {\n contents = "b"\n}\nexec {\n command = ["web"]\n}\n'
    found = imported("agent.hcl", block % ("/run/web/process.env", "a") + environ)
    assert found.files["process.env.j2"] == "a"
    assert found.files[found.app("web")["env_template"]] == "A=b\n"
    found = imported("agent.hcl", block % ("/run/lessee.yaml/a", "a") + block % ("/run/b/a", "b"))
    assert found.files["lessee.yaml-a/a.j2"] == "a"
    assert found.app("lessee.yaml-a")["directory"] == "/run/lessee.yaml"


def test_a_single_template_gets_a_directory(imported):
    found = imported("conf/redis.conf.tpl", "x")
    assert found.config["apps"] == {
        "redis": {
            "directory": "/run/secrets/redis",
            "mode": "0644",
            "files": [{"template": "redis.conf.j2", "format": "text"}],
        }
    }
    assert any("assumes /run/secrets/redis/redis.conf" in line for line in found.notes)
    parse(found.text, source="lessee.yaml", environ={})


@pytest.mark.parametrize(
    ("paths", "secrets", "calls", "loss"),
    [
        (
            ["secret/data/a", "kv/data/b", "secret/c"],
            {"mount": "secret", "prefix": ""},
            ["a", "", "c"],
            "is not in 'secret', the KV mount",
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
            {"mount": "kv", "prefix": "{environment}/", "shared_prefixes": ["common/"]},
            ["a", "common/b"],
            "",
        ),
        (["kv/apps/${ENV}/a"], {"mount": "kv", "prefix": "apps/{environment}/"}, ["a"], ""),
        (["kv/${ENV}/a", "kv/b"], {"mount": "kv", "prefix": "{environment}/"}, ["a", ""], "is outside the prefix"),
        (["kv/${ENV}/a", "kv/${ENV}/${OTHER}"], {"mount": "kv", "prefix": "{environment}/"}, ["a", ""], "is computed"),
        (
            ["kv/${ENV}/a", "kv/${ENV}"],
            {"mount": "kv", "prefix": "{environment}/"},
            ["a", ""],
            "has the name of the environment itself",
        ),
        (["kv/a-${ENV}/b"], {"mount": "kv", "prefix": ""}, [""], "is computed"),
        (["kv/data/a?version=3"], {"mount": "kv", "prefix": ""}, ["a"], ""),
    ],
)
def test_paths_share_one_mount_and_prefix(imported, paths, secrets, calls, loss):
    def call(path):
        words = path.replace("${ENV}", "%s").replace("${OTHER}", "%s")
        values = [f'(env "{name}")' for name in ("ENV", "OTHER") if f"${{{name}}}" in path]
        return f'(printf "{words}" {" ".join(values)})' if values else f'"{words}"'

    text = "\n".join(f"{{{{ with secret {call(path)} }}}}{{{{ .Data.data.x }}}}{{{{ end }}}}" for path in paths)
    found = imported("t.ctmpl", text)
    assert found.config["secrets"] == secrets
    for path, line in zip(calls, found.files["t.j2"].splitlines(), strict=True):
        assert line.startswith(f'{{{{ secret("{path}"' if path else '{{ fail("TODO')
    assert loss in "".join(found.losses)
    assert bool(found.losses) == bool(loss)
    assert ("version=3" in found.files["t.j2"]) == ("version=3" in paths[0])
    parse(found.text, source="lessee.yaml", environ={"ENV": "staging"})


def test_the_environment_is_that_of_the_paths(imported):
    assert imported("t.ctmpl", '{{ secrets "kv/production" | join "," }}').config["environment"] == "production"
    default = '{{ with secret (printf "kv/%s/a" (envOrDefault "ENV" "testing")) }}{{ .Data.x }}{{ end }}'
    assert imported("t.ctmpl", default).config["environment"] == "${ENV-testing}"
    folder = '{{ range secrets (print "kv/metadata/" (env "ENV")) }}{{ . }}{{ end }}'
    assert 'in secrets("") | dictsort' in imported("t.ctmpl", folder).files["t.j2"]


def test_a_dynamic_secret_does_not_affect_the_kv_layout(imported):
    text = '{{ with secret "%s" }}{{ .Data.y }}{{ end }}'
    text = text % "production/creds/a" + text.replace('"%s"', '"db/creds/a" "ttl=1h" ""')
    found = imported("t.ctmpl", text)
    assert any("'production/creds/a' belongs to another environment" in line for line in found.losses)
    assert found.files["t.j2"].endswith('{{ dynamic("db/creds/a", ttl="1h").y }}')
    assert found.config["secrets"] == {"mount": "secret", "prefix": ""}
