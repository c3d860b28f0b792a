"""A stack without an agent gets all parts that its apps need, as compose/README.md lays them out."""

# ruff: noqa: E501  # A text before and after is in one line.

import pytest

from lessee.ops.lint.policy.fixes.yaml_text import block
from support.inputs.mended_stacks import GOOD, LESSEE, Files, edited

ALONE = "services:\n  web: {image: x, user: '1000:1000'}\n"


def added(lessee=LESSEE, compose=ALONE, **files):
    """The document that the stack lacks; with it, there is no finding."""
    stack = Files(lessee=lessee, compose_yaml=compose, **files)
    return stack.lines()


def lessee(*pairs):
    return edited(*pairs, text=LESSEE)


def test_a_newcomer_gets_a_working_stack_by_pasting():
    stack = Files(compose_yaml=ALONE)
    assert stack.rules() == ["no-agent"]
    document = stack.lines()
    assert stack.check({"added.yaml": block(document)}, ["added.yaml"]) == ()
    assert block(document) == (
        """\
services:
  holder:
    image: lessee
    read_only: true
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    restart: unless-stopped
    init: true
    user: "65534:65534"
    network_mode: none
    entrypoint: [sleep, infinity]
    volumes: [web:/hold/web, state:/hold/state]
    healthcheck:
      test: [CMD, "true"]
      interval: 24h
  agent:
    image: lessee
    read_only: true
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    restart: unless-stopped
    user: "0:1000"
    cap_add: [KILL]
    mem_limit: 256m
    pids_limit: 64
    volumes: [./lessee:/etc/lessee:ro, web:/run/secrets/web, state:/run/lessee]
    secrets:
      - {source: role_id, target: /run/identity/role_id}
      - {source: secret_id, target: /run/identity/secret_id}
    pid: service:holder
    depends_on:
      holder: {condition: service_started}
  web:
    volumes: [web:/run/secrets/web:ro]
    depends_on:
      agent: {condition: service_healthy}
    pid: service:holder
volumes:
  web:
    driver_opts: {type: tmpfs, device: tmpfs, o: "size=1m,mode=0750,uid=0,gid=1000,noexec,nosuid,nodev"}
  state:
    driver_opts: {type: tmpfs, device: tmpfs, o: "size=1m,mode=0700,uid=0,gid=0,noexec,nosuid,nodev"}
secrets:
  role_id: {file: ./identity/role_id}
  secret_id: {file: ./identity/secret_id}"""
    ).replace('["no-new-privileges:true"]', "[no-new-privileges:true]")


def test_fix_adds_the_same_to_the_file():
    stack = Files(compose_yaml=ALONE)
    session = stack.mend()
    assert stack.rules(session.texts) == []
    assert session.texts["compose.yaml"].startswith("services:\n  web: {image: x, user: '1000:1000', volumes: ")


def agent(**settings):
    return added(**settings)["services"]["agent"]


@pytest.mark.parametrize(
    ("owner", "user", "gid"),
    [('    owner: "0:1002"\n', "1000:1000", 1002), ("", "1000:1003", 1003), ("", "1000", 0), ("", "app:app", 0)],
)
def test_the_volume_has_the_group_of_the_files(owner, user, gid):
    config = lessee(('    owner: "0:1000"\n', owner))
    document = added(config, ALONE.replace("1000:1000", user))
    assert document["services"]["agent"]["user"] == f"0:{gid}"
    assert f"gid={gid}," in document["volumes"]["web"]["driver_opts"]["o"]


def test_an_owner_with_a_uid_needs_a_capability():
    assert agent(lessee=lessee(('owner: "0:1000"', 'owner: "1000:1000"')))["cap_add"] == ["KILL", "CHOWN"]
    file = lessee(('    owner: "0:1000"\n', ""), ("{template: app.env.j2}", "{template: app.env.j2, owner: '0:1001'}"))
    assert agent(lessee=file)["user"] == "0:1001"


def test_several_apps_have_volumes_and_groups_of_their_own():
    more = '  api: {directory: /run/secrets/api, owner: "0:1001", files: [{template: app.env.j2}]}\n'
    document = added(LESSEE + more, ALONE + "  api: {image: y}\n")
    assert document["services"]["agent"]["group_add"] == ["1001"]
    assert document["services"]["agent"]["user"] == "0:1000"
    assert document["services"]["api"] == {
        "volumes": ["api:/run/secrets/api:ro"],
        "depends_on": {"agent": {"condition": "service_healthy"}},
    }


def test_an_app_without_a_signal_needs_neither_capability_nor_namespace():
    settings = agent(lessee=lessee(("    notify: {process: {name: app.py}, action: SIGHUP}\n", "")))
    assert not {"pid", "cap_add"} & settings.keys()


@pytest.mark.parametrize(
    ("action", "through", "is_shared"),
    [("SIGHUP", "", True), ("SIGHUP", ", through: engine", False), ("restart", "", False)],
)
def test_a_container_that_gets_a_signal_shares_its_namespace(action, through, is_shared):
    config = lessee(
        ("{process: {name: app.py}, action: SIGHUP}", f"{{container: {{service: web{through}}}, action: {action}}}")
    )
    assert ("pid" in agent(lessee=config)) == is_shared


def test_names_that_are_taken_are_not_used():
    text = ALONE + "  agent: {image: z}\n  holder: {image: z}\n  lessee-holder: {image: z}\nvolumes: {web: , state: }\n"
    document = added(compose=text)
    assert {"lessee-agent", "lessee-holder-2"} <= document["services"].keys()
    assert {"lessee-web", "lessee-state"} == document["volumes"].keys()


def test_a_holder_that_there_is_stays_the_holder():
    document = added(compose=ALONE + "  sleeper: {image: z, command: sleep infinity}\n")
    assert document["services"]["web"]["pid"] == "service:sleeper"
    assert document["services"]["sleeper"] == {"volumes": ["web:/hold/web", "state:/hold/state"]}


def test_the_agent_reaches_vault_and_what_it_probes():
    config = lessee(
        ("vault.example:8200", "bao:8200"),
        ("action: SIGHUP}", 'action: SIGHUP}\n    ready: {http: "http://web:8000/"}'),
    )
    text = (
        "services:\n  web: {image: x, networks: {front: , back: }}\n"
        "  bao: {image: y, networks: [vault], healthcheck: {test: x}}\n  vault2: {image: y}\n"
    )
    settings = agent(lessee=config, compose=text)
    assert settings["networks"] == ["vault", "front", "back"]
    assert settings["depends_on"]["bao"] == {"condition": "service_healthy"}
    settings = agent(lessee=config, compose=text.replace(", healthcheck: {test: x}", ""))
    assert settings["depends_on"]["bao"] == {"condition": "service_started"}
    elsewhere = config.replace("bao:8200", "vault.example")
    assert agent(lessee=elsewhere, compose=text)["networks"] == ["default", "front", "back"]
    tcp = elsewhere.replace('{http: "http://web:8000/"}', '{tcp: "web:8000"}')
    assert agent(lessee=tcp, compose=text)["networks"] == ["default", "front", "back"]
    command = elsewhere.replace('{http: "http://web:8000/"}', "{file: /run/x}")
    assert "networks" not in agent(lessee=command, compose=text)
    several = config.replace("address: https://bao:8200", "addresses: ['https://bao:8200', 'https://vault2:8200']")
    assert agent(lessee=several, compose=text)["networks"] == ["vault", "default", "front", "back"]


@pytest.mark.parametrize(
    ("vault", "variables"),
    [
        ("  address: https://${HOST:-x}:8200\n  namespace: ${NS}\n", ["HOST", "NS"]),
        ("", ["VAULT_ADDR"]),
        ("  auth: {method: token, token_file: /run/t}\n", ["VAULT_ADDR"]),
    ],
)
def test_the_agent_gets_the_variables_that_lessee_yaml_reads(vault, variables):
    auth = "  auth: {method: approle, role_id_file: /run/identity/role_id, secret_id_file: /run/identity/secret_id}\n"
    text = vault if "auth" in vault else vault + auth
    config = lessee(("  address: https://vault.example:8200\n", ""), (auth, text))
    stack = Files(lessee=config, compose_yaml=ALONE)
    stack.environ = {"HOST": "h", "NS": "n"}
    assert stack.lines()["services"]["agent"]["environment"] == variables


FOR_A_PERSON = (
    "`lessee adopt` adds one with a login of its own; lessee/lessee.yaml is not for a container: "
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("{method: approle", "{method: token} #"), "it logs in with $VAULT_TOKEN, which `docker inspect` would show"),
        (
            ("/run/secrets/web", '"${XDG_RUNTIME_DIR}/secrets/web"'),
            "it reads ${XDG_RUNTIME_DIR}, a directory of one user of this machine",
        ),
        (("https://vault.example:8200", "https://127.0.0.1:8200"), "no container reaches https://127.0.0.1:8200"),
        (("https://vault.example:8200", "https://localhost"), "no container reaches https://localhost"),
    ],
)
def test_the_configuration_of_a_persons_machine_makes_no_agent_and_adopt_is_named(change, why):
    """Such as that of `lessee import`: in a service it would show the token to each client of the Engine."""
    stack = Files(lessee=lessee(change), compose_yaml=ALONE)
    stack.environ = {"VAULT_TOKEN": "t", "XDG_RUNTIME_DIR": "/run/user/1000"}
    [finding] = [one for one in stack.check() if one.rule == "no-agent"]
    assert (finding.fix, finding.lines) == (None, {})
    assert finding.help == FOR_A_PERSON + why
    assert stack.lines() == {}


def test_a_login_without_files_needs_no_secrets_of_compose():
    start, end = LESSEE.index("  auth:"), LESSEE.index("apps:")
    config = f"{LESSEE[:start]}  auth: {{method: aws, role: web}}\n{LESSEE[end:]}"
    assert "secrets" not in Files(lessee=config, compose_yaml=ALONE).lines()


def test_an_app_that_logs_in_with_a_persons_token_makes_no_agent():
    stack = Files(lessee=lessee(("    owner", "    vault: {auth: {method: token}}\n    owner")), compose_yaml=ALONE)
    stack.environ = {"VAULT_TOKEN": "t"}
    assert stack.lines() == {}


def test_without_a_vault_block_nothing_is_added():
    config = LESSEE[: LESSEE.index("vault:")] + LESSEE[LESSEE.index("apps:") :]
    stack = Files(lessee=config, compose_yaml=ALONE)
    stack.environ = {"VAULT_TOKEN": "t"}
    assert stack.lines() == {}


def test_each_file_that_the_agent_logs_in_with_is_mounted():
    config = lessee(
        ("  auth:", "  ca_file: /etc/lessee-ca.pem\n  auth:"),
        (
            "    owner",
            "    vault: {auth: {method: approle, role_id_file: /run/web/role_id, secret_id_file: /run/identity/secret_id}}\n    owner",
        ),
    )
    document = added(config)
    assert document["services"]["agent"]["secrets"] == [
        {"source": "role_id", "target": "/run/identity/role_id"},
        {"source": "secret_id", "target": "/run/identity/secret_id"},
        {"source": "lessee-ca.pem", "target": "/etc/lessee-ca.pem"},
        {"source": "run-web-role_id", "target": "/run/web/role_id"},
    ]
    assert document["secrets"]["run-web-role_id"] == {"file": "./identity/run-web-role_id"}


def test_another_state_dir_has_its_own_health_check():
    settings = agent(lessee=f"state_dir: /run/other\n{LESSEE}")
    assert settings["healthcheck"]["test"] == ["CMD", "/opt/lessee/bin/lessee", "status"]
    assert "state:/run/other" in settings["volumes"]


@pytest.mark.parametrize(
    ("place", "templates", "mounts"),
    [
        ("lessee/lessee.yaml", None, ["./lessee:/etc/lessee:ro"]),
        ("../lessee/lessee.yaml", None, ["../lessee:/etc/lessee:ro"]),
        ("../lessee.yaml", None, ["..:/etc/lessee:ro"]),
        ("/etc/lessee/lessee.yaml", None, ["/etc/lessee:/etc/lessee:ro"]),
        ("lessee.yaml", None, ["./lessee.yaml:/etc/lessee/lessee.yaml:ro", "./app.env.j2:/etc/lessee/app.env.j2:ro"]),
        ("in/agent.yaml", None, ["./in/agent.yaml:/etc/lessee/lessee.yaml:ro", "./in/app.env.j2:/etc/lessee/app.env.j2:ro"]),
        ("lessee.yaml", "t", ["./lessee.yaml:/etc/lessee/lessee.yaml:ro", "./t:/etc/lessee/t:ro"]),
        ("in/agent.yaml", "t", ["./in/agent.yaml:/etc/lessee/lessee.yaml:ro", "./in/t:/etc/lessee/t:ro"]),
        ("lessee/lessee.yaml", "t", ["./lessee:/etc/lessee:ro"]),
        ("lessee/lessee.yaml", "../t", ["./lessee:/etc/lessee:ro", "./t:/etc/t:ro"]),
        ("lessee/lessee.yaml", "/srv/t", ["./lessee:/etc/lessee:ro", "/srv/t:/srv/t:ro"]),
    ],
)  # fmt: skip
def test_the_configuration_and_its_templates_are_mounted(place, templates, mounts):
    config = LESSEE if templates is None else f"template_dir: {templates}\n{LESSEE}"
    stack = Files(lessee=config, compose_yaml=ALONE)
    stack.configuration = place
    assert stack.lines()["services"]["agent"]["volumes"][: len(mounts)] == mounts


def test_a_model_of_labels_is_mounted_and_a_template_in_the_configuration_is_not():
    config = lessee(("{template: app.env.j2}", "{name: app.env, contents: 'A=1'}"))
    stack = Files(lessee=f"compose: {{file: compose.json}}\n{config}", compose_yaml=ALONE)
    stack.configuration = "lessee.yaml"
    mounts = stack.lines()["services"]["agent"]["volumes"]
    assert mounts[:3] == [
        "./lessee.yaml:/etc/lessee/lessee.yaml:ro",
        "./compose.json:/etc/lessee/compose.json:ro",
        "web:/run/secrets/web",
    ]


@pytest.mark.parametrize(
    ("notify", "services", "reader"),
    [
        ("{process: {name: gunicorn}}", "  a: {image: x, command: gunicorn x}\n  b: {image: x}\n", "a"),
        ("{process: {cmdline: 'app/x.py'}}", "  a: {image: x}\n  b: {image: x, command: [python3, /app/x.py]}\n", "b"),
        ("{command: [x]}", "  a: {image: x}\n  b: {image: x, environment: {DATABASE_URL: x}}\n", "b"),
        ("{process: {name: x}}", "  a: {image: x}\n  b: {build: .}\n", "b"),
        ("{process: {name: x}}", "  a: {image: x}\n", "a"),
        ("{process: {name: x}}", "  a: {image: x}\n  b: {image: x}\n", None),
        ("{process: {name: x}}", "  a: {build: .}\n  b: {build: .}\n", None),
    ],
)
def test_the_reader_of_an_app_is_found_where_there_is_only_one(notify, services, reader):
    config = lessee(("{process: {name: app.py}, action: SIGHUP}", notify))
    stack = Files(lessee=config, compose_yaml=f"services:\n{services}")
    found = {
        name
        for name, parts in stack.lines()["services"].items()
        if any(":ro" in str(it) for it in parts.get("volumes", ()))
    }
    assert found - {"agent"} == ({reader} if reader else set())
    if reader is None:  # A fix would be a guess.
        assert not stack.mend().texts


@pytest.mark.parametrize(
    "config",
    [
        lessee(("files: [{template: app.env.j2}]", "env_template: app.env.j2"), ("{process: {name: app.py}, action: SIGHUP}", "{child: true, action: restart}")),
        lessee(("{process: {name: app.py}, action: SIGHUP}", "{child: true, action: restart}")),
    ],
)  # fmt: skip
def test_lessee_exec_needs_no_other_container(config):
    assert "no-agent" not in Files(lessee=config, compose_yaml=ALONE).rules()


def test_a_directory_of_the_host_needs_no_agent_in_compose():
    text = "services:\n  web: {image: x, volumes: ['/run/secrets/web:/s:ro']}\n"
    assert Files(compose_yaml=text).rules() == []
    assert Files(compose_yaml="services: {}\n").rules() == []


def test_a_directory_that_nothing_mounts_gets_a_volume():
    text = edited(("      - files:/run/secrets/web\n", ""), ('    volumes: ["files:/run/secrets/web:ro"]\n', ""))
    stack = Files(compose_yaml=text)
    assert stack.rules() == ["app-not-mounted"]
    session = stack.mend()
    assert stack.rules(session.texts) == []
    after = session.texts["compose.yaml"]
    assert "      - web:/run/secrets/web\n" in after
    assert "volumes: [web:/run/secrets/web:ro]" in after
    assert '["files:/hold/files", web:/hold/web]' in after
    without_holder = text.replace(GOOD.splitlines(keepends=True)[1], "").replace(
        "    pid: service:holder\n", "    pid: host\n"
    )
    assert Files(compose_yaml=without_holder).mend().texts


@pytest.mark.parametrize(
    ("shared", "mount"),
    [
        ("files:/run/secrets/web", "files:/run/secrets/web:ro"),
        ("files:/run/secrets", "{type: volume, source: files, target: /run/secrets/web, read_only: true, volume: {subpath: web}}"),
        ("/srv/web:/run/secrets/web", "/srv/web:/run/secrets/web:ro"),
        ("./web:/run/secrets/web", "./web:/run/secrets/web:ro"),
    ],
)  # fmt: skip
def test_an_app_mounts_the_directory_that_the_agent_has(shared, mount):
    text = edited(("- files:/run/secrets/web\n", f"- {shared}\n"), ('    volumes: ["files:/run/secrets/web:ro"]\n', ""))
    stack = Files(compose_yaml=text)
    assert "app-not-mounted" in stack.rules()
    session = stack.mend()
    assert stack.rules(session.texts) == []
    assert f"volumes: [{mount}]" in session.texts["compose.yaml"]


def test_a_variable_tells_which_service_reads_the_app():
    config = lessee(("web:\n", "app:\n"), ("{process: {name: app.py}, action: SIGHUP}", "{command: [x]}"))
    text = edited(
        ('    volumes: ["files:/run/secrets/web:ro"]\n', "    environment: {DATABASE_URL: x}\n"),
        ("volumes:\n  files", "  other: {image: x}\nvolumes:\n  files"),
    )
    stack = Files(lessee=config, compose_yaml=text)
    assert stack.rules() == ["app-not-mounted", "app-without-reader"]
    assert stack.rules(stack.mend().texts) == []


def test_an_app_of_another_project_is_mounted_there():
    config = lessee(
        ("{process: {name: app.py}, action: SIGHUP}", "{container: {service: web, project: other}, action: restart}")
    )
    text = edited(("      - files:/run/secrets/web\n", ""), ('    volumes: ["files:/run/secrets/web:ro"]\n', ""))
    assert "app-not-mounted" not in Files(lessee=config, compose_yaml=text).rules()


def test_the_ca_of_the_shell_is_no_file_of_the_stack():
    stack = Files(compose_yaml=ALONE)
    stack.environ = {"VAULT_CACERT": "/home/me/ca.pem"}
    assert "ca.pem" not in stack.lines()["secrets"]
