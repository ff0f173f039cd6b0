"""The application under a real gunicorn with the shipped configuration."""

import http.client
import json
import signal
import subprocess
import sys
import threading
from contextlib import closing

import pytest
from conftest import APP_ROOT, PATIENCE_SECONDS, clean_environ, wait_for


def connect(port):
    """A connection to use in a `with`; http.client keeps it alive between requests."""
    return closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS))


def get(connection, path):
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def healthcheck(port):
    return subprocess.run(
        [sys.executable, "healthcheck.py"],
        cwd=APP_ROOT,
        env=clean_environ(APP_PORT=str(port)),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )


def test_sigterm_lets_the_request_in_flight_finish(serve, tmp_path):
    server = serve(
        "tests.slow_app:app",
        APP_WORKERS="1",
        APP_GRACEFUL_SECONDS=str(PATIENCE_SECONDS),
        SLOW_HANDSHAKE_DIR=str(tmp_path),
    )
    port = server.port()
    answers = []

    def slow_request():
        with connect(port) as connection:
            answers.append(get(connection, "/slow"))

    client = threading.Thread(target=slow_request)
    with connect(port) as kept_alive:
        assert get(kept_alive, "/health")[0] == 200
        client.start()
        try:
            wait_for((tmp_path / "started").exists, "the slow request to start")
            server.process.send_signal(signal.SIGTERM)

            def failing_checks():
                status, body = get(kept_alive, "/health")
                return status == 503 and json.loads(body)["checks"]

            checks = wait_for(failing_checks, "/health to answer 503")
            assert checks["drain"] == "shutting down"
            assert server.process.poll() is None
            assert answers == []
        finally:
            (tmp_path / "release").touch()
            client.join(PATIENCE_SECONDS)

    assert answers == [(200, "finished\n")]
    assert server.process.wait(PATIENCE_SECONDS) == 0
    with connect(port) as late, pytest.raises(ConnectionRefusedError):
        get(late, "/")


def test_the_healthcheck_of_the_image_agrees_with_health(serve, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    server = serve(APP_VERSION="4.5.6", APP_DATA_DIR=str(data))
    port = server.port()

    good = healthcheck(port)
    assert (good.returncode, good.stderr) == (0, "")
    assert '"version":"4.5.6"' in good.stdout

    data.rmdir()
    bad = healthcheck(port)
    assert (bad.returncode, bad.stderr) == (1, "")
    assert bad.stdout.startswith("503 ")
    assert "cannot write to" in bad.stdout

    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(PATIENCE_SECONDS) == 0
    gone = healthcheck(port)
    assert (gone.returncode, gone.stderr) == (1, "")
    assert gone.stdout.startswith(f"no answer on port {port}: ")


def test_the_log_shows_requests_and_failed_probes_only(serve, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    server = serve(APP_DATA_DIR=str(data))
    port = server.port()
    with connect(port) as connection:
        assert get(connection, "/health")[0] == 200
        assert get(connection, "/")[0] == 200
        data.rmdir()
        assert get(connection, "/health")[0] == 503

    wait_for(lambda: '"GET /health HTTP/1.1" 503' in server.log(), "the access log")
    assert '"GET / HTTP/1.1" 200' in server.log()
    assert '"GET /health HTTP/1.1" 200' not in server.log()


@pytest.mark.parametrize("value", ["many", "0", "-1", "1.5"])
def test_a_setting_that_is_no_number_is_one_clear_line(serve, value):
    server = serve(APP_WORKERS=value)
    assert server.process.wait(PATIENCE_SECONDS) == 1
    assert server.log() == (
        f"APP_WORKERS must be a whole number, at least 1, and is '{value}'\n"
    )
