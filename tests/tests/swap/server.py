"""A web server whose faults are switched on by its environment, to be deployed by the tests of remote-swap."""

import base64
import hashlib
import http.server
import json
import os
import signal
import threading
import time
import urllib.parse

# Before there are threads, so that whenever it comes it is the main one that takes it.
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

VERSION = open("/version", encoding="ascii").read().strip()
BEGUN = time.monotonic()


def number(name, default):
    return float(os.environ.get(name, default))


def starts():
    """Counts the starts of all containers that share the volume on /data, this one included."""
    with open("/data/starts", "a+", encoding="ascii") as file:
        file.write(".")
        file.seek(0)
        return len(file.read())


# From this start on it is sick; without SICK_AT it never is, and does not count either.
SICK = "SICK_AT" in os.environ and starts() >= number("SICK_AT", 0)


def die(seconds):
    """Ends as a crash does, a while later."""

    def end():
        print("crashing on purpose", flush=True)
        os._exit(7)

    threading.Timer(seconds, end).start()


class Shared:
    """What requests leave for others."""

    lock = threading.Lock()
    # When the first request came through a front, which tells whom it is from.
    served = None
    # How many requests were cut, by method.
    cut = {"GET": 0, "POST": 0}
    # Bytes of the upload that have come so far.
    uploaded = 0
    go = threading.Event()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_one_request(self):
        # A client that goes away is no fault.
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def sickness(self):
        """Why it is not well, as its health check tells, or None."""
        if SICK or "SICK" in os.environ:
            return "sick on purpose"
        if time.monotonic() - BEGUN < number("WARM_UP", 0):
            return "warming up"
        if "SICK_WHEN_SERVED" in os.environ and Shared.served is not None:
            if time.monotonic() - Shared.served >= number("SICK_WHEN_SERVED", 0):
                return "sick since it serves"
        return None

    def seen(self):
        """Notes the first request through a front; true if this one came through one."""
        if self.headers.get("X-Forwarded-For") is None:
            return False
        with Shared.lock:
            if Shared.served is None:
                Shared.served = time.monotonic()
                if "DIES_WHEN_SERVED" in os.environ:
                    die(number("DIES_WHEN_SERVED", 0))
        return True

    def do_GET(self):
        forwarded = self.seen()
        url = urllib.parse.urlsplit(self.path)
        deed = {
            "/slow": self.slow,
            "/headers": self.tell_headers,
            "/cut": self.cut,
            "/cuts": lambda: self.answer(200, json.dumps(Shared.cut)),
            "/uploaded": lambda: self.answer(200, str(Shared.uploaded)),
            "/events": self.events,
            "/go": self.let_go,
            "/socket": self.socket,
            "/large": self.large,
        }.get(url.path)
        if forwarded and "BAD_BEHIND_FRONT" in os.environ:
            self.answer(503, "bad behind a front")
        elif deed:
            deed()
        else:
            sick = self.sickness() if url.path == "/health" else None
            good = f"{VERSION} {os.environ.get('NOTE', '')}".strip()
            self.answer(503 if sick else 200, sick or good)

    def do_POST(self):
        self.seen()
        if self.path == "/upload":
            self.upload()
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/cut":
            self.cut()
        else:
            self.answer(200, body.decode())

    def answer(self, status, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Version", VERSION)
        self.end_headers()
        self.wfile.write(body)

    def slow(self):
        """An answer that takes its time, a part of it at each tenth of that."""
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        seconds = float(query["seconds"][0])
        self.send_response(200)
        self.send_header("Content-Length", "10")
        self.send_header("X-Version", VERSION)
        self.end_headers()
        for _ in range(10):
            time.sleep(seconds / 10)
            self.wfile.write(b".")

    def tell_headers(self):
        headers = [[name.lower(), value] for name, value in self.headers.items()]
        self.answer(200, json.dumps(headers))

    def large(self):
        """A header as long as it is told."""
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        self.send_response(200)
        self.send_header("X-Large", "x" * int(query["bytes"][0]))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def cut(self):
        """Closes without an answer: the first GET, and each POST."""
        with Shared.lock:
            Shared.cut[self.command] += 1
            times = Shared.cut[self.command]
        if self.command == "GET" and times > 1:
            self.answer(200, VERSION)
        else:
            self.close_connection = True

    def upload(self):
        """Reads chunks and counts their bytes as they come."""
        while size := int(self.rfile.readline(), 16):
            while size:
                size -= len(part := self.rfile.read1(size))
                if not part:
                    self.close_connection = True
                    return
                with Shared.lock:
                    Shared.uploaded += len(part)
            self.rfile.readline()
        self.rfile.readline()
        self.answer(200, str(Shared.uploaded))

    def events(self):
        """A first event at once, a second one when it is told to go on."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"data: first\n\n")
        Shared.go.wait()
        self.wfile.write(b"data: second\n\n")

    def let_go(self):
        Shared.go.set()
        self.answer(200, "gone")

    def socket(self):
        """A WebSocket that echoes short frames, its version before them."""
        magic = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        accept = base64.b64encode(hashlib.sha1(magic.encode()).digest()).decode()
        self.send_header("Sec-WebSocket-Accept", accept)
        self.end_headers()
        self.close_connection = True
        while head := self.rfile.read(2):
            mask = self.rfile.read(4)
            text = bytes(byte ^ mask[i % 4] for i, byte in enumerate(self.rfile.read(head[1] & 0x7F)))
            text = f"{VERSION} ".encode() + text
            self.wfile.write(bytes([0x81, len(text)]) + text)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128


print("serving", VERSION, flush=True)
if "CRASHES" in os.environ:
    print("no such database", flush=True)
    os._exit(7)
if "DEAF" not in os.environ:
    server = Server(("", 8000), Handler)
    threading.Thread(target=server.serve_forever).start()
signal.sigwait({signal.SIGTERM})
print("told to stop", flush=True)
# A stubborn one is to be killed when its stop timeout is over.
if "STUBBORN" not in os.environ:
    os._exit(0)
