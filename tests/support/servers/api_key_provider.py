"""A provider of API keys: they really are made, shown once, listed, disabled, revoked and let in, over HTTP."""

import json
import secrets
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

PAGE = 3


class Keyring:
    """`/v1/keys` for the admin, `/v1/me` for whoever has a key. `turn` makes it misbehave: see `answer`."""

    def __init__(self, *, pair=None, host="127.0.0.1"):
        self.admin = f"admin-{secrets.token_hex(8)}"
        self.keys = {}
        """What there is, by id, the newest last: name, key, disabled."""
        self.requests = []
        """Method and path of each."""
        self.turn = {}
        """By method and first element of the path below /v1: a status, or a function of the handler."""
        self.lock = threading.Lock()
        ring = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                ring.answer(self)

            do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815  # http.server calls them so.

            def say(self, status, document=None, headers=()):
                body = b"" if document is None else json.dumps(document).encode()
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer((host, 0), Handler)
        self._server.daemon_threads = True
        if pair is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pair)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{'http' if pair is None else 'https'}://{host}:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def make(self, name):
        """A key, as a person makes it on the provider's page."""
        with self.lock:
            made = f"key_{secrets.token_hex(4)}"
            self.keys[made] = {"name": name, "key": f"sk-{secrets.token_hex(16)}", "disabled": False}
            return made, self.keys[made]["key"]

    def lets_in(self, key):
        return any(one["key"] == key and not one["disabled"] for one in list(self.keys.values()))

    def answer(self, handler):
        parts = urlsplit(handler.path)
        _, _, what, *rest = parts.path.split("/")
        body = json.loads(handler.rfile.read(int(handler.headers.get("Content-Length") or 0)) or "null")
        self.requests.append((handler.command, handler.path))
        token = (handler.headers.get("Authorization") or "").removeprefix("Bearer ")
        turned = self.turn.get((handler.command, what))
        if callable(turned):
            turned(handler, body)
        elif turned is not None:
            handler.say(turned, {"error": f"no, {token}"})
        elif what == "me":
            self._me(handler, token)
        elif token != self.admin:
            handler.say(401, {"error": f"no such key: {token}"})
        else:
            self._administer(handler, rest, body, int(parse_qs(parts.query).get("offset", ["0"])[0]))

    def _me(self, handler, token):
        found = [made for made, one in list(self.keys.items()) if one["key"] == token and not one["disabled"]]
        handler.say(200, {"id": found[0]}) if found else handler.say(401, {"error": f"no such key: {token}"})

    def _administer(self, handler, rest, body, offset):
        match handler.command:
            case "POST":
                made, key = self.make(body["name"])
                handler.say(201, {"key": key, "data": {"id": made}})
            case "GET":
                newest = list(self.keys.items())[::-1][offset : offset + PAGE]
                shown = [
                    {"id": made, "name": one["name"], "masked": f"sk-...{one['key'][-6:]}"} for made, one in newest
                ]
                handler.say(200, {"data": shown})
            case _ if rest[0] not in self.keys:
                handler.say(404, {"error": "no such key"})
            case "PATCH":
                self.keys[rest[0]] |= body
                handler.say(200, {})
            case "DELETE":
                del self.keys[rest[0]]
                handler.say(204)
