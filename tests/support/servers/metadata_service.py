"""A substitute for the metadata servers of AWS, Azure and Google Cloud: they exist only on machines of these clouds.

It requires what they require of a request, by their documentation, and answers as they do.
"""

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from support.servers.jwt_signer import Signer

_TOKEN = "canary-metadata-token"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """A client that hangs up is expected."""


class MetadataService:
    """`signer`: signs the JWTs of Azure and Google. `aws`: the credentials of the machine's IAM role.

    `instance`: the identity document of EC2. `answer`: in place of every answer: a status, headers and a body.
    """

    def __init__(self):
        self.signer = Signer()
        self.accounts = {"default": "web@project.iam.gserviceaccount.com"}
        self.azure_identities = {None: "object-of-the-machine"}
        self.compute = {"subscriptionId": "sub", "resourceGroupName": "group", "name": "vm", "vmScaleSetName": ""}
        self.instance = {"accountId": "123456789012", "instanceId": "i-1", "region": "eu-central-1"}
        self.aws, self.answer, self.requests = None, None, []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                outer._serve(self)

            def do_PUT(self):
                outer._serve(self)

            def log_message(self, *_):
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, request):
        parts = urlsplit(request.path)
        self.requests.append(request.path)
        query = dict(parse_qsl(parts.query))
        if self.answer is not None:
            status, headers, body = self.answer
        elif parts.path.startswith("/computeMetadata/v1/"):
            status, headers, body = self._google(request, parts.path, query)
        elif parts.path.startswith("/metadata/"):
            status, headers, body = self._azure(request, parts.path, query)
        else:
            status, headers, body = self._aws(request, parts.path)
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def _google(self, request, path, query):
        headers = {"Metadata-Flavor": "Google"}
        account = path.removeprefix("/computeMetadata/v1/instance/service-accounts/").removesuffix("/identity")
        if request.headers.get("Metadata-Flavor") != "Google" or "X-Forwarded-For" in request.headers:
            return 403, headers, b"Missing Metadata-Flavor:Google header."
        if account not in self.accounts or query.get("format") != "full" or not query.get("audience"):
            return 404, headers, b"not found"
        machine = {"project_id": "project", "zone": "europe-west3-a", "instance_id": "1", "instance_name": "vm"}
        claims = {"iss": "https://accounts.google.com", "aud": query["audience"], "email": self.accounts[account]}
        jwt = self.signer.sign(sub="1", google={"compute_engine": machine}, **claims)
        return 200, headers, jwt.encode()

    def _azure(self, request, path, query):
        if request.headers.get("Metadata") != "true" or "X-Forwarded-For" in request.headers:
            return 400, {}, b'{"error": "Bad request. Required metadata header not specified"}'
        if "api-version" not in query:
            return 400, {}, b'{"error": "Bad request. api-version is invalid or was not specified in the request."}'
        if path == "/metadata/instance/compute":
            return 200, {}, json.dumps(self.compute).encode()
        identity = self.azure_identities.get(query.get("client_id"))
        if path != "/metadata/identity/oauth2/token" or identity is None:
            return 400, {}, b'{"error": "invalid_request", "error_description": "Identity not found"}'
        claims = {"aud": query["resource"], "iss": "https://sts.windows.net/tenant/", "nbf": int(time.time())}
        token = self.signer.sign(oid=identity, sub=identity, **claims)
        body = {"access_token": token, "expires_in": "3599", "token_type": "Bearer", "resource": query["resource"]}
        return 200, {}, json.dumps(body).encode()

    def _aws(self, request, path):
        if path == "/latest/api/token" and request.command == "PUT":
            if "X-aws-ec2-metadata-token-ttl-seconds" not in request.headers:
                return 400, {}, b""
            return 200, {}, _TOKEN.encode()
        if request.headers.get("X-aws-ec2-metadata-token") != _TOKEN:
            return 401, {}, b""
        document = json.dumps(self.instance, indent=2).encode()
        if path == "/latest/dynamic/instance-identity/document":
            return 200, {}, document
        if path == "/latest/dynamic/instance-identity/signature":
            return 200, {}, self.signer.signature(document)
        folder = "/latest/meta-data/iam/security-credentials/"
        if not path.startswith(folder) or self.aws is None:
            return 404, {}, b""
        if path == folder:
            return 200, {}, b"machine-role"
        key, secret, session = self.aws
        now = datetime.now(UTC)
        times = {"LastUpdated": now, "Expiration": now + timedelta(hours=6)}
        body = {"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": key, "SecretAccessKey": secret, "Token": session}
        body |= {name: at.strftime("%Y-%m-%dT%H:%M:%SZ") for name, at in times.items()}
        return 200, {}, json.dumps(body).encode()
