"""A front of the lab's registry that answers as Amazon ECR does where Debian's registry does not.

    python3 registry-front.py ADDRESS UPSTREAM_HOST UPSTREAM_ADDRESS CA RULE

Prints its port, then passes requests on to UPSTREAM_HOST at UPSTREAM_ADDRESS (TLS, trusting CA), but for those that RULE is about:
    immutable      a manifest cannot be put under a tag that exists
    no-repository  no upload can begin: the repository does not exist
    flaky          the first four uploads that are begun are answered with 503
    denied         the principal may not upload
The texts are those of Amazon ECR. It ends when its stdin does, so that it never outlives a test, however that ended.
"""

import http.client
import http.server
import json
import os
import re
import ssl
import sys
import threading

ADDRESS, UPSTREAM_HOST, UPSTREAM_ADDRESS, CA, RULE = sys.argv[1:]
TLS = ssl.create_default_context(cafile=CA)


class Upstream(http.client.HTTPSConnection):
    """Connects to the address, while TLS checks the name."""

    def connect(self):
        http.client.HTTPConnection.connect(self)
        self.sock = TLS.wrap_socket(self.sock, server_hostname=UPSTREAM_HOST)


class Front(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    begun = 0

    def upstream(self, method, path, body=b""):
        connection = Upstream(UPSTREAM_ADDRESS, 443, timeout=60)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        # Pair by pair: an engine sends Accept several times.
        for key, value in self.headers.items():
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
        if RULE == "flaky" and begins:
            Front.begun += 1
            if Front.begun <= 4:
                return 503, "UNAVAILABLE", "service unavailable"
        return None

    def handle_request(self):
        body = self.body()
        refusal = self.refusal(self.path)
        if refusal:
            status, code, message = refusal
            answer = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
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
