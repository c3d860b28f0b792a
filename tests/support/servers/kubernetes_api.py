"""A stand-in for the part of Kubernetes' API that `lessee push kubernetes` uses; it is not Kubernetes.

It is an HTTPS server of the test's own. It checks token, content type, resourceVersion and the schema of each object in
three versions of Kubernetes, whose OpenAPI schemas are the API's own. Its answers have the API's form. An error repeats
the request, as one of an admission webhook may, so that a test finds a client that prints it.
"""

import copy
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import kubernetes_validate

VERSIONS = ("1.29", "1.33", kubernetes_validate.latest_version())
_REASONS = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    415: "UnsupportedMediaType",
    422: "Invalid",
    500: "InternalError",
}
_STRICT = {"fieldManager": ["lessee"], "fieldValidation": ["Strict"]}


class KubernetesApi(ThreadingHTTPServer):
    """`objects` by path. `writes` and `reads`: method and path of each request.

    `rules` are those of a Role; None permits everything. `faults` are the next answers, as (method, status); status 0:
    none, until the end. `meanwhile` is called once, just before the next write: what others do at the same time.
    """

    daemon_threads = True

    def __init__(self, folder, authority, token):
        super().__init__(("127.0.0.1", 0), _Handler)
        authority.issue(folder / "api.pem", 1)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "api.pem")
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.token, self.objects, self.writes, self.reads = token, {}, [], []
        self.rules, self.faults, self.meanwhile, self.ended = None, [], None, threading.Event()
        self.lock, self._version = threading.RLock(), 41

    @property
    def url(self):
        return f"https://127.0.0.1:{self.server_port}"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.shutdown()
        self.server_close()

    def put(self, path, found):
        """Store an object, which must match its schema."""
        for version in VERSIONS:
            kubernetes_validate.validate(found, version, strict=True)
        with self.lock:
            self._version += 1
            found = copy.deepcopy(found)
            found["metadata"]["resourceVersion"] = str(self._version)
            self.objects[path] = found
        return found

    def permits(self, method, path):
        """By the rules, as RBAC has them. A new object has no name yet, so no rule with names permits `create`."""
        if self.rules is None:
            return True
        parts = path.split("/")
        group, (resource, *name) = ("" if parts[1] == "api" else parts[2]), parts[parts.index("namespaces") + 2 :]
        verb = {"GET": "get", "POST": "create", "PATCH": "patch"}[method]
        return any(
            group in rule["apiGroups"]
            and resource in rule["resources"]
            and verb in rule["verbs"]
            and ("resourceNames" not in rule or set(name) & set(rule["resourceNames"]))
            for rule in self.rules
        )

    def answer(self, method, path, document, kind):
        """The status and the object."""
        if method == "GET":
            return (200, self.objects[path]) if path in self.objects else (404, None)
        if (meanwhile := self.meanwhile) is not None:
            self.meanwhile = None
            meanwhile()
        try:
            if method == "POST":
                return self._create(f"{path}/{document['metadata']['name']}", document, kind)
            return self._patch(path, document, kind)
        except kubernetes_validate.ValidationError:
            return 422, None

    def _create(self, path, document, kind):
        if kind != "application/json":
            return 415, None
        return (409, None) if path in self.objects else (201, self.put(path, document))

    def _patch(self, path, document, kind):
        if path not in self.objects or kind != "application/merge-patch+json":
            return (415 if path in self.objects else 404), None
        found = self.objects[path]
        version = document["metadata"]["resourceVersion"] if "metadata" in document else None
        if version not in {None, found["metadata"]["resourceVersion"]}:
            return 409, None
        return 200, self.put(path, merged(found, document))


def merged(target, patch):
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    found = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = merged(found.get(key), value)
    return found


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self._answer()

    def do_POST(self):
        self._answer()

    def do_PATCH(self):
        self._answer()

    def _answer(self):
        server, parts = self.server, urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with server.lock:
            requests = server.reads if self.command == "GET" else server.writes
            requests.append(f"{self.command} {parts.path}")
            fault = next((each for each in server.faults if each[0] == self.command), None)
            if fault is not None:
                server.faults.remove(fault)
                status, found = fault[1], None
            elif self.headers["Authorization"] != f"Bearer {server.token}":
                status, found = 401, None
            elif not server.permits(self.command, parts.path):
                status, found = 403, None
            elif self.command != "GET" and parse_qs(parts.query) != _STRICT:
                status, found = 400, None
            else:
                document = json.loads(body) if body else None
                status, found = server.answer(self.command, parts.path, document, self.headers["Content-Type"])
        if status == 0:
            server.ended.wait()
            return
        if found is None:
            message = f"refused: {body.decode()} {self.headers['Authorization']}"
            found = {"kind": "Status", "status": "Failure", "message": message, "reason": _REASONS.get(status, "")}
        answer = json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass
