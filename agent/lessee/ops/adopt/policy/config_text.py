"""The lessee.yaml of an adopted project: its agent, its apps, and what `lessee setup` creates."""

import re
from collections.abc import Iterator

from lessee.config.durations import spell
from lessee.config.yaml_writer import Entry, Expandable, Keys, write
from lessee.ops.adopt.policy import launcher, programs
from lessee.ops.adopt.policy.frontend import public_names
from lessee.ops.adopt.policy.model import AppPlan, Deployment, Plan, Service
from lessee.ops.adopt.policy.template_texts import files

_DURATION = re.compile(r"([0-9.]+)(h|ms|m|s)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
IDENTITY = "/run/identity"
"""In the agent's container."""
MODEL = "compose.json"
"""The resolved Compose model next to lessee.yaml, if the apps are labels."""
ROTATOR = "rotator"
"""The name of the rotator's AppRole, after that of the environment."""


def lessee_yaml(plan: Plan, deployment: Deployment, more: tuple[Entry, ...] = ()) -> str:
    """The text of the file. `more`: further blocks, such as `rotation`."""
    return write(Keys((*_entries(plan, deployment, has_rotator=any(entry[0] == "rotation" for entry in more)), *more)))


def identity(plan: Plan, app: str) -> str:
    """The folder of an app's login, as `lessee setup --output` names it: after the environment and the AppRole."""
    return f"{plan.environment}/{f'{plan.environment}-{plan.project.name}-{app}'.lower()}"


def agent_directory(app: AppPlan) -> str:
    """The app's directory in the agent's container."""
    return f"/run/secrets/{app.service}"


def _entries(plan: Plan, deployment: Deployment, *, has_rotator: bool) -> Iterator[Entry]:
    yield "The agent of compose.lessee.yaml, written by `lessee adopt`. It has no secret: commit it."
    yield "Each app is a service of the Compose project, and may read only the paths in its templates."
    yield "environment", plan.environment
    auth = (("auth", _login(plan, ROTATOR)),) if has_rotator else ()
    yield "vault", Keys((*_vault(deployment), *auth))
    yield "template_dir", "templates"
    if deployment.labels:
        yield f"The apps are labels of the services, which the agent reads in {MODEL}. After a change of one, run"
        yield "`lessee adopt`: it writes that file again, with labels alone."
        yield "compose", Keys((("file", MODEL), ("allow", ["vault"])))
    else:
        services = plan.project.services
        apps = ((app.service, Keys(tuple(app_entries(plan, app, services[app.service])))) for app in plan.apps)
        yield "apps", Keys(tuple(apps))
    yield "`lessee setup` creates these policies and AppRoles; it changes none that is as it should be."
    yield "setup", Keys((("environments", [plan.environment]), ("project", plan.project.name)))


def _vault(deployment: Deployment) -> Iterator[Entry]:
    # The container has no such variables; they are for `lessee set` and others on the host.
    yield "address", Expandable(f"${{VAULT_ADDR:-{deployment.vault_address}}}")
    if deployment.namespace:
        yield "namespace", deployment.namespace
    if deployment.ca_file:
        yield "ca_file", Expandable("${VAULT_CACERT:-/etc/lessee/ca.pem}")
    if deployment.insecure_http:
        yield "insecure_http", True


def _login(plan: Plan, name: str) -> Keys:
    folder = f"{IDENTITY}/{identity(plan, name)}"
    return Keys(
        (("method", "approle"), ("role_id_file", f"{folder}/role_id"), ("secret_id_file", f"{folder}/secret_id"))
    )


def _stop(service: Service) -> Iterator[Entry]:
    """The signal that ends the program, and the time that the project gives it."""
    if name := programs.stop_signal(service):
        yield "stop_signal", name
    parts = _DURATION.findall(service.stop_grace_period or "")
    if parts:
        yield "stop_grace_period", spell(sum(float(count) * _UNITS[unit] for count, unit in parts))


def app_entries(plan: Plan, app: AppPlan, service: Service) -> Iterator[Entry]:
    """The value of `apps.NAME`."""
    yield "directory", agent_directory(app)
    yield "vault", Keys((("auth", _login(plan, app.service)),))
    yield "owner", f"0:{app.owner_gid}"
    yield "mode", "0440"
    yield (
        "files",
        [
            Keys((("template", file.template), ("format", file.format)), flow=False)
            for file in files(app, service)
        ],
    )  # fmt: skip
    if names := public_names(plan.project, app.service):
        yield "A build gives these to every visitor. `lessee check` refuses any other such name in a template."
        yield "public_variables", list(names)
    if app.notification is not None:
        yield "The Engine starts it again with the new values."
        uid = () if app.notification.uid is None else (("uid", app.notification.uid),)
        target = (("pid_file", f"{launcher.PID_FOLDER}/{app.service}/{launcher.PID_FILE}"),)
        yield "notify", Keys((*target, ("action", app.notification.action), *uid, *_stop(service)))
