"""The Pod Security Standard `restricted`, and more rules for a pod whose files are secrets."""

import re

SECRET_NAME = re.compile("password|passwd|token|secret|credential|api_?key", re.IGNORECASE)


def violations(pod):
    """Find what the standard `restricted` forbids: https://kubernetes.io/docs/concepts/security/pod-security-standards/."""
    yield from (f"{name}" for name in ("hostNetwork", "hostPID", "hostIPC") if pod.get(name))
    allowed = {
        "configMap",
        "downwardAPI",
        "emptyDir",
        "projected",
        "secret",
    }  # The types that the standard allows and the pod may use.
    for volume in pod["volumes"]:
        yield from (f"volume {kind}" for kind in volume.keys() - {"name"} - allowed)
    for container in pod["initContainers"] + pod["containers"]:
        own = container.get("securityContext", {})
        both = pod["securityContext"] | own
        capabilities = own.get("capabilities", {})
        checks = {
            "privileged": not own.get("privileged"),
            "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
            "drop": capabilities.get("drop") == ["ALL"],
            "add": set(capabilities.get("add", [])) <= {"NET_BIND_SERVICE"},
            "runAsNonRoot": both.get("runAsNonRoot") is True,
            "runAsUser": both.get("runAsUser") != 0,
            "seccompProfile": both.get("seccompProfile", {}).get("type") in {"RuntimeDefault", "Localhost"},
            "hostPort": not any("hostPort" in port for port in container.get("ports", [])),
            "procMount": own.get("procMount", "Default") == "Default",
        }
        yield from (f"{container['name']}: {name}" for name, passed in checks.items() if not passed)


def weaknesses(pod):
    """Find what the standard permits, and a pod with rendered secrets must not have."""
    if pod.get("automountServiceAccountToken") is not False:
        yield "automountServiceAccountToken"
    for volume in pod["volumes"]:
        emptied = volume.get("emptyDir")
        if emptied is not None and (emptied.get("medium") != "Memory" or not emptied.get("sizeLimit")):
            yield f"volume {volume['name']}: not a tmpfs with a limit"
    for container in pod["initContainers"] + pod["containers"]:
        name, own = container["name"], container.get("securityContext", {})
        if own.get("readOnlyRootFilesystem") is not True:
            yield f"{name}: readOnlyRootFilesystem"
        if not container.get("resources", {}).get("limits", {}).get("memory"):
            yield f"{name}: memory"
        if not re.search(r"@sha256:[0-9a-f]{64}$|:(?!latest$)[^:/]+$", container["image"]):
            yield f"{name}: the image has no fixed tag"
        if any("secretRef" in source for source in container.get("envFrom", [])):
            yield f"{name}: a Secret as variables"
        for variable in container.get("env", []):
            if "secretKeyRef" in variable.get("valueFrom", {}) or SECRET_NAME.search(variable["name"]):
                yield f"{name}: variable {variable['name']}"
