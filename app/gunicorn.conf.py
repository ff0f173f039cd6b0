"""How gunicorn serves the application; it reads this file by itself.

GUNICORN_CMD_ARGS and command line flags still win over what is set here.
"""

import os
import sys

from gunicorn.glogging import Logger


def whole_number(name: str, default: int, least: int = 1) -> int:
    """The setting `name`; ends the process with one clear line if it is no such number."""
    text = os.environ.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and int(text) >= least):
        sys.exit(f"{name} must be a whole number, at least {least}, and is {text!r}")
    return int(text)


class QuietProbes(Logger):
    """An access log without the health checks that passed.

    A front may ask twice a second; without this the lines worth reading
    would be gone from the log's tail.
    """

    def access(self, resp, req, environ, request_time):
        if req.path == "/health" and resp.status.startswith("200"):
            return
        super().access(resp, req, environ, request_time)


def post_worker_init(worker):
    """Let `/health` answer 503 once this worker was told to stop.

    A draining worker still answers on the connections it has kept alive, so
    a front that probes over one of those learns to send nothing more.
    """
    readiness = worker.wsgi.extensions["readiness"]
    readiness.add("drain", lambda: None if worker.alive else "shutting down")


bind = f"0.0.0.0:{whole_number('APP_PORT', 5000)}"

# Threads, so that a slow client does not hold up a whole worker and the
# worker's heartbeat goes on during a long request.
worker_class = "gthread"
workers = whole_number("APP_WORKERS", 2)
threads = whole_number("APP_THREADS", 4)

# An application that cannot be imported ends the process before the port
# opens, and the workers share what was loaded.
preload_app = True

# Docker kills a container 10 s after SIGTERM unless told otherwise: requests in
# flight get what is left of that after the shutdown itself.
graceful_timeout = whole_number("APP_GRACEFUL_SECONDS", 8)

# Longer than the idle timeout of usual proxies (60 s), so that it is the proxy
# that closes an idle connection and no request meets a closing socket.
keepalive = whole_number("APP_KEEPALIVE_SECONDS", 65)

# The heartbeat file belongs in memory: on a container's disk a stalled write
# would get a healthy worker killed.
if os.access("/dev/shm", os.W_OK):
    worker_tmp_dir = "/dev/shm"

# Nothing here uses the control socket, and the home directory it would be in
# does not exist for the container's user.
control_socket_disable = True

logger_class = QuietProbes
accesslog = "-"
errorlog = "-"
