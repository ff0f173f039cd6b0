"""A web server whose faults are switched on by its environment, to be deployed by the tests of remote-swap."""

import http.server
import os
import signal
import threading
import time

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


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/health" and SICK:
            status, text = 503, "sick on purpose"
        elif self.path == "/health" and time.monotonic() - BEGUN < number("WARM_UP", 0):
            status, text = 503, "warming up"
        else:
            status, text = 200, f"{VERSION} {os.environ.get('NOTE', '')}".strip()
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


print("serving", VERSION, flush=True)
server = http.server.ThreadingHTTPServer(("", 8000), Handler)
threading.Thread(target=server.serve_forever).start()
signal.sigwait({signal.SIGTERM})
print("told to stop", flush=True)
# A stubborn one is to be killed when its stop timeout is over.
if "STUBBORN" not in os.environ:
    os._exit(0)
