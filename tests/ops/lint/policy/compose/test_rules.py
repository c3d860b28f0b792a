"""Problems between a Compose file and the agent's configuration are found, without false alarms."""

import pytest

from support.inputs.compose_files import AGENT, LESSEE, check, found

LINE = AGENT.count("\n")
"""The last line of the agent; services begin in the next."""


def lessee(notify):
    return LESSEE.replace("{process: {name: app.py}, action: SIGHUP}", notify)


def test_a_working_setup_has_no_findings():
    text = """
      holder: {image: lessee, entrypoint: [sleep, infinity], volumes: ["files:/hold"]}
      web:
        pid: service:holder
        command: [python3, /app/app.py]
        volumes: ["files:/run/secrets/web:ro"]
        environment: {LOG_LEVEL: debug}
        env_file: [{path: more.env, required: false}]
    """
    assert found(text) == []


@pytest.mark.parametrize(
    ("key", "level"),
    [
        ("environment: {A: b, DATABASE_URL: 'postgresql://db'}", "error"),
        ("environment: [A=b, DATABASE_URL=]", "error"),
        ("environment: {DATABASE_URL: '${DATABASE_URL}'}", "error"),
        ("environment: [DATABASE_URL]", "warning"),
        ("env_file: a.env", "error"),
        ("env_file: [{path: a.env}]", "error"),
        ("env_file: [gone.env]", None),
        ("env_file: [broken.env]", None),
        ("environment: {database_url: x}", None),
    ],
)
def test_a_shadowed_variable_is_found_with_its_line(key, level):
    text = f"""
      web:
        {key}
        pid: service:holder
    """
    env_files = {"a.env": "# mine\nexport DATABASE_URL=canary\n", "broken.env": "'"}
    expected = [("shadowed-variable", level, "compose.yaml", LINE + 2)] if level else []
    assert found(text, env_files=env_files) == expected
    assert not any("canary" in item.message + item.help for item in check(text, env_files=env_files))


def test_a_shadowed_variable_s_message_names_service_variable_file_and_app():
    [item] = check("web: {pid: 'service:holder', environment: {DATABASE_URL: canary}}")
    assert item.message == (
        "DATABASE_URL is set for service web in `environment`, and app web sets it too: app.env is ignored"
    )
    assert item.help == "remove it here"
    assert item.app == "web"


def test_sample_names_are_ignored_and_unknown_names_are_searched_in_the_template():
    text = "web: {pid: 'service:holder', environment: {madeup0: a, madeup1: b, PORT: c, FIXED: d}}"
    loop = '{% for k, v in secret("db").items() %}{{ k }}={{ v }}\n{% endfor %}FIXED=1\n'
    assert [item.message.split()[0] for item in check(text, templates={"app.env.j2": loop})] == ["FIXED"]
    unknown = 'PORT={{ secret("db").url.split("/")[7] }}\n'
    assert [item.message.split()[0] for item in check(text, templates={"app.env.j2": unknown})] == ["PORT"]
    assert found(text, templates={"app.env.j2": "no\n{{ secret('db').x }}\nFIXED=1\n"}) == []
    strict = LESSEE.replace("{template: app.env.j2}", "{template: app.env.j2, format: dotenv-compose}")
    assert found(text, lessee=strict, templates={"app.env.j2": unknown + "'\n"}) == []


def test_a_variable_in_a_file_and_an_environment_is_reported_for_the_file():
    config = LESSEE.replace("    notify: {process: {name: app.py}, action: SIGHUP}\n", "    env_template: app.env.j2\n")
    [item] = check("web: {environment: {DATABASE_URL: x}}", lessee=config)
    assert (item.level, item.message.endswith("app.env is ignored")) == ("error", True)


@pytest.mark.parametrize("name", ["app.sh", "app.json", "app.txt"])
def test_formats_that_override_the_environment_are_not_shadowed(name):
    config = LESSEE.replace("{template: app.env.j2}", f"{{template: app.env.j2, name: {name}}}")
    template = {"app.env.j2": '{"DATABASE_URL": 1}' if name == "app.json" else "DATABASE_URL=1\n"}
    text = "web: {pid: 'service:holder', environment: {DATABASE_URL: x}}"
    assert found(text, lessee=config, templates=template) == []


def test_a_file_of_the_app_itself_may_be_an_env_file():
    agent = "agent: {image: lessee, volumes: ['./files:/run/secrets/web']}"
    text = "web: {env_file: [files/app.env, ./other.env], volumes: ['./files:/x:ro']}"
    files = {"compose.yaml": f"services:\n  {agent}\n  {text}\n"}
    env_files = {"files/app.env": "DATABASE_URL=x", "other.env": "A=1"}
    assert found("", others=files, lessee=lessee("{command: [x]}"), env_files=env_files) == []


def test_variables_overridden_by_lessee_exec_are_a_warning():
    config = LESSEE.replace("files: [{template: app.env.j2}]", "env_template: app.env.j2").replace(
        "{process: {name: app.py}, action: SIGHUP}", "{child: true, action: restart}"
    )
    text = "app: {command: [lessee, exec, --app, web, --, x], environment: {DATABASE_URL: x}}"
    [item] = check(text, lessee=config)
    assert (item.rule, item.level) == ("shadowed-variable", "warning")
    assert item.message.endswith("the value here is ignored")


@pytest.mark.parametrize(
    ("service", "reads"),
    [
        ("web: {pid: 'service:holder', environment: {DATABASE_URL: x}}", True),
        ("x: {volumes: ['files:/any:ro'], pid: 'service:holder', environment: {DATABASE_URL: x}}", True),
        ("x: {command: 'lessee exec --app=web -- y', environment: {DATABASE_URL: x}}", True),
        ("x: {command: [exec, --app, web, --, y], environment: {DATABASE_URL: x}}", True),
        ("x: {command: sh -c 'exec /opt/lessee exec --app web -- y', environment: {DATABASE_URL: x}}", True),
        ("x: {volumes: ['other:/any:ro'], environment: {DATABASE_URL: x}}", False),
        ("x: {volumes: ['./files:/any:ro'], environment: {DATABASE_URL: x}}", False),
        ("x: {volumes: ['/run/secrets/web:/any:ro'], environment: {DATABASE_URL: x}}", False),
        ("x: {command: [sleep, infinity], volumes: ['files:/any'], environment: {DATABASE_URL: x}}", False),
        ("x: {command: [lessee, read, web], environment: {DATABASE_URL: x}}", False),
        ("x: {command: 'lessee exec --app web -- y', environment: {OTHER: x}}", False),
    ],
)
def test_readers_of_an_app_are_found_by_name_mount_or_command(service, reads):
    assert ("shadowed-variable" in {rule for rule, *_ in found(service)}) == reads


def test_the_notified_container_reads_the_app():
    text = "x: {pid: 'service:holder', environment: {DATABASE_URL: x}}"
    seen = lessee("{container: {service: x}}")
    assert [rule for rule, *_ in found(text, lessee=seen)] == ["shadowed-variable"]
    assert found(text, lessee=lessee("{container: {service: x, project: other}}")) == []
    assert [rule for rule, *_ in found(text, lessee=lessee("{command: [x]}"))] == ["app-without-reader"]


def test_for_an_app_without_a_reader_each_service_with_its_variables_is_reported():
    text = """
      server: {env_file: ../.env, environment: ["DATABASE_URL=canary"]}
      celery_worker:
        environment:
          DATABASE_URL: canary
      pause: {command: [sleep, infinity], environment: {DATABASE_URL: canary}}
      other: {command: 'lessee exec --app ${APP} -- x', environment: {DATABASE_URL: canary}}
    """
    result = check(text, env_files={"../.env": "DATABASE_URL=canary\nPORT=1\n"})
    assert [(item.rule, item.level, item.line, item.app) for item in result if item.rule == "app-without-reader"] == [
        ("app-without-reader", "warning", LINE + 1, "web"),
        ("app-without-reader", "warning", LINE + 1, "web"),
        ("app-without-reader", "warning", LINE + 4, "web"),
    ]
    assert not any("canary" in item.message + item.help for item in result)
    assert "no service is known to read the app's files" in next(
        item.message for item in result if item.rule == "app-without-reader"
    )


def test_a_variable_set_in_several_places_is_reported_at_each():
    text = """
      web:
        pid: service:holder
        env_file:
          - ../.env
          - more.env
        environment:
          DATABASE_URL: postgresql://db
    """
    env_files = {"../.env": "DATABASE_URL=a\nDATABASE_URL=b\n", "more.env": "DATABASE_URL=c\n"}
    assert found(text, env_files=env_files) == [
        ("shadowed-variable", "error", "compose.yaml", LINE + line) for line in (4, 5, 7)
    ]


TWO = LESSEE + "  api:\n    directory: /run/secrets/api\n    files: [{template: app.env.j2}]\n"


@pytest.mark.parametrize(
    ("mount", "apps"),
    [
        ("files:/s:ro", []),
        ("{type: volume, source: files, target: /s, read_only: true, volume: {subpath: api}}", ["api"]),
        ("{type: volume, source: files, target: /s, read_only: true, volume: {subpath: web}}", ["web"]),
    ],
)
def test_the_subpath_of_a_shared_volume_identifies_the_app(mount, apps):
    agent = "agent: {image: lessee, pid: 'service:holder', volumes: ['files:/run/secrets']}"
    mount = mount if mount.startswith("{") else f"'{mount}'"
    text = f"x: {{pid: 'service:holder', volumes: [{mount}], environment: {{DATABASE_URL: x}}}}"
    files = {"compose.yaml": f"services:\n  {agent}\n  {text}\n"}
    result = check("", others=files, lessee=TWO)
    assert [item.app for item in result if item.rule == "shadowed-variable"] == apps


def test_without_an_agent_service_host_directories_count():
    text = "x: {volumes: ['/run/secrets/web:/s'], environment: {DATABASE_URL: x}}"
    files = {"compose.yaml": f"services:\n  {text}\n"}
    assert [rule for rule, *_ in found("", others=files)] == ["shadowed-variable", "writable-mount"]


def test_without_a_shared_directory_only_names_count():
    agent = "agent: {image: 'ours/lessee:1', pid: 'service:holder'}"
    text = "x: {volumes: ['files:/run/secrets/web'], environment: {DATABASE_URL: x}}\n  "
    text += "web: {pid: 'service:holder', environment: {DATABASE_URL: x}}"
    files = {"compose.yaml": f"services:\n  {agent}\n  {text}\n"}
    assert [line for *_, line in found("", others=files)] == [4]


@pytest.mark.parametrize(
    ("agent", "is_one"),
    [
        ("image: lessee", True),
        ("image: 'registry.local:5000/team/lessee:1.2'", True),
        ("image: any, volumes: ['state:/run/lessee']", True),
        ("image: any, volumes: ['./c:/etc/lessee']", True),
        ("image: any, command: [run]", False),
        ("image: lessee, command: [run, --revoke]", True),
        ("image: any, command: [/opt/lessee/bin/lessee, run]", True),
        ("image: lessee, entrypoint: [sleep, infinity]", False),
        ("image: lessee, command: [status]", False),
        ("image: any, command: [lessee, status]", False),
        ("build: .", False),
    ],
)
def test_the_agent_is_found_by_its_command_or_mounts(agent, is_one):
    # The finding needs an agent: only an agent must see the processes of others.
    text = f"a: {{{agent}}}\n  web: {{image: x}}"
    files = {"compose.yaml": f"services:\n  {text}\n"}
    assert found("", others=files) == ([("no-shared-pid", "error", "compose.yaml", 3)] if is_one else [])


@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("agents", "reader", "is_found"),
    [
        ("'1000:1000'", "user: 1000", True),
        ("1000", "user: '1000:2000'", True),
        ("'0:1000'", "user: root", True),
        ("root:app", "user: 0", True),
        ("app", "user: app", True),
        ("'1000:1000'", "user: '10001:1000'", False),
        ("'0:1000'", "user: '1000:1000'", False),
        ("app", "user: 1000", False),
        ("'${U:-1000}:1000'", "user: '${U:-1000}:1000'", False),
        ("''", "user: ''", False),
        ("1000", "image: x", False),
        ("1000", "user: 1000, command: [sleep, infinity]", False),
        ("1000", "user: 1000, command: 'lessee exec --app web -- x'", False),
        ("1000", "user: 1000, volumes: !override ['other:/run/secrets/web:ro']", False),
    ],
)
def test_an_app_with_the_agents_user_is_found(agents, reader, is_found):
    agent = f"agent: {{image: lessee, user: {agents}, pid: 'service:holder', volumes: ['files:/run/secrets/web']}}"
    volumes = "" if "volumes" in reader else ", volumes: ['files:/run/secrets/web:ro']"
    files = {"compose.yaml": f"services:\n  {agent}\n  x: {{pid: 'service:holder', {reader}{volumes}}}\n"}
    same = [item for item in check("", others=files) if item.rule == "same-user"]
    assert [(item.level, item.line, item.app) for item in same] == [("warning", 2, "web")] * is_found


def test_an_app_named_like_its_service_has_the_agents_user_without_a_common_volume():
    agent = "agent: {image: lessee, pid: 'service:holder', user: 0}"
    files = {"compose.yaml": f"services:\n  {agent}\n  web: {{pid: 'service:holder', user: root}}\n"}
    assert found("", others=files) == [("same-user", "warning", "compose.yaml", 2)]


def test_a_service_that_reads_two_apps_is_found_for_each():
    agent = "agent: {image: lessee, pid: 'service:holder', user: '1000:1000', volumes: ['files:/run/secrets']}"
    text = "x: {user: 1000, volumes: ['files:/run/secrets:ro']}"
    files = {"compose.yaml": f"services:\n  {agent}\n  {text}\n"}
    apps = [item.app for item in check("", others=files, lessee=TWO) if item.rule == "same-user"]
    assert apps == ["api", "web"]


def test_an_unknown_app_is_reported_with_its_command():
    text = """
      x:
        command: [lessee, exec, --app, wbe, --, y]
      y:
        entrypoint: [lessee, exec, --app, wbe, --]
      z: {command: 'lessee exec --app ${APP} -- y'}
      w: {command: 'lessee exec'}
    """
    assert found(text) == [
        ("unknown-app", "error", "compose.yaml", LINE + 2),
        ("unknown-app", "error", "compose.yaml", LINE + 4),
    ]
    assert "its apps are: web" in check(text)[0].help


def test_an_unknown_service_is_reported_in_the_configuration():
    notify = "\n      container:\n        service: wbe"
    assert found("web: {}", lessee=lessee(notify)) == [("unknown-service", "error", "lessee.yaml", 8)]
    assert found("web: {}", lessee=lessee("{container: {service: x, project: y}}")) == []
    assert found("web: {}", lessee=lessee("{container: {label: x}}")) == []


@pytest.mark.parametrize(
    ("service", "notify", "level"),
    [
        ("command: uvicorn app:app", "{container: {service: web}}", "error"),
        ("command: uvicorn app:app, environment: {WEB_CONCURRENCY: 4}", "{container: {service: web}}", "warning"),
        ("command: uvicorn app:app, environment: [WEB_CONCURRENCY]", "{container: {service: web}}", "warning"),
        ("command: uvicorn app:app --workers 2", "{container: {service: web}}", "warning"),
        ("command: uvicorn a:a --workers 2 --timeout-worker-healthcheck 60", "{container: {service: web}}", None),
        ("command: uvicorn app:app", "{container: {service: web}, action: restart}", None),
        ("command: uvicorn app:app", "{container: {service: web}, on_unhandled_signal: restart}", None),
        ("command: uvicorn app:app", "{process: {name: uvicorn}}", "error"),
        ("command: uvicorn app:app", "{process: {cmdline: '^uvicorn app'}}", "error"),
        ("command: uvicorn app:app", "{process: {cmdline: other}}", None),
        ("command: uvicorn app:app", "{process: {name: other}}", None),
        ("command: uvicorn app:app", "{pid_file: /x}", None),
        ("command: 'lessee exec --app web -- uvicorn app:app'", "{child: true}", "error"),
        ("command: 'lessee exec --app web -- uvicorn app:app'", "{process: {cmdline: '^uvicorn app'}}", "error"),
        ("command: 'lessee exec --app web -- gunicorn app:app'", "{child: true}", None),
        ("command: uvicorn app:app", "{child: true}", None),
        ("command: 'node index.js'", "{container: {service: web}}", "warning"),
    ],
)
def test_sighup_is_checked_against_the_service_s_command(service, notify, level):
    result = found(f"web: {{pid: 'service:holder', {service}}}", lessee=lessee(notify))
    assert result == ([("sighup-not-handled", level, "lessee.yaml", 6)] if level else [])


def test_a_missing_service_is_reported_with_the_services_that_there_are():
    notify = lessee("{container: {service: wbe}}")
    helps = [[item.help for item in check(services, lessee=notify)] for services in ("web: {image: x}", "")]
    assert helps == [["its services are: agent, web"], ["its services are: agent"]]
    empty = {"empty.yaml": "services: {}\n"}
    [item] = check("", lessee=notify, others=empty, paths=("empty.yaml",))
    assert (item.message, item.help) == ("the Compose file has no service wbe", "its services are: none")


def test_an_issue_known_from_the_configuration_is_not_reported_twice():
    assert found("web: {pid: 'service:holder', command: celery}", lessee=lessee("{process: {name: celery}}")) == []


def test_a_sighup_issue_names_the_service():
    [item] = check("web: {pid: 'service:holder', command: uvicorn x}", lessee=lessee("{container: {service: web}}"))
    assert item.message.startswith("uvicorn, which service web runs, does not reload files on SIGHUP: with one process")


def test_a_writable_mount_of_secrets_is_a_warning():
    text = """
      holder: {entrypoint: [sh, -c, 'trap : TERM; sleep infinity & wait'], volumes: ["files:/hold"]}
      web:
        pid: service:holder
        volumes:
          - files:/run/secrets/web
    """
    assert found(text) == [("writable-mount", "warning", "compose.yaml", LINE + 5)]


def test_a_mount_of_a_file_or_subdirectory_of_an_app_is_reported():
    text = """
      web:
        pid: service:holder
        volumes:
          - files:/run/secrets/web:ro
          - {type: volume, source: files, target: /tls, read_only: true, volume: {subpath: tls}}
          - /run/secrets/web/app.env:/app.env:ro
    """
    assert found(text) == [("stale-mount", "error", "compose.yaml", LINE + 5)]
    alone = (
        "services: {web: {volumes: ['/run/secrets/web/tls:/tls:ro', '/run/secrets/web2:/x', '/run/secrets:/y:ro']}}\n"
    )
    [item] = [
        item for item in check("", others={"alone.yaml": alone}, paths=("alone.yaml",)) if item.rule != "no-shared-pid"
    ]
    assert item.message == "service web mounts a part of the directory of app web, and never gets new files"
    assert item.help == "mount the whole directory, /run/secrets/web"


def test_a_compose_secret_in_an_app_s_directory_is_reported():
    text = """
      web:
        pid: service:holder
        volumes: ["files:/run/secrets/web:ro"]
        secrets: [web, web2, {source: a, target: /run/secrets/web/a}]
    """
    assert found(text) == [("hidden-files", "error", "compose.yaml", LINE + 4)] * 2


@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("agent", "service", "notify", "seen"),
    [
        ("service:holder", "service:holder", "{process: {name: x}}", True),
        ("service:web", None, "{process: {name: x}}", True),
        (None, "service:agent", "{process: {name: x}}", True),
        ("host", None, "{process: {name: x}}", True),
        (None, None, "{process: {name: x}}", False),
        ("service:holder", None, "{process: {name: x}}", False),
        (None, "host", "{process: {name: x}, action: restart}", False),
        (None, None, "{process: {cmdline: x}}", False),
        (None, None, "{pid_file: /x}", False),
        (None, None, "{container: {service: web}}", False),
        (None, None, "{container: {service: web}, action: restart}", True),
        (None, None, "{container: {service: web, through: engine}}", True),
        (None, None, "{command: [x]}", True),
        (None, None, "{child: true}", True),
    ],
)
def test_signals_need_a_shared_pid_namespace(agent, service, notify, seen):
    pids = [f"pid: '{pid}'" if pid else "init: true" for pid in (agent, service)]
    text = f"agent: {{image: lessee, {pids[0]}}}\n  web: {{{pids[1]}}}"
    files = {"compose.yaml": f"services:\n  {text}\n"}
    expected = [] if seen else [("no-shared-pid", "error", "compose.yaml", 3)]
    result = found("", others=files, lessee=lessee(notify))
    assert [item for item in result if item[0] != "no-restart-policy"] == expected


def test_a_process_in_the_agent_s_container_is_visible():
    files = {"compose.yaml": "services:\n  web: {image: lessee}\n"}
    assert found("", others=files) == []


def test_an_app_without_notify_has_no_findings():
    assert found("x: {}", lessee=LESSEE.replace("    notify: {process: {name: app.py}, action: SIGHUP}\n", "")) == []


@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("service", "action", "wrong"),
    [
        ("restart: always", "SIGHUP", True),
        ("restart: always, stop_signal: SIGHUP", "SIGHUP", True),
        ("restart: always, stop_signal: HUP", "SIGHUP", True),
        ("restart: unless-stopped, stop_signal: SIGTERM", "SIGHUP", True),
        ("restart: always, stop_signal: SIGTERM", "SIGHUP", False),
        ("restart: on-failure, stop_signal: SIGTERM", "SIGHUP", False),
        ("restart: always", "restart", False),
        ("restart: 'no'", "SIGHUP", False),
        ("image: x", "SIGHUP", False),
    ],
)
def test_a_signal_through_the_engine_must_not_disable_the_restart_policy(service, action, wrong):
    notify = lessee(f"{{container: {{service: web, through: engine}}, action: {action}}}")
    expected = [("no-stop-signal", "error", "compose.yaml", LINE + 1)] if wrong else []
    assert found(f"web: {{{service}}}", lessee=notify) == expected
    elsewhere = lessee("{container: {name: web, through: engine}}")
    assert found(f"web: {{{service}}}", lessee=elsewhere) == []


def test_the_help_for_a_signal_through_the_engine_names_what_to_write():
    notify = lessee("{container: {service: web, through: engine}, action: SIGHUP}")
    helps = {
        restart: [
            item.help for item in check(f"web: {{restart: {restart}}}", lessee=notify) if item.rule == "no-stop-signal"
        ]
        for restart in ("always", "unless-stopped")
    }
    shared = ", or let them share a PID namespace"
    assert helps == {
        "always": [f"write `stop_signal: SIGTERM`{shared}"],
        "unless-stopped": [f"write `restart: always` and `stop_signal: SIGTERM`{shared}"],
    }


def test_a_container_without_a_service_is_not_a_service_without_a_name():
    notify = lessee("{container: {label: a=b, through: engine}, action: SIGHUP}")
    assert found("web: {restart: always}\nXXXX: {restart: always}", lessee=notify) == []


def test_literal_secrets_are_reported_once_without_their_value():
    text = """
      a: &a
        environment: {DB_PASSWORD: canary, DB_USER: canary}
        build:
          args: {NPM_TOKEN: canary}
      b: {<<: *a, environment: ["DATABASE_URL=postgresql://u:canary@db/x", "API_KEY"]}
    """
    result = check(text)
    assert [(item.rule, item.level, item.line) for item in result if item.rule == "literal-secret"] == [
        ("literal-secret", "warning", LINE + 2),
        ("literal-secret", "warning", LINE + 4),
        ("literal-secret", "warning", LINE + 5),
    ]
    assert not any("canary" in item.message + item.help for item in result)


def test_with_an_invalid_configuration_only_literal_secrets_are_reported():
    result = check("x: {command: 'lessee exec --app y -- z', environment: {A_TOKEN: b}}", lessee="nope: 1\n")
    assert [item.rule for item in result] == ["literal-secret"]


def test_an_unreadable_file_is_reported_with_the_rest():
    assert found("", paths=["gone.yaml", "compose.yaml"]) == [("compose-unreadable", "error", "gone.yaml", 0)]
