"""The example application that Slipway ships: a greeting and a readiness check.

`create_app()` is the factory that gunicorn calls. All settings come from the
environment; README.md lists them.
"""

import os
from collections.abc import Mapping

from flask import Flask, jsonify

from webapp.readiness import Readiness, data_dir_check, required_settings_check

GREETING = "Hello from Slipway"


def create_app(environ: Mapping[str, str] = os.environ) -> Flask:
    """Build the application from the settings in `environ`."""
    app = Flask(__name__)
    version = environ.get("APP_VERSION") or "dev"

    readiness = Readiness()
    readiness.add("settings", required_settings_check(environ))
    if data_dir := environ.get("APP_DATA_DIR"):
        readiness.add("data_dir", data_dir_check(data_dir))
    app.extensions["readiness"] = readiness

    @app.get("/")
    def index():
        return jsonify(message=GREETING, version=version)

    @app.get("/health")
    def health():
        ready, checks = readiness.report()
        answer = jsonify(
            status="ok" if ready else "unavailable",
            version=version,
            checks=checks,
        )
        answer.status_code = 200 if ready else 503
        # A cache that answers for a dead release would defeat the check.
        answer.headers["Cache-Control"] = "no-store"
        return answer

    return app
