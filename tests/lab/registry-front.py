"""A front of the lab's registry that answers as Amazon ECR does where Debian's registry does not.

    python3 registry-front.py ADDRESS UPSTREAM_HOST UPSTREAM_ADDRESS CA RULE

Prints its port, then passes requests on to UPSTREAM_HOST at UPSTREAM_ADDRESS (TLS, trusting CA), but for those that RULE is about:
    immutable      a manifest cannot be put under a tag that exists
    no-repository  no upload can begin: the repository does not exist
    flaky          the first four uploads that are begun are answered with 503
    denied         the principal may not upload
    rate-limited   the first three uploads that are begun are answered with 429, one with Retry-After
    quota, too-large, disk-full
                   the registry takes no more, each for its own reason
    reset          the second part of each upload is cut in its middle, once
    referrers      the registry knows and lists referrers, as those of version 1.1 of the specification do
    list-crossed   the first list of referrers that a client puts is gone at once, as if another client's put had crossed with it
    password=TEXT  the user AWS has this password here, in the place of the registry's own
The texts are those of Amazon ECR. It ends when its stdin does, so that it never outlives a test, however that ended.
"""

import base64
import http.client
import http.server
import json
import os
import re
import socket
import ssl
import sys
import threading
import urllib.parse

ADDRESS, UPSTREAM_HOST, UPSTREAM_ADDRESS, CA, RULE = sys.argv[1:]
PASSWORD = RULE.removeprefix("password=") if RULE.startswith("password=") else None
TOKEN = f"{UPSTREAM_HOST[:12]}-auth-token"
TAKES_NO_MORE = {
    "quota": (403, "LIMITEXCEEDED", "The maximum number of layers has been exceeded: quota"),
    "too-large": (413, "SIZE_INVALID", "request entity too large"),
    "disk-full": (500, "UNKNOWN", "write /var/lib/registry/x: no space left on device"),
}
TLS = ssl.create_default_context(cafile=CA)


def basic(password):
    return "Basic " + base64.b64encode(f"AWS:{password}".encode()).decode()


class Upstream(http.client.HTTPSConnection):
    """Connects to the address, while TLS checks the name."""

    def connect(self):
        http.client.HTTPConnection.connect(self)
        self.sock = TLS.wrap_socket(self.sock, server_hostname=UPSTREAM_HOST)


class Front(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    begun = 0
    parts = 0
    crossed = False
    referrers = {}

    def upstream(self, method, path, body=b""):
        connection = Upstream(UPSTREAM_ADDRESS, 443, timeout=60)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        # Pair by pair: an engine sends Accept several times.
        for key, value in self.headers.items():
            if key.lower() == "authorization" and PASSWORD is not None:
                value = basic(TOKEN)
            if key.lower() not in ("connection", "transfer-encoding", "content-length"):
                connection.putheader(key, value)
        connection.putheader("X-Forwarded-Proto", "http")
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        return connection.getresponse()

    def body(self):
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def refusal(self, path):
        """The status, code and message with which the rule refuses this request, if it does."""
        begins = self.command == "POST" and path.split("?")[0].endswith("/blobs/uploads/")
        manifest = re.fullmatch(r"/v2/(.+)/manifests/([^:]+)", path)
        if RULE == "immutable" and self.command == "PUT" and manifest:
            if self.upstream("HEAD", path).status == 200:
                name, tag = manifest.groups()
                return 400, "TAG_INVALID", (
                    f"The image tag '{tag}' already exists in the '{name}' repository and cannot be overwritten because the tag is immutable."
                )
        if RULE == "no-repository" and begins:
            name = path.split("/v2/")[1].split("/blobs/")[0]
            return 404, "NAME_UNKNOWN", (
                f"The repository with name '{name}' does not exist in the registry with id '123456789012'"
            )
        if RULE == "denied" and begins:
            return 403, "DENIED", (
                "User: arn:aws:iam::123456789012:user/ci is not authorized to perform: ecr:InitiateLayerUpload on resource: *"
            )
        if PASSWORD is not None and self.headers.get("Authorization") != basic(PASSWORD):
            return 401, "UNAUTHORIZED", "authentication required"
        if begins and RULE in TAKES_NO_MORE:
            return TAKES_NO_MORE[RULE]
        if RULE == "rate-limited" and begins:
            Front.begun += 1
            if Front.begun <= 3:
                return 429, "TOOMANYREQUESTS", "Rate exceeded"
        if RULE == "flaky" and begins:
            Front.begun += 1
            if Front.begun <= 4:
                return 503, "UNAVAILABLE", "service unavailable"
        return None

    def referrer(self, body):
        """The answer to a request about referrers, if the rule gives one of its own: status, headers, body."""
        if RULE == "list-crossed" and self.command == "PUT" and "/manifests/sha256-" in self.path and not Front.crossed:
            Front.crossed = True
            return 201, {}, b""
        listed = re.fullmatch(r"/v2/(.+)/referrers/([^?]+)\?artifactType=(.+)", self.path)
        if RULE == "referrers" and self.command == "GET" and listed:
            kind = urllib.parse.unquote_plus(listed[3])
            entries = [entry for entry in Front.referrers.get(listed[2], []) if entry["artifactType"] == kind]
            media_type = "application/vnd.oci.image.index.v1+json"
            index = {"schemaVersion": 2, "mediaType": media_type, "manifests": entries}
            return 200, {"Content-Type": media_type, "OCI-Filters-Applied": "artifactType"}, json.dumps(index).encode()
        if RULE == "referrers" and self.command == "PUT" and "/manifests/sha256:" in self.path:
            manifest = json.loads(body)
            subject = manifest.get("subject", {}).get("digest")
            status = self.upstream("PUT", self.path, body).status
            if subject and status == 201:
                entry = {key: manifest[key] for key in ("mediaType", "artifactType", "annotations")}
                entry |= {"digest": self.path.rsplit("/", 1)[1], "size": len(body)}
                Front.referrers.setdefault(subject, []).append(entry)
                return status, {"OCI-Subject": subject}, b""
        return None

    def cut(self, body):
        """Passes the first half of a part on, as a registry does with what it has when a connection breaks, and ends ours."""
        half = body[: len(body) // 2]
        begin = int(self.headers["Content-Range"].split("-")[0])
        self.headers.replace_header("Content-Range", f"{begin}-{begin + len(half) - 1}")
        self.upstream("PATCH", self.path, half).read()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def handle_request(self):
        body = self.body()
        if RULE == "reset" and self.command == "PATCH":
            Front.parts += 1
            if Front.parts == 2:
                self.cut(body)
                return
        refusal = self.refusal(self.path)
        own = self.referrer(body)
        if own:
            status, headers, answer = own
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
        elif refusal:
            status, code, message = refusal
            answer = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="front"')
            if status == 429 and Front.begun == 1:
                self.send_header("Retry-After", "1")
        else:
            response = self.upstream(self.command, self.path, body)
            answer = response.read()
            self.send_response(response.status)
            for key, value in response.getheaders():
                if key.lower() not in ("content-length", "transfer-encoding", "connection", "date"):
                    self.send_header(key, value)
            if self.command == "HEAD":
                self.send_header("Content-Length", response.getheader("Content-Length", "0"))
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_request

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer((ADDRESS, 0), Front)
print(server.server_port, flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
os._exit(0)
