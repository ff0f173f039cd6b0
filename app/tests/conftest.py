"""A real gunicorn, started as the image starts it, on a port of the kernel's choice."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

APP_ROOT = Path(__file__).resolve().parent.parent
PATIENCE_SECONDS = 30


def wait_for(condition, what):
    """Poll until `condition()` is truthy and return that value."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(f"gave up waiting for {what}")


def clean_environ(**settings):
    """This process's environment without settings that would change the application."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("APP_", "GUNICORN_"))
    }
    return kept | settings


class Server:
    def __init__(self, log_path, target, settings):
        self.log_path = log_path
        with log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0", target],
                cwd=APP_ROOT,
                env=clean_environ(PYTHONUNBUFFERED="1", **settings),
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def log(self):
        return self.log_path.read_text()

    def port(self):
        def listening():
            if self.process.poll() is not None:
                raise AssertionError(f"gunicorn ended early:\n{self.log()}")
            return re.search(r"Listening at: http://127\.0\.0\.1:(\d+)", self.log())

        return int(wait_for(listening, "gunicorn to listen").group(1))

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE_SECONDS)


@pytest.fixture
def serve(tmp_path):
    """Start gunicorn: `serve(target, NAME=value, …)` returns a Server; stopped after the test."""
    servers = []

    def start(target="webapp:create_app()", **settings):
        server = Server(tmp_path / f"server-{len(servers)}.log", target, settings)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.close()
